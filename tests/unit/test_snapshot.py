"""Who was there before a trace, beside the forks that are told: nobody twice."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from execsnoop.model import GROUPS, ProcessEvent
from execsnoop.processes import Processes
from execsnoop.snapshot import Listing, Snapshot, look

if TYPE_CHECKING:
    from collections.abc import Iterator

NONE = dict.fromkeys(GROUPS, False)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process


def of(events: list[ProcessEvent], process: subprocess.Popen[bytes]) -> list[ProcessEvent]:
    return [event for event in events if event.pid == process.pid]


def fork(event: ProcessEvent, late_ns: int) -> Any:
    """The record of that process's fork, some time after its start."""
    assert event.start_boottime_ns is not None
    return SimpleNamespace(
        _struct="fork_event",
        _time_ns=event.start_boottime_ns + late_ns,
        child_pid=event.pid,
        child_start_boottime_ns=event.start_boottime_ns,
    )


def test_a_fork_among_the_first_records_is_told_instead(child: subprocess.Popen[bytes]) -> None:
    snapshot = Snapshot(Processes(), 1, NONE, None, None)
    [event] = of(snapshot.older([]), child)
    assert (event.type, event.boottime_ns, event.argv) == ("existing", 1, ["cat"])
    record = fork(event, 1000)
    assert not of(snapshot.older([record]), child)
    assert snapshot.unless_told([record]) == [record]


def test_a_fork_that_is_told_later_is_none(child: subprocess.Popen[bytes]) -> None:
    snapshot = Snapshot(Processes(), 1, NONE, None, None)
    [event] = of(snapshot.older([]), child)
    other = SimpleNamespace(_struct="exec_event", _time_ns=event.start_boottime_ns)
    again = fork(event, 2000)
    again.child_start_boottime_ns += 10**9  # the pid in another life
    assert snapshot.unless_told([other, fork(event, 2000), again]) == [other, again]
    # Nothing is compared for ever.
    late = fork(event, 10**10)
    assert snapshot.unless_told([late]) == [late]


def listing(*records: Any) -> Any:
    """The kernel's list has these."""
    snoop: Any = SimpleNamespace(iterate=lambda name: SimpleNamespace(events=lambda: list(records)))
    return Listing(snoop, "any")


def listed(argv: list[str], flags: int = 0, *, argc: int | None = None, **more: Any) -> Any:
    """A process that nobody finds in /proc."""
    values = {
        "pid": 2**22 + 7,
        "own_pid": 2**22 + 7,
        "start_boottime_ns": 10**9 + 1,
        "argv": argv,
        "argc": len(argv) if argc is None else argc,
        "argv_captured_bytes": sum(map(len, argv)) + len(argv),
        "argv_size_bytes": 100_000,
        "header": SimpleNamespace(flags=flags),
    }
    return SimpleNamespace(**(values | more))


TRUNCATED, UNREADABLE, RACED, TITLE, FORKED = (
    0x01,
    0x02,
    0x1000,
    0x2000,
    0x4000,
)  # header.flags of execsnoop.h


@pytest.mark.parametrize(
    ("record", "argv", "reason"),
    [
        (listed(["a", "", ""]), ["a", "", ""], None),
        (listed(["a", "", ""], argc=2), ["a"], None),
        (listed(["", "", ""], argc=1), [""], None),
        (listed(["a", "b"], TRUNCATED), ["a", "b"], "truncated"),
        (listed([], UNREADABLE), None, "unreadable"),
        (listed(["a"], RACED), None, "raced"),
        (listed(["title", "rest"], TITLE), ["title"], None),
        (listed(["titl"], TITLE), ["titl"], "truncated"),
    ],
)
def test_what_is_made_of_a_listed_process(record: Any, argv: list[str] | None, reason: str | None) -> None:
    command = listing().command(record)
    assert (command.argv, command.reason) == (argv, reason)


def test_a_process_without_its_first_thread_is_listed_by_the_others() -> None:
    first, second = listed([], UNREADABLE, tid=1), listed(["a"], FORKED, tid=2)
    for order in ((first, second), (second, first), (first, second, second)):
        assert listing(*order).read() == [second]
    known = Processes()
    look(known, listing(first, second))
    running = known.ended((second.pid, second.start_boottime_ns))
    assert running is not None and running.inherited
    assert running.command is not None and running.command.argv == ["a"]
