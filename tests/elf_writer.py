"""Writes relocatable BPF objects by hand, right or wrong, for tests that need no compiler."""

from __future__ import annotations

import struct

from snoopkit import elf

MACHINE = 247


class ElfWriter:
    """Sections and symbols in the order in which they are added; `bytes()` gives the file."""

    def __init__(self, byteorder: str = "little") -> None:
        self.order = "<" if byteorder == "little" else ">"
        self.sections: list[dict[str, int | str | bytes]] = [self.header("", elf.SHT_NULL, 0, b"")]
        self.symbols: list[tuple[str, int, int, int, int]] = [("", 0, 0, 0, 0)]
        self.relocations: list[tuple[int, list[tuple[int, int]]]] = []

    @staticmethod
    def header(name: str, kind: int, flags: int, data: bytes, **more: int) -> dict[str, int | str | bytes]:
        size = more.pop("size", len(data))
        fields: dict[str, int | str | bytes] = {
            "link": 0,
            "info": 0,
            "alignment": 8 if name else 0,
            "entry_size": 0,
        }
        return fields | {"name": name, "type": kind, "flags": flags, "data": data, "size": size} | more

    def section(
        self, name: str, data: bytes, flags: int = 0, kind: int = elf.SHT_PROGBITS, **more: int
    ) -> int:
        self.sections.append(self.header(name, kind, flags, data, **more))
        return len(self.sections) - 1

    def program(self, section: str, name: str, instructions: int = 2) -> int:
        code = struct.pack(self.order + "Q", 0xB7) * (instructions - 1) + struct.pack(self.order + "Q", 0x95)
        index = self.section(section, code, elf.SHF_ALLOC | elf.SHF_EXECINSTR)
        self.symbol(name, index, 0, len(code), elf.STT_FUNC)
        return index

    def symbol(
        self,
        name: str,
        section: int,
        value: int,
        size: int,
        kind: int = elf.STT_OBJECT,
        bind: int = elf.STB_GLOBAL,
    ) -> int:
        self.symbols.append((name, bind << 4 | kind, section, value, size))
        return len(self.symbols) - 1

    def relocate(self, section: int, *entries: tuple[int, int]) -> None:
        """Relocations of a section: (offset, symbol) each."""
        self.relocations.append((section, list(entries)))

    def bytes(self) -> bytes:
        strings = bytearray(1)

        def text(name: str) -> int:
            strings.extend(name.encode() + b"\0")
            return len(strings) - len(name.encode()) - 1

        sections = list(self.sections)
        symtab_index = len(sections) + len(self.relocations)
        for target, entries in self.relocations:
            data = b"".join(
                struct.pack(self.order + "QQ", offset, symbol << 32 | 1) for offset, symbol in entries
            )
            sections.append(
                self.header(
                    f".rel{sections[target]['name']}",
                    elf.SHT_REL,
                    0,
                    data,
                    link=symtab_index,
                    info=target,
                    entry_size=16,
                )
            )
        table = b"".join(
            struct.pack(self.order + "IBBHQQ", text(name), info, 0, section, value, size)
            for name, info, section, value, size in self.symbols
        )
        locals_count = sum(not info >> 4 for _, info, *_ in self.symbols)
        sections.append(
            self.header(
                ".symtab", elf.SHT_SYMTAB, 0, table, link=symtab_index + 1, info=locals_count, entry_size=24
            )
        )
        names = [text(str(section["name"])) for section in sections]
        names.append(text(".strtab"))
        sections.append(self.header(".strtab", elf.SHT_STRTAB, 0, bytes(strings), alignment=1))
        body = bytearray(64)
        headers = b""
        for name, section in zip(names, sections, strict=True):
            body += bytes(-len(body) % 8)
            headers += struct.pack(
                self.order + "IIQQQQIIQQ", name, section["type"], section["flags"], 0, len(body), section["size"],
                section["link"], section["info"], section["alignment"], section["entry_size"],
            )  # fmt: skip
            body += bytes(section["data"])  # type: ignore[arg-type]
        body += bytes(-len(body) % 8)
        ident = b"\x7fELF\x02" + (b"\x01" if self.order == "<" else b"\x02") + b"\x01"
        body[:64] = ident.ljust(16, b"\0") + struct.pack(
            self.order + "HHIQQQIHHHHHH", 1, MACHINE, 1, 0, 0, len(body), 0, 64, 0, 0, 64, len(sections),
            len(sections) - 1,
        )  # fmt: skip
        return bytes(body + headers)
