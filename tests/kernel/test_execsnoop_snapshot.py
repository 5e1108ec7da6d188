"""Processes that were there before the trace: what they run, and that none is told twice or left out."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop
import snoopkit
from kernel.watching import Command, marker, of, one, programs, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures


def lack(*sections: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A kernel that has none of these."""

    def forced(monkeypatch: pytest.MonkeyPatch) -> None:
        found = snoopkit.supports
        monkeypatch.setattr(snoopkit, "supports", lambda section: section not in sections and found(section))

    return forced


def refuse(*sections: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A kernel that has them, and loads no program for them."""

    def forced(monkeypatch: pytest.MonkeyPatch) -> None:
        run = snoopkit.run

        def refusing(package: snoopkit.Package, **how: Any) -> snoopkit.Snoop:
            for name in how["enable"]:
                section = package.programs[name].section.removeprefix("?")
                if section in sections:
                    error = snoopkit.LoadError(f"this kernel refuses {section}")
                    error.program = name
                    raise error
            return run(package, **how)

        monkeypatch.setattr(snoopkit, "run", refusing)

    return forced


SLEEPING, ANY = ("iter.s/task",), ("iter.s/task", "iter/task")
LACKS = pytest.mark.parametrize(
    "force",
    [
        pytest.param(lack(*SLEEPING), id="no sleeping iterators"),
        pytest.param(refuse(*SLEEPING), id="sleeping iterators are refused"),
        pytest.param(lack(*ANY), id="no iterators"),
        pytest.param(refuse(*ANY), id="iterators are refused"),
    ],
)


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
    assert event.cgroup is not None and event.namespaces is not None
    assert event.namespaces.pop("inner_pid") == older.pid and len(event.namespaces) == 8
    types = [event.type for event in events]
    first = types.index(next(type for type in types if type != "existing"))
    assert "existing" not in types[first:]
    times = [event.boottime_ns for event in events]
    assert times == sorted(times)
    end = one([event for event in events if event.type == "exit" and event.pid == older.pid])
    assert end.namespaces is not None and end.namespaces.pop("inner_pid") == older.pid
    assert (event.cgroup, event.container, event.namespaces) == (end.cgroup, end.container, end.namespaces)
    return event, end


def test_existing_come_first_and_once(
    older: subprocess.Popen[bytes], programs: dict[str, str], marker: str
) -> None:
    event, end = existing_and_end(older, programs, marker)
    assert event.incomplete is None and event.cpu is None
    told = ("pid", "start_boottime_ns", "uid", "gid", "euid", "egid", "loginuid", "sessionid", "tty", "argv")
    assert [getattr(event, key) for key in told] == [getattr(end, key) for key in told]


@LACKS
def test_existing_where_the_kernel_lists_less(
    older: subprocess.Popen[bytes],
    programs: dict[str, str],
    marker: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    force: Callable[[pytest.MonkeyPatch], None],
) -> None:
    force(monkeypatch)
    event, end = existing_and_end(older, programs, marker)
    assert event.start_boottime_ns is not None and end.start_boottime_ns is not None
    if "sleeping" in request.node.name:
        assert event.incomplete is None and event.start_boottime_ns == end.start_boottime_ns
    else:
        assert event.incomplete == {"start_boottime_ns": "truncated"}
        assert 0 <= end.start_boottime_ns - event.start_boottime_ns < 10_000_000


Crowd = dict[int, list[str]]


@pytest.fixture
def crowd(programs: dict[str, str], marker: str) -> Iterator[Crowd]:
    """Older processes of all kinds, by pid what each runs."""
    program = programs["older"]
    # The kernel's list takes 32,000 bytes of arguments, and hardly more from all of them in one go.
    room = 32_000 - len(f"{program} wait {marker}  ")
    area = len(f"{program} title 100 {marker} ")
    lines = [
        ["wait", marker, "", "a b", "\udcff\n"],
        *[["wait", marker, "x" * room]] * 3,
        ["wait", marker, "x" * (room + 1)],
        ["wait", marker, *["y" * 30_000] * 4],
        ["leader-first", marker],
        ["fork", marker],
    ]
    expected = [[program, *line] for line in lines]
    for count in (20, area, 400):
        lines.append(["title", f"{count:3}", marker])
        expected.append(["t" * count])
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "env": {"ROOM": "r" * 500}}
    processes = [subprocess.Popen([program, *line], **how) for line in lines]
    try:
        pids = [int(process.stdout.readline().split()[1]) for process in processes if process.stdout]
        yield dict(zip(pids, expected, strict=True))
    finally:
        for process in processes:
            process.terminate()
            process.communicate(timeout=30)


FORCES = pytest.mark.parametrize("force", [pytest.param(None, id="as it is"), *LACKS.args[1]])


@FORCES
def test_whatever_they_run(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, force: Callable[[pytest.MonkeyPatch], None] | None
) -> None:
    if force is not None:
        force(monkeypatch)
    with execsnoop.trace(existing=True) as trace:
        there = {event.pid: event for event in trace.poll(0) if event.type == "existing"}
    with execsnoop.trace() as trace:
        ends: dict[int | None, ProcessEvent] = {}
        for pid in crowd:
            os.kill(pid, signal.SIGTERM)
        while not ends.keys() >= crowd.keys():
            ends.update({event.pid: event for event in trace.poll() if event.type == "exit"})
        assert trace.lost == 0
    for found in (there, ends):
        mine = [found[pid] for pid in crowd]
        assert [event.argv for event in mine] == list(crowd.values())
        assert not any("argv" in (event.incomplete or {}) for event in mine)
        assert [pid for pid in crowd if found[pid].inherited] == [
            pid for pid in crowd if "fork" in crowd[pid]
        ]
    assert {event.exit_code for pid, event in ends.items() if pid in crowd} == {5}


@FORCES
def test_files_are_not_read(
    programs: dict[str, str],
    marker: str,
    monkeypatch: pytest.MonkeyPatch,
    force: Callable[[pytest.MonkeyPatch], None] | None,
) -> None:
    """One that is in user space could let us wait for ever: the kernel's own /proc doesn't either."""
    if force is not None:
        force(monkeypatch)
    command = [programs["older"], "file", marker, "x" * 4096]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready %d\n" % process.pid
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes() == b""
        with execsnoop.trace() as trace:
            process.terminate()
            process.wait(30)
            events = [event for lot in trace.finish() for event in lot]
    end = one([event for event in events if event.type == "exit" and event.pid == process.pid])
    assert end.argv is None and end.incomplete == {"argv": "unreadable"}
    assert end.exit_code == 5


@pytest.mark.heavy
def test_many_large_commands_do_not_fill_the_memory(programs: dict[str, str]) -> None:
    """From 16 MB on each gives but its first bytes, and says so."""
    command = [programs["brood"], "650", "0", "x" * 31_000]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as brood:
        assert brood.stdin is not None and brood.stdout is not None
        born = [int(brood.stdout.readline()) for _ in range(650)]
        with execsnoop.trace(existing=True) as trace:
            events = trace.poll(0)
        brood.stdin.close()
    there = {event.pid: event for event in events if event.type == "existing"}
    mine = [there[pid] for pid in born]
    assert all(event.inherited for event in mine)
    whole = [event for event in mine if event.argv == command]
    cut = [event for event in mine if event.argv != command]
    assert whole and cut and not any(event.incomplete for event in whole)
    text = "\0".join(command)[:256]
    for event in cut:
        assert "\0".join(event.argv or ()) == text and event.incomplete == {"argv": "truncated"}
    assert sum(map(len, whole[0].argv or ())) * len(whole) < 16 << 20


def test_empty_arguments_at_the_end_are_no_title(programs: dict[str, str], marker: str) -> None:
    command = [programs["older"], "wait", marker, "", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        with execsnoop.trace() as trace:
            process.terminate()
            process.wait(30)
            events = [event for lot in trace.finish() for event in lot]
    assert one(of(events, "exit", marker)).argv == command


@pytest.mark.heavy
@pytest.mark.parametrize("lacking", [(), ANY], ids=["as it is", "no iterators"])
def test_who_begins_meanwhile_is_told_once(
    programs: dict[str, str], monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...]
) -> None:
    """All children of one process, by its own word, most of them born while a trace begins: each was there, or its
    fork is told, and all end as whom they began."""
    lack(*lacking)(monkeypatch)
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
    if not lacking:
        begun = {(e.pid, e.start_boottime_ns) for e in there}
        begun |= {(e.child_pid, e.child_start_boottime_ns) for e in forks}
        assert begun == {(e.pid, e.start_boottime_ns) for e in ends}


@pytest.mark.heavy
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
