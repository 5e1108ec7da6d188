"""How the structs of a header get into an object's BTF, and how the object is rid of the means afterwards.

Nothing in a program need refer to the struct that its records have, and then the object's BTF lacks it. So clang
is shown a copy of the header in which a pointer stands behind each struct, on the same line: clang itself sees
what is commented out, switched off, packed or renamed, in the context of the user's source. The pointers live in a
section of their own; once their types were read, section and variables are taken away again.

They point to arrays of one struct: of a plain pointer, clang keeps only a forward declaration if some other struct has
a member of the same type.
"""

from __future__ import annotations

import re
import struct

from .btf import KIND_ARRAY, KIND_DATASEC, KIND_PTR, KIND_STRUCT, KIND_TYPEDEF, Btf
from .elf import Elf, strip_debug
from .errors import PackageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SECTION", "clean", "place", "remove", "structs"]

SECTION = ".snoopkit.structs"
_VARIABLE = "__snoopkit_struct_"
_ANCHOR = " {type} (*" + _VARIABLE + '{number})[1] __attribute__((section("' + SECTION + '"), unused));'
_IN_DIAGNOSTICS = re.compile(
    r" (?:struct )?\w+ \(\*" + _VARIABLE + r"\d+\)\[1\] __attribute__\(\(section\([^)]*\), unused\)\);"
)

