"""Storms of short-lived programs: every exec and every end is seen, with the right arguments, and none is lost."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel.watching import Command, marker, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["marker", "programs"]  # fixtures

ABREAST = 4


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files no disk slows down."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder)


def expected(leaf: str, marker: str, index: int, size_bytes: int, pieces: int) -> list[str]:
    """The arguments of child `index`, as storm.c makes them."""
    texts = [chr(ord("a") + (index + piece) % 26) * (size_bytes // pieces) for piece in range(pieces)]
    return [leaf, marker, str(index), *texts, "exit", str(index % 256)]


@pytest.mark.parametrize(
    ("options", "each", "size_bytes", "pieces"),
    [((), 8_000, 1_200, 1), (("-x",), 8_000, 1_200, 1), ((), 5_000, 64, 28)],
    ids=["1.2 KB", "failed execs too", "32 arguments"],
)
def test_nothing_is_missed(
    programs: dict[str, str],
    marker: str,
    memory: Path,
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
            subprocess.Popen([programs["storm"], programs["leaf"], one, *arguments], stdout=subprocess.PIPE)
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
            assert argv == expected(programs["leaf"], argv[1], int(argv[2]), size_bytes, pieces)
            assert (event["pid"], event["start_boottime_ns"]) in begun
            if event["type"] == "exit":
                assert event["exit_code"] == int(argv[2]) % 256
            seen[event["type"], argv[1]] += 1
            assert "incomplete" not in event
    assert seen == {(type, one): each for type in ("exec", "exit") for one in markers}
    assert len(begun) == ABREAST * each
