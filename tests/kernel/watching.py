"""Watching programs of our own with execsnoop: in this process, or by its command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execsnoop import ProcessEvent

PROGRAMS = Path(__file__).parent / "programs"


def compile_programs(folder: Path) -> dict[str, str]:
    """The helper programs, compiled into `folder`: name to path."""
    paths = {}
    for source in PROGRAMS.glob("*.c"):
        paths[source.stem] = str(folder / source.stem)
        subprocess.run(
            ["gcc", "-O1", "-Wall", "-Werror", "-pthread", "-static", "-o", paths[source.stem], source],
            check=True,
        )
    return paths


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The helper programs: name to path. A VM brings them along, for emulated compilers are slow."""
    folder = os.environ.get("SNOOPKIT_TEST_PROGRAMS")
    if folder:
        return {path.name: str(path) for path in Path(folder).iterdir()}
    return compile_programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture
def marker() -> str:
    """An argument that no other process on the machine has."""
    return f"marker-{uuid.uuid4().hex}"


def watch(
    *command: str,
    status: int | None = 0,
    options: dict[str, Any] | None = None,
    linger: float = 0.0,
    **how: Any,
) -> tuple[list[ProcessEvent], str]:
    """Run a command under a trace: all events of the machine meanwhile and `linger` seconds longer, and what the
    command printed."""
    events: list[ProcessEvent] = []
    with execsnoop.trace(**(options or {})) as trace:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **how) as process:
            while process.poll() is None:
                events += trace.poll(0.05)
            until = time.monotonic() + linger
            while (left := until - time.monotonic()) > 0:
                events += trace.poll(left)
            assert process.stdout is not None
            printed = process.stdout.read()
        for lot in trace.finish():
            events += lot
        assert trace.lost == 0, trace.losses
    if status is not None:
        assert process.returncode == status
    times = [event.boottime_ns for event in events]
    assert times == sorted(times)
    return events, printed


def of(events: Sequence[ProcessEvent], type: str, marker: str) -> list[ProcessEvent]:
    """The events of one type whose arguments have the marker."""
    return [event for event in events if event.type == type and event.argv and marker in event.argv]


def one(events: Sequence[ProcessEvent]) -> ProcessEvent:
    assert len(events) == 1, events
    return events[0]


def held(pid: int) -> tuple[set[int], set[int]]:
    """The ids of the programs and of the links that a process has descriptors of."""
    programs: set[int] = set()
    links: set[int] = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = path.read_text()
        except FileNotFoundError:
            continue  # a file that it read, and has closed since: no program and no link is given up so
        told = dict(re.findall(r"^(link_id|prog_id):\s*(\d+)", text, re.MULTILINE))
        if "link_id" in told:
            links.add(int(told["link_id"]))
        elif "prog_id" in told:
            programs.add(int(told["prog_id"]))
    return programs, links


class Command:
    """A running `execsnoop` whose hooks are attached; `end()` gives its lines and its messages. What it writes goes to
    a file, but is all there."""

    PROGRAM = (sys.executable, "-m", "execsnoop")

    def __init__(self, *options: str, output: Path) -> None:
        self.output = output
        ready, write = os.pipe()
        with output.open("wb") as stdout:
            self.process = subprocess.Popen(
                [*self.PROGRAM, "--no-redact", "--ready-fd", str(write), *options],
                stdout=stdout,
                stderr=subprocess.PIPE,
                pass_fds=[write],
            )
        os.close(write)
        is_ready = os.read(ready, 1) == b"\n"
        os.close(ready)
        assert is_ready, self.process.communicate()[1].decode()

    def end(self, number: int = signal.SIGINT) -> tuple[bytes, str]:
        self.process.send_signal(number)
        _, messages = self.process.communicate(timeout=30)
        return self.output.read_bytes(), messages.decode()
