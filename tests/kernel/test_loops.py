"""Snoops in an asyncio loop: beside other things, cancelled, closed under its hands."""

from __future__ import annotations

import asyncio
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop
import snoopkit
from snoopkit import _core

from .test_leftovers import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

BPF = Path(__file__).parent / "bpf"


@pytest.fixture(scope="module")
def calls() -> snoopkit.Package:
    return snoopkit.build(BPF / "calls.bpf.c", BPF / "calls.h")


def snoop_self(package: snoopkit.Package, **more: Any) -> snoopkit.Snoop:
    return snoopkit.run(package, options={"target_pid": os.getpid()}, **more)


def run(main: Callable[[], Coroutine[Any, Any, None]], seconds: float = 30) -> None:
    """Runs `main()` in a new loop, and sees to it that nothing of it stays registered there."""

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        before = set(loop._selector.get_map())  # type: ignore[attr-defined]
        await asyncio.wait_for(main(), seconds)
        await asyncio.sleep(0)
        assert set(loop._selector.get_map()) == before  # type: ignore[attr-defined]

    asyncio.run(watched())


class Pulse:
    """Something that wants its turn every 5 ms, and knows the longest that it had to wait for it."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.beats = 0

    async def beat(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.beats += 1


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def converse(port: int, lines: int) -> list[float]:
    """Seconds that each line took to come back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    for number in range(lines):
        began = time.monotonic()
        writer.write(b"%d\n" % number)
        assert await reader.readline() == b"%d\n" % number
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.005)
    writer.close()
    await writer.wait_closed()
    return took


