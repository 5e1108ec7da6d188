"""Maps whose keys are 0, 1, … up to their size."""

from __future__ import annotations

import sys

from .base import MISSING, Map
from .hashes import _Entries
from .values import Codec, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .. import _core


def slot_key(map: Map, key: Any) -> bytes:
    """The index that `key` is; KeyError if the map hasn't got it."""
    try:
        known = map._key.encode(key)
    except ValueError:
        raise KeyError(key) from None
    if number_of(known) >= map.max_entries:
        raise KeyError(key)
    return known


def slot_keys(map: Map) -> Iterator[bytes]:
    for number in range(map.max_entries):
        yield number.to_bytes(4, sys.byteorder)


class ArrayMap(_Entries):
    """An array as a mapping from 0, 1, … `max_entries` - 1: every key is there, and none can be deleted."""

    _what = "is an array: its entries can't be deleted"

    def __setitem__(self, key: Any, value: Any) -> None:
        self.raw.update(slot_key(self, key), self._value.encode(value), self._flags)

    def __delitem__(self, key: Any) -> None:
        raise self._refusal()

    def pop(self, key: Any, default: Any = MISSING) -> Any:
        raise self._refusal()

    def popitem(self) -> tuple[Any, Any]:
        raise self._refusal()

    def lookup_and_delete_batch(self) -> list[tuple[Any, Any]]:
        raise self._refusal()

    def delete_batch(self, keys: Iterable[Any]) -> int:
        raise self._refusal()

    def _walk(self) -> Iterator[bytes]:
        return slot_keys(self)

    def __iter__(self) -> Iterator[Any]:
        return map(self._key.decode, slot_keys(self))

    def __len__(self) -> int:
        return self.max_entries

    def clear(self) -> None:
        """Sets every entry to zeros."""
        zeros = bytes(self.raw.value_room_bytes)
        for key in slot_keys(self):
            self.raw.update(key, zeros, self._flags)


class _Slots(_Entries):
    """Fixed keys 0, 1, … that each may have something or not."""

    def __init__(self, raw: _core.Map, key: Codec, value: Codec) -> None:
        super().__init__(raw, key, value)
        self._lacks.update(("read", "read and delete", "write", "delete"))

    def _walk(self) -> Iterator[bytes]:
        return slot_keys(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.raw.update(slot_key(self, key), self._value.encode(value))

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def popitem(self) -> tuple[Any, Any]:
        for key in self._walk():
            data = self._take(key)
            if data is not None:
                return self._key.decode(key), self._value.decode(data)
        raise KeyError(f"map {self.name} is empty")
