"""Whoever reads the events of a program: how it is started, what it uses, and what it says that it has read."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .build import HERE, OUT
from .measure import cpus

BUFFER_BYTES = 2 << 20
PRINTED = OUT / "events.txt"
PATIENCE_SECONDS, TRIES = 15, 3

Command = list[str | Path]


class Reader(NamedTuple):
    """`command(pid)` traces that process, writes a line once it is ready, and ends by SIGINT or, if it `ends_by_input`,
    when its input does. `count(said)` gives the events it has read and what it says is lost. It is given `calls`
    events, and `pause_seconds` after each burst of them, so that it has read them before the next."""

    command: Callable[[int], Command]
    count: Callable[[str], tuple[int, int]]
    ends_by_input: bool = False
    calls: int = 400_000
    pause_seconds: float = 0.01


def reported(said: str) -> tuple[int, int]:
    result = json.loads(said)
    return result["received"], result["lost"]


def summarized(said: str) -> tuple[int, int]:
    found = re.search(r"events=(\d+) lost=(\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


def printed(_: str) -> tuple[int, int]:
    text = PRINTED.read_text()
    return text.count(" loop\n"), sum(map(int, re.findall(r"Lost (\d+) events", text)))


def in_program(form: str, emitter: str = "emit") -> Reader:
    """A program with snoopkit in it: see readers/snoopkit_reader.py."""
    command: Command = [sys.executable, HERE / "readers/snoopkit_reader.py", form, OUT / f"{emitter}.json"]
    return Reader(lambda pid: [*command, str(pid), str(BUFFER_BYTES)], reported, True)


def by_command(form: str) -> Reader:
    """`snoopkit run`, into a file."""
    command: Command = [HERE.parent / ".venv/bin/snoopkit", "run", "--format", form, "-o", PRINTED]
    command += ["--ready-fd", "1", "--buffer-size", str(BUFFER_BYTES), OUT / "emit.json", "--targ_pid"]
    return Reader(lambda pid: [*command, str(pid)], summarized)


def in_c(name: str, emitter: str, buffer_bytes: int, calls: int = 400_000) -> Reader:
    """One of readers/."""
    pages = str(buffer_bytes // os.sysconf("SC_PAGE_SIZE"))
    return Reader(lambda pid: [OUT / name, OUT / f"{emitter}.bpf.o", str(pid), pages], reported, True, calls)


class Used(NamedTuple):
    """What a process has used so far, as the kernel charges it."""

    cpu_ns: int
    switches: int
    faults: int


class Reading:
    """A reader at work, ready when this is made: on the first CPU, or where the scheduler puts it."""

    def __init__(self, reader: Reader, pid: int, *, is_pinned: bool = True) -> None:
        self.reader = reader
        self._process = subprocess.Popen(
            [*(["taskset", "-c", str(cpus()[1])] if is_pinned else []), *reader.command(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout
        said = []
        while (line := self._process.stdout.readline()) not in ("ready\n", "\n"):
            if not line:
                sys.exit(f"bench: a reader did not start: {reader.command(pid)}: {''.join(said)}")
            said.append(line)

    def used(self) -> Used:
        return _used_by(self._process.pid)

    def memory_bytes(self) -> int:
        """What is resident of it."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s*(\d+) kB", status, re.M)
        return int(found[1]) * 1024 if found else 0

    def end(self) -> tuple[int, int]:
        """How many events it has read, and how many it says are lost."""
        for _ in range(TRIES):
            if not self.reader.ends_by_input:
                self._process.send_signal(signal.SIGINT)  # of which bpftrace forgets one now and then
            try:
                return self.reader.count(self._process.communicate(timeout=PATIENCE_SECONDS)[0])
            except subprocess.TimeoutExpired:
                pass
        self._process.kill()
        sys.exit(f"bench: a reader does not end: {self.reader.command(0)}")


def _used_by(pid: int) -> Used:
    cpu_ns = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M)
        switches += int(found[1]) if found else 0
    return Used(cpu_ns, switches, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7]))
