"""The perf transport: each trap that was measured has its test."""

from __future__ import annotations

import copy
import errno
import resource
import select
import threading
import time
from typing import TYPE_CHECKING

import pytest

from snoopkit import _core, loader, transport
from snoopkit.errors import MapError

from .conftest import CAP_BPF, CAP_PERFMON, NOBODY, become, both_cpus, in_child, records

if TYPE_CHECKING:
    from collections.abc import Callable

    import snoopkit

    from .conftest import Bursts

    Run = Callable[..., Bursts]

pytestmark = pytest.mark.kernel

PAGE = _core.PAGE_SIZE


def without_counter(package: snoopkit.Package) -> snoopkit.Package:
    """The package as a stranger's: it doesn't say which map counts its losses."""
    stranger = copy.copy(package)
    stranger.losses_map = None
    return stranger


@pytest.mark.parametrize("counted", [True, False])
def test_seen_and_lost_are_what_happened(run: Run, bursts: snoopkit.Package, counted: bool) -> None:
    bursts_run = run(PAGE, bursts if counted else without_counter(bursts))
    bursts_run.call(3000, both_cpus())
    seen = bursts_run.drain(final=True)
    # No event came after the burst, so that the kernel wrote no LOST record for its tail.
    assert bursts_run.truth() == 3000 * len(both_cpus())
    assert 0 < len(seen) < 200
    assert len(seen) + bursts_run.transport.lost == bursts_run.truth()
    assert bursts_run.transport.losses == {"buffer_full": bursts_run.truth() - len(seen)}
    assert bursts_run.transport.received == {"events": len(seen), "extras": 0}


@pytest.mark.parametrize("counted", [True, False])
def test_losses_add_up_over_many_drains(run: Run, bursts: snoopkit.Package, counted: bool) -> None:
    one = run(PAGE, bursts if counted else without_counter(bursts))
    seen = noted = 0
    for _ in range(20):
        one.call(150)
        batch = one.transport.drain()
        seen += len(batch)
        noted += sum(note.count for note in batch.lost)
        assert noted == one.transport.lost
    one.links.close()
    last = one.transport.drain(final=True, detached=True)
    seen += len(last)
    noted += sum(note.count for note in last.lost)
    assert seen + noted == one.truth() == 3000
    assert noted == one.transport.lost > 0


def test_the_tail_of_a_burst_is_declared_within_a_second_without_a_later_event(run: Run) -> None:
    one = run(PAGE)
    one.call(1000)
    seen = len(one.drain(final=False))  # takes the ring's first part; nothing was lost behind a later record
    deadline = time.monotonic() + 3
    while seen + one.transport.lost < 1000 and time.monotonic() < deadline:
        one.transport.wait(0.1)
        seen += len(one.drain(final=False))
    assert seen + one.transport.lost == 1000


def test_a_loss_is_told_with_map_cpu_and_a_time_that_keeps_the_order(run: Run) -> None:
    (cpu,) = both_cpus()[:1]
    one = run(PAGE)
    one.call(500, [cpu])
    first = one.transport.drain(final=True)
    newest = max(record.time_ns for record in records(first.data, first.index))
    (note,) = first.lost
    assert (note.map_name, note.cpu, note.cause) == ("events", cpu, "buffer_full")
    assert note.count == 500 - len(first)
    assert newest <= note.boottime_ns <= _core.boottime_ns()
    one.call(1, [cpu])
    second = one.transport.drain(final=True)
    assert all(record.time_ns >= note.boottime_ns for record in records(second.data, second.index))


def test_exits_are_not_lost_because_the_other_ring_is_full(run: Run) -> None:
    one = run(4 * PAGE, extra_every=100)
    one.call(3000, both_cpus()[:1])  # numbers are counted on each
    seen = one.drain()
    extras = [record for record in seen if record.map == one.transport.map_names.index("extras")]
    assert len(extras) == one.truth(1) == 30
    assert len(seen) - len(extras) + one.transport.lost == 3000


