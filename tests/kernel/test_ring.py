"""The same program through a perf event array and through a BPF ring buffer: nothing is lost unsaid, by either."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import snoopkit
from snoopkit import _core, attach, features, loader, transport
from snoopkit.errors import MapError, UnsupportedError
from snoopkit.render.writers import JsonLines

from .conftest import BPF, both_cpus, close_while_waiting, on_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
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
            if len(batch) and not self._check_drops(batch):
                self._check_each(batch)
        self.batches.clear()

    def _check_drops(self, batch: transport.Batch) -> bool:
        """All at once, where drops stand one behind the other and nothing else between them."""
        entries, words = batch.index.cast("Q"), batch.data.cast("Q")
        times, places, origins = (entries[start::3].tolist() for start in range(3))
        begin, size = (places[0] & 0xFFFFFFFF) // 8, places[0] >> 32
        step = (size + 7) // 8
        maps = {origin >> 48 for origin in origins}
        if maps != {0} or places != [places[0] + 8 * step * number for number in range(len(batch))]:
            return False
        ends = begin + step * len(batch)
        heads, stamps, numbers, noise = (words[begin + n : ends : step].tolist() for n in range(4))
        assert set(heads) == {64 << 32}
        assert 64 <= size <= 68
        self.times += times
        self.numbers += numbers
        self.noise += sum(noise)
        self.late_ns = max(self.late_ns, *[abs(a - b) for a, b in zip(times, stamps)])
        self.cpus |= {
            cpu if cpu < 0x8000 else cpu - 0x10000 for cpu in {origin >> 32 & 0xFFFF for origin in origins}
        }
        return True

    def _check_each(self, batch: transport.Batch) -> None:
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


@contextlib.contextmanager
def promptly() -> Iterator[None]:
    """This thread goes first, whatever else the machine has to do."""
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


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
    with (
        promptly(),
        subprocess.Popen(
            [sys.executable, "-c", CALLER, str(both_cpus()[-1]), "1000000"], stdin=subprocess.PIPE
        ) as caller,
    ):
        one = flood(kind, target_pid=caller.pid)
        before, started = resource.getrusage(resource.RUSAGE_THREAD), time.monotonic()
        assert caller.stdin is not None
        caller.stdin.close()
        while caller.poll() is None:
            one.transport.wait(0.1)
            one.drain(final=False)
    after, seconds = resource.getrusage(resource.RUSAGE_THREAD), time.monotonic() - started
    one.finish()
    assert one.total("sent") == 1_000_000
    assert one.transport.losses == {}
    assert one.numbers == list(range(1, 1_000_001))
    assert one.noise % (1 << 64) == one.total("noise_sent")
    assert one.times == sorted(one.times)
    # The reader sleeps between drains: woken by a quarter of a ring or by the clock, never by each event.
    assert after.ru_nvcsw - before.ru_nvcsw < 500 + 100 * seconds


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


def test_waking_is_for_a_quarter_of_a_ring_buffer(flood: Start) -> None:
    one = flood("ring", 16 * PAGE)
    events = one.object.maps["events"]
    with _core.Reader([(events, 8)], drain_interval_ns=60_000_000_000) as reader:
        quarter = events.max_entries // 4 // 72
        for _ in range(3):  # a drain is the end of it, what came in since may stay
            for _ in range(quarter - 1):
                os.getppid()
            assert not reader.wait(0.05)
            for _ in range(2):
                os.getppid()
            assert reader.wait(1)
            assert len(reader.drain()[1]) == (quarter + 1) * ENTRY.size
            os.getppid()
            assert not reader.wait(0.05)
            reader.drain()


def test_a_ring_buffer_that_is_full_wakes_and_one_more_drain_gets_it_going(flood: Start) -> None:
    one = flood("ring", PAGE, burst=1000)
    os.getppid()
    assert one.transport.wait(1)
    one.drain()
    os.getppid()
    assert len(one.drain()) > 0


def test_a_ring_buffers_times_are_those_of_its_records(flood: Start) -> None:
    one = flood("ring")
    threads = on_each(both_cpus(), 20_000)
    while any(thread.is_alive() for thread in threads):
        one.transport.wait(0.02)
        one.drain(final=False)
    one.finish()
    assert len(one.times) == one.total("sent") == 20_000 * len(both_cpus())
    assert one.times == sorted(one.times)
    assert one.late_ns < 20_000_000  # a program can be stopped between its record's time and its output
    assert one.cpus == {-1}


# ---- which transport, and how large


def sizes(
    package: snoopkit.Package, kind: str | None = None, buffer_bytes: int | None = None
) -> dict[str, tuple[int, int]]:
    with loader.open(package) as object:
        transport.prepare(object, package, buffer_bytes, kind)
        return {name: (object.maps[name].type, object.maps[name].max_entries) for name in package.events}


def power_of_two_from(count: int) -> int:
    return 1 << (count - 1).bit_length()


def test_one_map_serves_both(flood_package: snoopkit.Package) -> None:
    cpus = len(_core.online_cpus())
    assert {type for type, _ in sizes(flood_package).values()} == {PERF}
    assert {type for type, _ in sizes(flood_package, "perf").values()} == {PERF}
    given = sizes(flood_package, "ring", 16 * PAGE)
    assert given == {
        "events": (RING, power_of_two_from(16 * PAGE * cpus)),
        "marks": (RING, power_of_two_from(4 * PAGE * cpus)),
    }
    default = sizes(flood_package, "ring")
    assert sum(size for _, size in default.values()) <= transport.TOTAL_BYTES
    assert all(size & (size - 1) == 0 for _, size in default.values())
    assert "snoopkit_ring" not in flood_package.options


def test_what_its_source_does_not_provide_for_is_refused(
    bursts: snoopkit.Package, echo_package: snoopkit.Package
) -> None:
    assert sizes(bursts, "perf")["events"][0] == PERF
    with pytest.raises(UnsupportedError, match="outputs to a perf event array and can't do otherwise"):
        sizes(bursts, "ring")
    with pytest.raises(UnsupportedError, match="map events: its program outputs to a ring buffer"):
        sizes(echo_package, "perf")
    with pytest.raises(UnsupportedError, match="map stamps"):
        snoopkit.run(echo_package, transport="ring")
    with pytest.raises(ValueError, match="transport"):
        sizes(bursts, "pigeon")
    for size in (0, 1, PAGE + 1, 3 * PAGE, -PAGE):
        with pytest.raises(ValueError, match="power of two"):
            sizes(bursts, None, size)


def test_a_source_that_chose_the_ring_buffer_may_serve_both_too(
    flood_package: snoopkit.Package, tmp_path: Path
) -> None:
    source = (BPF / "flood.bpf.c").read_text()
    perf = """	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
