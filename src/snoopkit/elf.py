"""64-bit ELF files, with every bound checked: BPF objects, read whole, and rewritten without their DWARF.

An object in a package comes from a stranger, and libbpf trusts more of it than it should. `Elf.parse` looks at
everything that libbpf and libelf follow (section table, string offsets, links, symbols, relocations) and refuses
what points outside, so that nothing later has to ask again. Of other files there are `Header` and `Section`.
"""

from __future__ import annotations

import struct

from snoopkit.btf import Btf
from snoopkit.errors import PackageError

__all__ = ["LARGEST_OBJECT_BYTES", "Elf", "Header", "Section", "Symbol", "strip_debug"]

LARGEST_OBJECT_BYTES = 64 << 20

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA = 0, 1, 2, 3, 4
SHT_NOBITS, SHT_REL, SHT_DYNSYM = 8, 9, 11
SHT_LLVM_ADDRSIG = 0x6FFF4C03
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_GNU_IFUNC = 0, 1, 2, 3, 4, 10
SHN_UNDEF, SHN_LORESERVE = 0, 0xFF00

_EM_NONE, _EM_BPF = 0, 247
_ET_REL = 1
_HEADER = "HHIQQQIHHHHHH"
HEADER_BYTES = 64
_SECTION = "IIQQQQIIQQ"
SECTION_BYTES = 64
SYMBOL = "IBBHQQ"
SYMBOL_BYTES = 24
_REL_BYTES = 16
MOST_SECTIONS = 4096
_MOST_SYMBOLS = 1 << 18
LONGEST_NAME_BYTES = 1024


class Header:
    """What a file of 64 bits says of itself in its first bytes: `HEADER_BYTES` of them are needed.

    Where its tables are, is as it says: whoever reads them looks whether they lie in the file.
    """

    __slots__ = (
        "byteorder",
        "flags",
        "kind",
        "machine",
        "names",
        "prefix",
        "section_bytes",
        "sections",
        "sections_at",
        "segment_bytes",
        "segments",
        "segments_at",
        "version",
    )

    def __init__(self, data: bytes) -> None:
        """Raises PackageError for what isn't one."""
        if len(data) < HEADER_BYTES or data[:4] != b"\x7fELF":
            raise _bad("not an ELF file")
        if data[4] != 2:
            raise _bad("not a 64-bit object")
        if data[5] not in (1, 2):
            raise _bad(f"byte order {data[5]} is unknown")
        self.byteorder = "little" if data[5] == 1 else "big"
        self.prefix = "<" if data[5] == 1 else ">"  # the `struct` module's sign for it
        fields = struct.unpack_from(self.prefix + _HEADER, data, 16)
        self.kind, self.machine, self.version, _, self.segments_at, self.sections_at, self.flags = fields[:7]
        self.segment_bytes, self.segments, self.section_bytes, self.sections, self.names = fields[8:]

    def read_sections(self, table: bytes) -> list[Section]:
        """The section headers in `table`, without their names and with `data` empty."""
        found = struct.iter_unpack(self.prefix + _SECTION, table)
        return [Section(index, fields, b"") for index, fields in enumerate(found)]


class Section:
    """One section header; `data` is what stands in the file (empty for .bss)."""

    __slots__ = (
        "_file",
        "alignment",
        "entry_size",
        "flags",
        "index",
        "info",
        "link",
        "name",
        "offset",
        "size",
        "type",
    )

    def __init__(self, index: int, fields: tuple[int, ...], file: bytes) -> None:
        self.index = index
        self.name = ""
        self.type = fields[1]
        self.flags = fields[2]
        self.offset = fields[4]
        self.size = fields[5] if fields[1] else 0  # a section of no type holds nothing, whatever it says
        self.link = fields[6]
        self.info = fields[7]
        self.alignment = fields[8]
        self.entry_size = fields[9]
        self._file = file

    @property
    def data(self) -> bytes:
        if self.type in (SHT_NOBITS, SHT_NULL):
            return b""
        return self._file[self.offset : self.offset + self.size]

    def __repr__(self) -> str:
        return f"<Section {self.index} {self.name!r} {self.size} bytes>"


