"""The ELF reader refuses what points outside; stripping keeps what loaders read, and only that."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from elf_writer import ElfWriter
from snoopkit import elf
from snoopkit.elf import Elf, strip_debug
from snoopkit.errors import PackageError

SHIPPED = Path(__file__).parents[2] / "src/execsnoop/bpf/package.json"


def sample(byteorder: str = "little") -> ElfWriter:
    writer = ElfWriter(byteorder)
    writer.section(".text", b"", elf.SHF_ALLOC | elf.SHF_EXECINSTR)
    program = writer.program("raw_tp/x", "on_x", 4)
    rodata = writer.section(".rodata", b"\7\0\0\0", elf.SHF_ALLOC, alignment=4)
    bss = writer.section(".bss", b"", elf.SHF_ALLOC | elf.SHF_WRITE, elf.SHT_NOBITS, size=16)
    info = writer.section(".debug_info", b"dwarf" * 3, alignment=1)
    btf = writer.section(".BTF", b"types", alignment=4)
    writer.section(".llvm_addrsig", b"\1", 0x80000000, elf.SHT_LLVM_ADDRSIG, alignment=1)
    writer.symbol("x.bpf.c", 0xFFF1, 0, 0, elf.STT_FILE, elf.STB_LOCAL)
    # Local symbols come first in a symbol table.
    local = writer.symbol("", info, 0, 0, elf.STT_SECTION, elf.STB_LOCAL)
    writer.symbols.insert(1, writer.symbols.pop(local))
    writer.symbols.insert(1, writer.symbols.pop(local))
    number = writer.symbol("number", rodata, 0, 4)
    writer.symbol("count", bss, 8, 8)
    writer.relocate(program, (8, number))
    writer.relocate(info, (4, 1), (8, 2))
    writer.relocate(btf, (0, number))
    return writer


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_reads_sections_and_symbols(byteorder: str) -> None:
    found = Elf.parse(sample(byteorder).bytes())
    assert (found.byteorder, found.header.machine) == (byteorder, 247)
    rodata, bss = found.section(".rodata"), found.section(".bss")
    assert rodata is not None and bss is not None
    assert (rodata.data, bss.data, bss.size) == (b"\7\0\0\0", b"", 16)
    assert [program.name for program in found.programs()] == ["on_x"]
    assert {s.name: (s.value, s.size) for s in found.symbols if s.section == bss.index} == {"count": (8, 8)}
    assert found.section("absent") is None


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_strip_keeps_what_loaders_read(byteorder: str) -> None:
    original = sample(byteorder).bytes()
    stripped = strip_debug(original)
    found = Elf.parse(stripped)
    assert [section.name for section in found.sections] == [
        "", ".text", "raw_tp/x", ".rodata", ".bss", ".BTF", ".relraw_tp/x", ".symtab", ".strtab",
    ]  # fmt: skip
    assert [symbol.name for symbol in found.symbols] == ["", "on_x", "number", "count"]
    assert found.symbol_table is not None and found.symbol_table.info == 1
    for name in ("raw_tp/x", ".rodata", ".bss", ".BTF"):
        before, after = Elf.parse(original).section(name), found.section(name)
        assert before is not None and after is not None
        assert (before.data, before.flags, before.size) == (after.data, after.flags, after.size)
        assert after.offset % max(after.alignment, 1) == 0
    relocations = found.section(".relraw_tp/x")
    assert relocations is not None
    offset, info = struct.unpack(found.prefix + "QQ", relocations.data)
    assert (offset, found.symbols[info >> 32].name, info & 0xFF) == (8, "number", 1)
    assert found.sections[relocations.info].name == "raw_tp/x"
    assert strip_debug(original) == stripped == strip_debug(stripped)


def test_strip_drops_named_sections_and_their_symbols() -> None:
    writer = ElfWriter()
    writer.program("raw_tp/x", "on_x")
    writer.symbol("anchor", writer.section(".anchors", bytes(8), elf.SHF_ALLOC), 0, 8)
    found = Elf.parse(strip_debug(writer.bytes(), also=(".anchors",)))
    assert found.section(".anchors") is None
    assert [symbol.name for symbol in found.symbols] == ["", "on_x"]


def test_strip_drops_labels_that_no_relocation_needs() -> None:
    writer = ElfWriter()
    program = writer.program("raw_tp/x", "on_x", 4)
    writer.symbol("LBB0_1", program, 8, 0, elf.STT_NOTYPE, elf.STB_LOCAL)
    writer.symbol("LBB0_2", program, 16, 0, elf.STT_NOTYPE, elf.STB_LOCAL)
    needed = writer.symbol("LBB0_3", program, 24, 0, elf.STT_NOTYPE, elf.STB_LOCAL)
    extern = writer.symbol("called", elf.SHN_UNDEF, 0, 0, elf.STT_NOTYPE, elf.STB_GLOBAL)
    writer.relocate(program, (8, needed), (16, extern))
    found = Elf.parse(strip_debug(writer.bytes()))
    assert {symbol.name for symbol in found.symbols} == {"", "on_x", "LBB0_3", "called"}


def test_strip_refuses_to_drop_what_is_needed() -> None:
    writer = ElfWriter()
    program = writer.program("raw_tp/x", "on_x")
    anchor = writer.symbol("anchor", writer.section(".anchors", bytes(8), elf.SHF_ALLOC), 0, 8)
    writer.relocate(program, (0, anchor))
    with pytest.raises(PackageError, match="need a symbol of a section that is to be dropped"):
        strip_debug(writer.bytes(), also=(".anchors",))


@pytest.mark.skipif(not shutil.which("readelf"), reason="no readelf")
def test_readelf_has_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(strip_debug(sample().bytes()))
    done = subprocess.run(["readelf", "-aW", "x.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Warning" not in done.stdout


def changes(data: bytearray) -> dict[str, Callable[[], object]]:
    """Everything that can be wrong with `sample()`, one at a time: each call changes `data`."""
    writer = sample()
    (table,) = struct.unpack_from("<Q", data, 40)
    sections = len(writer.sections) + len(writer.relocations) + 2
    symbols, relocations = sections - 2, sections - 5

    def header(index: int, field: int, value: int, form: str = "I") -> None:
        struct.pack_into(f"<{form}", data, table + 64 * index + field, value)

    def symbol(field: int, value: int, form: str) -> None:
        (offset,) = struct.unpack_from("<Q", data, table + 64 * symbols + 24)
        struct.pack_into(f"<{form}", data, offset + 24 * 4 + field, value)

    def relocation(field: int, value: int) -> None:
        (offset,) = struct.unpack_from("<Q", data, table + 64 * relocations + 24)
        struct.pack_into("<Q", data, offset + field, value)

    return {
        "cut": lambda: data.pop(),
        "magic": lambda: data.__setitem__(0, 0),
        "class": lambda: data.__setitem__(4, 1),
        "byte order": lambda: data.__setitem__(5, 3),
        "type": lambda: struct.pack_into("<H", data, 16, 2),
        "machine": lambda: struct.pack_into("<H", data, 18, 62),
        "table beyond the end": lambda: struct.pack_into("<Q", data, 40, len(data)),
        "table far beyond": lambda: struct.pack_into("<Q", data, 40, 1 << 63),
        "table in the header": lambda: struct.pack_into("<Q", data, 40, 8),
        "no sections": lambda: struct.pack_into("<H", data, 60, 0),
        "too many sections": lambda: struct.pack_into("<H", data, 60, 0xFFFF),
        "header size": lambda: struct.pack_into("<H", data, 58, 40),
        "names index": lambda: struct.pack_into("<H", data, 62, 0xFFFF),
        "names in a program": lambda: struct.pack_into("<H", data, 62, 2),
        "section name": lambda: header(2, 0, 0xFFFFFF),
        "section offset": lambda: header(2, 24, 1 << 62, "Q"),
        "section size": lambda: header(2, 32, 1 << 62, "Q"),
        "section link": lambda: header(2, 40, 99),
        "alignment": lambda: header(2, 48, 3, "Q"),
        "zeros": lambda: header(4, 32, 1 << 40, "Q"),
        "names without NUL": lambda: data.__setitem__(slice(table - 8, table), b"x" * 8),
        "symbol entry size": lambda: header(symbols, 56, 16, "Q"),
        "symbol names": lambda: header(symbols, 40, 2),
        "symbol name": lambda: symbol(0, 0xFFFFFF, "I"),
        "symbol section": lambda: symbol(6, 200, "H"),
        "symbol value": lambda: symbol(8, 1 << 60, "Q"),
        "symbol size": lambda: symbol(16, 5, "Q"),
        "relocation entry size": lambda: header(relocations, 56, 8, "Q"),
        "relocation target": lambda: header(relocations, 44, 99),
        "relocation table": lambda: header(relocations, 40, 2),
        "relocation offset": lambda: relocation(0, 1 << 50),
        "relocation symbol": lambda: relocation(8, 99 << 32 | 1),
        "symbols in no section": lambda: header(3, 4, elf.SHT_NULL),
        "two symbol tables": lambda: header(3, 4, elf.SHT_SYMTAB),
    }  # fmt: skip


@pytest.mark.parametrize("change", list(changes(bytearray(sample().bytes()))))
def test_refuses(change: str) -> None:
    data = bytearray(sample().bytes())
    Elf.parse(bytes(data))
    changes(data)[change]()
    with pytest.raises(PackageError, match=r"^ELF: "):
        Elf.parse(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\x7fELF", bytes(64), b"\x7fELF\x02\x01\x01" + bytes(57)])
def test_refuses_what_is_no_object(data: bytes) -> None:
    with pytest.raises(PackageError, match=r"^ELF: "):
        Elf.parse(data)


def test_a_bounded_number_of_symbols_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf, "_MOST_SYMBOLS", 3)
    with pytest.raises(PackageError, match="symbols"):
        Elf.parse(sample().bytes())
    monkeypatch.setattr(elf, "LARGEST_OBJECT_BYTES", 100)
    with pytest.raises(PackageError, match="larger than 100 bytes"):
        Elf.parse(sample().bytes())
