"""execsnoop against programs that know what they did: every exec and exit once, and right."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import execsnoop
import snoopkit
from execsnoop.model import signal_name
from execsnoop.tracing import package_path
from kernel.watching import Command, marker, of, one, programs, watch
from snoopkit import attach, loader

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["marker", "programs"]  # fixtures

BUSY = [sys.executable, "-c", "while True: pass"]


@pytest.fixture(params=["idle", "busy"])
def load(request: pytest.FixtureRequest) -> Iterator[None]:
    """The CPUs idle, as far as it is up to us, or each with something to do."""
    count = (os.cpu_count() or 1) if request.param == "busy" else 0
    others = [subprocess.Popen(BUSY) for _ in range(count)]
    yield
    for other in others:
        other.kill()
        other.wait()


def test_500_children(programs: dict[str, str], marker: str, load: None) -> None:
    events, printed = watch(programs["spawn"], programs["leaf"], marker, "500", "8")
    told = {}
    for line in printed.splitlines():
        index, pid, status = map(int, line.split())
        told[index] = pid, status
    assert len(told) == 500

    parent = one([e for e in of(events, "exec", marker) if e.argv and e.argv[0] == programs["spawn"]])
    execs = [e for e in of(events, "exec", marker) if e is not parent]
    exits = [e for e in of(events, "exit", marker) if e.pid != parent.pid]
    assert len(execs) == len(exits) == 500
    starts = {}
    for event in execs:
        assert event.argv is not None and event.argv[:2] == [programs["leaf"], marker]
        assert event.filename == programs["leaf"]
        assert event.comm == "leaf"
        assert (event.pid, event.ppid, event.tid) == (told[int(event.argv[2])][0], parent.pid, event.pid)
        assert event.argv_size_bytes == sum(len(argument) + 1 for argument in event.argv)
        starts[event.pid] = event
    for event in exits:
        assert event.argv is not None
        index = int(event.argv[2])
        assert (event.pid, event.status, event.ppid) == (*told[index], parent.pid)
        start = starts[event.pid]
        assert event.argv == start.argv
        assert event.start_boottime_ns == start.start_boottime_ns
        assert event.duration_ns == event.boottime_ns - start.boottime_ns
        assert event.lifetime_ns is not None and event.lifetime_ns >= event.duration_ns > 0
        if index % 4 == 3:
            assert event.exit_code is None and event.signal == signal_name(int(event.argv[4]))
        else:
            assert event.exit_code == index % 256 and event.signal is None
    assert len({event.argv[2] for event in execs if event.argv}) == 500


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        ("leader-first", 7 << 8),
        ("last-thread", 5 << 8),
        ("group-by-worker", 9 << 8),
        ("killed", 9),
        ("crowd", 7 << 8),
    ],
)
def test_a_process_with_threads_ends_once(
    programs: dict[str, str], marker: str, mode: str, status: int
) -> None:
    events, _ = watch(programs["ends"], mode, marker, status=None)
    end = one(of(events, "exit", marker))
    assert end.status == status
    assert end.comm == "ends"
    if mode in ("leader-first", "last-thread"):
        assert end.duration_ns is not None and end.duration_ns >= 30_000_000
        assert end.tid != end.pid


def test_two_threads_end_at_once(programs: dict[str, str], marker: str) -> None:
    events, printed = watch(programs["ends"], "race", marker, "300")
    told = {int(pid): int(status) for pid, status in map(str.split, printed.splitlines())}
    assert len(told) == 300
    exits = [event for event in events if event.type == "exit" and event.pid in told]
    assert len(exits) == 300
    assert {event.pid: event.status for event in exits} == told
    # They never ran a program of their own.
    assert all(event.argv == [programs["ends"], "race", marker, "300"] and event.inherited for event in exits)


def test_a_thread_execs(programs: dict[str, str], marker: str) -> None:
    events, printed = watch(programs["ends"], "exec-by-thread", marker, programs["leaf"], status=4)
    pid, tid = map(int, printed.split())
    first, second = of(events, "exec", marker)
    assert (first.pid, first.old_tid) == (pid, None)
    assert (second.pid, second.tid, second.old_tid) == (pid, pid, tid)
    assert second.argv == [programs["leaf"], marker, "exit", "4"]
    end = one(of(events, "exit", marker))
    assert (end.pid, end.exit_code, end.argv) == (pid, 4, second.argv)


@pytest.mark.parametrize(
    ("mode", "filename"),
    [
        ("fexecve", r"/dev/fd/\d+"),
        ("execveat", r"/dev/fd/\d+/leaf"),
        ("memfd", r"/dev/fd/\d+"),
        ("no-environment", r"/.*/leaf"),
    ],
)
def test_ways_to_exec(programs: dict[str, str], marker: str, mode: str, filename: str) -> None:
    events, _ = watch(programs["execs"], mode, programs["leaf"], marker, "exit", "6", status=6)
    event = one([e for e in of(events, "exec", marker) if e.argv and e.argv[0] == programs["leaf"]])
    assert event.argv == [programs["leaf"], marker, "exit", "6"]
    assert event.filename is not None and re.fullmatch(filename, event.filename)
    assert one(of(events, "exit", marker)).exit_code == 6


def test_no_arguments_at_all(programs: dict[str, str], marker: str) -> None:
    events, _ = watch(programs["execs"], "empty", programs["leaf"], marker)
    before = one(of(events, "exec", marker))
    event = one([e for e in events if e.type == "exec" and e.pid == before.pid and e is not before])
    assert event.argv in ([], [""])  # since 5.18 the kernel gives such a program one empty argument
    assert event.filename == programs["leaf"]


def test_empty_arguments_are_kept(programs: dict[str, str], marker: str) -> None:
    arguments = ["", marker, "", "", "exit", "0"]
    events, _ = watch(*arguments, executable=programs["leaf"])
    assert one(of(events, "exec", marker)).argv == arguments


def test_a_script(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\nexit 8\n")
    script.chmod(0o755)
    events, _ = watch(str(script), marker, status=8)
    event = one(of(events, "exec", marker))
    assert event.argv == ["/bin/sh", "-e", str(script), marker]
    assert event.filename == str(script)


def long_arguments(leaf: str, marker: str, size_bytes: int) -> list[str]:
    """Arguments of that size, in pieces of up to 100,000 bytes."""
    text = "".join(chr(ord("a") + i % 26) for i in range(size_bytes))
    return [leaf, marker, *(text[at : at + 100_000] for at in range(0, size_bytes, 100_000))]


@pytest.mark.parametrize("size_bytes", [1 << 10, 32 << 10, 59_000])
def test_long_arguments(programs: dict[str, str], marker: str, size_bytes: int) -> None:
    arguments = [*long_arguments(programs["leaf"], marker, size_bytes), "exit", "3"]
    events, _ = watch(*arguments, status=3)
    event, end = one(of(events, "exec", marker)), one(of(events, "exit", marker))
    assert event.argv_size_bytes == sum(len(argument) + 1 for argument in arguments)
    assert event.argv == end.argv == arguments
    assert event.incomplete is None


@pytest.mark.parametrize("size_bytes", [100_000, 1_900_000])
def test_longer_arguments_are_completed_while_the_process_is_there(
    programs: dict[str, str], marker: str, size_bytes: int
) -> None:
    arguments = [*long_arguments(programs["leaf"], marker, size_bytes), "sleep", "300"]
    events, _ = watch(*arguments)
    event, end = one(of(events, "exec", marker)), one(of(events, "exit", marker))
    assert event.argv_size_bytes == sum(len(argument) + 1 for argument in arguments)
    assert event.argv == end.argv == arguments
    assert event.incomplete is None and end.incomplete is None


def test_those_of_a_process_that_is_gone_are_marked(programs: dict[str, str], marker: str) -> None:
    arguments = [*long_arguments(programs["leaf"], marker, 100_000), "exit", "0"]
    with execsnoop.trace() as trace:
        subprocess.run(arguments, check=True)
        events = [event for lot in trace.finish() for event in lot]
    event, end = one(of(events, "exec", marker)), one(of(events, "exit", marker))
    assert event.argv_size_bytes == sum(len(argument) + 1 for argument in arguments)
    assert event.incomplete == end.incomplete == {"argv": "truncated"}
    assert event.argv is not None and event.argv[:2] == arguments[:2] and len(event.argv) == 3
    assert len(event.argv[2]) > 32 << 10 and arguments[2].startswith(event.argv[2])


def test_those_of_a_later_program_are_not_taken(programs: dict[str, str], marker: str) -> None:
    arguments = [*long_arguments(programs["leaf"], marker, 100_000), "replace", "300"]
    with execsnoop.trace() as trace, subprocess.Popen(arguments) as process:
        time.sleep(0.1)
        events = trace.poll(0.2)
        process.wait()
    event = one(of(events, "exec", marker))
    assert event.incomplete == {"argv": "truncated"}
    assert event.argv is not None and arguments[2].startswith(event.argv[2])


def test_many_arguments(programs: dict[str, str], marker: str) -> None:
    arguments = [programs["leaf"], marker, *[""] * 20_000, "exit", "3"]
    events, _ = watch(*arguments, status=3)
    assert one(of(events, "exec", marker)).argv == arguments


def test_another_user(programs: dict[str, str], marker: str) -> None:
    with open(programs["leaf"], "rb") as leaf:  # the folder is root's, so the user gets an open file
        path = f"/proc/self/fd/{leaf.fileno()}"
        arguments = ["leaf", marker, "exit", "0"]
        events, _ = watch(
            *arguments, executable=path, pass_fds=[leaf.fileno()], user=65534, group=65534, extra_groups=[]
        )
    event = one(of(events, "exec", marker))
    assert (event.uid, event.gid, event.euid, event.egid) == (65534,) * 4
    assert event.argv == arguments and event.filename == path


# The command.


HOSTILE = [
    b"new\nline",
    b"\x1b[31mred\x1b]0;title\x07",
    b"\xff\xfe\x80bad",
    "\u202eright to left".encode(),
    b"\r\t\x7f",
    b"'\"$(id)`id`\\",
    b"-",
    b"",
    "\u00e9\u4e2d\U0001f600".encode(),
]


@pytest.fixture
def hostile(programs: dict[str, str], tmp_path: Path) -> str:
    """A program whose name is hostile too: it becomes comm and filename."""
    path = os.fsencode(tmp_path) + b"/\x1b[2J\xff\n"
    os.link(programs["leaf"], path)
    return os.fsdecode(path)


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_hostile_bytes_stay_in_their_line(hostile: str, marker: str, tmp_path: Path, format: str) -> None:
    command = Command("--format", format, output=tmp_path / "out")
    arguments = [os.fsencode(hostile), marker.encode(), *HOSTILE, b"exit", b"0"]
    subprocess.run(arguments, check=True)
    data, messages = command.end()
    assert command.process.returncode == 0, messages
    assert not [byte for byte in set(data) if (byte < 0x20 and byte != 0x0A) or byte == 0x7F]
    lines = [line for line in data.decode().splitlines() if marker in line]
    assert len(lines) == 2
    assert "\u202e" not in data.decode()
    if format == "json":
        exec_, exit_ = map(json.loads, lines)
        assert [base64.b64decode(text) for text in exec_["raw"]["argv"]] == arguments
        assert base64.b64decode(exec_["raw"]["filename"]) == os.fsencode(hostile)
        assert base64.b64decode(exit_["raw"]["comm"]) == b"\x1b[2J\xff\n"
        assert exec_["argv"][2] == "new\nline" and exec_["argv"][-3] == HOSTILE[-1].decode()
        assert exec_["argv"][4] == "\N{REPLACEMENT CHARACTER}" * 3 + "bad"


def test_the_commands_json(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    command = Command("--json", output=tmp_path / "out")
    subprocess.run([programs["leaf"], marker, "exit", "5"], check=False)
    data, messages = command.end(signal.SIGTERM)
    assert command.process.returncode == 0, messages
    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["boottime_ns"] for line in lines] == sorted(line["boottime_ns"] for line in lines)
    start, end = (line for line in lines if marker in (line.get("argv") or []))
    assert start["type"] == "exec" and end["type"] == "exit"
    assert end["exit_code"] == 5 and end["signal"] is None and end["status"] == 5 << 8
    assert end["duration_ns"] == end["boottime_ns"] - start["boottime_ns"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", start["time"])
    assert re.fullmatch(rf"events={len(lines)} lost=0 seconds=\d+\.\d+\n", messages)


def test_the_commands_table(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    command = Command(output=tmp_path / "out")
    subprocess.run([programs["leaf"], marker, "a b", "signal", "11"], check=False)
    data, _ = command.end()
    header, *rows = data.decode().splitlines()
    assert header.split() == ["TIME", "EVENT", "PID", "PPID", "UID", "COMM", "RET", "DURATION", "ARGS"]
    start, end = (row for row in rows if marker in row)
    arguments = [programs["leaf"], marker, "a b", "signal", "11"]
    assert shlex.split(start)[1] == "exec" and shlex.split(start)[7:] == arguments
    assert shlex.split(end)[1] == "exit" and shlex.split(end)[8:] == arguments
    assert shlex.split(end)[6] == "SIGSEGV"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ran_just_before_a_signal_is_there(
    programs: dict[str, str], marker: str, tmp_path: Path, number: int
) -> None:
    command = Command("--json", output=tmp_path / "out")
    for _ in range(20):
        subprocess.run([programs["leaf"], marker, "exit", "0"], check=True)
    data, messages = command.end(number)
    assert command.process.returncode == 0, messages
    lines = [json.loads(line) for line in data.splitlines()]
    mine = [line["type"] for line in lines if marker in (line.get("argv") or [])]
    assert mine.count("exec") == mine.count("exit") == 20


class Tally:
    """The kernel's own count of execs and of processes that began or ended, from `start` to `stop`."""

    package: snoopkit.Package | None = None

    def __init__(self) -> None:
        if Tally.package is None:
            Tally.package = snoopkit.build(
                str(Path(__file__).parent / "bpf" / "tally.bpf.c"), include=[str(execsnoop_sources())]
            )
        self._object = loader.open(Tally.package)
        self._object.load()
        self._links = attach.attach_all(self._object)

    def stop(self) -> int:
        self._links.close()
        tally = self._object.maps["tally"]
        values = [tally.lookup(key.to_bytes(4, sys.byteorder)) for key in range(3)]
        self._object.close()
        return sum(int.from_bytes(value or b"", sys.byteorder) for value in values)


