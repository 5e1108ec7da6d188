"""`snoopkit.run`: reading, waiting, ending, in the ways a program may do it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit import _core
from snoopkit.render import JsonLines

BPF = Path(__file__).parent / "bpf"
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def calls() -> snoopkit.Package:
    return snoopkit.build(BPF / "calls.bpf.c", BPF / "calls.h")


def run(package: snoopkit.Package, **options: Any) -> snoopkit.Snoop:
    return snoopkit.run(package, options={"target_pid": os.getpid(), **options})


def call(times: int) -> None:
    for _ in range(times):
        os.getppid()


def test_typed_events_in_order(bursts: snoopkit.Package) -> None:
    with run(bursts, extra_every=10) as snoop:
        call(1000)
        events = [event for lot in snoop.finish() for event in lot]
        assert (snoop.lost, snoop.losses) == (0, {})
    main = [event for event in events if event._struct == "burst"]
    extra = [event for event in events if event._struct == "extra"]
    assert (len(main), len(extra)) == (1000, 100)
    assert {event._map for event in main} == {"events"} and {event._map for event in extra} == {"extras"}
    assert [event._time_ns for event in events] == sorted(event._time_ns for event in events)
    first = main[0]
    assert first._asdict()["header"] == {"type": 0, "flags": 0, "size_bytes": 32}
    assert first.header.type == 0 and first._cpu == first.cpu
    assert abs(first._time_ns - first.time_ns) < 1_000_000_000
    assert [*first] == [first.header, first.number, first.time_ns, first.cpu, first.unused]
    assert repr(first).startswith("burst(header=header(type=0, flags=0, size_bytes=32), number=")


def test_iteration_goes_on_where_it_was_left(bursts: snoopkit.Package) -> None:
    with run(bursts) as snoop:
        call(50)
        numbers = []
        for event in snoop:
            numbers.append((event._cpu, event.number))
            if len(numbers) == 10:
                break
        for event in snoop:
            numbers.append((event._cpu, event.number))
            if len(numbers) == 50:
                break
    assert len(set(numbers)) == 50


def test_poll_waits_no_longer_than_it_is_told(bursts: snoopkit.Package) -> None:
    with run(bursts) as snoop:
        began = time.monotonic()
        assert snoop.poll(0) == []
        assert time.monotonic() - began < 0.1
        assert snoop.poll(0.2) == []
        assert 0.2 <= time.monotonic() - began < 1
        call(1)
        began = time.monotonic()
        assert len(snoop.poll(5)) == 1
        assert time.monotonic() - began < 0.2


def test_poll_without_a_limit_is_ended_by_ctrl_c(bursts: snoopkit.Package) -> None:
    with run(bursts) as snoop:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            snoop.poll()
        timer.join()
        call(1)
        assert len(snoop.poll(1)) == 1


BUSY = """
import os, sys
sys.stdin.read()
for _ in range(200_000):
    os.getppid()
