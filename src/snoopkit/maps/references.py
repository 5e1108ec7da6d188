"""Maps whose values stand for something in the kernel: programs, other maps, cgroups."""

from __future__ import annotations

import os
import sys

from .arrays import _Slots, slot_key, slot_keys
from .base import Map
from .hashes import _Entries
from .values import Codec, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..loader import Object


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
        known = slot_key(self, key)
        fd = os.open(os.fspath(value), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.raw.update(known, fd.to_bytes(4, sys.byteorder))
        finally:
            os.close(fd)

    def __delitem__(self, key: Any) -> None:
        if not self.raw.delete(slot_key(self, key)):
            raise KeyError(key)

    def __len__(self) -> int:
        """Its slots, set or not."""
        return self.max_entries

    def clear(self) -> None:
        """Deletes what is in the slots."""
        for key in slot_keys(self):
            self.raw.delete(key)


def program_value(object: Object) -> Codec:
    programs = object.programs
    names: dict[int, str] = {}

    def decode(data: bytes) -> Any:
        if not names:
            for program in programs.values():
                if program.autoload:
                    names[program.id] = program.name
        return names.get(number_of(data), number_of(data))

    def encode(value: Any) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"the name of a program is needed, not {type(value).__name__}")
        if value not in programs:
            raise ValueError(f"there is no program {value!r}; there are {', '.join(programs)}")
        return programs[value].fd.to_bytes(4, sys.byteorder)

    return Codec(None, 4, decode, encode)


def map_value() -> Codec:
    def encode(value: Any) -> bytes:
        if not isinstance(value, Map):
            raise TypeError(f"a map is needed, not {type(value).__name__}")
        return value.raw.fd.to_bytes(4, sys.byteorder)

    return Codec(None, 4, number_of, encode)