def execsnoop_sources() -> Path:
    return Path(package_path()).parent


@pytest.mark.parametrize(
    "options",
    [("--settle", "0"), (), ("--transport", "ring")],
    ids=["without accounts", "with accounts, which are no events", "by ring buffers"],
)
def test_what_was_lost_is_declared_to_the_last_event(
    programs: dict[str, str], marker: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Tiny rings and a reader that stands still. One tally encloses the trace and the other lies within it, so that
    processes that aren't ours don't matter; on a machine of our own both are the same."""
    outer = Tally()
    command = Command("--json", *options, "--buffer-size", "4K", output=tmp_path / "out")
    inner = Tally()
    command.process.send_signal(signal.SIGSTOP)
    subprocess.run(
        [programs["spawn"], programs["leaf"], marker, "3000", "8"], check=True, stdout=subprocess.DEVNULL
    )
    command.process.send_signal(signal.SIGCONT)
    time.sleep(0.5)  # what follows is the end, not an event that would bring the kernel's own notices along
    at_least = inner.stop()
    data, messages = command.end()
    at_most = outer.stop()

    assert command.process.returncode == 3
    lines = [json.loads(line) for line in data.splitlines()]
    lost = sum(line["count"] for line in lines if line["type"] == "lost")
    seen = sum(line["type"] != "lost" for line in lines)
    assert f"events={seen} lost={lost} " in messages and f"(buffer_full {lost})" in messages
    assert at_least <= seen + lost <= at_most
    assert at_least >= 9000 and lost > 8000
    assert [line["boottime_ns"] for line in lines] == sorted(line["boottime_ns"] for line in lines)
    assert {line["events"] for line in lines if line["type"] == "lost"} == {"exec", "fork or exit"}