"""
    assert perf in source
    ring = "\t__uint(type, BPF_MAP_TYPE_RINGBUF);\n\t__uint(max_entries, 65536);\n"
    (tmp_path / "flood.bpf.c").write_text(source.replace(perf, ring))
    (tmp_path / "flood.h").write_text((BPF / "flood.h").read_text())
    package = snoopkit.build(tmp_path / "flood.bpf.c", tmp_path / "flood.h")
    assert sizes(package)["events"] == (RING, 65536)
    for kind in (None, "perf", "ring"):
        one = Flood(package, kind)
        try:
            for _ in range(10):
                os.getppid()
            one.finish()
            assert one.numbers == list(range(one.numbers[0], one.numbers[0] + 10))
        finally:
            one.close()


def test_events_through_a_ring_buffer_are_the_same(flood_package: snoopkit.Package) -> None:
    seen = {}
    for kind in ("perf", "ring"):
        options = {"target_pid": os.getpid(), "burst": 5}
        with snoopkit.run(flood_package, transport=kind, options=options) as snoop:
            assert snoop.warnings == []
            os.getppid()
            seen[kind] = [event for lot in snoop.finish() for event in lot]
            assert snoop.lost == 0
    for perf, ring in zip(seen["perf"], seen["ring"], strict=True):
        assert type(perf).__name__ == type(ring).__name__ == "drop"
        assert (ring.number, ring.noise, ring._map) == (perf.number, perf.noise, "events")
        assert ring._time_ns >= ring.header.boottime_ns


# ---- a stranger's ring buffer


@pytest.fixture(scope="module")
def echo_package() -> snoopkit.Package:
    return snoopkit.build(BPF / "echo.bpf.c", BPF / "echo.h")


class Echo:
    def __init__(self, package: snoopkit.Package, **options: int) -> None:
        self.object = loader.open(package, options={"target_pid": os.getpid(), **options})
        self.object.load()
        self.links = attach.attach_all(self.object)

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *error: object) -> None:
        self.object.close()


def numbers(data: memoryview, index: memoryview, map: int = 0) -> list[int]:
    return [
        int.from_bytes(data[offset : offset + 8], "little")
        for _, offset, _, _, _, number in ENTRY.iter_unpack(index)
        if number == map
    ]


def test_what_a_stranger_loses_is_not_known_and_said_so(echo_package: snoopkit.Package) -> None:
    options = {"target_pid": os.getpid(), "copies": 64}
    with snoopkit.run(echo_package, options=options) as snoop:
        assert [
            warning for warning in snoop.warnings if "map events" in warning and "loss is unknown" in warning
        ]
        for _ in range(200):
            os.getppid()
        events = [event for lot in snoop.finish() for event in lot]
    echoes = [event for event in events if event._map == "events"]
    assert 0 < len(echoes) < 200 * 64  # it has 64 KB
    assert [event.number for event in echoes] == list(range(1, len(echoes) + 1))
    assert snoop.losses == {}


def test_the_command_says_so_too(echo_package: snoopkit.Package, tmp_path: Path) -> None:
    echo_package.write(tmp_path / "echo.json")
    done = subprocess.run(
        [sys.executable, "-m", "snoopkit", "run", "--json", "--duration", "0.3", tmp_path / "echo.json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    warning, summary = done.stderr.splitlines()
    assert "warning: map events: a ring buffer" in warning
    assert re.fullmatch(r"events=0 lost=0 seconds=\S+ \(ring buffer: loss unknown\)", summary)


def test_the_cpu_of_a_ring_buffers_records_is_not_known(echo_package: snoopkit.Package) -> None:
    with snoopkit.run(echo_package, options={"target_pid": os.getpid()}) as snoop:
        assert snoop.loss_unknown == ("events",)
        writer = JsonLines(snoop)
        os.getppid()
        events = [event for lot in snoop.finish() for event in lot]
    echo, stamp = sorted(events, key=lambda event: event._map)
    assert echo._cpu == -1
    assert stamp._cpu >= 0
    assert json.loads(writer.row(echo))["cpu"] is None
    assert json.loads(writer.row(stamp))["cpu"] == stamp._cpu


def test_perf_event_arrays_and_ring_buffers_of_one_package_are_merged(echo_package: snoopkit.Package) -> None:
    with Echo(echo_package) as echo, transport.open(echo.object, echo_package) as reader:
        data, index, times = [], [], []
        for _ in range(30):
            for _ in range(10):
                os.getppid()
            batch = reader.drain()
            data += numbers(batch.data, batch.index, 0)
            index += numbers(batch.data, batch.index, 1)
            times += [entry[0] for entry in ENTRY.iter_unpack(batch.index)]
            reader.wait(0.01)
        batch = reader.drain(final=True)
        data += numbers(batch.data, batch.index, 0)
        index += numbers(batch.data, batch.index, 1)
        times += [entry[0] for entry in ENTRY.iter_unpack(batch.index)]
        assert reader.received == {"events": 300, "stamps": 300}
    assert data == index == list(range(1, 301))
    assert times == sorted(times)


def test_a_strangers_wakings_are_taken_by_edge(echo_package: snoopkit.Package) -> None:
    """Its program wakes at the first record behind an empty buffer; what the reader leaves for later is no news."""
    with (
        Echo(echo_package) as echo,
        _core.Reader([(echo.object.maps["events"], None)], drain_interval_ns=60_000_000_000) as reader,
    ):
        os.getppid()
        assert reader.wait(1)
        assert numbers(*reader.drain()) == [1]
        assert not reader.wait(0.05)
        os.getppid()
        assert reader.wait(1)
        assert numbers(*reader.drain()) == [2]


# ---- lifetimes: what a reader of perf event arrays promises


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("first", ["object", "reader", "inbox"])
def test_ring_buffers_close_in_any_order_and_twice(
    echo_package: snoopkit.Package, first: str, both: bool
) -> None:
    before, live = descriptors(), _core.live_handles()
    with Echo(echo_package) as echo:
        maps = echo.object.maps
        handles = {
            "object": echo.object,
            "inbox": _core.UserRing(maps["inbox"]),
            "reader": _core.Reader([(maps["events"], None), (maps["stamps"], 1)][: 1 + both]),
        }
        os.getppid()
        os.getppid()
        batch = handles["reader"].drain(final=True)
        handles[first].close()
        if first == "object":
            handles["reader"].drain()
            assert handles["inbox"].closed
        for handle in [*handles.values()] * 2:
            handle.close()
        for use in (
            lambda: handles["inbox"].submit(bytes(8)),
            handles["inbox"].__enter__,
            handles["reader"].drain,
            handles["reader"].wait,
            handles["reader"].fileno,
        ):
            with pytest.raises(ValueError, match="closed"):
                use()
    assert numbers(*batch) == [1, 2]
    assert (descriptors(), _core.live_handles()) == (before, live)


def test_half_built_readers_of_ring_buffers_leave_nothing(echo_package: snoopkit.Package) -> None:
    with Echo(echo_package) as echo:
        maps = echo.object.maps
        before, live = descriptors(), _core.live_handles()
        for wanted in (
            [(maps["events"], None), (maps["inbox"], None)],
            [(maps["events"], None), (maps["stamps"], 3)],
            [(maps["events"], "no offset")],
        ):
            with pytest.raises((ValueError, TypeError)):
                _core.Reader(wanted)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no user ring buffer"):
            _core.UserRing(maps["events"])
        assert (descriptors(), _core.live_handles()) == (before, live)


def test_ctrl_c_and_another_thread_end_a_wait_for_a_ring_buffer(echo_package: snoopkit.Package) -> None:
    with Echo(echo_package) as echo:
        reader = _core.Reader([(echo.object.maps["events"], None)], drain_interval_ns=60_000_000_000)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                reader.wait(10)
        finally:
            signal.signal(signal.SIGALRM, before)
        close_while_waiting(reader)


# ---- the other way


def test_a_program_gets_what_user_space_submits(echo_package: snoopkit.Package) -> None:
    assert features.user_ring_buffer() is True
    with (
        Echo(echo_package, copies=0) as echo,
        _core.Reader([(echo.object.maps["events"], None)]) as reader,
        _core.UserRing(echo.object.maps["inbox"]) as inbox,
    ):
        sent = []
        for number in range(2000):
            inbox.submit(number.to_bytes(8, "little"))
            sent.append(number)
            if number % 100 == 99:
                os.getppid()
        assert numbers(*reader.drain(final=True)) == sent
        with pytest.raises(MapError, match="to map inbox") as full:
            for _ in range(4096):
                inbox.submit(bytes(8))
        assert full.value.errno == errno.ENOSPC
        os.getppid()
        inbox.submit(bytes(8))
        with pytest.raises(MapError) as large:
            inbox.submit(bytes(8192))
        assert large.value.errno == errno.E2BIG
        with pytest.raises(TypeError):
            inbox.submit("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="open already"):
            inbox.__init__(echo.object.maps["inbox"])  # type: ignore[misc]


def test_maps_take_records_for_the_program(echo_package: snoopkit.Package) -> None:
    with snoopkit.run(echo_package, options={"target_pid": os.getpid(), "copies": 0}) as snoop:
        inbox = snoop.maps["inbox"]
        for number in range(3):
            inbox.submit(number.to_bytes(8, "little"))
        os.getppid()
        events = [event for lot in snoop.finish() for event in lot]
        with pytest.raises(TypeError, match="takes records: submit"):
            inbox[0]
    assert [event.number for event in events if event._map == "events"] == [0, 1, 2]
    with pytest.raises(ValueError, match="closed"):
        inbox.submit(b"")


def test_features_tell_of_ring_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert features.ring_buffer() is True
    monkeypatch.setattr(features, "_known_map_types", {})
    monkeypatch.setattr(_core, "has_map_type", lambda type: False)
    assert features.user_ring_buffer() is False
    monkeypatch.setattr(features, "_known_map_types", {})
    monkeypatch.setattr(features, "missing_capabilities", lambda: ("CAP_BPF",))
    assert features.ring_buffer() is None
