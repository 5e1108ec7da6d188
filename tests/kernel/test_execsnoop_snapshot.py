"""Processes that were there before the trace: what they run, and that none is told twice or left out."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop
import snoopkit
from kernel.watching import Command, marker, of, one, programs, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures


def without_iterators(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has none."""
    found = snoopkit.supports
    monkeypatch.setattr(snoopkit, "supports", lambda section: section != "iter/task" and found(section))


def refuse_iterators(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has them, and loads no program for them."""
    run = snoopkit.run

    def refusing(package: snoopkit.Package, **how: Any) -> snoopkit.Snoop:
        for name in how["enable"]:
            section = package.programs[name].section
            if "iter/" in section:
                raise snoopkit.UnsupportedError("this kernel refuses iterators", feature=section)
        return run(package, **how)

    monkeypatch.setattr(snoopkit, "run", refusing)


LACKS = pytest.mark.parametrize("lack", [without_iterators, refuse_iterators])


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


def existing_and_end(
    older: subprocess.Popen[bytes], programs: dict[str, str], marker: str
) -> tuple[ProcessEvent, ProcessEvent]:
    """What a trace tells of the shell at first, and at its end; the former is checked."""
    with execsnoop.trace(existing=True, columns=["exe", "cwd", "cgroup", "namespaces"]) as trace:
        older.communicate(f"{programs['leaf']} {marker} exit 0\nexit 0\n".encode())
        events = [event for lot in trace.finish() for event in lot]
    event = one(of(events, "existing", marker))
    assert event.pid == older.pid and event.ppid == os.getpid()
    assert event.argv == ["/bin/sh", "-s", marker, "a b"]
    assert (event.uid, event.euid, event.comm) == (os.getuid(), os.geteuid(), "sh")
    assert (event.exe, event.cwd) == (os.path.realpath("/bin/sh"), os.getcwd())
    assert event.cgroup is not None and event.namespaces is not None and len(event.namespaces) == 8
    types = [event.type for event in events]
    first = types.index(next(type for type in types if type != "existing"))
    assert "existing" not in types[first:]
    times = [event.boottime_ns for event in events]
    assert times == sorted(times)
    return event, one([event for event in events if event.type == "exit" and event.pid == older.pid])


def test_existing_come_first_and_once(
    older: subprocess.Popen[bytes], programs: dict[str, str], marker: str
) -> None:
    event, end = existing_and_end(older, programs, marker)
    assert event.incomplete is None and event.cpu is None
    told = ("pid", "start_boottime_ns", "uid", "gid", "euid", "egid", "loginuid", "sessionid", "tty", "argv")
    assert [getattr(event, key) for key in told] == [getattr(end, key) for key in told]


@LACKS
def test_without_iterators_starts_have_ticks(
    older: subprocess.Popen[bytes],
    programs: dict[str, str],
    marker: str,
    monkeypatch: pytest.MonkeyPatch,
    lack: Callable[[pytest.MonkeyPatch], None],
) -> None:
    lack(monkeypatch)
    event, end = existing_and_end(older, programs, marker)
    assert event.incomplete == {"start_boottime_ns": "truncated"}
    assert event.start_boottime_ns is not None and end.start_boottime_ns is not None
    assert 0 <= end.start_boottime_ns - event.start_boottime_ns < 10_000_000


@pytest.mark.parametrize("lack", [None, without_iterators])
def test_who_begins_meanwhile_is_told_once(
    programs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    lack: Callable[[pytest.MonkeyPatch], None] | None,
) -> None:
    """All children of one process, by its own word, most of them born while a trace begins: each was there, or its
    fork is told, and all end as whom they began."""
    if lack is not None:
        lack(monkeypatch)
    command = [programs["brood"], "2500", "300"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as brood:
        assert brood.stdin is not None and brood.stdout is not None
        born = [int(brood.stdout.readline())]
        with execsnoop.trace(existing=True, buffer_bytes=1 << 22) as trace:
            events = trace.poll(0)
            while len(born) < 2500:
                born.append(int(brood.stdout.readline()))
                events += trace.poll(0)
            brood.stdin.close()
            while brood.poll() is None:
                events += trace.poll(0.05)
            events += [event for lot in trace.finish() for event in lot]
            assert trace.lost == 0
    there = [event for event in events if event.type == "existing" and event.ppid == brood.pid]
    forks = [event for event in events if event.type == "fork" and event.pid == brood.pid]
    assert there and forks
    assert sorted([e.pid for e in there] + [e.child_pid for e in forks]) == sorted(born)  # type: ignore[type-var]
    ends = [event for event in events if event.type == "exit" and event.ppid == brood.pid]
    assert sorted(event.pid for event in ends) == sorted(born)  # type: ignore[type-var]
    if lack is None:
        begun = {(e.pid, e.start_boottime_ns) for e in there}
        begun |= {(e.child_pid, e.child_start_boottime_ns) for e in forks}
        assert begun == {(e.pid, e.start_boottime_ns) for e in ends}


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
