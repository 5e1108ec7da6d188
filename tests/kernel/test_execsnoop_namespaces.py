"""In a pid namespace, where processes have other numbers than in events: the tracer inside, its witness outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel.watching import marker, one, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["marker", "programs"]  # fixtures

INSIDE = ["unshare", "--pid", "--fork"]
OWN_PROC = [*INSIDE, "--mount-proc"]
# Starts an older process and traces, with what a kernel may lack: its first line tells that process's number there.
# Whoever reads it ends the process.
TRACER = """
import json, subprocess, sys
import execsnoop, snoopkit
options, lacking, program = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
found = snoopkit.supports
snoopkit.supports = lambda section: section not in lacking and found(section)
with subprocess.Popen(program, stdout=subprocess.PIPE) as older:
    older.stdout.readline()
    with execsnoop.trace(**options) as trace:
        print(older.pid, flush=True)
        older.wait()
        for lot in trace.finish():
            for event in lot:
                print(json.dumps(event.as_dict()))
"""


class Witness:
    """What /proc tells outside of the one process with these arguments."""

    def __init__(self, arguments: list[str]) -> None:
        wanted = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
        self.pid = next(pid for pid, cmdline in cmdlines() if cmdline == wanted)
        folder = Path(f"/proc/{self.pid}")
        status = dict(
            line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if "\t" in line
        )
        self.inner_pid = int(status["NSpid"].split()[-1])
        self.ppid = int(status["PPid"])
        names = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
        numbers = {name: int(os.readlink(folder / "ns" / name).split("[")[1][:-1]) for name in names}
        groups = {
            name: path
            for line in (folder / "cgroup").read_text().splitlines()
            for name, path in [(name, line.split(":", 2)[2]) for name in line.split(":")[1].split(",")]
        }
        self.more = {
            "exe": os.readlink(folder / "exe"),
            "cwd": os.readlink(folder / "cwd"),
            "cgroup": groups.get("", "/") if groups.get("", "/") != "/" else groups.get("memory", "/"),
            "namespaces": {**numbers, "inner_pid": self.inner_pid},
        }
        self.start_ticks = int((folder / "stat").read_text().rpartition(")")[2].split()[19])

    def is_meant_by(self, event: dict[str, Any]) -> bool:
        tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
        return (event["pid"], event["start_boottime_ns"] // tick_ns) == (self.pid, self.start_ticks)


def cmdlines() -> Iterator[tuple[int, bytes]]:
    for name in os.listdir("/proc"):
        try:
            if name.isdigit():
                yield int(name), Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            pass  # it is gone


def trace(
    before: list[str], program: list[str], lacking: list[str], **options: Any
) -> tuple[list[dict[str, Any]], Witness]:
    """All events of a trace that is made in a namespace, in which `program` runs and is ended by its number here."""
    line = [*before, sys.executable, "-c", TRACER, json.dumps(options), json.dumps(lacking), *program]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        assert first, process.stderr.read()
        witness = Witness(program)
        os.kill(witness.pid, signal.SIGTERM)
        rest, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert witness.inner_pid == int(first) != witness.pid
    return [json.loads(line) for line in rest.splitlines()], witness


SLEEPING, ANY = ["iter.s/task"], ["iter.s/task", "iter/task"]


OWN_GROUPS = [*OWN_PROC, "--cgroup"]
PATHS, GROUPS = {"exe", "cwd"}, {"cgroup", "container"}


@pytest.mark.parametrize(
    ("before", "lacking", "unreadable"),
    [
        pytest.param(OWN_PROC, [], set(), id="as it is"),
        pytest.param(OWN_PROC, SLEEPING, set(), id="no sleeping iterators"),
        pytest.param(INSIDE, SLEEPING, set(), id="the host's /proc, no sleeping iterators"),
        pytest.param(OWN_GROUPS, [], set(), id="cgroups"),
        pytest.param(OWN_GROUPS, SLEEPING, GROUPS, id="cgroups, no sleeping iterators"),
        pytest.param([*OWN_PROC, *INSIDE], [], set(), id="another one's /proc"),
        pytest.param(
            [*OWN_PROC, *INSIDE],
            SLEEPING,
            PATHS | GROUPS | {"namespaces", "argv"},
            id="another one's /proc, no sleeping iterators",
        ),
    ],
)
def test_older_processes_have_their_commands(
    programs: dict[str, str], marker: str, before: list[str], lacking: list[str], unreadable: set[str]
) -> None:
    program = [programs["older"], "wait", marker, "a b"]
    argv = None if "argv" in unreadable else program
    columns = ["exe", "cwd", "cgroup", "namespaces"]
    events, witness = trace(before, program, lacking, existing=True, columns=columns)
    there = one([event for event in events if event["type"] == "existing" and event["pid"] == witness.pid])
    assert witness.is_meant_by(there) and (there["ppid"], there["argv"]) == (witness.ppid, argv)
    for key, value in witness.more.items():
        assert there[key] == (None if key in unreadable else value), key
    assert there.get("incomplete", {}) == dict.fromkeys(unreadable, "unreadable")
    end = one([event for event in events if event["type"] == "exit" and event["pid"] == witness.pid])
    assert end.get("argv") == argv and end["start_boottime_ns"] == there["start_boottime_ns"]
    assert (end["cgroup"], end["namespaces"]) == (witness.more["cgroup"], witness.more["namespaces"])

    events, witness = trace(before, program, lacking)
    end = one([event for event in events if event["type"] == "exit" and event["pid"] == witness.pid])
    assert witness.is_meant_by(end) and (end.get("argv"), end["exit_code"]) == (argv, 5)
    assert not [event for event in events if event["type"] == "existing"]


def test_what_only_the_kernels_numbers_tell_is_not_guessed(programs: dict[str, str], marker: str) -> None:
    program = [programs["older"], "wait", marker]
    events, witness = trace(OWN_PROC, program, ANY)
    end = one([event for event in events if event["type"] == "exit" and event["pid"] == witness.pid])
    assert "argv" not in end and end["exit_code"] == 5
    # The host's /proc has them.
    events, witness = trace(INSIDE, program, ANY, existing=True)
    there = one([event for event in events if event["type"] == "existing" and event.get("argv") == program])
    assert witness.is_meant_by(there) and there["incomplete"] == {"start_boottime_ns": "truncated"}
    line = [*OWN_PROC, sys.executable, "-c", TRACER, '{"existing": true}', json.dumps(ANY), "/bin/echo"]
    refused = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert "UnsupportedError: existing: " in refused.stderr


def test_the_filters_numbers_are_the_events(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    """As the PID column has them, and not `ps` inside; --subtree's are those of `ps`, see test_following.py."""
    fifo, output = tmp_path / "fifo", tmp_path / "events"
    os.mkfifo(fifo)
    inner = f"""
        {programs["older"]} wait {marker} >/dev/null &
        read host inner <{fifo}
        {sys.executable} -m execsnoop --json --quiet -o {output} --pid $host --pid $inner --ready-fd 1 & tracer=$!
        wait %1
        kill -INT $tracer
        wait $tracer
    """
    with subprocess.Popen([*OWN_PROC, "bash", "-c", inner], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while True:
            try:
                witness = Witness([programs["older"], "wait", marker])
                break
            except StopIteration:
                assert process.poll() is None
        fifo.write_text(f"{witness.pid} {witness.inner_pid}\n")
        assert process.stdout.readline() == b"\n"
        os.kill(witness.pid, signal.SIGTERM)
        assert process.wait(60) == 0
    event = one([json.loads(line) for line in output.read_text().splitlines()])
    assert event["type"] == "exit" and witness.is_meant_by(event)
