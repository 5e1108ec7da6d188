"""The functions of an ELF file, from .symtab, or .dynsym where that was stripped. The file may be anybody's."""

from __future__ import annotations

import struct
from array import array

from ..elf import (
    HEADER_BYTES,
    LONGEST_NAME_BYTES,
    MOST_SECTIONS,
    SECTION_BYTES,
    SHT_DYNSYM,
    SHT_STRTAB,
    SHT_SYMTAB,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    SYMBOL,
    SYMBOL_BYTES,
    Header,
)
from ..errors import PackageError
from .table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..elf import Section

    Read = Callable[[int, int], bytes]  # offset, size → as many bytes as there are

__all__ = ["FileSymbols"]

_SEGMENT = "IIQQQQQQ"
_SEGMENT_BYTES = 56
_PT_LOAD, _PF_X = 1, 1
_MOST_SEGMENTS = 1024
_MOST_SYMBOLS = 1 << 19
_LARGEST_STRINGS_BYTES = 128 << 20
_PAGE_BYTES = 4096
_NAMED = (STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC)
_RANK = (2, 0, 1)  # of two names for one place: global, weak, local


class FileSymbols:
    """The functions of a file, and where it has them in memory, relative to wherever it was put."""

    def __init__(self, read: Read, file_bytes: int) -> None:
        """PackageError for a file that is no ELF file, or a broken one."""
        header = Header(read(0, HEADER_BYTES))
        self._segments = _segments(header, read)
        self._table = _table(header, read, file_bytes)
        self.size_bytes = self._table.size_bytes

    def address(self, offset: int) -> int | None:
        """The address, by the file's own account, of what stands at an offset in it."""
        for start, end, address in self._segments:
            if start <= offset < end:
                return offset - start + address
        return None

    def find(self, address: int) -> tuple[str, int] | None:
        """The name and the start of the function at such an address."""
        return self._table.find(address)


def _segments(header: Header, read: Read) -> list[tuple[int, int, int]]:
    """Of each part that is loaded: where it begins and ends in the file, and its address; code first."""
    if header.segment_bytes != _SEGMENT_BYTES or not 0 < header.segments <= _MOST_SEGMENTS:
        raise PackageError(f"ELF: {header.segments} segments of {header.segment_bytes} bytes")
    data = read(header.segments_at, header.segments * _SEGMENT_BYTES)
    if len(data) != header.segments * _SEGMENT_BYTES:
        raise PackageError("ELF: the segment table lies outside the file")
    found = []
    for kind, flags, offset, address, _, size, _, _ in struct.iter_unpack(header.prefix + _SEGMENT, data):
        if kind == _PT_LOAD:
            before = offset % _PAGE_BYTES  # whole pages are mapped
            found.append((not flags & _PF_X, offset - before, offset + size, address - before))
    return [(start, end, address) for _, start, end, address in sorted(found)]


def _table(header: Header, read: Read, file_bytes: int) -> Table:
    sections: list[Section] = []
    if 0 < header.sections <= MOST_SECTIONS and header.section_bytes == SECTION_BYTES:
        data = read(header.sections_at, header.sections * SECTION_BYTES)
        sections = header.read_sections(data) if len(data) == header.sections * SECTION_BYTES else []
    for kind in (SHT_SYMTAB, SHT_DYNSYM):
        for section in sections:
            if section.type == kind and (found := _symbols(header, section, sections, read, file_bytes)):
                return found
    return Table((), (), [], 0)


def _symbols(
    header: Header, section: Section, sections: list[Section], read: Read, file_bytes: int
) -> Table | None:
    """None for a table without functions, or one that can't be true, or too large to be kept."""
    if section.link >= len(sections) or section.entry_size != SYMBOL_BYTES:
        return None
    strings = sections[section.link]
    if (
        strings.type != SHT_STRTAB
        or max(section.offset + section.size, strings.offset + strings.size) > file_bytes
        or section.size > _MOST_SYMBOLS * SYMBOL_BYTES
        or strings.size > _LARGEST_STRINGS_BYTES
    ):
        return None
    data = read(section.offset, section.size - section.size % SYMBOL_BYTES)
    found = []
    for name, info, _, index, start, size in struct.iter_unpack(header.prefix + SYMBOL, data):
        if info & 15 in _NAMED and index and name:
            bind = info >> 4
            found.append(
                (start, not size, info & 15 == STT_NOTYPE, _RANK[bind] if bind < 3 else 3, name, size)
            )
    found.sort()
    starts, sizes, names = array("Q"), array("Q"), array("I")
    for start, _, _, _, name, size in found:
        if not starts or starts[-1] != start:
            starts.append(start)
            sizes.append(size)
            names.append(name)
    if not starts:
        return None
    # Written in assembly some have no size: they reach to the next.
    ends = array("Q", (min(start + size, _END) for start, size in zip(starts, sizes, strict=True)))
    for index in range(len(starts)):
        if not sizes[index]:
            ends[index] = (
                starts[index + 1] if index + 1 < len(starts) else min(starts[index] + _PAGE_BYTES, _END)
            )
    text = read(strings.offset, strings.size)
    return Table(starts, ends, _Names(names, text), 4 * len(names) + len(text))


_END = (1 << 64) - 1


class _Names:
    """Names where they stand in the file's strings."""

    __slots__ = ("_offsets", "_strings")

    def __init__(self, offsets: array[int], strings: bytes) -> None:
        self._offsets = offsets
        self._strings = strings

    def __getitem__(self, index: int) -> str:
        start = self._offsets[index]
        end = self._strings.find(b"\0", start, start + LONGEST_NAME_BYTES)
        return self._strings[start : end if end >= 0 else start + LONGEST_NAME_BYTES].decode(
            "utf-8", "replace"
        )
