"""Names by address."""

from __future__ import annotations

from array import array
from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Names(Protocol):
        def __getitem__(self, index: int, /) -> str: ...


__all__ = ["Table"]


class Table:
    """Functions by where they are: numbers in arrays, since there are hundreds of thousands of them."""

    __slots__ = ("_ends", "_names", "_starts", "size_bytes")

    def __init__(self, starts: Iterable[int], ends: Iterable[int], names: Names, name_bytes: int) -> None:
        """`starts` ascend; each function ends in front of its end. `name_bytes` is what `names` take."""
        self._starts = array("Q", starts)
        self._ends = array("Q", ends)
        self._names = names
        self.size_bytes = 16 * len(self._starts) + name_bytes

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, address: int) -> tuple[str, int] | None:
        """The name and the start of what stands at an address."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._ends[index]:
            return None
        return self._names[index], self._starts[index]