class Symbol:
    """One entry of the symbol table. `section` is a section's index, 0 if undefined, ≥ 0xff00 if reserved."""

    __slots__ = ("bind", "name", "other", "section", "size", "type", "value")

    def __init__(self, name: str, info: int, other: int, section: int, value: int, size: int) -> None:
        self.name = name
        self.bind = info >> 4
        self.type = info & 15
        self.other = other
        self.section = section
        self.value = value
        self.size = size

    def __repr__(self) -> str:
        return f"<Symbol {self.name!r} in {self.section} at {self.value}>"


class Elf:
    """A BPF object whose section table, symbols and relocations have been checked."""

    __slots__ = ("_by_name", "byteorder", "data", "header", "sections", "symbol_table", "symbols")

    def __init__(self, data: bytes) -> None:
        if len(data) > LARGEST_OBJECT_BYTES:
            raise _bad(f"larger than {LARGEST_OBJECT_BYTES} bytes")
        self.data = data
        self.header = Header(data)
        self.byteorder = self.header.byteorder
        self.symbol_table: Section | None = None
        self.symbols: tuple[Symbol, ...] = ()
        self._read_sections()
        self._by_name = {section.name: section for section in reversed(self.sections)}
        self._read_symbols()
        for section in self.sections:
            if section.type in (SHT_REL, SHT_RELA):
                self._check_relocations(section)

    @classmethod
    def parse(cls, data: bytes) -> Elf:
        """Read and check `data`; PackageError says what is wrong with it."""
        return cls(data)

    @property
    def prefix(self) -> str:
        """The `struct` module's sign for this byte order."""
        return self.header.prefix

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return self._by_name.get(name)

    def btf(self, trusted: bool = False) -> Btf:
        """The object's types, checked unless they are trusted. PackageError for one that has none."""
        section = self.section(".BTF")
        if section is None:
            raise PackageError("ELF: the object has no .BTF section", hint="compile it with clang -g")
        return Btf.parse(section.data, trusted)

    def programs(self) -> list[Symbol]:
        """The entry points: functions outside .text, which holds what they call."""
        return [
            symbol
            for symbol in self.symbols
            if symbol.type == STT_FUNC
            and 0 < symbol.section < len(self.sections)
            and self.sections[symbol.section].flags & SHF_EXECINSTR
            and self.sections[symbol.section].name != ".text"
        ]

    def _read_sections(self) -> None:
        data = self.data
        header = self.header
        if header.kind != _ET_REL or header.machine not in (_EM_BPF, _EM_NONE) or header.version != 1:
            raise _bad(
                f"not a relocatable BPF object (type {header.kind}, machine {header.machine}, "
                f"version {header.version})"
            )
        if header.section_bytes != SECTION_BYTES:
            raise _bad(f"section headers of {header.section_bytes} bytes")
        table, count, names_index = header.sections_at, header.sections, header.names
        if not 0 < count <= MOST_SECTIONS:
            raise _bad(f"{count} sections")
        if table < HEADER_BYTES or table + count * SECTION_BYTES > len(data):
            raise _bad("the section table lies outside the file")
        unpack = struct.Struct(self.prefix + _SECTION).unpack_from
        headers = [unpack(data, table + index * SECTION_BYTES) for index in range(count)]
        self.sections = tuple(Section(index, fields, data) for index, fields in enumerate(headers))
        for section in self.sections:
            self._check_extent(section)
        if not 0 < names_index < count or self.sections[names_index].type != SHT_STRTAB:
            raise _bad(f"section {names_index} doesn't hold the sections' names")
        names = self.sections[names_index].data
        for section, fields in zip(self.sections, headers, strict=True):
            section.name = _string(names, fields[0], f"name of section {section.index}")
            if section.link >= count:
                raise _bad(f"section {section.index} {section.name!r} links to section {section.link}")

    def _check_extent(self, section: Section) -> None:
        if section.type == SHT_NULL:
            return
        if section.alignment & (section.alignment - 1) or section.alignment > 1 << 16:
            raise _bad(f"section {section.index} is aligned to {section.alignment}")
        if section.type == SHT_NOBITS:
            if section.size > LARGEST_OBJECT_BYTES:
                raise _bad(f"section {section.index} wants {section.size} bytes of zeros")
        elif section.offset + section.size > len(self.data):
            raise _bad(f"section {section.index} lies outside the file")

    def _read_symbols(self) -> None:
        tables = [section for section in self.sections if section.type == SHT_SYMTAB]
        if len(tables) > 1:
            raise _bad("more than one symbol table")
        if not tables:
            return
        table = self.symbol_table = tables[0]
        if table.entry_size != SYMBOL_BYTES or table.size % SYMBOL_BYTES:
            raise _bad("the symbol table's size isn't a multiple of a symbol's")
        if table.size // SYMBOL_BYTES > _MOST_SYMBOLS:
            raise _bad(f"{table.size // SYMBOL_BYTES} symbols")
        if self.sections[table.link].type != SHT_STRTAB:
            raise _bad(f"section {table.link} doesn't hold the symbols' names")
        names = self.sections[table.link].data
        count = len(self.sections)
        symbols = []
        for fields in struct.iter_unpack(self.prefix + SYMBOL, table.data):
            name_at, info, other, index, value, size = fields
            symbol = Symbol(_string(names, name_at, "name of a symbol"), info, other, index, value, size)
            if count <= index < SHN_LORESERVE:
                raise _bad(f"symbol {symbol.name!r} stands in section {index} of {count}")
            if 0 < index < count and value + size > self.sections[index].size:
                raise _bad(f"symbol {symbol.name!r} reaches outside its section")
            symbols.append(symbol)
        self.symbols = tuple(symbols)

    def _check_relocations(self, section: Section) -> None:
        where = f"relocations {section.name!r}"
        entry_bytes = _REL_BYTES if section.type == SHT_REL else 24
        if section.entry_size != entry_bytes or section.size % entry_bytes:
            raise _bad(f"{where}: their size isn't a multiple of one's")
        if not 0 < section.info < len(self.sections):
            raise _bad(f"{where}: for section {section.info} of {len(self.sections)}")
        if self.symbol_table is None or section.link != self.symbol_table.index:
            raise _bad(f"{where}: not bound to the symbol table")
        target = self.sections[section.info]
        known = len(self.symbols)
        data = section.data
        unpack = struct.Struct(self.prefix + "QQ").unpack_from
        for at in range(0, len(data), entry_bytes):
            offset, info = unpack(data, at)
            if offset + 4 > target.size:
                raise _bad(f"{where}: offset {offset} lies outside {target.name!r}")
            if info >> 32 >= known:
                raise _bad(f"{where}: symbol {info >> 32} of {known}")


