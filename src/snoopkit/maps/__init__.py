"""An object's live maps and variables as Python values.

`typed_maps` gives each map of a package as what Python has for it: a mutable mapping, a queue, a set to ask. Keys and
values are typed by the package's BTF, structs are records as events are; what has no type is bytes. `Globals` gives
the variables of `.rodata`, `.data` and `.bss` by name.

Every call here is one or more system calls on the map; nothing is cached, but for the types. The program goes on
meanwhile: an entry that was there a moment ago may be gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..plans import Forms
from .arrays import ArrayMap
from .base import EventMap, Map
from .hashes import PER_CPU, HashMap
from .queues import BloomFilter, InboxMap, QueueMap
from .references import CgroupArray, MapOfMaps, MapSlots, ProgramArray, map_value, program_value
from .tries import TrieMap, trie_key
from .values import PerCpu, as_key, codec_of, index_codec, per_cpu, untyped
from .variables import Globals

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..loader import Object
    from ..package import Package

    Named = Mapping[str, Any]
else:
    Named = Mapping

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

# The kernel's numbers for types of maps.
_HASH, _ARRAY, _PROGRAM_ARRAY, _EVENT_ARRAY, _PER_CPU_ARRAY, _CGROUP_ARRAY, _LPM_TRIE = 1, 2, 3, 4, 6, 8, 11
_ARRAY_OF_MAPS, _HASH_OF_MAPS, _RING, _USER_RING = 12, 13, 27, 31
_QUEUE, _STACK, _BLOOM = 22, 23, 30
# Per-CPU hash, stack trace, LRU hash, per-CPU LRU hash, device map, CPU map, device hash.
_HASHES = (_HASH, 5, 7, 9, 10, 14, 16, 25)


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


def _make(object: Object, package: Package, name: str, forms: Forms) -> Map:
    raw = object.maps[name]
    kind = raw.type
    spec = package.maps.get(name)
    key = codec_of(package.btf, spec.key_type_id if spec else 0, raw.key_size, forms)
    value = codec_of(package.btf, spec.value_type_id if spec else 0, raw.value_size, forms)
    if kind in PER_CPU:
        value = per_cpu(value)
    if kind in _HASHES:
        return HashMap(raw, as_key(key), value)
    if kind in (_ARRAY, _PER_CPU_ARRAY):
        return ArrayMap(raw, index_codec(key.type), value)
    if kind == _LPM_TRIE:
        return TrieMap(raw, trie_key(key), value)
    if kind == _PROGRAM_ARRAY:
        return ProgramArray(raw, index_codec(key.type), program_value(object))
    if kind == _ARRAY_OF_MAPS:
        return MapSlots(raw, index_codec(key.type), map_value())
    if kind == _HASH_OF_MAPS:
        return MapOfMaps(raw, as_key(key), map_value())
    if kind == _CGROUP_ARRAY:
        return CgroupArray(raw, index_codec(key.type), untyped(raw.value_size))
    if kind in (_QUEUE, _STACK):
        return QueueMap(raw, key, value)
    if kind == _BLOOM:
        return BloomFilter(raw, key, value)
    if kind == _USER_RING:
        return InboxMap(raw, key, value)
    return (EventMap if kind in (_EVENT_ARRAY, _RING) else Map)(raw, key, value)
