"""Who was there before a trace, beside the forks that are told: nobody twice."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from execsnoop.model import GROUPS, ProcessEvent
from execsnoop.processes import Processes
from execsnoop.snapshot import Snapshot

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