def strip_debug(data: bytes, also: tuple[str, ...] = ()) -> bytes:
    """The object without DWARF and whatever only serves it; `also` names further sections to drop.

    .BTF and .BTF.ext stay, their relocations go: no loader reads them; and so do the labels of jumps, nine symbols of
    ten. The same input gives the same bytes.
    """
    elf = Elf.parse(data)
    dropped = {section.index for section in elf.sections if _is_debug(section) or section.name in also}
    names_sections = {section.index for section in elf.sections if section.type == SHT_STRTAB}
    for section in elf.sections:
        if section.type in (SHT_REL, SHT_RELA) and (
            section.info in dropped or elf.sections[section.info].name in (".BTF", ".BTF.ext")
        ):
            dropped.add(section.index)
    kept = [section for section in elf.sections if section.index not in dropped | names_sections]
    new_index = {section.index: index for index, section in enumerate(kept)}
    wanted = _relocated(elf, kept)
    strings = _Strings()
    symbol_index: dict[int, int] = {}
    symbols = bytearray()
    locals_count = 0
    for index, symbol in enumerate(elf.symbols):
        if (
            symbol.section in dropped
            or symbol.type == STT_FILE
            or (_is_label(symbol) and index not in wanted)
        ):
            continue
        symbol_index[index] = len(symbol_index)
        locals_count += symbol.bind == STB_LOCAL
        symbols += struct.pack(
            elf.prefix + SYMBOL,
            strings.add(symbol.name),
            symbol.bind << 4 | symbol.type,
            symbol.other,
            new_index.get(symbol.section, symbol.section),
            symbol.value,
            symbol.size,
        )
    strings_index = len(kept)
    body = bytearray(HEADER_BYTES)
    headers = bytearray()
    for section in kept:
        content, link, info = section.data, new_index.get(section.link, 0), section.info
        if section.type == SHT_SYMTAB:
            content, link, info = bytes(symbols), strings_index, locals_count
        elif section.type in (SHT_REL, SHT_RELA):
            content = _renumber(elf, section, symbol_index)
            info = new_index[section.info]
        headers += _place(elf.prefix, body, section, strings.add(section.name), content, link, info)
    name = strings.add(".strtab")
    strtab = Section(strings_index, (0, SHT_STRTAB, 0, 0, 0, 0, 0, 0, 1, 0), b"")
    headers += _place(elf.prefix, body, strtab, name, bytes(strings.data), 0, 0)
    body += bytes(-len(body) % 8)
    body[:16] = data[:16]
    struct.pack_into(
        elf.prefix + _HEADER, body, 16, _ET_REL, elf.header.machine, 1, 0, 0, len(body), elf.header.flags,
        HEADER_BYTES, 0, 0, SECTION_BYTES, len(kept) + 1, strings_index,
    )  # fmt: skip
    return bytes(body + headers)


