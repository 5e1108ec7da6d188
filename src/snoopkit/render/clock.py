"""Event time, which is the boot clock's, as wall time."""

from __future__ import annotations

import time

__all__ = ["WallClock"]

RESAMPLE_NS = 100_000_000


class WallClock:
    """Converts CLOCK_BOOTTIME to wall time by an offset that is measured again as events go by, so that neither
    suspend nor a step of the clock skews it for longer than a tenth of a second."""

    def __init__(self) -> None:
        self._sampled_ns = -RESAMPLE_NS
        self._offset_ns = 0
        self._utc = (-1, "")
        self._local = (-1, "")

    def wall_ns(self, boottime_ns: int) -> int:
        """Nanoseconds since 1970, UTC."""
        if boottime_ns - self._sampled_ns >= RESAMPLE_NS or boottime_ns < self._sampled_ns - RESAMPLE_NS:
            self._sample()
            self._sampled_ns = boottime_ns
        return boottime_ns + self._offset_ns

    def _sample(self) -> None:
        # the two clocks can't be read at once: the offset is taken where that took the shortest time
        best = None
        for _ in range(3):
            before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            wall = time.time_ns()
            after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if best is None or after - before < best:
                best = after - before
                self._offset_ns = wall - (before + after) // 2

    def rfc3339(self, boottime_ns: int) -> str:
        """Such as `2026-01-31T23:59:59.123456789Z`."""
        second, rest = divmod(self.wall_ns(boottime_ns), 1_000_000_000)
        if second != self._utc[0]:
            self._utc = (second, time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)))
        return f"{self._utc[1]}{rest:09d}Z"

    def local(self, boottime_ns: int) -> str:
        """The time of day here, such as `23:59:59.123`."""
        second, rest = divmod(self.wall_ns(boottime_ns), 1_000_000_000)
        if second != self._local[0]:
            self._local = (second, time.strftime("%H:%M:%S", time.localtime(second)))
        return f"{self._local[1]}.{rest // 1_000_000:03d}"
