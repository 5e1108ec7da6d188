"""An object's live maps and variables as Python values.

`typed_maps` gives each map of a package as what Python has for it: a mutable mapping, a queue, a set to ask. Keys and
values are typed by the package's BTF, structs are records as events are; what has no type is bytes. `Globals` gives
the variables of `.rodata`, `.data` and `.bss` by name.

Every call here is one or more system calls on the map; nothing is cached, but for the types. The program goes on
meanwhile: an entry that was there a moment ago may be gone.
"""

from __future__ import annotations

import errno as errnos
import os
import sys
from collections.abc import ItemsView, Mapping, MutableMapping, ValuesView

from . import _core
from ._decode import Program
from .btf import KIND_DATASEC
from .encode import Encoder
from .errors import MapError, PackageError, UnsupportedError
from .events import Record, nested_class
from .layout import DEFAULT_FORMS, Forms, IntType, Member, StructType, c_type, plan
from .options import IGNORED_PREFIX

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from .btf import Btf
    from .layout import CType
    from .loader import Object
    from .package import Package

    Values = list[Any]
    Named = Mapping[str, Any]
    Keyed = MutableMapping[Any, Any]
    Items = ItemsView[Any, Any]
    Those = ValuesView[Any]
else:
    Values, Named, Keyed, Items, Those = list, Mapping, MutableMapping, ItemsView, ValuesView

__all__ = [
    "ArrayMap",
    "BloomFilter",
    "CgroupArray",
    "EventMap",
    "Globals",
    "HashMap",
    "InboxMap",
    "Map",
    "MapOfMaps",
    "MapSlots",
    "PerCpu",
    "ProgramArray",
    "QueueMap",
    "TrieMap",
    "typed_maps",
]

NEW_ONLY, KNOWN_ONLY, LOCK = 1, 2, 4  # the kernel's BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK
READ_ONLY = 0x80  # BPF_F_RDONLY_PROG
LOT_BYTES = 4 << 20
MANY_TRIES = 100
_ENOTSUPP = 524  # the kernel's own, without a name in C
_UNSUPPORTED = (errnos.EINVAL, errnos.EOPNOTSUPP, _ENOTSUPP)
_MISSING: Any = object()


def typed_maps(object: Object, package: Package, *, text: str = "str", u8: str = "list") -> Mapping[str, Map]:
    """The maps of a loaded object by name; each is made when it is first asked for.

    What a map is in Python depends on its type:

    - hash, LRU hash and their like: `HashMap`, a mutable mapping;
    - array: `ArrayMap`, the same with fixed keys 0, 1, …; per-CPU kinds of both have a `PerCpu` list as value;
    - LPM trie: `TrieMap`, a mapping with networks as keys;
    - program array, cgroup array, array or hash of maps: `ProgramArray`, `CgroupArray`, `MapOfMaps`;
    - queue and stack: `QueueMap`; bloom filter: `BloomFilter`; user ring buffer: `InboxMap`;
    - perf event array, ring buffer and whatever else has no entries to look at: `Map`, which says so by TypeError.

    Char arrays are read as `text`, "str" or "bytes", arrays of unsigned char as `u8`, "list" or "bytes"; both forms can
    be written. After the object is closed every use raises ValueError.
    """
    return _Maps(object, package, Forms(text, u8))


class _Maps(Named):
    def __init__(self, object: Object, package: Package, forms: Forms) -> None:
        self._object = object
        self._package = package
        self._forms = forms
        self._made: dict[str, Map] = {}

    def __getitem__(self, name: str) -> Any:
        made = self._made.get(name)
        if made is None:
            if name not in self._object.maps:
                raise KeyError(f"no map {name!r}; there are {', '.join(self._object.maps)}")
            made = self._made[name] = _make(self._object, self._package, name, self._forms)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._object.maps)

    def __len__(self) -> int:
        return len(self._object.maps)

    def __repr__(self) -> str:
        return f"<maps: {', '.join(self)}>"


# ---------------------------------------------------------------------------------------------------------------
# Values


