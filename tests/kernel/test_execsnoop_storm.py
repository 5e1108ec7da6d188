"""Storms of short-lived programs: every exec and every end is seen, with the right arguments, and none is lost."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import execsnoop
from execsnoop.cli import parser
from execsnoop.selftest.programs import exits
from execsnoop.views import writer
from kernel.watching import Command, marker, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["marker", "programs"]  # fixtures

ABREAST = 4


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files no disk slows down."""
    where = (
        "/dev/shm"
        if os.access("/dev/shm", os.W_OK) and not os.statvfs("/dev/shm").f_flag & os.ST_NOEXEC
        else tmp_path
    )
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder)


@pytest.fixture
def leaves(memory: Path) -> str:
    """A folder of programs that are as quick as can be, each named for what it ends with."""
    for code in range(256):
        path = memory / str(code)
        path.write_bytes(exits(code))
        path.chmod(0o755)
    return str(memory)


def expected(leaves: str, marker: str, index: int, size_bytes: int, pieces: int) -> list[str]:
    """The arguments of child `index`, as storm.c makes them."""
    texts = [chr(ord("a") + (index + piece) % 26) * (size_bytes // pieces) for piece in range(pieces)]
    return [f"{leaves}/{index % 256}", marker, str(index), *texts]


@pytest.mark.parametrize(
    ("options", "each", "size_bytes", "pieces"),
    [
        pytest.param((), 8_000, 1_200, 1, id="1.2 KB", marks=pytest.mark.heavy),
        pytest.param(("-x",), 8_000, 1_200, 1, id="failed execs too", marks=pytest.mark.heavy),
        pytest.param((), 5_000, 64, 29, id="32 arguments", marks=pytest.mark.heavy),
        pytest.param(("-x",), 300, 1_200, 8, id="a small one"),
    ],
)
def test_nothing_is_missed(
    programs: dict[str, str],
    marker: str,
    memory: Path,
    leaves: str,
    options: tuple[str, ...],
    each: int,
    size_bytes: int,
    pieces: int,
) -> None:
    markers = [f"{marker}-{number}" for number in range(ABREAST)]
    arguments = [str(each), str(size_bytes), str(pieces)]
    # Beside other work the reader may not get the CPU in time. What it then misses is declared; here none must be.
    for _ in range(3):
        command = Command("--json", *options, output=memory / "out")
        storms = [
            subprocess.Popen([programs["storm"], leaves, one, *arguments], stdout=subprocess.PIPE)
            for one in markers
        ]
        for storm in storms:
            assert storm.communicate(timeout=120)[0] == b"%d\n" % each
        _, messages = command.end()
        if command.process.returncode == 0:
            break
    assert " lost=0 " in messages

    pids = {storm.pid for storm in storms}
    seen: Counter[tuple[str, str]] = Counter()
    begun = set()
    latest = 0
    with (memory / "out").open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            assert event["boottime_ns"] >= latest
            latest = event["boottime_ns"]
            if event["type"] == "fork" and event["pid"] in pids:
                begun.add((event["child_pid"], event["child_start_boottime_ns"]))
            if event["type"] not in ("exec", "exit") or event["ppid"] not in pids:
                continue
            argv = event["argv"]
            if argv[1:2] not in ([one] for one in markers):
                continue  # its parent has a storm's pid after that; the counts below tell what is missing
            assert argv == expected(leaves, argv[1], int(argv[2]), size_bytes, pieces)
            assert (event["pid"], event["start_boottime_ns"]) in begun
            if event["type"] == "exit":
                assert event["exit_code"] == int(argv[2]) % 256
            seen[event["type"], argv[1]] += 1
            assert "incomplete" not in event
    assert seen == {(type, one): each for type in ("exec", "exit") for one in markers}
    assert len(begun) == ABREAST * each


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_rows_leave_no_cycles(programs: dict[str, str], marker: str, format: str) -> None:
    """The command doesn't look for them while it runs: each search would take longer than the rings last."""
    rows = writer(parser().parse_args(["--format", format]))
    shown = 0
    with execsnoop.trace(failed=True) as trace:
        command = [programs["spawn"], programs["leaf"], marker, "200", "4"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        gc.collect()
        gc.disable()
        try:
            # Not until it is quiet: on a machine where something is always begun it never is.
            for events in (trace.poll(0.1), trace.poll(0.1), *trace.finish()):
                shown += len([rows.row(event) for event in events])
            del events
            assert gc.collect() == 0
        finally:
            gc.enable()
    assert shown >= 600
