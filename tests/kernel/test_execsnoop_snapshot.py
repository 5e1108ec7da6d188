"""Processes that were there before the trace: what they run, and that none is told twice or left out."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import execsnoop
from kernel.watching import Command, marker, of, one, programs, watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures


@pytest.fixture
def older(programs: dict[str, str], marker: str) -> Iterator[subprocess.Popen[bytes]]:
    """A shell that is there already; what is written to it, it runs."""
    with subprocess.Popen(["/bin/sh", "-s", marker, "a b"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_its_end_has_its_command(older: subprocess.Popen[bytes], marker: str) -> None:
    with execsnoop.trace() as trace:
        older.communicate(b"exit 5\n")
        events = [event for lot in trace.finish() for event in lot]
    end = one(of(events, "exit", marker))
    assert (end.pid, end.exit_code, end.argv) == (older.pid, 5, ["/bin/sh", "-s", marker, "a b"])
    assert end.inherited is None and end.duration_ns == end.lifetime_ns


def test_its_children_inherit_it(older: subprocess.Popen[bytes], marker: str) -> None:
    with execsnoop.trace() as trace:
        older.communicate(b"(exit 3)\nexec /bin/true\n")
        events = [event for lot in trace.finish() for event in lot]
    child = one([event for event in of(events, "exit", marker) if event.pid != older.pid])
    assert child.inherited and child.exit_code == 3
    own = one([event for event in events if event.type == "exit" and event.pid == older.pid])
    assert own.argv == ["/bin/true"]


def test_existing_come_first_and_once(
    older: subprocess.Popen[bytes], programs: dict[str, str], marker: str
) -> None:
    events: list[ProcessEvent] = []
    with execsnoop.trace(existing=True, columns=["exe", "cwd", "cgroup", "namespaces"]) as trace:
        older.communicate(f"{programs['leaf']} {marker} exit 0\nexit 0\n".encode())
        events = [event for lot in trace.finish() for event in lot]
    event = one(of(events, "existing", marker))
    assert event.pid == older.pid and event.ppid == os.getpid()
    assert event.argv == ["/bin/sh", "-s", marker, "a b"]
    assert (event.uid, event.euid, event.comm) == (os.getuid(), os.geteuid(), "sh")
    assert (event.exe, event.cwd) == (os.path.realpath("/bin/sh"), os.getcwd())
    assert event.cgroup is not None and event.namespaces is not None and len(event.namespaces) == 8
    assert event.start_boottime_ns is not None and event.incomplete == {"start_boottime_ns": "truncated"}
    types = [event.type for event in events]
    first = types.index(next(type for type in types if type != "existing"))
    assert "existing" not in types[first:]
    end = one([event for event in events if event.type == "exit" and event.pid == older.pid])
    assert end.start_boottime_ns is not None
    assert 0 <= end.start_boottime_ns - event.start_boottime_ns < 10_000_000
    times = [event.boottime_ns for event in events]
    assert times == sorted(times)


def test_in_a_storm_every_process_is_told_once(programs: dict[str, str], marker: str) -> None:
    """Whatever ends while it is watched was there at first, or its beginning was seen; never both."""
    storm = subprocess.Popen(
        [programs["spawn"], programs["leaf"], marker, "4000", "4"], stdout=subprocess.DEVNULL
    )
    with execsnoop.trace(existing=True) as trace:
        events = []
        while storm.poll() is None:
            events += trace.poll(0.1)
        events += [event for lot in trace.finish() for event in lot]
        assert trace.lost == 0
    existing = {event.pid for event in events if event.type == "existing" and event.ppid == storm.pid}
    begun = {event.child_pid for event in events if event.type == "fork" and event.pid == storm.pid}
    assert len(begun) > 100
    assert not existing & begun
    ended = {event.pid for event in events if event.type == "exit" and event.ppid == storm.pid}
    # Up to four were ending while the hooks were being attached: they are neither.
    assert len(ended - existing - begun) <= 4


def test_the_command_shows_them(older: subprocess.Popen[bytes], marker: str, tmp_path: Path) -> None:
    command = Command("--existing", "--format", "table", output=tmp_path / "out")
    data, _ = command.end()
    row = one([line.split() for line in data.decode().splitlines() if marker in line])  # type: ignore[type-var]
    assert row[1:3] == ["exist", str(older.pid)] and row[6:] == ["/bin/sh", "-s", marker, "'a", "b'"]


def test_none_unless_asked(older: subprocess.Popen[bytes], marker: str) -> None:
    events, _ = watch("/bin/true", marker)
    assert not [event for event in events if event.type == "existing"]