class Codec:
    """Bytes of one size to values and back. `type` is None where nothing is known: then values are bytes."""

    __slots__ = ("decode", "encode", "size_bytes", "type")

    def __init__(
        self,
        type: CType | None,
        size_bytes: int,
        decode: Callable[[bytes], Any],
        encode: Callable[[Any], bytes],
    ) -> None:
        self.type = type
        self.size_bytes = size_bytes
        self.decode = decode
        self.encode = encode


def _codec(btf: Btf, type_id: int, size_bytes: int, forms: Forms) -> Codec:
    """For a type of the BTF, or bytes where that says nothing, or nothing that fits."""
    if type_id and size_bytes:
        try:
            ctype = c_type(btf, type_id)
            if ctype.size_bytes == size_bytes:
                return _typed(ctype, btf.byteorder, forms)
        except (PackageError, TypeError, ValueError):
            pass  # such as a long double: it can still be carried
    return _untyped(size_bytes)


def _typed(ctype: CType, byteorder: str, forms: Forms = DEFAULT_FORMS) -> Codec:
    whole = (
        ctype
        if isinstance(ctype, StructType)
        else StructType("", ctype.size_bytes, (Member("value", 0, ctype),))
    )
    name, size_bytes, steps = plan(whole, forms)
    read = Program(name, size_bytes, steps, byteorder == "big", None, nested_class).read
    encode = Encoder(ctype, byteorder).encode
    if whole is ctype:
        return Codec(ctype, size_bytes, read, encode)
    return Codec(ctype, size_bytes, lambda data: read(data)[0], encode)


def _untyped(size_bytes: int) -> Codec:
    def encode(value: Any) -> bytes:
        if not isinstance(value, (bytes, bytearray)):
            raise TypeError(f"bytes are needed, not {type(value).__name__}")
        if len(value) != size_bytes:
            raise ValueError(f"{len(value)} bytes where {size_bytes} are needed")
        return bytes(value)

    return Codec(None, size_bytes, bytes, encode)


def _as_key(codec: Codec) -> Codec:
    """Keys that can be put into a dict: tuples for lists."""
    decode = codec.decode
    return Codec(codec.type, codec.size_bytes, lambda data: _frozen(decode(data)), codec.encode)


def _frozen(value: Any) -> Any:
    return tuple([_frozen(item) for item in value]) if isinstance(value, list) else value


def _index_codec(ctype: CType | None) -> Codec:
    """Array indices: numbers, whatever the source says of their type; names where it is an enumeration."""
    return _typed(
        ctype or IntType("unsigned int", 4, signed=False, is_bool=False, is_char=False), sys.byteorder
    )


class PerCpu(Values):
    """A value of each possible CPU, in their order; those that never ran have zeros."""

    __slots__ = ()

    def sum(self) -> Any:
        """The sum over all CPUs: of structs and arrays, member by member. TypeError where text or names are among
        them, which have no sum."""
        return _sum(self)


def _sum(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, (int, float)):
        return sum(values)
    if isinstance(first, Record):
        return tuple.__new__(type(first), [_sum(list(column)) for column in zip(*values, strict=True)])
    if isinstance(first, list):
        return [_sum(list(column)) for column in zip(*values, strict=True)]
    raise TypeError(f"{first!r} has no sum; add up the members that do: sum(v.member for v in value)")


def _per_cpu(one: Codec) -> Codec:
    cpus = _core.possible_cpus()
    size = one.size_bytes
    slot = (size + 7) // 8 * 8

    def decode(data: bytes) -> PerCpu:
        return PerCpu([one.decode(data[at : at + size]) for at in range(0, slot * cpus, slot)])

    def encode(values: Any) -> bytes:
        if not isinstance(values, (list, tuple)) or isinstance(values, Record):
            raise TypeError(f"a list with a value for each of {cpus} CPUs is needed")
        if len(values) != cpus:
            raise ValueError(f"{len(values)} values where there are {cpus} possible CPUs")
        return b"".join([one.encode(value).ljust(slot, b"\0") for value in values])

    return Codec(one.type, slot * cpus, decode, encode)


def _has_lock(ctype: CType | None) -> bool:
    return isinstance(ctype, StructType) and any(
        isinstance(member.type, StructType) and member.type.name == "bpf_spin_lock"
        for member in ctype.members
    )


# ---------------------------------------------------------------------------------------------------------------
# Maps