def _is_debug(section: Section) -> bool:
    return section.name.startswith(".debug_") or section.type == SHT_LLVM_ADDRSIG


def _is_label(symbol: Symbol) -> bool:
    return symbol.type == STT_NOTYPE and symbol.bind == STB_LOCAL and symbol.section != SHN_UNDEF


def _relocated(elf: Elf, sections: list[Section]) -> set[int]:
    """The symbols that relocations of these sections are about."""
    return {
        info >> 32
        for section in sections
        if section.type in (SHT_REL, SHT_RELA)
        for at in range(0, section.size, section.entry_size)
        for (info,) in [struct.unpack_from(elf.prefix + "Q", section.data, at + 8)]
    }


def _renumber(elf: Elf, section: Section, symbol_index: dict[int, int]) -> bytes:
    content = bytearray(section.data)
    for at in range(0, len(content), section.entry_size):
        (info,) = struct.unpack_from(elf.prefix + "Q", content, at + 8)
        symbol = symbol_index.get(info >> 32)
        if symbol is None:
            raise _bad(f"relocations {section.name!r} need a symbol of a section that is to be dropped")
        struct.pack_into(elf.prefix + "Q", content, at + 8, symbol << 32 | info & 0xFFFFFFFF)
    return bytes(content)


def _place(
    prefix: str, body: bytearray, section: Section, name: int, content: bytes, link: int, info: int
) -> bytes:
    """Append a section's bytes to the file; return its header."""
    offset = 0
    size = section.size if section.type == SHT_NOBITS else len(content)
    if section.type != SHT_NULL:
        body += bytes(-len(body) % max(section.alignment, 1))
        offset = len(body)
        body += content
    return struct.pack(
        prefix + _SECTION, name, section.type, section.flags, 0, offset, size, link, info,
        section.alignment, section.entry_size,
    )  # fmt: skip


class _Strings:
    """A string table that holds each name once."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._offsets = {"": 0}

    def add(self, text: str) -> int:
        offset = self._offsets.get(text)
        if offset is None:
            offset = self._offsets[text] = len(self.data)
            self.data += text.encode("utf-8") + b"\0"
        return offset


def _string(table: bytes, offset: int, what: str) -> str:
    end = table.find(b"\0", offset, offset + LONGEST_NAME_BYTES) if offset < len(table) else -1
    if end < 0:
        raise _bad(f"{what} lies outside the string table, or has no end")
    try:
        return table[offset:end].decode("utf-8")
    except UnicodeDecodeError:
        raise _bad(f"{what} isn't text") from None


def _bad(cause: str) -> PackageError:
    return PackageError(f"ELF: {cause}")
