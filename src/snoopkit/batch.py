"""The records of one drain, before anybody made anything of them."""

from __future__ import annotations

from .events import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._decode import Decoder

__all__ = ["Batch"]

INDEX_BYTES = 24  # of a record's entry in the index


class Batch:
    """Records as they came out of the kernel in one go, in the order of time, from all maps of the package.

    `len()` counts the records, whatever their type. A batch keeps its own memory and may be used in any thread, and
    after its Snoop is closed; NumPy and pyarrow are imported when they are first asked for. `losses` are the `Lost`
    notices of what became known to be missing with it.
    """

    __slots__ = ("_count", "_data", "_decoder", "_index", "_undecodable", "losses")

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
        self._undecodable = 0  # how many were found to be that

    def __len__(self) -> int:
        return len(self._index) // INDEX_BYTES

    @property
    def lost(self) -> int:
        """How many events became known to be missing with this batch: since the one before."""
        return sum(notice.count for notice in self.losses)

    def events(self) -> list[Any]:
        """The records as events, one for each; a `Lost` notice in place of one that fits no event type.

        What else is missing stands in `losses`.
        """
        before = self._decoder.undecodable
        found: list[Any] = self._decoder.events(self._data, self._index)
        if self._decoder.undecodable != before:
            bad = sum(isinstance(event, Lost) for event in found)
            if bad > self._undecodable:  # once, however often the batch is decoded
                self._count(bad - self._undecodable)
                self._undecodable = bad
        return found

    def to_numpy(self, struct: str | None = None, *, stamps: bool = False) -> Any:
        """The records of one event type as a structured array of shape (number of records,), which is your own.

        `struct` is the type's name, needed where there are several. The dtype has C's offsets and item size, names and
        units are those of the struct: char arrays are `S`, enumerations their numbers, pointers unsigned, integers of
        128 bits a pair `low`, `high`; each bit-field has a field of its own behind the struct. `stamps` adds
        `_time_ns` (CLOCK_BOOTTIME), `_cpu` and `_map`, the map's place in `package.events`. A variable tail has no
        columns here: see `to_arrow`.

        Raises ValueError for a type that isn't there, ImportError without NumPy.
        """
        from .columns import numpy_array

        before = self._decoder.undecodable
        found = numpy_array(self._decoder, self._data, self._index, struct, stamps=stamps)
        self._look_for_undecodable(before)
        return found

    def to_arrow(self, struct: str | None = None) -> Any:
        """The records of one event type as a pyarrow.RecordBatch: the members, then `_map`, `_time_ns` and `_cpu`.

        Text is a string, with U+FFFD for each byte that isn't UTF-8; enumerations are dictionaries of names, structs
        nested, arrays lists, the parts of a tail strings and lists. What `text="bytes"` and `u8="bytes"` make bytes of
        is binary, and exact.

        `struct` and errors are as for `to_numpy`; without pyarrow it is ImportError too.
        """
        from .columns import arrow_batch

        before = self._decoder.undecodable
        found = arrow_batch(self._decoder, self._data, self._index, struct)
        self._look_for_undecodable(before)
        return found

    def json(self) -> bytes:
        """All records as JSON lines, those that `snoopkit run --json` prints, and `losses` behind them."""
        from .render import WallClock, json

        clock = WallClock()
        before = self._decoder.undecodable
        lines = self._decoder.json_lines(self._data, self._index, clock.wall_ns(0))
        self._look_for_undecodable(before)
        return lines + b"".join(
            [json(notice._json(clock.rfc3339(notice._time_ns))) + b"\n" for notice in self.losses]
        )

    def _parts(self, most: int) -> Iterator[Batch]:
        """Batches of at most so many of the records; `losses` come with the last."""
        for start in range(0, len(self) or 1, most):
            end = start + most
            losses = self.losses if end >= len(self) else []
            index = self._index[INDEX_BYTES * start : INDEX_BYTES * end]
            yield Batch(self._data, index, losses, self._decoder, self._count)

    def _look_for_undecodable(self, before: int) -> None:
        if self._decoder.undecodable != before:
            self.events()  # counts them

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} records, {self.lost} lost>"