_TOKEN = re.compile(
    r"""
      (?P<skip> //(?:\\\r?\n|[^\n])* | /\*.*?(?:\*/|\Z) | \s+ | \\\r?\n )
    | (?P<directive> \#(?:\\\r?\n|/\*.*?(?:\*/|\Z)|//[^\n]*|[^\n])* )
    | (?P<text> "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'? )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"\#\s*(\w+)(?:\s+(\w+))?")
_BODY, _GROUP = "{}", "()"
_ATTRIBUTES = ("__attribute__", "__attribute", "_Alignas", "__extension__")


def place(text: str) -> str:
    """The header's text with an anchor behind each struct that it defines at its top level.

    No line moves and nothing else changes.
    """
    pieces: list[str] = []
    copied = 0
    for number, (end, type_name) in enumerate(_definitions(text)):
        pieces += text[copied:end], _ANCHOR.format(type=type_name, number=number)
        copied = end
    return "".join(pieces) + text[copied:]


def clean(diagnostics: str) -> str:
    """clang's text without the anchors that it quotes from the copy."""
    return _IN_DIAGNOSTICS.sub("", diagnostics)


class _Declaration:
    """What stands at the top level since the last declaration ended: words, `{}` for a body, `()` for a group."""

    def __init__(self, words: list[str], nesting: list[str]) -> None:
        self.words = words
        self.nesting = nesting

    def copy(self) -> _Declaration:
        return _Declaration(self.words[:], self.nesting[:])


def _definitions(text: str) -> Iterator[tuple[int, str]]:
    """(where the declaration ends, how C calls the type) for each struct, in the header's order."""
    now = _Declaration([], [])
    branches: list[_Declaration] = []
    macros: set[str] = set()
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token.group()
        if kind == "skip":
            continue
        if kind == "directive":
            now = _directive(word, now, branches, macros)
        elif word in "{([":
            now.nesting.append(word)
        elif word in "})]":
            if now.nesting:
                now.nesting.pop()
            if not now.nesting:
                now.words.append(_BODY if word == "}" else _GROUP)
                if word == "}" and _is_function(now.words):
                    now.words = []
        elif now.nesting:
            continue
        elif word == ";":
            name = _type_name(now.words, macros)
            now.words = []
            if name:
                yield token.end(), name
        else:
            now.words.append(word)


def _directive(text: str, now: _Declaration, branches: list[_Declaration], macros: set[str]) -> _Declaration:
    match = _DIRECTIVE.match(text)
    name = match.group(1) if match else ""
    if match and name == "define" and match.group(2):
        macros.add(match.group(2))
    elif name in ("if", "ifdef", "ifndef"):
        branches.append(now.copy())
    elif name in ("else", "elif", "elifdef", "elifndef") and branches:
        return branches[-1].copy()  # each branch continues what stood before the first
    elif name == "endif" and branches:
        branches.pop()
    return now


def _head(words: list[str]) -> tuple[list[str], int] | None:
    """(the words between `struct` and its body, the body's place) of the first struct defined in a declaration."""
    if _BODY not in words:
        return None
    body = words.index(_BODY)
    starts = [index for index, word in enumerate(words[:body]) if word == "struct"]
    if not starts:
        return None
    between = words[starts[-1] + 1 : body]
    while len(between) >= 2 and between[1] == _GROUP:  # an attribute, or a macro that makes one
        between = between[2:]
    return between, body


def _is_function(words: list[str]) -> bool:
    """Whether a body that just ended makes a declaration complete without a semicolon."""
    if "=" in words or "enum" in words or "union" in words:
        return False
    head = _head(words)
    return _GROUP in (head[0] if head else words)


def _type_name(words: list[str], macros: set[str]) -> str | None:
    head = _head(words)
    if head is None or _GROUP in head[0] or not all(word.isidentifier() for word in head[0]):
        return None
    tags = [word for word in head[0] if word not in macros and word not in _ATTRIBUTES]
    if tags and not (tags[-1].startswith("__") and "typedef" in words):
        return f"struct {tags[-1]}"
    if "typedef" not in words:
        return None
    first: list[str] = []
    for word in words[head[1] + 1 :]:
        if word == ",":
            break
        first.append(word)
    if "*" in first:
        return None
    names = [
        word
        for word in first
        if word.isidentifier()
        and word not in macros
        and word not in _ATTRIBUTES
        and not word.startswith("__")
    ]
    return names[-1] if names else None


# ---------------------------------------------------------------------------------------------------------------
# Afterwards


def structs(btf: Btf) -> list[tuple[int, str]]:
    """(type id, name) of each anchored struct that clang saw, in the header's order."""
    section = btf.find(SECTION, KIND_DATASEC)
    if section is None:
        return []
    found: list[tuple[int, int, str]] = []
    for variable_id, _, _ in btf.types[section].variables:
        variable = btf.types[variable_id]
        element_id = _element(btf, variable.type_id)
        if not variable.name.startswith(_VARIABLE) or element_id is None:
            continue
        target = btf.types[btf.resolve(element_id)]
        if target.kind == KIND_STRUCT and target.members:
            name = target.name or btf.types[element_id].name
            found.append((int(variable.name.removeprefix(_VARIABLE)), target.id, name))
    return [(type_id, name) for _, type_id, name in sorted(found)]


def _element(btf: Btf, type_id: int) -> int | None:
    """What an anchor of this type points to."""
    pointer = btf.types[type_id]
    array = btf.types[pointer.type_id] if pointer.kind == KIND_PTR else pointer
    return array.type_id if array.kind == KIND_ARRAY else None


def remove(data: bytes) -> bytes:
    """The object without DWARF and without anchors; every type keeps its id.

    Ids stand in other sections too, so no type can be taken out: variables become integers and their section a
    struct, as libbpf does it for kernels that know neither. A struct that has its name from a typedef only gets it
    for its own, since eunomia-bpf's runner looks for it there.
    """
    elf = Elf.parse(data)
    section = elf.section(".BTF")
    if section is None:
        raise PackageError("ELF: the object has no .BTF section")
    btf = Btf.parse(section.data, trusted=True)  # clang's own
    anchored = btf.find(SECTION, KIND_DATASEC)
    if anchored is None:
        return strip_debug(data)
    raw = bytearray(section.data)
    order = elf.prefix
    at = _type_offsets(raw, order)
    variables = [variable_id for variable_id, _, _ in btf.types[anchored].variables]
    struct.pack_into(
        order + "III", raw, at[anchored], 0, KIND_STRUCT << 24 | len(variables), 8 * len(variables)
    )
    taken = {t.name for t in (btf.types[i] for i in range(1, len(btf))) if t.kind == KIND_STRUCT}
    for index, variable_id in enumerate(variables):
        variable = btf.types[variable_id]
        (name,) = struct.unpack_from(order + "I", raw, at[variable_id])
        member = at[anchored] + 12 + 12 * index
        struct.pack_into(order + "III", raw, member, name, variable.type_id, 64 * index)
        struct.pack_into(order + "III", raw, at[variable_id] + 4, 1 << 24, 1, 8)
        typedef = btf.types[_element(btf, variable.type_id) or 0]
        if typedef.kind == KIND_TYPEDEF and typedef.name not in taken:
            target = btf.types[btf.resolve(typedef.id)]
            if target.kind == KIND_STRUCT and not target.name:
                raw[at[target.id] : at[target.id] + 4] = raw[at[typedef.id] : at[typedef.id] + 4]
    patched = data[: section.offset] + bytes(raw) + data[section.offset + section.size :]
    return strip_debug(patched, also=(SECTION,))


_EXTRA_BYTES = {1: 4, 3: 12, 14: 4, 17: 4}  # by kind: behind the type's own twelve bytes
_EACH_BYTES = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # by kind: for each of its members


def _type_offsets(raw: bytes | bytearray, order: str) -> list[int]:
    """Where each type stands in a .BTF section that was validated before."""
    header, types, length = struct.unpack_from(order + "III", raw, 4)
    offsets = [0]
    at = header + types
    while at < header + types + length:
        offsets.append(at)
        (info,) = struct.unpack_from(order + "I", raw, at + 4)
        kind = info >> 24 & 31
        at += 12 + _EXTRA_BYTES.get(kind, 0) + _EACH_BYTES.get(kind, 0) * (info & 0xFFFF)
    return offsets
