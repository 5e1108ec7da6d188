"""Maps without keys: something is put in, and taken out or asked for."""

from __future__ import annotations

from .. import _core
from .base import KNOWN_ONLY, MISSING, Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class QueueMap(Map):
    """A queue (first in, first out) or a stack (last in, first out)."""

    _what = "is a queue or stack: push(), pop() and peek() it"

    def push(self, value: Any, *, force: bool = False) -> None:
        """Adds a value. Where the map is full: MapError (E2BIG), or with `force` the oldest value makes room."""
        self.raw.update(b"", self._value.encode(value), KNOWN_ONLY if force else 0)

    def pop(self, default: Any = MISSING) -> Any:
        """Takes the next value; IndexError, or `default`, if there is none."""
        return self._next(self.raw.take(b""), default)

    def peek(self, default: Any = MISSING) -> Any:
        """The value that `pop` would take."""
        return self._next(self.raw.lookup(b""), default)

    def _next(self, data: bytes | None, default: Any) -> Any:
        if data is not None:
            return self._value.decode(data)
        if default is MISSING:
            raise IndexError(f"map {self.name} is empty")
        return default

    def clear(self) -> None:
        """Takes out what is there, at most as much as fits: what a program adds meanwhile may stay."""
        for _ in range(self.max_entries):
            if self.raw.take(b"") is None:
                return


class BloomFilter(Map):
    """A bloom filter: `value in filter` is False if it was never added, and True if it was, or rarely else."""

    _what = "is a bloom filter: add() to it, and ask what is `in` it"

    def add(self, value: Any) -> None:
        self.raw.update(b"", self._value.encode(value))

    def __contains__(self, value: object) -> bool:
        try:
            data = self._value.encode(value)
        except ValueError:
            return False
        return self.raw.holds(data)


class InboxMap(Map):
    """A user ring buffer: the way into the program, which finds what is there when it looks the next time."""

    _what = "takes records: submit() them"
    _ring: _core.UserRing | None = None

    def submit(self, data: bytes) -> None:
        """Puts a record in, never waiting: MapError (ENOSPC) while there is no room, (E2BIG) where there never is."""
        if self._ring is None:
            self._ring = _core.UserRing(self.raw)
        self._ring.submit(data)
