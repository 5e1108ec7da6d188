"""The programs that are traced: they do one thing N times, and say how long it took."""

from __future__ import annotations

import subprocess
import time

from .build import OUT
from .measure import cpus

BURST_CALLS = 20_000  # 1.6 MB of records


class Loop:
    """A program of programs/loop.h, on the CPU of whoever is traced."""

    def __init__(self, program: str, *arguments: str, warm_up: int) -> None:
        self._process = subprocess.Popen(
            ["taskset", "-c", str(cpus()[0]), OUT / program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._answer()
        self.ns_per_call(warm_up)

    def _answer(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def ns_per_call(self, calls: int) -> float:
        assert self._process.stdin
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return self._answer() / calls

    def in_bursts(self, calls: int, pause_seconds: float) -> float:
        """The same of calls in bursts that a ring has room for, so that a reader may be slower than the loop."""
        spent = 0.0
        for done in range(0, calls, BURST_CALLS):
            count = min(BURST_CALLS, calls - done)
            spent += self.ns_per_call(count) * count
            time.sleep(pause_seconds)
        return spent / calls

    def fastest_ns(self, calls: int, tries: int) -> float:
        """The fastest of several tries: what the machine does besides can only slow it down."""
        return min(self.ns_per_call(calls) for _ in range(tries))

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