class Map:
    """What every map has. `type` is the kernel's number for its type, `key_type` and `value_type` are the layouts of
    its keys and values, None where only their size is known, and `raw` is the same map in bytes."""

    _what = "has no entries to look at from here"

    def __init__(self, raw: _core.Map, key: Codec, value: Codec) -> None:
        self.raw = raw
        self.name = raw.name
        self.type = raw.type
        self.key_type = key.type
        self.value_type = value.type
        self._key = key
        self._value = value
        self._flags = LOCK if _has_lock(value.type) else 0

    @property
    def max_entries(self) -> int:
        """How many entries the map can hold."""
        return self.raw.max_entries

    def __repr__(self) -> str:
        told = [
            codec.type.spelling if codec.type is not None else f"{codec.size_bytes} bytes"
            for codec in (self._key, self._value)
            if codec.size_bytes
        ]
        return f"<{type(self).__name__} {self.name}{': ' if told else ''}{' → '.join(told)}>"

    # Python's own errors for these would not say why.

    def _refusal(self) -> TypeError:
        return TypeError(f"map {self.name} (type {self.type}) {self._what}")

    def __getitem__(self, key: Any) -> Any:
        raise self._refusal()

    def __setitem__(self, key: Any, value: Any) -> None:
        raise self._refusal()

    def __delitem__(self, key: Any) -> None:
        raise self._refusal()

    def __contains__(self, key: object) -> bool:
        raise self._refusal()

    def __iter__(self) -> Iterator[Any]:
        raise self._refusal()

    def __len__(self) -> int:
        raise self._refusal()

    def __bool__(self) -> bool:
        return True


def _slot(map: Map, key: Any) -> bytes:
    """The index that `key` is; KeyError if the map hasn't got it."""
    try:
        known = map._key.encode(key)
    except ValueError:
        raise KeyError(key) from None
    if _number(known) >= map.max_entries:
        raise KeyError(key)
    return known


def _slots(map: Map) -> Iterator[bytes]:
    for number in range(map.max_entries):
        yield number.to_bytes(4, sys.byteorder)


class EventMap(Map):
    """A perf event array or a ring buffer: its records are the events of the `Snoop`."""

    _what = "carries records, which are read as events"


class InboxMap(Map):
    """A user ring buffer: the way into the program, which finds what is there when it looks the next time."""

    _what = "takes records: submit() them"
    _ring: _core.UserRing | None = None

    def submit(self, data: bytes) -> None:
        """Puts a record in, never waiting: MapError (ENOSPC) while there is no room, (E2BIG) where there never is."""
        if self._ring is None:
            self._ring = _core.UserRing(self.raw)
        self._ring.submit(data)


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

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """The value, its entry deleted, in one step where the kernel has that for this kind of map."""
        known = self._known(key)
        data = None if known is None else self._take(known)
        if data is not None:
            return self._value.decode(data)
        if default is _MISSING:
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
        if self.type not in _PER_CPU:
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


class ArrayMap(_Entries):
    """An array as a mapping from 0, 1, … `max_entries` - 1: every key is there, and none can be deleted."""

    _what = "is an array: its entries can't be deleted"

    def __setitem__(self, key: Any, value: Any) -> None:
        self.raw.update(_slot(self, key), self._value.encode(value), self._flags)

    def __delitem__(self, key: Any) -> None:
        raise self._refusal()

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        raise self._refusal()

    def popitem(self) -> tuple[Any, Any]:
        raise self._refusal()

    def lookup_and_delete_batch(self) -> list[tuple[Any, Any]]:
        raise self._refusal()

    def delete_batch(self, keys: Iterable[Any]) -> int:
        raise self._refusal()

    def _walk(self) -> Iterator[bytes]:
        return _slots(self)

    def __iter__(self) -> Iterator[Any]:
        return map(self._key.decode, _slots(self))

    def __len__(self) -> int:
        return self.max_entries

    def clear(self) -> None:
        """Sets every entry to zeros."""
        zeros = bytes(self.raw.value_room_bytes)
        for key in _slots(self):
            self.raw.update(key, zeros, self._flags)