def test_without_loss_there_is_none(run: Run) -> None:
    one = run(1 << 20)
    seen = 0
    for _ in range(10):
        one.call(1000, both_cpus())
        seen += len(one.drain(final=False))
    one.links.close()
    seen += len(one.drain(final=True, detached=True))
    assert seen == one.truth() == 10_000 * len(both_cpus())
    assert one.transport.losses == {}


def test_all_records_come_in_one_drain(run: Run) -> None:
    one = run(1 << 20)
    one.call(2000)
    assert len(one.drain()) == 2000


def test_the_smallest_records_all_come(run: Run) -> None:
    """Their index fills before their bytes do."""
    one = run(1 << 20, size_bytes=4, copies=16)
    for _ in range(8):
        one.call(1000)
        assert len(one.drain()) == 16_000
    assert one.transport.lost == 0


def test_batches_that_are_kept_stay_as_they_are(run: Run) -> None:
    one = run(1 << 20, size_bytes=200)
    kept = []
    for number in range(200):
        one.call(300)
        batch = one.transport.drain(final=number == 199)
        kept.append((records(batch.data, batch.index), batch))
    assert one.transport.lost == 0
    assert sum(len(batch.index) for _, batch in kept) == 24 * 60_000
    assert all(records(batch.data, batch.index) == then for then, batch in kept)


def test_few_events_do_not_reach_the_watermark_so_the_timer_wakes(run: Run) -> None:
    one = run()
    slow = _core.Reader([(one.object.maps["extras"], 16)], drain_interval_ns=60_000_000_000)
    with slow:
        one.transport.drain()
        one.call(3)
        assert select.select([slow], [], [], 0.1)[0] == []
    started = time.monotonic()
    assert select.select([one.transport], [], [], 1)[0] == [one.transport]
    assert time.monotonic() - started < 0.2
    seen = 0
    while seen < 3:
        assert time.monotonic() - started < 0.2
        select.select([one.transport], [], [], 1)
        seen += len(one.drain(final=False))


def test_the_watermark_wakes_before_the_timer(run: Run) -> None:
    one = run(64 * PAGE)
    slow = _core.Reader([(one.object.maps["events"], 1)], drain_interval_ns=60_000_000_000)
    with slow:  # its ring replaces the transport's in the map
        assert not slow.wait(0)
        one.call(40)  # of 64 bytes each: more than a quarter of a page
        assert slow.wait(1)
        assert len(records(*slow.drain(final=True))) == 40


def test_waking_is_not_for_each_event(run: Run) -> None:
    one = run(1 << 20)
    wakes = seen = 0
    one.call(4000)
    deadline = time.monotonic() + 2
    while seen < 4000 and time.monotonic() < deadline:
        wakes += one.transport.wait(0.1)
        seen += len(one.drain(final=False))
    assert seen == 4000
    assert wakes < 20


def test_order_is_that_of_time_across_cpus_maps_and_drains(run: Run) -> None:
    one = run(8 << 20, extra_every=7)
    cpus = both_cpus()
    worker = threading.Thread(target=one.call, args=(20_000, cpus), daemon=True)
    seen = []
    worker.start()
    while worker.is_alive():
        one.transport.wait(0.02)
        seen += one.drain(final=False)
    worker.join()
    seen += one.drain(final=True)
    assert one.transport.lost == 0
    events = [record for record in seen if record.map == 0]
    assert len(events) == 20_000 * len(cpus)
    assert len(seen) - len(events) == one.truth(1) > 0
    times = [record.time_ns for record in seen]
    assert times == sorted(times)
    for cpu in cpus:
        numbers = [record.number for record in events if record.cpu == cpu]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_record_time_is_the_boot_clock(run: Run) -> None:
    one = run()
    before = _core.boottime_ns()
    one.call(10)
    after = _core.boottime_ns()
    for record in one.drain():
        inside = int.from_bytes(record.data[16:24], "little")
        assert before <= inside <= after
        assert before <= record.time_ns <= after
        assert abs(record.time_ns - inside) < 1_000_000


