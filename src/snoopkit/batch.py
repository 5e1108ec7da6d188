"""The records of one drain, before anybody made anything of them."""

from __future__ import annotations

from .events import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._decode import Decoder

__all__ = ["Batch"]

INDEX_BYTES = 24  # of a record's entry in the index
CHUNK = 2000  # events decoded at a time: objects made in larger lots cost twice as much each


class Batch:
    """Records as they came out of the kernel in one go, in the order of time, from all maps of the package.

    `len()` counts the records, whatever their type. A batch keeps its own memory and may be used in any thread, and
    after its Snoop is closed. `losses` are the `Lost` notices of what became known to be missing with it.
    """

    __slots__ = ("_count", "_counted", "_data", "_decoder", "_index", "losses")

    def __init__(
        self,
        data: memoryview,
        index: memoryview,
        losses: list[Lost],
        decoder: Decoder,
        count_undecodable: Callable[[int], None],
    ) -> None:
        self.losses = losses
        self._data = data
        self._index = index
        self._decoder = decoder
        self._count = count_undecodable
        self._counted = 0

    def __len__(self) -> int:
        return len(self._index) // INDEX_BYTES

    @property
    def lost(self) -> int:
        """How many events became known to be missing with this batch: since the one before."""
        return sum(notice.count for notice in self.losses)

    def events(self) -> list[Any]:
        """The records as events, one for each; a `Lost` notice in place of one that fits no event type."""
        before = self._decoder.undecodable
        found: list[Any] = []
        for start in range(0, len(self), CHUNK):
            found += self._decoder.events(self._data, self._index, start, start + CHUNK)
        if self._decoder.undecodable != before:
            self._count_undecodable(sum(isinstance(event, Lost) for event in found))
        return found

    def _count_undecodable(self, found: int) -> None:
        """Count them once, however often the batch is decoded."""
        if found > self._counted:
            self._count(found - self._counted)
            self._counted = found

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} records, {self.lost} lost>"