class TrieMap(_Entries):
    """An LPM trie: what is looked up gets the value of the longest prefix that covers it, as the kernel does it.

    Where the data have 4 or 16 bytes, keys are networks of `ipaddress`, and a text or an address of one may stand for
    them (an address being the network of it alone). Other keys are (length of the prefix in bits, bytes), and any key
    may be given so. Deleting, `insert` and `replace` mean exactly this prefix.
    """

    def __init__(self, raw: _core.Map, key: Codec, value: Codec) -> None:
        super().__init__(raw, key, value)
        self._lacks.add(
            "read"
        )  # the kernel's own way loses its place when the prefix where it stands is deleted


class _Slots(_Entries):
    """Fixed keys 0, 1, … that each may have something or not."""

    def __init__(self, raw: _core.Map, key: Codec, value: Codec) -> None:
        super().__init__(raw, key, value)
        self._lacks.update(("read", "read and delete", "write", "delete"))

    def _walk(self) -> Iterator[bytes]:
        return _slots(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.raw.update(_slot(self, key), self._value.encode(value))

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def popitem(self) -> tuple[Any, Any]:
        for key in self._walk():
            data = self._take(key)
            if data is not None:
                return self._key.decode(key), self._value.decode(data)
        raise KeyError(f"map {self.name} is empty")


class ProgramArray(_Slots):
    """A program array, by the names of the package's programs: what tail calls lead to.

    A program that somebody else put there reads as its number in the kernel. Slots without a program are not in it.
    """


class MapOfMaps(_Entries):
    """A hash of maps: a value reads as the inner map's number in the kernel; what is written is a map of a `Snoop`."""


class MapSlots(_Slots):
    """An array of maps: a value reads as the inner map's number in the kernel; what is written is a map of a
    `Snoop`. Slots without a map are not in it."""


class CgroupArray(Map):
    """A cgroup array. A slot is set by the path of a cgroup's directory, and deleted; the kernel tells nobody what
    is in it."""

    _what = "can't be read: the kernel doesn't tell which cgroups are in it"

    def __setitem__(self, key: Any, value: str | os.PathLike[str]) -> None:
        """KeyError if there is no such slot, OSError if there is no such directory, MapError if it is no cgroup."""
        known = _slot(self, key)
        fd = os.open(os.fspath(value), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.raw.update(known, fd.to_bytes(4, sys.byteorder))
        finally:
            os.close(fd)

    def __delitem__(self, key: Any) -> None:
        if not self.raw.delete(_slot(self, key)):
            raise KeyError(key)

    def __len__(self) -> int:
        """Its slots, set or not."""
        return self.max_entries

    def clear(self) -> None:
        """Deletes what is in the slots."""
        for key in _slots(self):
            self.raw.delete(key)


class QueueMap(Map):
    """A queue (first in, first out) or a stack (last in, first out)."""

    _what = "is a queue or stack: push(), pop() and peek() it"

    def push(self, value: Any, *, force: bool = False) -> None:
        """Adds a value. Where the map is full: MapError (E2BIG), or with `force` the oldest value makes room."""
        self.raw.update(b"", self._value.encode(value), KNOWN_ONLY if force else 0)

    def pop(self, default: Any = _MISSING) -> Any:
        """Takes the next value; IndexError, or `default`, if there is none."""
        return self._next(self.raw.take(b""), default)

    def peek(self, default: Any = _MISSING) -> Any:
        """The value that `pop` would take."""
        return self._next(self.raw.lookup(b""), default)

    def _next(self, data: bytes | None, default: Any) -> Any:
        if data is not None:
            return self._value.decode(data)
        if default is _MISSING:
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


# ---------------------------------------------------------------------------------------------------------------
# Which map is what

_HASH, _ARRAY, _PROGRAM_ARRAY, _EVENT_ARRAY, _CGROUP_ARRAY, _LPM_TRIE = 1, 2, 3, 4, 8, 11
_ARRAY_OF_MAPS, _HASH_OF_MAPS, _RING, _USER_RING = 12, 13, 27, 31
_QUEUE, _STACK, _BLOOM = 22, 23, 30
# Per-CPU hash, stack trace, LRU hash, per-CPU LRU hash, device map, CPU map, device hash.
_HASHES = (_HASH, 5, 7, 9, 10, 14, 16, 25)
_PER_CPU_ARRAY = 6
_PER_CPU = (5, _PER_CPU_ARRAY, 10)


def _make(object: Object, package: Package, name: str, forms: Forms) -> Map:
    raw = object.maps[name]
    kind = raw.type
    spec = package.maps.get(name)
    key = _codec(package.btf, spec.key_type_id if spec else 0, raw.key_size, forms)
    value = _codec(package.btf, spec.value_type_id if spec else 0, raw.value_size, forms)
    if kind in _PER_CPU:
        value = _per_cpu(value)
    if kind in _HASHES:
        return HashMap(raw, _as_key(key), value)
    if kind in (_ARRAY, _PER_CPU_ARRAY):
        return ArrayMap(raw, _index_codec(key.type), value)
    if kind == _LPM_TRIE:
        return TrieMap(raw, _trie_key(key), value)
    if kind == _PROGRAM_ARRAY:
        return ProgramArray(raw, _index_codec(key.type), _program_value(object))
    if kind == _ARRAY_OF_MAPS:
        return MapSlots(raw, _index_codec(key.type), _map_value())
    if kind == _HASH_OF_MAPS:
        return MapOfMaps(raw, _as_key(key), _map_value())
    if kind == _CGROUP_ARRAY:
        return CgroupArray(raw, _index_codec(key.type), _untyped(raw.value_size))
    if kind in (_QUEUE, _STACK):
        return QueueMap(raw, key, value)
    if kind == _BLOOM:
        return BloomFilter(raw, key, value)
    if kind == _USER_RING:
        return InboxMap(raw, key, value)
    return (EventMap if kind in (_EVENT_ARRAY, _RING) else Map)(raw, key, value)


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def _program_value(object: Object) -> Codec:
    programs = object.programs
    names: dict[int, str] = {}

    def decode(data: bytes) -> Any:
        if not names:
            for program in programs.values():
                if program.autoload:
                    names[program.id] = program.name
        return names.get(_number(data), _number(data))

    def encode(value: Any) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"the name of a program is needed, not {type(value).__name__}")
        if value not in programs:
            raise ValueError(f"there is no program {value!r}; there are {', '.join(programs)}")
        return programs[value].fd.to_bytes(4, sys.byteorder)

    return Codec(None, 4, decode, encode)


def _map_value() -> Codec:
    def encode(value: Any) -> bytes:
        if not isinstance(value, Map):
            raise TypeError(f"a map is needed, not {type(value).__name__}")
        return value.raw.fd.to_bytes(4, sys.byteorder)

    return Codec(None, 4, _number, encode)


def _trie_key(key: Codec) -> Codec:
    """A prefix's length in bits, as a number of 4 bytes, and data."""
    import ipaddress

    size = key.size_bytes - 4
    family: Any = {4: ipaddress.IPv4Network, 16: ipaddress.IPv6Network}.get(size)
    networks = (ipaddress.IPv4Network, ipaddress.IPv6Network)
    addresses = (ipaddress.IPv4Address, ipaddress.IPv6Address)

    def decode(data: bytes) -> Any:
        length, rest = _number(data[:4]), data[4:]
        return family((rest, length), strict=False) if family else (length, rest)

    def encode(value: Any) -> bytes:
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], (bytes, bytearray)):
            length, data = value
            if len(data) != size:
                raise ValueError(f"a prefix of {len(data)} bytes where {size} are needed")
            if not 0 <= length <= 8 * size:
                raise ValueError(f"a prefix of {length} bits, of {8 * size}")
            return int(length).to_bytes(4, sys.byteorder) + bytes(data)
        if family and isinstance(value, (str, *addresses)):
            value = ipaddress.ip_network(value, strict=False)
        if family and isinstance(value, networks):
            if not isinstance(value, family):
                raise ValueError(f"{value} is no {family.__name__}")
            return int(value.prefixlen).to_bytes(4, sys.byteorder) + bytes(value.network_address.packed)
        if key.type is not None and isinstance(value, (tuple, dict)):
            return key.encode(value)
        wanted = f"an {family.__name__} or " if family else ""
        raise TypeError(f"{wanted}(length in bits, bytes) is needed, not {type(value).__name__}")

    return Codec(key.type, key.size_bytes, decode, encode)