def test_the_newest_are_held_back_until_final(run: Run) -> None:
    one = run()
    one.drain(final=False)
    one.call(5)
    assert one.drain(final=False) == []
    assert len(one.drain(final=True)) == 5


def test_records_up_to_the_size_field_arrive_whole(run: Run) -> None:
    for size in (transport.LARGEST_RECORD_BYTES - 8, transport.LARGEST_RECORD_BYTES):
        with run(1 << 20, size_bytes=size) as one:
            one.call(5)
            assert [len(record.data) for record in one.drain()] == [size] * 5
            assert one.transport.lost == 0


@pytest.mark.parametrize("size", [65512, 65516, 65520, 65524, 65536, 65560])
def test_records_beyond_the_size_field_are_declared_at_the_end(run: Run, size: int) -> None:
    one = run(1 << 20, size_bytes=size, extra_every=1)
    one.call(40)
    seen = one.drain(final=False)
    one.links.close()
    seen += one.drain(final=True, detached=True)
    events = sum(record.map == 0 for record in seen)
    assert events == 0  # none of them is taken for a record of its own
    assert events + one.transport.lost == one.truth() == 40
    assert len(seen) == one.truth(1) == 40


def test_oversized_records_do_not_take_good_ones_for_ever(run: Run) -> None:
    """A ring in which a forged size stood is read on."""
    one = run(1 << 20, size_bytes=65520)
    one.call(3)
    one.drain()
    with run(1 << 20) as other:
        other.call(100)
        assert len(other.drain()) == 100


def test_a_record_larger_than_its_ring_is_always_lost_and_always_told(run: Run) -> None:
    one = run(PAGE, size_bytes=PAGE)
    assert any("can't fit" in warning for warning in one.transport.warnings)
    one.call(7)
    assert one.drain() == []
    assert one.transport.losses == {"buffer_full": 7}


def test_rings_fit_the_budget() -> None:
    for maps in (1, 2, 5):
        for cpus in (1, 2, 24, 32, 64, 256, 1024):
            size = transport._affordable(maps, cpus)
            total = cpus * sum(transport._shares(size, maps))
            assert size & (size - 1) == 0
            assert size == PAGE or total <= transport.TOTAL_BYTES
    assert transport._affordable(2, 2) == transport.DEFAULT_BYTES
    assert transport._shares(1 << 20, 2) == [1 << 20, 1 << 18]


@pytest.mark.parametrize("size", [0, 1, PAGE + 1, 3 * PAGE, -PAGE])
def test_a_buffer_is_a_power_of_two_of_pages(bursts: snoopkit.Package, size: int) -> None:
    with loader.open(bursts) as object:
        object.load()
        with pytest.raises(ValueError, match="power of two"):
            transport.open(object, bursts, size)


def test_a_small_buffer_warns(run: Run) -> None:
    assert run(8 * PAGE).transport.warnings
    assert not run(16 * PAGE).transport.warnings


def test_rings_shrink_to_what_the_kernel_grants(bursts: snoopkit.Package) -> None:
    def unprivileged() -> dict[str, object]:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        become(NOBODY, [CAP_BPF, CAP_PERFMON])
        with loader.open(bursts) as object:
            object.load()
            with transport.open(object, bursts, 64 << 20) as reader:
                return {"warnings": reader.warnings, "fd": reader.fileno()}

    answer = in_child(unprivileged)
    assert answer["fd"] > 2
    (warning,) = answer["warnings"]
    assert "instead of 64M" in warning
    assert "CAP_IPC_LOCK" in warning


def test_a_paranoid_kernel_is_named(bursts: snoopkit.Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's kernels have a perf_event_paranoid of 3 that refuses users with CAP_PERFMON too; others only root."""

    def refuse(maps: object) -> None:
        raise MapError("open rings: map events: Permission denied", errno=errno.EACCES)

    with loader.open(bursts) as object:
        object.load()
        monkeypatch.setattr(_core, "Reader", refuse)
        with pytest.raises(MapError, match=r"kernel\.perf_event_paranoid to 2, now -?\d"):
            transport.open(object, bursts)
