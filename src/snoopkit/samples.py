"""What comes of a map that is looked at from time to time: its entries, or histograms."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Histogram", "Sample"]


class Sample:
    """One entry of a sampled map: `key` and `value`, as `snoop.maps` has them. `_time_ns` is when it was read
    (CLOCK_BOOTTIME, in nanoseconds), `_map` the map's name, and `_cpu` the CPU whose value it is, -1 for all of them.
    Of a map that just became empty it says so once: then `is_empty` is true, and there is neither key nor value.
    """

    __slots__ = ("_cpu", "_map", "_time_ns", "is_empty", "key", "value")
    _struct = "sample"

    def __init__(
        self,
        time_ns: int,
        map: str,
        key: Any = None,
        value: Any = None,
        *,
        cpu: int = -1,
        is_empty: bool = False,
    ) -> None:
        self._time_ns = time_ns
        self._map = map
        self._cpu = cpu
        self.key = key
        self.value = value
        self.is_empty = is_empty

    def __repr__(self) -> str:
        entry = "empty" if self.is_empty else f"{self.key!r}: {self.value!r}"
        return f"Sample({self._map!r}, {entry})"


class Histogram:
    """The histogram that stands under `key` in a sampled map (None: the whole map is one).

    `slots` are its counts. Slot i counts values from 2**i (slot 0: from 0) to below 2**(i + 1) in steps of `unit`, or,
    where it is linear, the value i. `members` are the other members of the struct that holds it. `_time_ns`, `_map`
    and `_cpu` are those of a `Sample`.
    """

    __slots__ = ("_cpu", "_map", "_time_ns", "is_linear", "key", "members", "slots", "unit")
    _struct = "histogram"

    def __init__(
        self,
        time_ns: int,
        map: str,
        key: Any,
        slots: list[int],
        *,
        members: dict[str, Any] | None = None,
        unit: str = "",
        is_linear: bool = False,
        cpu: int = -1,
    ) -> None:
        self._time_ns = time_ns
        self._map = map
        self._cpu = cpu
        self.key = key
        self.slots = slots
        self.members = members or {}
        self.unit = unit
        self.is_linear = is_linear

    def __repr__(self) -> str:
        return f"Histogram({self._map!r}, {self.key!r}, {self.slots!r})"

    def bounds(self, slot: int) -> tuple[int, int]:
        """The least and the greatest value that a slot counts."""
        if self.is_linear:
            return slot, slot
        return (1 << slot if slot else 0), (1 << (slot + 1)) - 1
