"""Maps that are looked at at intervals, as their source's `@sample` asks for.

    /// @sample {"interval": 1000, "type": "log2_hist", "unit": "us", "clear_map": true}

`interval` is in milliseconds. `type` is `default_kv`, an entry a row, or `log2_hist` or `linear_hist`: then an entry's
value is an array of counts, or a struct with one called `slots`, or the map is an array whose indices are the slots.
With `clear_map` each sample has what came since the one before, else all since the start. `per_cpu` shows the values
of per-CPU maps for each CPU; without it they are added up.
"""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

from .events import Record
from .maps import ArrayMap, HashMap, PerCpu
from .samples import Histogram, Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .session import Snoop

__all__ = ["Sampled"]

SLOTS = "slots"


class Sampled:
    """A `Snoop` whose polls give samples of its sampled maps too, in the order of time.

    The first sample of each is due one interval after this was made, the last one, when all is detached, in
    `finish()`. Intervals that passed unread are skipped, not made up for.
    """

    def __init__(self, snoop: Snoop) -> None:
        self.snoop = snoop
        now = clock_gettime_ns(CLOCK_BOOTTIME)
        self._maps = [
            _SampledMap(snoop, name, spec.sample, now)
            for name, spec in snoop.package.maps.items()
            if spec.sample
        ]

    def poll(self, timeout: float | None = None) -> list[Any]:
        """Events and samples that are there, waiting up to `timeout` seconds for the first of them."""
        due_ns = min(map.due_ns for map in self._maps) if self._maps else None
        if due_ns is not None:
            left = max(due_ns - clock_gettime_ns(CLOCK_BOOTTIME), 0) / 1e9
            timeout = left if timeout is None else min(timeout, left)
        return self._with_samples(self.snoop.poll(timeout))

    def finish(self) -> Iterator[list[Any]]:
        """The rest of the events; and what the maps hold at the end."""
        yield from self.snoop.finish()
        yield [found for map in self._maps for found in map.sample(clock_gettime_ns(CLOCK_BOOTTIME))]

    def close(self) -> None:
        self.snoop.close()

    @property
    def warnings(self) -> list[str]:
        return self.snoop.warnings

    @property
    def lost(self) -> int:
        return self.snoop.lost

    @property
    def losses(self) -> dict[str, int]:
        return self.snoop.losses

    @property
    def loss_unknown(self) -> tuple[str, ...]:
        return self.snoop.loss_unknown

    def _with_samples(self, events: list[Any]) -> list[Any]:
        now = clock_gettime_ns(CLOCK_BOOTTIME)
        due = sorted((map for map in self._maps if map.due_ns <= now), key=lambda map: map.due_ns)
        for map in due:
            events += map.sample(now)
        return events


class _SampledMap:
    def __init__(self, snoop: Snoop, name: str, how: dict[str, Any], now_ns: int) -> None:
        self.name = name
        found = snoop.maps[name]
        if not isinstance(found, (ArrayMap, HashMap)):
            raise TypeError(f"map {name} is to be sampled, but has no entries that can be listed")
        self._map = found
        self._kind = how.get("type", "default_kv")
        self._unit = how.get("unit", "")
        self._is_interval = how.get("clear_map", False)
        self._is_per_cpu = how.get("per_cpu", False)
        self._interval_ns = how["interval"] * 1_000_000
        self._before: dict[Any, Any] = {}
        self._is_empty = False
        self.due_ns = now_ns + self._interval_ns

    def sample(self, now_ns: int) -> list[Sample | Histogram]:
        """What there is to show now; sets when the next is due."""
        self.due_ns += max(-(-(now_ns - self.due_ns + 1) // self._interval_ns), 1) * self._interval_ns
        entries = self._entries()
        found = list(self._shown(now_ns, entries))
        is_empty = not found
        if is_empty and not self._is_empty:
            found = [Sample(now_ns, self.name, is_empty=True)]
        self._is_empty = is_empty
        return found

    def _entries(self) -> list[tuple[Any, Any]]:
        if self._is_interval and isinstance(self._map, HashMap):
            return self._map.lookup_and_delete_batch()
        now = self._map.lookup_batch()
        if not self._is_interval:
            return now
        # An array can't be emptied without losing what is counted meanwhile: the difference is exact.
        before, self._before = self._before, dict(now)
        return [(key, _minus(value, before[key]) if key in before else value) for key, value in now]

    def _shown(self, now_ns: int, entries: list[tuple[Any, Any]]) -> Iterator[Sample | Histogram]:
        each = [found for key, value in entries for found in self._by_cpu(key, value)]
        if self._kind == "default_kv":
            is_array = isinstance(self._map, ArrayMap)
            for cpu, key, value in each:
                if not (is_array and _is_zero(value)):
                    yield Sample(now_ns, self.name, key, value, cpu=cpu)
            return
        if isinstance(self._map, ArrayMap) and all(isinstance(value, int) for _, _, value in each):
            for cpu in sorted({cpu for cpu, _, _ in each}):
                slots = [value for of, _, value in each if of == cpu]
                if any(slots):
                    yield self._histogram(now_ns, None, slots, {}, cpu)
            return
        for cpu, key, value in each:
            slots, members = self._slots(value)
            if any(slots):
                yield self._histogram(now_ns, key, slots, members, cpu)

    def _by_cpu(self, key: Any, value: Any) -> Iterator[tuple[int, Any, Any]]:
        if not isinstance(value, PerCpu):
            yield -1, key, value
            return
        if not self._is_per_cpu:
            try:
                yield -1, key, value.sum()
                return
            except TypeError:
                pass  # text among it: then each for itself
        for cpu, one in enumerate(value):
            if not _is_zero(one):
                yield cpu, key, one

    def _slots(self, value: Any) -> tuple[list[int], dict[str, Any]]:
        if isinstance(value, list):
            return value, {}
        members = value._asdict() if isinstance(value, Record) else {}
        slots = members.pop(SLOTS, None)
        if not isinstance(slots, list):
            raise TypeError(
                f"map {self.name}: a histogram's value is an array, or a struct with a member `slots`"
            )
        return slots, members

    def _histogram(
        self, now_ns: int, key: Any, slots: list[int], members: dict[str, Any], cpu: int
    ) -> Histogram:
        is_linear = self._kind == "linear_hist"
        return Histogram(
            now_ns, self.name, key, slots, members=members, unit=self._unit, is_linear=is_linear, cpu=cpu
        )


def _minus(now: Any, before: Any) -> Any:
    """What was added since; text and the like is as it is now."""
    if isinstance(now, (bool, str, bytes)):
        return now
    if isinstance(now, (int, float)):
        return now - before
    if isinstance(now, Record):
        return tuple.__new__(type(now), [_minus(*pair) for pair in zip(now, before, strict=True)])
    if isinstance(now, list):
        return type(now)([_minus(*pair) for pair in zip(now, before, strict=True)])
    return now


def _is_zero(value: Any) -> bool:
    """Whether nothing was ever written here."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_zero, value))
    return not value