"""


@pytest.mark.parametrize("way", ["poll", "batches"])
def test_of_a_busy_program_much_is_read_at_a_time(bursts: snoopkit.Package, way: str) -> None:
    counts = []
    with (
        subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE) as busy,
        snoopkit.run(bursts, options={"target_pid": busy.pid}) as snoop,
    ):
        batches = snoop.batches(0.1)
        assert busy.stdin is not None
        busy.stdin.close()
        began = time.monotonic()
        while busy.poll() is None:
            counts.append(len(snoop.poll(0.1) if way == "poll" else next(batches)))
        seconds = time.monotonic() - began
    # Every 20 ms, or a quarter of a ring: 4,000 of these records and more. The first fifty drains come sooner.
    assert len(counts) < 60 + seconds / 0.02 + sum(counts) / 4000


def test_fileno_goes_with_a_selector(bursts: snoopkit.Package) -> None:
    with run(bursts) as snoop:
        call(3)
        found: list[Any] = []
        deadline = time.monotonic() + 10
        while len(found) < 3:
            readable, _, _ = select.select([snoop.fileno()], [], [], max(0.0, deadline - time.monotonic()))
            assert readable
            found += snoop.poll(0)


def test_two_at_once_are_strangers(bursts: snoopkit.Package) -> None:
    with run(bursts) as one, run(bursts, copies=2) as two:
        call(10)
        assert sum(len(lot) for lot in one.finish()) == 10
        assert sum(len(lot) for lot in two.finish()) == 20


def test_batches_hold_what_events_would_be(bursts: snoopkit.Package) -> None:
    with run(bursts, extra_every=10) as snoop:
        call(1000)
        batches = []
        for batch in snoop.batches(timeout=0.2):
            if not batch:
                break
            batches.append(batch)
        batches += snoop.finish_batches()
        assert snoop.lost == 0
    # a batch keeps its own memory: it outlives the run
    assert sum(len(batch) for batch in batches) == 1100
    events = [event for batch in batches for event in batch.events()]
    assert [event._struct for event in events].count("extra") == 100
    assert [event._time_ns for event in events] == sorted(event._time_ns for event in events)
    assert all((batch.lost, batch.losses) == (0, []) for batch in batches)
    assert repr(batches[0]) == f"<Batch of {len(batches[0])} records, 0 lost>"


def test_columns_and_json_lines_of_a_batch(bursts: snoopkit.Package) -> None:
    with run(bursts, extra_every=10) as snoop:
        call(200)
        batch, _ = snoop.finish_batches()
        writer = JsonLines(snoop)
    events = batch.events()
    main = [event for event in events if event._struct == "burst"]
    array = batch.to_numpy("burst", stamps=True)
    assert array.shape == (200,)
    assert array["number"].tolist() == [event.number for event in main]
    assert array["header"]["size_bytes"].tolist() == [32] * 200
    assert array["_time_ns"].tolist() == [event._time_ns for event in main]
    assert array.dtype.fields["number"][1] == 8
    assert batch.to_numpy("extra")["number"].tolist() == [e.number for e in events if e._struct == "extra"]
    table = batch.to_arrow("burst")
    assert table.num_rows == 200
    assert table.column("number").to_pylist() == array["number"].tolist()
    assert set(table.column("_map").to_pylist()) == {"events"}
    with pytest.raises(ValueError, match="burst, extra"):
        batch.to_numpy()

    def timeless(lines: bytes) -> list[Any]:
        return [{**json.loads(line), "time": None} for line in lines.splitlines()]

    assert timeless(batch.json()) == timeless(b"".join([writer.row(event) for event in events]))


def test_what_is_lost_stands_in_its_batch_and_its_json(bursts: snoopkit.Package) -> None:
    with snoopkit.run(bursts, options={"target_pid": os.getpid()}, buffer_bytes=4096) as snoop:
        call(1000)
        batches = list(snoop.finish_batches())
        assert sum(len(batch) for batch in batches) + snoop.lost == 1000
        assert sum(batch.lost for batch in batches) == snoop.lost > 0
    lines = [json.loads(line) for batch in batches for line in batch.json().splitlines()]
    assert sum(line["count"] for line in lines if line["type"] == "lost") == snoop.lost
    assert sum(line["type"] == "event" for line in lines) + snoop.lost == 1000


@pytest.mark.parametrize("form", ["events", "to_numpy", "to_arrow", "json"])
def test_every_form_counts_what_it_cannot_decode(bursts: snoopkit.Package, form: str) -> None:
    with run(bursts, size_bytes=16) as snoop:
        call(10)
        batch, _ = snoop.finish_batches()
        names = ["burst"] if form.startswith("to") else []
        getattr(batch, form)(*names)
        getattr(batch, form)(*names)
        assert snoop.losses == {"undecodable": 10}


def test_maps_and_globals_are_there(bursts: snoopkit.Package) -> None:
    with run(bursts) as snoop:
        call(5)
        assert snoop.maps["truth"][0] == 5
        assert snoop.maps["outputs"][0].sum()._asdict() == {"attempts": 5, "failed": 0}
        assert "events" in snoop.maps and "nothing" not in snoop.maps
        assert snoop.globals.target_pid == os.getpid()
        with pytest.raises(TypeError, match="target_pid"):
            snoop.globals.target_pid = 1
        truth = snoop.maps["truth"]
    for use in (lambda: snoop.maps, lambda: snoop.globals, lambda: truth[0]):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_either_transport_merges_maps_by_time(calls: snoopkit.Package) -> None:
    for transport, cpus in (("perf", {0, 1}), ("ring", {-1})):
        with snoopkit.run(calls, options={"target_pid": os.getpid()}, transport=transport) as snoop:
            for _ in range(500):
                os.getppid()
                os.getpgid(0)
            events = [event for lot in snoop.finish() for event in lot]
            assert (snoop.lost, snoop.loss_unknown) == (0, ())
        assert [event._map for event in events] == ["parents", "groups"] * 500, transport
        assert [event.number for event in events] == [number for n in range(500) for number in (n, n)]
        assert {event._cpu for event in events} <= cpus


def test_text_and_numbers_in_the_form_that_was_asked_for(calls: snoopkit.Package) -> None:
    for text, u8, comm, octets in (
        ("str", "list", "", [0, 1, 2, 255]),
        ("bytes", "bytes", b"", b"\0\1\2\xff"),
    ):
        with snoopkit.run(calls, options={"target_pid": os.getpid()}, text=text, u8=u8) as snoop:
            os.getppid()
            (event,) = [event for lot in snoop.finish() for event in lot]
        assert type(event.comm) is type(comm) and event.octets == octets
    with pytest.raises(ValueError, match="bytes"):
        snoopkit.run(calls, text="utf-16")
    assert _core.live_handles() == 0


def test_an_empty_batch_says_that_time_has_passed(bursts: snoopkit.Package) -> None:
    with run(bursts) as snoop:
        began = time.monotonic()
        batch = next(snoop.batches(timeout=0.1))
        assert 0.1 <= time.monotonic() - began < 1
        assert (len(batch), batch.events(), batch.lost) == (0, [], 0)


def test_each_way_of_reading_goes_on_where_the_last_one_stopped(bursts: snoopkit.Package) -> None:
    seen: list[Any] = []
    with run(bursts, extra_every=7) as snoop:
        call(5000)
        for event in snoop:  # into the second lot of a batch
            seen.append(event)
            if len(seen) == 2500:
                break
        seen += next(snoop.batches()).events()
        call(300)
        for event in snoop:
            seen.append(event)
            break
        seen += snoop.poll(0)
        call(200)
        for event in snoop:
            seen.append(event)
            break
        for lot in snoop.finish():
            seen += lot
        assert snoop.lost == 0
    numbers = {(event._struct, event._cpu, event.number) for event in seen}
    assert len(numbers) == len(seen)
    last = [event for event in seen if event._struct == "burst"]
    assert len(last) >= 5500
    assert [event._time_ns for event in seen] == sorted(event._time_ns for event in seen)
    for cpu in {event._cpu for event in last}:  # without a gap
        found = [event.number for event in last if event._cpu == cpu]
        assert found == [*range(found[0], found[0] + len(found))]


def test_what_cannot_be_decoded_counts_once(bursts: snoopkit.Package) -> None:
    with run(bursts, size_bytes=16) as snoop:  # too short for the struct
        call(30)
        for event in snoop:
            assert (event.count, event.cause) == (1, "undecodable")
            assert event.detail == "a record of 20 bytes where 32 are needed"  # 4 of them padding
            break
        batches = [next(snoop.batches()), *snoop.finish_batches()]
        for batch in batches:
            assert [event.cause for event in batch.events()] == ["undecodable"] * len(batch)
            batch.events()
        assert snoop.losses == {"undecodable": 30}


def test_what_is_lost_stands_in_the_stream(bursts: snoopkit.Package) -> None:
    with snoopkit.run(bursts, options={"target_pid": os.getpid()}, buffer_bytes=4096) as snoop:
        call(1000)
        items = [item for lot in snoop.finish() for item in lot]
        lost = [item for item in items if isinstance(item, snoopkit.Lost)]
        assert sum(notice.count for notice in lost) == snoop.lost > 0
        assert snoop.losses == {"buffer_full": snoop.lost}
        assert len(items) - len(lost) + snoop.lost == 1000
        losses = snoop.losses
    assert (snoop.lost, snoop.losses) == (sum(losses.values()), losses)  # still known after the end


def test_closed_is_closed(bursts: snoopkit.Package) -> None:
    snoop = run(bursts)
    snoop.close()
    snoop.close()
    for use in (snoop.poll, snoop.fileno, lambda: next(snoop.finish()), lambda: next(snoop.finish_batches())):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert [*snoop] == [*snoop.batches()] == []
    assert (snoop.closed, snoop.lost, snoop.losses, snoop.warnings) == (True, 0, {}, [])
    assert _core.live_handles() == 0


def test_one_thread_reads_at_a_time(bursts: snoopkit.Package) -> None:
    with run(bursts) as snoop:
        waiting = threading.Thread(target=snoop.poll, args=(0.5,), daemon=True)
        waiting.start()
        time.sleep(0.1)
        for use in (lambda: snoop.poll(0), lambda: next(iter(snoop)), lambda: next(snoop.batches())):
            with pytest.raises(RuntimeError, match="another thread"):
                use()
        waiting.join()
        call(1)
        assert len(snoop.poll(1)) == 1  # the next one may


def test_each_in_a_thread_of_its_own(bursts: snoopkit.Package) -> None:
    seen: dict[int, list[Any]] = {1: [], 2: []}

    def read(snoop: snoopkit.Snoop, copies: int) -> None:
        for event in snoop:
            seen[copies].append(event)
            if len(seen[copies]) == 20_000 * copies:
                return

    with run(bursts) as one, run(bursts, copies=2) as two:
        threads = [
            threading.Thread(target=read, args=(one, 1), daemon=True),
            threading.Thread(target=read, args=(two, 2), daemon=True),
        ]
        for thread in threads:
            thread.start()
        call(20_000)
        for thread in threads:
            thread.join(10)
        assert (one.lost, two.lost) == (0, 0)
    assert {
        copies: len({(event._cpu, event.number) for event in events}) for copies, events in seen.items()
    } == {
        1: 20_000,
        2: 40_000,
    }


@pytest.mark.parametrize("way", ["poll", "iteration", "batches"])
def test_closing_ends_a_wait_in_another_thread(bursts: snoopkit.Package, way: str) -> None:
    read = {
        "poll": lambda snoop: snoop.poll(),
        "iteration": list,
        "batches": lambda snoop: list(snoop.batches(None)),
    }
    snoop = run(bursts)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(read[way](snoop)), daemon=True)
    thread.start()
    time.sleep(0.1)
    snoop.close()
    thread.join(1)
    assert not thread.is_alive()
    assert answers == [[]]


def test_closing_while_another_thread_reads_much(bursts: snoopkit.Package) -> None:
    for _ in range(20):
        snoop = run(bursts, copies=16)
        failures: list[BaseException] = []

        def read(snoop: snoopkit.Snoop = snoop, failures: list[BaseException] = failures) -> None:
            try:
                for batch in snoop.batches(0):
                    batch.events()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        call(300)
        snoop.close()
        thread.join(5)
        assert not thread.is_alive() and failures == []


def test_closing_waits_for_a_detaching_thread(bursts: snoopkit.Package) -> None:
    snoop = run(bursts)
    lots: list[Any] = []

    def finish() -> None:
        try:
            lots.extend(snoop.finish())
        except ValueError as error:
            lots.append(error)

    thread = threading.Thread(target=finish, daemon=True)
    thread.start()
    snoop.close()
    thread.join(5)
    assert not thread.is_alive()
    assert _core.live_handles() == 0


def test_an_exception_in_the_loop_leaves_nothing(bursts: snoopkit.Package) -> None:
    with pytest.raises(ZeroDivisionError), run(bursts) as snoop:
        call(5)
        for _ in snoop:
            raise ZeroDivisionError
    assert _core.live_handles() == 0


def test_closing_from_inside_the_loop_ends_it(bursts: snoopkit.Package) -> None:
    snoop = run(bursts)
    call(100)
    seen = 0
    for _ in snoop:
        seen += 1
        snoop.close()
    assert seen == 1


def test_misuse_is_pythons_own_error(bursts: snoopkit.Package) -> None:
    with pytest.raises(ValueError, match="transport"):
        snoopkit.run(bursts, transport="carrier pigeon")
    with pytest.raises(ValueError, match="power of two"):
        snoopkit.run(bursts, buffer_bytes=5000)
    with pytest.raises(snoopkit.OptionError, match="no_such"):
        snoopkit.run(bursts, options={"no_such": 1})
    with pytest.raises(snoopkit.OptionError, match="target_pid"):
        snoopkit.run(bursts, options={"target_pid": 2**32})
    assert _core.live_handles() == 0


@pytest.mark.parametrize("name", ["print_execs.py", "count_execs.py"])
def test_the_examples_run(name: str, tmp_path: Path) -> None:
    # into files: a pipe that nobody reads yet would hold the example up on a busy machine
    with (
        (tmp_path / "output").open("w+") as output_file,
        (tmp_path / "messages").open("w+") as messages_file,
        subprocess.Popen(
            [sys.executable, EXAMPLES / name, "3"], stdout=output_file, stderr=messages_file
        ) as process,
    ):
        while process.poll() is None:
            subprocess.run(["/bin/true"], check=True)
            time.sleep(0.1)
    output, messages = (tmp_path / "output").read_text(), (tmp_path / "messages").read_text()
    assert (process.returncode, messages) == (0, "")
    # our own `true` was seen: as what it became, or as what it was before
    assert "'true'" in output or f"child of {os.getpid()}," in output


def test_the_asyncio_example_runs() -> None:
    script = "import time\nwhile True: open('/etc/hostname').close(); time.sleep(0.02)"
    watched = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    try:
        pids = [str(process.pid) for process in watched]
        said = subprocess.run(
            [sys.executable, EXAMPLES / "watch_opens.py", *pids, "1"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        for process in watched:
            process.kill()
            process.wait()
    assert (said.returncode, said.stderr) == (0, "")
    assert {line.split()[0] for line in said.stdout.splitlines() if "'/etc/hostname'" in line} == set(pids)


def test_maps_that_say_what_they_hold() -> None:
    """Without a header: by their value's type, which neither kind of map has in the kernel."""
    with run(snoopkit.build(BPF / "valued.bpf.c")) as snoop:
        call(7)
        found = [event for lot in snoop.finish() for event in lot]
    assert [event.number for event in found if event._map == "numbers"] == list(range(1, 8))
    comm = Path("/proc/self/comm").read_text().rstrip("\n")
    assert [event.comm for event in found if event._map == "names"] == [comm] * 7
    assert len(found) == 14
