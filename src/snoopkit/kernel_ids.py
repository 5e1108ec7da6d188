"""The kernel's ids for what programs are attached to and for its functions that they call.

libbpf reads all of the kernel's types to find them, which takes as long as loading the programs. Where each of them is
found here, the object is written so that libbpf has nothing to ask: calls have their function's id, and the sections of
programs have names under which libbpf takes what they are for from us.
"""

from __future__ import annotations

from struct import iter_unpack, pack, unpack_from

from .btf import KIND_DATASEC, KIND_FUNC, KIND_INT, KIND_PTR, KIND_STRUCT, KIND_TYPEDEF
from .elf import SECTION_BYTES, SHN_UNDEF, SHT_REL, STB_LOCAL, STT_NOTYPE, SYMBOL_BYTES

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Collection

    from .btf import Type
    from .elf import Section
    from .package import Package

__all__ = ["Asked"]

# By the kind of section: what a hook's type is called, which kind of type that is, and the section's other name.
_HOOKS = {
    "tp_btf": (b"btf_trace_", KIND_TYPEDEF, b"Tp_btf"),
    "iter": (b"bpf_iter_", KIND_FUNC, b"Iter"),
    "iter.s": (b"bpf_iter_", KIND_FUNC, b"Iter.s"),
}
# Those for which libbpf reads no types.
_PLAIN = (
    "raw_tp",
    "raw_tracepoint",
    "tp",
    "tracepoint",
    "kprobe",
    "kretprobe",
    "uprobe",
    "uretprobe",
    "perf_event",
)

_REL_BYTES = 16
_CALL, _PSEUDO_KFUNC_CALL = 0x85, 2
_ADDRESS_BYTES, _SIZE_AT, _INFO_AT = 8, 32, 4  # within the headers of a section and of a symbol


class _Left(Exception):
    """Something that libbpf has to find."""


class Asked:
    """What the programs `loaded` of a package ask for; `names` are those to look for, none where it can't be done."""

    def __init__(self, package: Package, loaded: Collection[str]) -> None:
        self._package = package
        self._hooks: dict[str, tuple[bytes, int]] = {}
        self._functions: dict[int, Type] = {}  # by symbol
        self._section: Type | None = None
        self.names: list[bytes] = []
        try:
            self._look(loaded)
        except _Left:
            return
        names = {name for name, _ in self._hooks.values()}
        self.names = sorted(names | {one.name.encode() for one in self._functions.values()})

    def _look(self, loaded: Collection[str]) -> None:
        for name in loaded:
            kind, _, target = self._package.programs[name].section.removeprefix("?").partition("/")
            if kind in _HOOKS:
                self._hooks[name] = (_HOOKS[kind][0] + target.encode(), _HOOKS[kind][1])
            elif kind not in _PLAIN:
                raise _Left
        btf = self._package.btf
        for number, symbol in enumerate(self._package.elf.symbols):
            if symbol.section == SHN_UNDEF and symbol.bind != STB_LOCAL and symbol.type == STT_NOTYPE:
                type_id = btf.find(symbol.name, KIND_FUNC)
                if type_id is None or btf.tags(type_id):
                    raise _Left
                self._functions[number] = btf.types[type_id]
        if self._functions:
            section = btf.find(".ksyms", KIND_DATASEC)
            functions = sorted(one.id for one in self._functions.values())
            if section is None or sorted(one for one, _, _ in btf.types[section].variables) != functions:
                raise _Left
            self._section = btf.types[section]

    def fill_in(self, object: bytearray, found: list[tuple[bytes, int, int]]) -> dict[str, int] | None:
        """Change the package's `object` by what was `found` of `names`, as (name, id, kind); returns the ids of what
        programs are for, by name. None, and nothing changed, where that isn't all."""
        ids = {(name, kind): type_id for name, type_id, kind in found}
        wanted = {
            *self._hooks.values(),
            *((one.name.encode(), KIND_FUNC) for one in self._functions.values()),
        }
        if not self.names or len(ids) != len(found) or not wanted <= ids.keys():
            return None
        try:
            changed = bytearray(object)
            if self._functions:
                self._fill_in_calls(
                    changed,
                    {number: ids[one.name.encode(), KIND_FUNC] for number, one in self._functions.items()},
                )
                self._hide_functions(changed)
            self._rename_sections(changed)
        except _Left:
            return None
        object[:] = changed
        return {name: ids[hook] for name, hook in self._hooks.items()}

    def _fill_in_calls(self, object: bytearray, ids: dict[int, int]) -> None:
        """The functions' ids into the calls of them, which then need no relocation."""
        elf = self._package.elf
        for section in elf.sections:
            if section.type != SHT_REL:
                continue
            kept = bytearray()
            code = elf.sections[section.info]
            for offset, info in iter_unpack("=QQ", section.data):
                type_id = ids.get(info >> 32)
                if type_id is None:
                    kept += pack("=QQ", offset, info)
                    continue
                place = code.offset + offset
                if offset + _ADDRESS_BYTES > code.size or object[place] != _CALL:
                    raise _Left
                object[place + 1 : place + 8] = pack("=BHI", _PSEUDO_KFUNC_CALL << 4, 0, type_id)
            object[section.offset : section.offset + len(kept)] = kept
            size_at = elf.header.sections_at + section.index * SECTION_BYTES + _SIZE_AT
            object[size_at : size_at + 8] = pack("=Q", len(kept))
        table = elf.symbol_table
        assert table is not None
        for number in ids:
            object[table.offset + number * SYMBOL_BYTES + _INFO_AT] = STB_LOCAL << 4 | STT_NOTYPE

    def _hide_functions(self, object: bytearray) -> None:
        """In the object's types no function is left that is another's: what declares one becomes a pointer to its
        prototype, and the section that they were in a struct of numbers."""
        assert self._section is not None
        types = self._package.btf.types
        number = next((one for one in types if one.kind == KIND_INT and one.size == 4), None)
        if number is None:
            raise _Left
        for one in self._functions.values():
            self._write_type(object, one.id, 0, KIND_PTR << 24, one.type_id)
        count = len(self._section.variables)
        self._write_type(
            object, self._section.id, 0, KIND_STRUCT << 24 | count, 4, *(count * (0, number.id, 0))
        )

    def _write_type(self, object: bytearray, type_id: int, *words: int) -> None:
        section = self._btf()
        header_bytes, types_at = unpack_from("=4xII", section.data)
        at = section.offset + header_bytes + types_at + 4 * self._package.btf.types.place(type_id)
        object[at : at + 4 * len(words)] = pack(f"={len(words)}I", *words)

    def _rename_sections(self, object: bytearray) -> None:
        """Where names of sections are: in their table, and in the BTF's strings."""
        elf = self._package.elf
        for section in (elf.sections[elf.header.names], self._btf()):
            data = bytes(object[section.offset : section.offset + section.size])
            for kind, (_, _, other) in _HOOKS.items():
                data = data.replace(kind.encode() + b"/", other + b"/")
            object[section.offset : section.offset + section.size] = data

    def _btf(self) -> Section:
        section = self._package.elf.section(".BTF")
        if section is None:
            raise _Left
        return section