# ---------------------------------------------------------------------------------------------------------------
# Variables


class _Place:
    """Where a variable stands: in which map, at which byte, and of which type."""

    __slots__ = ("_btf", "_codec", "_forms", "map", "offset_bytes", "size_bytes", "type_id")

    def __init__(
        self, btf: Btf, forms: Forms, map: _core.Map, offset_bytes: int, size_bytes: int, type_id: int
    ) -> None:
        self._btf = btf
        self._forms = forms
        self._codec: Codec | None = None
        self.map = map
        self.offset_bytes = offset_bytes
        self.size_bytes = size_bytes
        self.type_id = type_id

    @property
    def codec(self) -> Codec:
        if self._codec is None:
            self._codec = _codec(self._btf, self.type_id, self.size_bytes, self._forms)
        return self._codec


class Globals:
    """The program's global variables, live: `globals.name`, or `globals["name"]` for any name.

    Reading gives what is there now: numbers, enumerations by name, text, lists, structs as records; a variable whose
    type can't be read is bytes. Reading and writing go through the memory that the program uses, without a system
    call: aligned numbers up to 64 bits in one piece, anything larger byte by byte, so that the program may see or
    leave half of it. Writing changes the variable's own bytes and no others. What is constant for the program
    (`const`, in `.rodata`) can only be set before load, as an option: TypeError.

    `text` and `u8` are as for `typed_maps`. Iterating gives the names. AttributeError, or KeyError, for a name that the
    program doesn't have; ValueError after the object is closed.
    """

    __slots__ = ("_places",)
    _places: dict[str, _Place]

    def __init__(self, object: Object, package: Package, *, text: str = "str", u8: str = "list") -> None:
        super().__setattr__("_places", _places(object, package, Forms(text, u8)))

    def __getattr__(self, name: str) -> Any:
        try:
            place = self._places[name]
        except KeyError:
            raise AttributeError(self._unknown(name)) from None
        return _read(place)

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            place = self._places[name]
        except KeyError:
            raise AttributeError(self._unknown(name)) from None
        _write(name, place, value)

    def __getitem__(self, name: str) -> Any:
        if name not in self._places:
            raise KeyError(self._unknown(name))
        return _read(self._places[name])

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._places:
            raise KeyError(self._unknown(name))
        _write(name, self._places[name], value)

    def _unknown(self, name: str) -> str:
        return f"the program has no variable {name!r}; it has {', '.join(self._places) or 'none'}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._places})

    def __repr__(self) -> str:
        return f"<globals: {', '.join(self._places) or 'none'}>"


