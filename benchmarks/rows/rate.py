"""Row 3: the highest rate of events at which none is lost, of 64 bytes and of 1 KB, from one CPU and from all.

A program makes events at a given rate for a while, 16 by each system call, on the last CPU or on all of them, that of
the reader too: first as fast as it can, then, where that lost some, at the rate halfway between what lost some and what
did not. The reader makes NumPy arrays of them; the C floor copies them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from ..build import OUT
from ..measure import Contender, Row, Sitting, at_least, cpus, interleave
from ..reading import BUFFER_BYTES, Reader, Reading, in_c, in_program

NUMBERS = (3,)
EVENTS_A_CALL = 16
FASTEST = 1e7  # no machine makes so many
MOST = 3e6  # and so many are enough to see what it can
SECONDS = 0.5
STEPS = 5
MOST_ROUNDS = 3
SIZES = (64, 1024)
NUMPY, FLOOR = "NumPy arrays", "C floor"


class Storm:
    """programs/storm.c, on these CPUs."""

    def __init__(self, *cpus: int) -> None:
        self._process = subprocess.Popen(
            [OUT / "storm", *map(str, cpus)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._threads = len(cpus)
        self.pid = self._answer()

    def _answer(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def blow(self, rate: float) -> tuple[int, float]:
        """How many events it made, and how many in a second, asked for `rate`."""
        calls = int(min(rate, MOST) * SECONDS / EVENTS_A_CALL) // self._threads * self._threads
        assert self._process.stdin
        self._process.stdin.write(f"{calls} {rate / EVENTS_A_CALL}\n")
        self._process.stdin.flush()
        return calls * EVENTS_A_CALL, calls * EVENTS_A_CALL * 1e9 / self._answer()

    def __enter__(self) -> Storm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def highest(reader: Reader, storm: Storm) -> Mapping[str, float]:
    """The highest rate, in millions a second, that was tried and lost nothing."""
    best, worst, rate = 0.0, 0.0, FASTEST
    for _ in range(STEPS):
        reading = Reading(reader, storm.pid)
        made, reached = storm.blow(rate)
        received, declared = reading.end()
        if reader in OURS.values() and received + declared != made:
            sys.exit(f"bench: {received} read of {made}, {declared} said to be lost: where are the others?")
        if received < made:
            worst = min(worst or reached, reached)
        elif rate == FASTEST:
            return {"rate": reached / 1e6}
        else:
            best = max(best, reached)
        rate = (best + worst) / 2
    return {"rate": best / 1e6}


OURS = {size: in_program("numpy", f"storm_{size}") for size in SIZES}
FLOORS = {size: in_c("watermark", f"storm_{size}", BUFFER_BYTES) for size in SIZES}


def measure(sitting: Sitting) -> list[Row]:
    last = cpus()[0]
    everywhere = tuple(sorted(os.sched_getaffinity(0)))
    contenders: dict[str, Contender] = {}
    for size in SIZES:
        for where, on in (("one CPU", (last,)), ("all CPUs", everywhere)):
            for name, reader in ((NUMPY, OURS[size]), (FLOOR, FLOORS[size])):
                contenders[f"{size} {where} {name}"] = partial(turn, reader, on)
    found = interleave(contenders, min(sitting.rounds, MOST_ROUNDS))
    rows = []
    for size in SIZES:
        for where in ("one CPU", "all CPUs"):
            mine, floor = (found[f"{size} {where} {name}"]["rate"] for name in (NUMPY, FLOOR))
            what = f"events of {size} bytes without loss, from {where}, as {NUMPY}"
            rows.append(Row(3, what, "M/s", mine, FLOOR, floor, (at_least(1),) if size == 64 else ()))
    return rows


def turn(reader: Reader, on: tuple[int, ...]) -> Mapping[str, float]:
    with Storm(*on) as storm:
        return highest(reader, storm)
