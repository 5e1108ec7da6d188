"""Maps with keys: all that a mutable mapping can do, by as few system calls as kernel and map allow."""

from __future__ import annotations

import errno as errnos
import os
from collections.abc import ItemsView, Mapping, MutableMapping, ValuesView

from ..errors import MapError
from .base import KNOWN_ONLY, MISSING, NEW_ONLY, Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .. import _core
    from .values import Codec

    Keyed = MutableMapping[Any, Any]
    Items = ItemsView[Any, Any]
    Those = ValuesView[Any]
else:
    Keyed, Items, Those = MutableMapping, ItemsView, ValuesView

PER_CPU = (5, 6, 10)  # hash, array, LRU hash: a value for each CPU
LOT_BYTES = 4 << 20
MANY_TRIES = 100
_ENOTSUPP = 524  # the kernel's own, without a name in C
_UNSUPPORTED = (errnos.EINVAL, errnos.EOPNOTSUPP, _ENOTSUPP)


class _Entries(Map, Keyed):
    """A map with keys. Entries are (key, value) pairs, in no order."""

    def __init__(self, raw: _core.Map, key: Codec, value: Codec) -> None:
        super().__init__(raw, key, value)
        self._lacks: set[str] = set()  # what kernel and map turned out not to have
        each = raw.key_size + raw.value_room_bytes
        self._lot = max(1, min(raw.max_entries, LOT_BYTES // each))

    # One entry. A key that the type can't hold is one that isn't there; a key of the wrong kind is a TypeError.

    def _known(self, key: Any) -> bytes | None:
        try:
            return self._key.encode(key)
        except ValueError:
            return None

    def __getitem__(self, key: Any) -> Any:
        known = self._known(key)
        data = None if known is None else self.raw.lookup(known, self._flags)
        if data is None:
            raise KeyError(key)
        return self._value.decode(data)

    def __contains__(self, key: object) -> bool:
        known = self._known(key)
        return known is not None and self.raw.lookup(known) is not None

    def __setitem__(self, key: Any, value: Any) -> None:
        self.raw.update(self._key.encode(key), self._value.encode(value), self._flags)

    def __delitem__(self, key: Any) -> None:
        known = self._known(key)
        if known is None or not self.raw.delete(known):
            raise KeyError(key)

    def insert(self, key: Any, value: Any) -> bool:
        """Writes a new entry, if there is none with this key; whether it did. The kernel decides, in one step."""
        return self._update(key, value, NEW_ONLY, errnos.EEXIST)

    def replace(self, key: Any, value: Any) -> bool:
        """Writes an entry's value, if there is one with this key; whether it did. The kernel decides, in one step."""
        return self._update(key, value, KNOWN_ONLY, errnos.ENOENT)

    def _update(self, key: Any, value: Any, flag: int, refusal: int) -> bool:
        try:
            self.raw.update(self._key.encode(key), self._value.encode(value), self._flags | flag)
        except MapError as error:
            if error.errno == refusal:
                return False
            raise
        return True

    def _take(self, known: bytes) -> bytes | None:
        """The value, its entry deleted. Where the kernel can't do both in one step, two."""
        if "take" not in self._lacks:
            try:
                return self.raw.take(known, self._flags)
            except MapError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._lacks.add("take")
        data = self.raw.lookup(known, self._flags)
        return data if data is not None and self.raw.delete(known) else None

    def pop(self, key: Any, default: Any = MISSING) -> Any:
        """The value, its entry deleted, in one step where the kernel has that for this kind of map."""
        known = self._known(key)
        data = None if known is None else self._take(known)
        if data is not None:
            return self._value.decode(data)
        if default is MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[Any, Any]:
        """Any entry, deleted; KeyError if there is none."""
        for _ in range(MANY_TRIES):
            key = self.raw.next_key()
            if key is None:
                raise KeyError(f"map {self.name} is empty")
            data = self._take(key)
            if data is not None:
                return self._key.decode(key), self._value.decode(data)
        raise RuntimeError(f"map {self.name} changes faster than it can be read")

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The value of this key, after giving it `default` if it had none."""
        for _ in range(MANY_TRIES):
            try:
                return self[key]
            except KeyError:
                if self.insert(key, default):
                    return default
        raise RuntimeError(f"map {self.name} changes faster than it can be read")

    # All entries

    def _walk(self) -> Iterator[bytes]:
        """The keys, one by one. The kernel begins anew behind a key that was deleted meanwhile."""
        seen: set[bytes] = set()
        left = 16 * self.raw.max_entries + 1024
        key = self.raw.next_key()
        while key is not None:
            following = self.raw.next_key(key)  # before the caller can delete it
            if key not in seen:
                seen.add(key)
                yield key
            left -= 1
            if not left:
                raise RuntimeError(f"map {self.name} changes faster than it can be read")
            key = following

    def _lots(self, delete: bool = False) -> Iterator[list[tuple[bytes, bytes]]]:
        """All entries in bytes, many at a time, and deleted if so asked."""
        cursor: bytes | None = None
        count = self._lot
        way = "read and delete" if delete else "read"
        while way not in self._lacks:
            try:
                keys, values, cursor = self.raw.read_batch(cursor, count, delete, self._flags)
            except MapError as error:
                if error.errno == errnos.ENOSPC and count < self.raw.max_entries:
                    count = min(2 * count, self.raw.max_entries)  # the next bucket alone is larger
                    continue
                if cursor is not None or error.errno not in _UNSUPPORTED:
                    raise
                self._lacks.add(way)
                break
            yield self._pairs(keys, values)
            if cursor is None:
                return
        lot: list[tuple[bytes, bytes]] = []
        for key in self._walk():
            value = self._take(key) if delete else self.raw.lookup(key, self._flags)
            if value is not None:
                lot.append((key, value))
            if len(lot) == self._lot:
                yield lot
                lot = []
        yield lot

    def _pairs(self, keys: bytes, values: bytes) -> list[tuple[bytes, bytes]]:
        key_size, room = self.raw.key_size, self.raw.value_room_bytes
        return [
            (keys[n * key_size : (n + 1) * key_size], values[n * room : (n + 1) * room])
            for n in range(len(keys) // key_size)
        ]

    def _entries(self, delete: bool = False) -> Iterator[tuple[Any, Any]]:
        key, value = self._key.decode, self._value.decode
        for lot in self._lots(delete):
            for key_bytes, value_bytes in lot:
                yield key(key_bytes), value(value_bytes)

    def __iter__(self) -> Iterator[Any]:
        """The keys. What the program changes meanwhile may or may not be seen, no key twice; what you delete in
        the loop does no harm. RuntimeError if the map changes faster than it can be walked."""
        key = self._key.decode
        for lot in self._lots():
            for key_bytes, _ in lot:
                yield key(key_bytes)

    def __bool__(self) -> bool:
        return self.raw.next_key() is not None

    def __len__(self) -> int:
        """How many entries there are, by counting them: it costs as much as reading them all."""
        return sum(map(len, self._lots()))

    def items(self) -> ItemsView[Any, Any]:
        """The entries. Iterating reads many at a time, key and value together."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def sums(self) -> dict[Any, Any]:
        """Of a per-CPU map: each key with the sum over all CPUs. TypeError for any other."""
        if self.type not in PER_CPU:
            raise TypeError(f"map {self.name} has one value for all CPUs")
        return {key: value.sum() for key, value in self.items()}

    # Many entries at once

    def lookup_batch(self) -> list[tuple[Any, Any]]:
        """All entries, read in as few system calls as the kernel allows: one, up to 4 MB of entries."""
        return list(self._entries())

    def lookup_and_delete_batch(self) -> list[tuple[Any, Any]]:
        """All entries, each deleted as it was read, in one step where the kernel has that (hashes, since 5.6).

        A program that had just looked up an entry may still write to what is then nobody's: for exact counts, let it
        count in one map while you read another.
        """
        return list(self._entries(delete=True))

    def update_batch(self, entries: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> int:
        """Writes all these entries, and says how many. MapError where one is refused: those before are written."""
        pairs = list(entries.items() if isinstance(entries, Mapping) else entries)
        data = [(self._key.encode(key), self._value.encode(value)) for key, value in pairs]
        done = 0
        while "write" not in self._lacks and done < len(data):
            lot = data[done : done + self._lot]
            count, error = self.raw.write_batch(
                b"".join([key for key, _ in lot]), b"".join([value for _, value in lot]), self._flags
            )
            done += count
            if not error:
                continue
            if count or error not in _UNSUPPORTED:
                raise self._stopped(done, len(data), error)
            self._lacks.add("write")
        for key, value in data[done:]:
            self.raw.update(key, value, self._flags)
        return len(data)

    def delete_batch(self, keys: Iterable[Any]) -> int:
        """Deletes the entries with these keys, and says how many there were."""
        data = [known for key in keys if (known := self._known(key)) is not None]
        done = deleted = 0
        while "delete" not in self._lacks and done < len(data):
            count, error = self.raw.delete_batch(b"".join(data[done : done + self._lot]))
            done += count
            deleted += count
            if error == errnos.ENOENT:
                done += 1  # the one that isn't there
            elif error in _UNSUPPORTED and not count:
                self._lacks.add("delete")
            elif error:
                raise self._stopped(done, len(data), error)
        return deleted + sum([self.raw.delete(key) for key in data[done:]])

    def _stopped(self, done: int, total: int, error: int) -> MapError:
        return MapError(
            f"write: map {self.name}: after {done} of {total} entries: {os.strerror(error)}", errno=error
        )

    def update(self, entries: Any = (), /, **more: Any) -> None:
        """As a dict's, by `update_batch`."""
        pairs = [(key, entries[key]) for key in entries] if hasattr(entries, "keys") else list(entries)
        self.update_batch(pairs + list(more.items()))

    def clear(self) -> None:
        """Deletes what is there. What a program adds meanwhile may stay."""
        for _ in self._lots(delete=True):
            pass


class _Items(Items):
    _mapping: _Entries

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping._entries()


class _Values(Those):
    _mapping: _Entries

    def __iter__(self) -> Iterator[Any]:
        for _, value in self._mapping._entries():
            yield value


class HashMap(_Entries):
    """A hash, in any of its kinds, as a mutable mapping.

    MapError where the kernel refuses, E2BIG of it where the map is full (an LRU hash drops an old entry instead). A key
    that the program made with bytes in its padding, or behind a text's NUL, is there in `items()`, and `clear()` and
    `lookup_and_delete_batch()` delete it, but no value in Python is that key.
    """