def _places(object: Object, package: Package, forms: Forms) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    btf, elf = package.btf, package.elf
    for name, map in object.maps.items():
        section = elf.section(name)
        datasec = btf.find(name, KIND_DATASEC)
        if section is None or datasec is None or not name.startswith((".rodata", ".data", ".bss")):
            continue
        offsets = {symbol.name: symbol.value for symbol in elf.symbols if symbol.section == section.index}
        for variable_id, _, size_bytes in btf.types[datasec].variables:
            variable = btf.types[variable_id]
            offset = offsets.get(variable.name)
            if offset is None or variable.name.startswith(IGNORED_PREFIX):
                continue
            if offset + size_bytes <= map.value_size:
                places[variable.name] = _Place(btf, forms, map, offset, size_bytes, variable.type_id)
    return places


def _read(place: _Place) -> Any:
    try:
        data = place.map.read_shared(place.offset_bytes, place.size_bytes)
    except MapError:
        # Before 5.5, and where the section has a lock or a timer, the kernel shares no memory.
        whole = place.map.lookup(bytes(4))
        if whole is None:
            raise
        data = whole[place.offset_bytes : place.offset_bytes + place.size_bytes]
    return place.codec.decode(data)


def _write(name: str, place: _Place, value: Any) -> None:
    if place.map.flags & READ_ONLY:
        raise TypeError(
            f"variable {name} is constant for the program ({place.map.name}): set it before load, as an option"
        )
    try:
        data = place.codec.encode(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"variable {name}: {error}") from None
    try:
        place.map.write_shared(place.offset_bytes, data)
    except MapError as error:
        raise UnsupportedError(
            f"write: variable {name}: the kernel shares no memory of {place.map.name}",
            feature="maps shared as memory",
            errno=error.errno,
            hint="only the whole section could be written, over what the program changes meanwhile",
        ) from None
