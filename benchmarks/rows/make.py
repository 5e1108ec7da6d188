"""Row 5 for a whole project: `make -j2` of Debian's dash, which runs 300 programs or so, with and without a tool."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from .. import peers
from ..build import HERE, OUT
from ..measure import Row, Sitting, interleave

NUMBERS = (5,)
ARCHIVE = HERE.parent / ".cache/dash_0.5.12.orig.tar.gz"  # fetched by tools/setup.sh, for the tests too
PROJECT = OUT / "dash"


def measure(sitting: Sitting) -> list[Row]:
    unpack()

    def turn(name: str) -> Mapping[str, float]:
        bare_ms = make_ms()
        with peers.at_work(name):
            return {"ms": make_ms(), "bare_ms": bare_ms}

    tools = (peers.OURS, peers.LIBBPF)
    rounds = max(sitting.rounds // 3, 2)  # of some seconds each
    found = interleave({name: lambda name=name: turn(name) for name in tools}, rounds)
    what = "make -j2 of dash, traced by"
    return [
        Row(5, f"{what} {name}", "ms", found[name]["ms"], "bare", found[name]["bare_ms"]) for name in tools
    ]


def unpack() -> None:
    shutil.rmtree(PROJECT, ignore_errors=True)
    PROJECT.mkdir(parents=True)
    run(["tar", "-xf", ARCHIVE, "--strip-components=1"], PROJECT)
    run(["./configure", "-q"], PROJECT)


def make_ms() -> float:
    run(["make", "-s", "clean"], PROJECT / "src")
    started = time.monotonic()
    run(["make", "-s", "-j2"], PROJECT / "src")
    return (time.monotonic() - started) * 1000


def run(command: list[str | Path], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True)