def test_two_snoops_and_a_server_in_one_loop(bursts: snoopkit.Package, calls: snoopkit.Package) -> None:
    times = 60_000
    seen: dict[str, list[Any]] = {"one": [], "two": []}
    pulse = Pulse()
    took: list[float] = []

    async def read(name: str, snoop: snoopkit.Snoop) -> None:
        async with snoop:
            async for event in snoop:
                seen[name].append(event)

    def produce() -> None:
        for number in range(times):
            os.getppid()
            if number % 500 == 0:
                time.sleep(0.002)  # so that it goes on for as long as the others do

    async def main() -> None:
        one, two = snoop_self(bursts), snoop_self(calls, transport="ring")
        readers = [asyncio.create_task(read("one", one)), asyncio.create_task(read("two", two))]
        heart = asyncio.create_task(pulse.beat())
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        producer = threading.Thread(target=produce, daemon=True)
        producer.start()
        for found in await asyncio.gather(*[converse(port, 50) for _ in range(4)]):
            took.extend(found)
        while min(map(len, seen.values())) < times:
            await asyncio.sleep(0.01)
        producer.join()
        assert (one.lost, two.lost) == (0, 0)
        for task in (*readers, heart):
            task.cancel()
        ends = await asyncio.gather(*readers, heart, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert one.closed and two.closed  # by being cancelled
        server.close()
        await server.wait_closed()

    run(main)
    assert _core.live_handles() == 0
    for name, events in seen.items():
        assert len(events) == times, name
        for cpu in {event._cpu for event in events}:
            numbers = [event.number for event in events if event._cpu == cpu]
            assert numbers == sorted(numbers)
    # generous: other tests run on this machine
    assert max(took) < 1 and sorted(took)[len(took) // 2] < 0.1, took
    assert pulse.longest_s < 1 and pulse.beats > 20


def test_a_flood_leaves_others_their_turn(bursts: snoopkit.Package) -> None:
    """A reader that never waits for anything, with always more to read."""
    pulse = Pulse()

    async def main() -> None:
        stop = threading.Event()

        def produce() -> None:
            while not stop.is_set():
                os.getppid()

        producer = threading.Thread(target=produce, daemon=True)
        async with snoopkit.run(bursts, options={"target_pid": os.getpid(), "copies": 16}) as snoop:
            heart = asyncio.create_task(pulse.beat())
            producer.start()
            count, end = 0, time.monotonic() + 1
            async for _ in snoop:
                count += 1
                if time.monotonic() > end:
                    break
            stop.set()
            producer.join()
            heart.cancel()
            assert count > 10_000

    run(main)
    assert pulse.beats > 10 and pulse.longest_s < 0.5


def test_cancelled_at_any_moment_nothing_stays(bursts: snoopkit.Package) -> None:
    before = descriptors()

    async def read(snoop: snoopkit.Snoop, seen: list[Any]) -> None:
        async with snoop:
            async for event in snoop:
                seen.append(event)
                await asyncio.sleep(0)

    async def main() -> None:
        for delay_ms in range(0, 60, 3):
            seen: list[Any] = []
            snoop = snoop_self(bursts)
            task = asyncio.create_task(read(snoop, seen))
            for _ in range(20):
                os.getppid()
            await asyncio.sleep(delay_ms / 1000)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert snoop.closed
            assert _core.live_handles() == 0

    run(main)
    assert descriptors() == before


def test_leaving_an_iteration_loses_nothing(bursts: snoopkit.Package) -> None:
    seen: list[Any] = []

    async def main() -> None:
        with snoop_self(bursts) as snoop:
            for _ in range(100):
                os.getppid()
            async for event in snoop:
                seen.append(event)
                if len(seen) == 10:
                    break
            for delay_s in (0, 0.001, 0.03):  # before it waits, and while it does
                task = asyncio.create_task(anext(aiter(snoop.batches(None))))
                await asyncio.sleep(delay_s)
                task.cancel()
                (batch,) = await asyncio.gather(task, return_exceptions=True)
                seen.extend(batch.events() if isinstance(batch, snoopkit.Batch) else [])
                seen.extend(snoop.poll(0))
            os.getppid()
            async for event in snoop:
                seen.append(event)
                if len(seen) == 101:
                    break

    run(main)
    assert len({(event._cpu, event.number) for event in seen}) == 101


def test_batches_in_a_loop(bursts: snoopkit.Package) -> None:
    async def main() -> None:
        with snoop_self(bursts) as snoop:
            began = time.monotonic()
            async for batch in snoop.batches(timeout=0.1):
                assert (len(batch), batch.events()) == (0, [])
                break
            assert 0.1 <= time.monotonic() - began < 1
            for _ in range(100):
                os.getppid()
            count = 0
            async for batch in snoop.batches(timeout=1):
                count += len(batch)
                if count == 100:
                    break

    run(main)


@pytest.mark.parametrize("where", ["task", "thread"])
def test_closing_ends_what_waits(bursts: snoopkit.Package, where: str) -> None:
    before = descriptors()

    async def events(snoop: snoopkit.Snoop) -> list[Any]:
        return [event async for event in snoop]

    async def batches(snoop: snoopkit.Snoop) -> list[Any]:
        return [batch async for batch in snoop.batches(None)]

    async def main() -> None:
        for read in (events, batches):
            snoop = snoop_self(bursts)
            task = asyncio.create_task(read(snoop))
            await asyncio.sleep(0.05)
            if where == "task":
                snoop.close()
            else:
                await asyncio.to_thread(snoop.close)
            assert await asyncio.wait_for(task, 1) == []
            assert [event async for event in snoop] == []  # and again

    run(main)
    assert _core.live_handles() == 0
    assert descriptors() == before


def test_one_task_reads_at_a_time(bursts: snoopkit.Package) -> None:
    async def main() -> None:
        with snoop_self(bursts) as snoop:
            waiting = asyncio.create_task(anext(aiter(snoop)))
            await asyncio.sleep(0.05)
            with pytest.raises(RuntimeError, match="task"):
                await anext(aiter(snoop))
            for use in (lambda: snoop.poll(0), lambda: next(snoop.batches(0)), lambda: list(snoop.finish())):
                with pytest.raises(RuntimeError, match="task"):
                    use()
            with pytest.raises(RuntimeError, match="thread"):
                await asyncio.to_thread(snoop.poll, 0)
            os.getppid()
            assert (await waiting)._struct == "burst"
            os.getppid()
            assert len(snoop.poll(1)) == 1  # the next one may

    run(main)


def test_without_a_loop_it_is_pythons_own_error(bursts: snoopkit.Package) -> None:
    with snoop_self(bursts) as snoop:
        step = anext(aiter(snoop))
        with pytest.raises(RuntimeError, match="event loop"):
            step.send(None)


def test_many_in_one_selector(bursts: snoopkit.Package, calls: snoopkit.Package) -> None:
    packages = [bursts, calls] * 3
    snoops = [snoop_self(package) for package in packages]
    seen = [0] * len(snoops)
    try:
        with selectors.DefaultSelector() as selector:
            for number, snoop in enumerate(snoops):
                selector.register(snoop, selectors.EVENT_READ, number)
            for _ in range(100):
                os.getppid()
            deadline = time.monotonic() + 5
            while min(seen) < 100 and time.monotonic() < deadline:
                for key, _ in selector.select(1):
                    seen[key.data] += len(snoops[key.data].poll(0))
    finally:
        for snoop in snoops:
            snoop.close()
    assert seen == [100] * len(snoops)


def test_asyncio_is_imported_by_those_who_use_it() -> None:
    script = """
import sys, os, snoopkit
package = snoopkit.Package.read(sys.argv[1])
with snoopkit.run(package) as snoop:
    snoop.poll(0), next(snoop.batches(0)).events(), snoop.maps, snoop.globals, list(snoop.finish())
print(sorted({"asyncio", "threading", "numpy", "pyarrow", "selectors"} & set(sys.modules)))
"""
    package = Path(execsnoop.__file__).parent / "bpf" / "package.json"
    said = subprocess.run([sys.executable, "-c", script, package], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "[]\n"), said.stderr
