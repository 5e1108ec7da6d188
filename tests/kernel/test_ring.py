"""The same program through a perf event array and through a BPF ring buffer: nothing is lost unsaid, by either."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import snoopkit
from snoopkit import _core, attach, loader, transport

from .conftest import BPF, both_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Start = Callable[..., "Flood"]

pytestmark = pytest.mark.kernel

PAGE = _core.PAGE_SIZE
PERF, RING = transport.MAP_TYPE_PERF_EVENT_ARRAY, transport.MAP_TYPE_RINGBUF
ENTRY = struct.Struct("=QIIIhH")
HEADER, NOISE = struct.Struct("=HHIQQ"), struct.Struct("=Q")  # the former with the number behind it

both_transports = pytest.mark.parametrize("kind", ["perf", "ring"])


@pytest.fixture(scope="module")
def flood_package() -> snoopkit.Package:
    return snoopkit.build(BPF / "flood.bpf.c", BPF / "flood.h")


class Flood:
    """The flood program through one transport, and what its reader has seen."""

    def __init__(
        self, package: snoopkit.Package, kind: str | None, buffer_bytes: int | None = None, **options: Any
    ) -> None:
        self.package = package
        self.batches: list[transport.Batch] = []
        self.times: list[int] = []
        self.numbers: list[int] = []
        self.marks: list[int] = []
        self.cpus: set[int] = set()
        self.noise = self.late_ns = 0
        self.object = loader.open(package, options={"target_pid": os.getpid(), **options})
        try:
            transport.prepare(self.object, package, buffer_bytes, kind)
            self.object.load()
            self.transport = transport.open(self.object, package, buffer_bytes)
            self.links = attach.attach_all(self.object)
        except BaseException:
            self.object.close()
            raise

    def total(self, name: str) -> int:
        spec = self.package.options[name]
        value = self.object.maps[spec.section].lookup(bytes(4))
        assert value is not None
        return int.from_bytes(value[spec.offset_bytes : spec.offset_bytes + 8], "little")

    def drain(self, final: bool = True, detached: bool = False) -> transport.Batch:
        self.batches.append(self.transport.drain(final, detached))
        return self.batches[-1]

    def check(self) -> None:
        """Look into what came; not while it comes, which a million a second outrun."""
        for batch in self.batches:
            for time_ns, offset, size, _, cpu, map in ENTRY.iter_unpack(batch.index):
                type, _, size_bytes, boottime_ns, number = HEADER.unpack_from(batch.data, offset)
                assert (type, size_bytes) == (map, 64 if map == 0 else 24)
                assert size_bytes <= size <= size_bytes + 4
                self.times.append(time_ns)
                self.late_ns = max(self.late_ns, abs(time_ns - boottime_ns))
                self.cpus.add(cpu)
                if map == 0:
                    self.numbers.append(number)
                    self.noise += NOISE.unpack_from(batch.data, offset + 24)[0]
                else:
                    self.marks.append(number)
        self.batches.clear()

    def finish(self) -> None:
        self.drain()
        self.links.close()
        self.drain(detached=True)
        self.check()

    def close(self) -> None:
        self.links.close()
        self.transport.close()
        self.object.close()


@pytest.fixture
def flood(flood_package: snoopkit.Package) -> Iterator[Start]:
    started: list[Flood] = []

    def start(kind: str | None, buffer_bytes: int | None = None, **options: Any) -> Flood:
        started.append(Flood(flood_package, kind, buffer_bytes, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


def on_each(cpus: Iterable[int], times: int) -> list[threading.Thread]:
    def work(cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        for _ in range(times):
            os.getppid()

    threads = [threading.Thread(target=work, args=(cpu,)) for cpu in cpus]
    for thread in threads:
        thread.start()
    return threads


CALLER = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(5)
sys.stdin.read(1)
for _ in range(int(sys.argv[2])):
    os.getppid()
"""


@both_transports
def test_a_million_events_arrive_in_order_and_whole(flood: Start, kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, str(both_cpus()[-1]), "1000000"], stdin=subprocess.PIPE
    ) as caller:
        one = flood(kind, target_pid=caller.pid)
        before = resource.getrusage(resource.RUSAGE_THREAD)
        assert caller.stdin is not None
        caller.stdin.close()
        while caller.poll() is None:
            one.transport.wait(0.1)
            one.drain(final=False)
    after = resource.getrusage(resource.RUSAGE_THREAD)
    one.finish()
    assert one.total("sent") == 1_000_000
    assert one.transport.losses == {}
    assert one.numbers == list(range(1, 1_000_001))
    assert one.noise % (1 << 64) == one.total("noise_sent")
    assert one.times == sorted(one.times)
    # The reader sleeps between drains: woken by a quarter of a ring or by the clock, never by each event.
    assert after.ru_nvcsw - before.ru_nvcsw < 1000


@both_transports
def test_with_a_tiny_buffer_seen_and_lost_are_what_was_sent(flood: Start, kind: str) -> None:
    one = flood(kind, PAGE, burst=100, mark_every=7)
    noted = 0
    for _ in range(50):
        for thread in on_each(both_cpus(), 10):
            thread.join()
        noted += sum(note.count for note in one.drain(final=False).lost)
        assert noted == one.transport.lost
    one.finish()
    assert one.transport.lost > 10_000
    assert len(one.times) + one.transport.lost == one.total("sent") + one.total("marks_sent")
    assert one.total("sent") == 50 * 1000 * len(both_cpus())
    assert one.transport.received == {"events": len(one.numbers), "marks": len(one.marks)}
    assert set(one.transport.losses) == {"buffer_full"}


@both_transports
def test_marks_stay_behind_what_they_mark(flood: Start, kind: str) -> None:
    """Several maps of one package, merged."""
    one = flood(kind, mark_every=10)
    for _ in range(500):
        os.getppid()
        if _ % 50 == 0:
            one.drain(final=False)
    one.finish()
    assert len(one.numbers) == 500
    assert len(one.marks) == one.total("marks_sent") > 40
    assert one.times == sorted(one.times)
