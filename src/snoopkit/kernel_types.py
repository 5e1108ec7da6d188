"""What libbpf has to know of the kernel's types to relocate a package's programs, found in one go.

Left to itself libbpf goes through all of the kernel's types, 127,000 of them, once for each kind of struct that the
programs touch. Here one pass makes an extract with those types, and what they hold by value; libbpf relocates by that.
The ids of types, which in an extract are others, are filled in here. Whatever is unusual is left to libbpf.
"""

from __future__ import annotations

from struct import Struct, error as UnpackError, pack, unpack_from

from . import features, kernel_ids
from .btf import KIND_ENUM, KIND_ENUM64, KIND_STRUCT, KIND_UNION
from .elf import HEADER_BYTES, SECTION_BYTES, SHT_NOBITS, SHT_NULL
from .errors import PackageError

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Collection

    from .elf import Elf
    from .package import Package

    _Record = tuple[int, int, int, int]

__all__ = ["Extract", "extract"]

_EXT_HEADER_BYTES = 32
_RELOCATION = Struct("=IIII")  # the instruction's offset, the type's id, an access, and one of these kinds
_TYPE_ID_TARGET, _TYPE_MATCHES = 7, 12
_ALIKE = {KIND_STRUCT: KIND_STRUCT, KIND_UNION: KIND_UNION, KIND_ENUM: KIND_ENUM, KIND_ENUM64: KIND_ENUM}

_LOAD_CONSTANT, _MOVES = 0x18, (0xB4, 0xB7)
_INSTRUCTION_BYTES = 8


class _Unusual(Exception):
    """Something that libbpf is to see for itself."""


class Extract:
    """What to load in place of a package's object: `object`, its bytes; `types`, a BTF that it can be relocated by;
    `attach_ids`, what programs are for, by name; None where libbpf has to find that."""

    __slots__ = ("attach_ids", "object", "types")

    def __init__(self, object: bytes, types: bytes, attach_ids: dict[str, int] | None) -> None:
        self.object = object
        self.types = types
        self.attach_ids = attach_ids


def extract(package: Package, loaded: Collection[str]) -> Extract | None:
    """An extract of the running kernel's BTF for the programs `loaded` of a package. None where libbpf needs all of the
    kernel's types: nothing is gained, types that only modules have, relocations that an extract has no answer to."""
    try:
        return _extract(package, loaded)
    except (_Unusual, PackageError, OSError, UnpackError, IndexError, ValueError):
        return None


def _extract(package: Package, loaded: Collection[str]) -> Extract:
    ext = package.elf.section(".BTF.ext")
    kernel = features.kernel_types()
    if ext is None or kernel is None or _overlap(package.elf):
        raise _Unusual
    places, records = _relocations(package, ext.data, loaded)
    types = package.btf.types
    wanted: dict[tuple[str, int], list[int]] = {}
    for _, (_, type_id, _, kind) in records:
        alike = _ALIKE.get(types.kinds[type_id])
        name = _essential(types[type_id].name)
        if alike is None or not name or kind >= _TYPE_MATCHES:
            raise _Unusual
        wanted[name, alike] = []
    asked = kernel_ids.Asked(package, loaded)
    small, found, exact = kernel.extract(sorted({name.encode() for name, _ in wanted}), asked.names)
    for essential, kernel_id, kind in found:
        if (ids := wanted.get((essential.decode(), _ALIKE[kind]))) is not None:
            ids.append(kernel_id)
    if not wanted or not all(ids or features.has_nowhere(name) for (name, _), ids in wanted.items()):
        raise _Unusual
    object = bytearray(package.object)
    answered = set()
    for section, record in records:
        offset, type_id, _, kind = record
        if kind == _TYPE_ID_TARGET:
            ids = wanted[_essential(types[type_id].name), _ALIKE[types.kinds[type_id]]]
            if len(ids) != 1:
                raise _Unusual
            _fill_in(package, object, section, offset, ids[0])
            answered.add((section, record))
    _without(object, ext.offset, places, answered)
    attach_ids = asked.fill_in(object, exact)
    return Extract(bytes(object), small, attach_ids)


def _overlap(elf: Elf) -> bool:
    """Whether parts of the file lie in each other: what is written into one would be another's, too."""
    table = elf.header.sections_at
    parts = [(0, HEADER_BYTES), (table, table + len(elf.sections) * SECTION_BYTES)]
    parts += [
        (one.offset, one.offset + one.size)
        for one in elf.sections
        if one.size and one.type not in (SHT_NULL, SHT_NOBITS)
    ]
    ends = 0
    for start, end in sorted(parts):
        if start < ends:
            return True
        ends = end
    return False


def _relocations(
    package: Package, ext: bytes, loaded: Collection[str]
) -> tuple[list[tuple[str, bytes]], list[tuple[str, _Record]]]:
    """All sections of relocations with their headers, and the records that count, by the section's name."""
    header_bytes, at, size = unpack_from("=4xI16xII", ext)
    if header_bytes < _EXT_HEADER_BYTES or header_bytes + at + size > len(ext):
        raise _Unusual
    at += header_bytes
    end = at + size
    if unpack_from("=I", ext, at) != (_RELOCATION.size,):
        raise _Unusual
    at += 4
    used = {package.programs[name].section for name in loaded}
    unused = {program.section for program in package.programs.values()} - used
    sections, records = [], []
    while at < end:
        name_at, count = unpack_from("=II", ext, at)
        at += 8
        name = package.btf.types.name_at(name_at)
        own = ext[at : at + count * _RELOCATION.size]
        sections.append((name, ext[at - 8 : at] + own))
        if name not in unused:
            records += [(name, record) for record in _RELOCATION.iter_unpack(own)]
        at += count * _RELOCATION.size
    if at != end or len(dict(sections)) != len(sections):
        raise _Unusual
    return sections, records


def _fill_in(package: Package, object: bytearray, section: str, offset: int, type_id: int) -> None:
    """A type's id into the instruction that has it."""
    holder = package.elf.section(section)
    if holder is None or offset % _INSTRUCTION_BYTES or offset + 2 * _INSTRUCTION_BYTES > holder.size:
        raise _Unusual
    at = holder.offset + offset
    if object[at] == _LOAD_CONSTANT:
        object[at + 12 : at + 16] = bytes(4)
    elif object[at] not in _MOVES:
        raise _Unusual
    object[at + 4 : at + 8] = pack("=I", type_id)


def _without(
    object: bytearray, at: int, sections: list[tuple[str, bytes]], answered: set[tuple[str, _Record]]
) -> None:
    """Rewrite .BTF.ext, which begins at `at`, without these relocations."""
    changed = {name for name, _ in answered}
    kept = bytearray(pack("=I", _RELOCATION.size))
    for name, data in sections:
        if name not in changed:
            kept += data
            continue
        left = [record for record in _RELOCATION.iter_unpack(data[8:]) if (name, record) not in answered]
        if left:
            kept += data[:4] + pack("=I", len(left))
            kept += b"".join([_RELOCATION.pack(*record) for record in left])
    header_bytes, start = unpack_from("=4xI16xI", object, at)
    object[at + 28 : at + 32] = pack("=I", len(kept) if len(kept) > 4 else 0)
    object[at + header_bytes + start : at + header_bytes + start + len(kept)] = kept


def _essential(name: str) -> str:
    """Without a flavour: `task_struct___old` is another view of task_struct."""
    if "___" not in name:
        return name
    for at in range(len(name) - 5, -1, -1):
        if name[at + 1 : at + 4] == "___" and name[at] != "_" and name[at + 4] != "_":
            return name[: at + 1]
    return name
