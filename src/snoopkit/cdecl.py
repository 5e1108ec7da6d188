"""How a type is written in C.

A C declaration grows outwards from the name: pointers to its left, arrays and parameters to its right, and
brackets where a pointer is followed by one of those. `Speller` walks from the type at the outside to the one
at the root in that order; the root is a name, or an anonymous struct, union or enum written where it stands.
"""

from __future__ import annotations

from snoopkit.btf import (
    KIND_ARRAY,
    KIND_CONST,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_UNION,
    KIND_VAR,
    KIND_VOID,
    KIND_VOLATILE,
)
from snoopkit.errors import PackageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snoopkit.btf import Btf, Type

_QUALIFIERS = {KIND_CONST: "const", KIND_VOLATILE: "volatile", KIND_RESTRICT: "restrict"}
_KEYWORDS = {KIND_STRUCT: "struct", KIND_UNION: "union", KIND_ENUM: "enum", KIND_ENUM64: "enum"}
# Shared anonymous parts make the text of a small BTF exponentially long.
_MAX_TEXT = 1 << 20


def type_name(btf: Btf, type_id: int) -> str:
    """The type as in a cast: "unsigned long long", "char[16]", "struct x *", "int (*)(void *)"."""
    return Speller(btf).declare(type_id, "")


def declaration(btf: Btf, type_id: int, name: str) -> str:
    """The type as in a declaration of `name`, without the semicolon: "char comm[16]"."""
    return Speller(btf).declare(type_id, name)


class Speller:
    """Writes types in C. A subclass may name and lay out types its own way by `named` and `body`."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf

    def declare(self, type_id: int, name: str) -> str:
        """A declaration of `name`, or a type name if that is empty."""
        types = self.btf.types
        declarator = name
        qualifiers: list[str] = []
        after_pointer = False
        while True:
            if not 0 <= type_id < len(types):
                raise PackageError(f"BTF: no type {type_id}")
            one = types[type_id]
            kind = one.kind
            if kind in _QUALIFIERS:
                if _QUALIFIERS[kind] not in qualifiers:
                    qualifiers.append(_QUALIFIERS[kind])
            elif kind == KIND_PTR:
                words = [*qualifiers, declarator] if declarator else qualifiers
                declarator = "*" + " ".join(words)
                qualifiers = []
                after_pointer = True
            elif kind in (KIND_ARRAY, KIND_FUNC_PROTO):
                if after_pointer:
                    declarator = f"({declarator})"
                    after_pointer = False
                if kind == KIND_ARRAY:
                    declarator += f"[{one.count}]"  # qualifiers of an array are its elements'
                else:
                    declarator += self._parameters(one)
                    qualifiers = []
            elif kind not in (KIND_TYPE_TAG, KIND_VAR, KIND_FUNC):
                break
            if len(declarator) > _MAX_TEXT:
                raise PackageError("BTF: a type that takes too much text to write in C")
            type_id = one.type_id
        root = " ".join([*qualifiers, self.named(one)])
        if not declarator:
            return root
        # "char[16]", but "char comm[16]" and "char *"
        gap = "" if declarator[0] == "[" else " "
        return f"{root}{gap}{declarator}"

    def named(self, one: Type) -> str:
        """The type at the root of a declaration: its name, or all of it if it has none."""
        kind = one.kind
        if kind == KIND_VOID:
            return "void"
        if kind == KIND_FWD:
            return f"{'union' if one.is_union_fwd else 'struct'} {one.name}"
        if kind not in _KEYWORDS:
            return one.name
        if one.name:
            return f"{_KEYWORDS[kind]} {one.name}"
        return self.body(one)

    def body(self, one: Type) -> str:
        """An anonymous struct, union or enum in one line."""
        size = 0
        parts = []
        for member in one.members:
            text = self.declare(member.type_id, member.name)
            if member.bit_size:
                text += f" : {member.bit_size}" if member.name else f": {member.bit_size}"
            parts.append(f"{text};")
            size += len(text)
            if size > _MAX_TEXT:
                raise PackageError("BTF: a type that takes too much text to write in C")
        if one.values:
            parts.append(", ".join([f"{name} = {value}" for name, value in one.values]))
        return " ".join([_KEYWORDS[one.kind], "{", *parts, "}"])

    def _parameters(self, prototype: Type) -> str:
        size = 0
        parts = []
        for name, type_id in prototype.params:
            text = "..." if type_id == KIND_VOID else self.declare(type_id, name)
            parts.append(text)
            size += len(text)
            if size > _MAX_TEXT:
                raise PackageError("BTF: a type that takes too much text to write in C")
        return f"({', '.join(parts) or 'void'})"
