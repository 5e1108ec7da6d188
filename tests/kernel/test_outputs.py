"""Outputs that are slow, full or gone, under a storm: counted, told, and nothing stays attached."""

from __future__ import annotations

import ctypes
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

from .conftest import libc
from .test_commands import EXECSNOOP, is_gone, run_children, started, tools
from .watching import held

if TYPE_CHECKING:
    from collections.abc import Iterator

    import snoopkit

__all__ = ["tools"]

SPAWNS = 8_000
BIN = Path(sys.executable).parent


def memory_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def summary(messages: bytes) -> dict[str, int]:
    counts = re.search(rb"events=(\d+) lost=(\d+)", messages)
    assert counts, messages
    causes = re.findall(rb"(\w+_full|undecodable) (\d+)", messages)
    return {
        "events": int(counts[1]),
        "lost": int(counts[2]),
        **{name.decode(): int(count) for name, count in causes},
    }


def test_a_pipe_that_nobody_reads_for_ten_seconds_in_a_storm(tools: dict[str, str]) -> None:
    with started([*EXECSNOOP, "--json", "--buffer-size", "8M"]) as process:
        began = time.monotonic()
        run_children(tools, "x" * 1000, SPAWNS)
        time.sleep(max(10 - (time.monotonic() - began), 0))
        assert memory_bytes(process.pid) < 300 << 20
        process.send_signal(signal.SIGINT)
        output, messages = process.communicate(timeout=60)
    assert process.returncode == 3
    rows = [json.loads(line) for line in output.splitlines()]
    told = summary(messages)
    notices = [row for row in rows if row["type"] == "lost"]
    # Others' storms may fill the rings too.
    for cause in ("output_full", "buffer_full"):
        assert sum(row["count"] for row in notices if row["cause"] == cause) == told.get(cause, 0)
    assert told["output_full"] > 0
    assert len(rows) - len(notices) == told["events"]
    # Of each child an exec, a fork and an exit: all of them are there or counted.
    assert told["events"] + told["lost"] >= 3 * SPAWNS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 KB."""
    assert libc.mount(b"tmpfs", bytes(tmp_path), b"tmpfs", 0, b"size=64k") == 0, ctypes.get_errno()
    yield tmp_path
    assert libc.umount2(bytes(tmp_path), 2) == 0, ctypes.get_errno()


def test_a_disk_that_fills_up(tools: dict[str, str], small_disk: Path) -> None:
    path = small_disk / "events.json"
    with started([*EXECSNOOP, "--json", "-o", str(path)]) as process:
        ids = held(process.pid)
        run_children(tools, "full-disk", 300)
        _, messages = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"execsnoop: error: {path}: No space left on device\n".encode() in messages
    written = path.read_bytes()
    told = summary(messages)
    assert told["output_full"] > 0
    assert written.count(b"\n") == told["events"]
    assert is_gone(*ids)


def test_head_has_what_it_wants(tools: dict[str, str]) -> None:
    status = "set -o pipefail; "
    process = subprocess.Popen(
        ["bash", "-c", f"{status}{shlex.join(EXECSNOOP)} --quiet | head -3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            run_children(tools, "for-head", 5)
            time.sleep(0.1)
        output, messages = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, messages
    assert len(output.splitlines()) == 3 and not messages


def test_run_counts_it_too(bursts: snoopkit.Package, tmp_path: Path) -> None:
    """Twenty megabytes of a package's events for a pipe that nobody reads, by JSON that is made without events."""
    package = tmp_path / "package.json"
    bursts.write(package)
    calls = 150_000
    with started(
        [str(BIN / "snoopkit"), "run", "--json", str(package), "--target_pid", str(os.getpid())]
    ) as process:
        for number in range(calls):
            os.getppid()
            if number % 1000 == 0:
                time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, messages = process.communicate(timeout=60)
    assert process.returncode == 3, messages
    told = summary(messages)
    rows = [json.loads(line) for line in output.splitlines()]
    notices = [row for row in rows if row["type"] == "lost"]
    assert sum(notice["count"] for notice in notices) == told["lost"] == told["output_full"]
    assert len(rows) - len(notices) == told["events"] == calls - told["lost"]
