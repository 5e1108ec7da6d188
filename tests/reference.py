"""C types, their layout and their decoding, from the rules of C and of the System V ABI alone.

The second witness of the decoder: nothing here knows BTF, plans or snoopkit. What a struct is made of is described by
the classes below; `place` lays it out as gcc and clang do on x86-64 and BPF, `decode` reads its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scalar:
    """`form` is int, bool, char, float or pointer. The alignment of all of them is their size."""

    spelling: str
    form: str
    size: int
    signed: bool = False


@dataclass(frozen=True)
class Enum:
    """What C calls its compatible type is the caller's to know: 4 bytes, 8 if a number needs it, 1 if packed."""

    name: str
    values: tuple[tuple[str, int], ...]
    size: int
    signed: bool
    spelling: str = ""
    form: str = "enum"


@dataclass(frozen=True)
class Array:
    element: Type
    count: int  # 0 of a flexible one too


@dataclass(frozen=True)
class Field:
    """A member. `bits` is None unless it is a bit-field; it and an anonymous struct or union have no name. `prefix`
    and `suffix` are text around its declaration."""

    name: str
    type: Type
    bits: int | None = None
    prefix: str = ""
    flexible: bool = False


@dataclass(frozen=True)
class Struct:
    name: str
    fields: tuple[Field, ...]
    is_union: bool = False
    packed: bool = False
    aligned: int = 1
    chosen: int = field(default=0, compare=False)  # of a union: the field that is set


Type = Scalar | Enum | Array | Struct


@dataclass(frozen=True)
class Named:
    """A number of an enumeration, how many bits it has, and its name if it has one."""

    number: int
    bits: int
    name: str | None


def align(ctype: Type) -> int:
    if isinstance(ctype, Array):
        return align(ctype.element)
    if isinstance(ctype, Struct):
        return place(ctype)[1]
    return ctype.size


def size(ctype: Type) -> int:
    if isinstance(ctype, Array):
        return size(ctype.element) * ctype.count
    if isinstance(ctype, Struct):
        return place(ctype)[0]
    return ctype.size


def place(struct: Struct) -> tuple[int, int, tuple[int, ...]]:
    """(size in bytes, alignment in bytes, the offset in bits of each field).

    A field begins at the next multiple of its type's alignment, a bit-field at the next bit; but it doesn't cross a
    boundary that its type's alignment sets: then it begins there. One of width 0 only moves on to that boundary. All
    but bit-fields without a name raise the struct's own alignment. Packing takes every alignment down to 1, and the
    boundaries away.
    """
    at = end = 0
    alignment = struct.aligned
    offsets = []
    for one in struct.fields:
        natural = 1 if struct.packed else align(one.type)
        if struct.is_union:
            at = 0
        if one.bits is None:
            at = up(at, 8 * natural)
            alignment = max(alignment, natural)
            length = 8 * size(one.type)
        else:
            unit = 8 * size(one.type)
            if one.bits == 0 or (not struct.packed and at // unit != (at + one.bits - 1) // unit):
                at = up(at, unit)
            if one.name:
                alignment = max(alignment, natural)
            length = one.bits
        offsets.append(at)
        at += length
        end = max(end, at)
    return up(up(end, 8) // 8, alignment), alignment, tuple(offsets)


def up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def decode(ctype: Type, data: bytes, byteorder: str) -> Any:
    """The value of a type whose bytes begin `data`: numbers, str up to the first NUL, lists, dicts, Named."""
    if isinstance(ctype, Struct):
        return dict(members(ctype, data, byteorder))
    if isinstance(ctype, Array):
        if isinstance(ctype.element, Scalar) and ctype.element.form == "char":
            return data[: ctype.count].split(b"\0")[0].decode("utf-8", "surrogateescape")
        step = size(ctype.element)
        return [decode(ctype.element, data[step * n :], byteorder) for n in range(ctype.count)]
    if ctype.form == "float":
        code = {4: "f", 8: "d"}[ctype.size]
        return struct.unpack((">" if byteorder == "big" else "<") + code, data[: ctype.size])[0]
    return value(
        ctype, int.from_bytes(data[: ctype.size], "big" if byteorder == "big" else "little"), 8 * ctype.size
    )


def members(outer: Struct, data: bytes, byteorder: str) -> Iterator[tuple[str, Any]]:
    """The members by name, those of anonymous structs and unions as the outer one's own."""
    for one, bit in zip(outer.fields, place(outer)[2], strict=True):
        if one.bits is not None:
            if one.name:
                yield one.name, value(one.type, bits(data, bit, one.bits, byteorder), one.bits)
        elif one.name:
            yield one.name, decode(one.type, data[bit // 8 :], byteorder)
        else:
            assert isinstance(one.type, Struct)
            yield from members(one.type, data[bit // 8 :], byteorder)


def bits(data: bytes, start: int, width: int, byteorder: str) -> int:
    """Bits are counted from the least significant of the first byte, or on big-endian machines from the most."""
    everything = int.from_bytes(data, "big" if byteorder == "big" else "little")
    last = start + width
    return everything >> (8 * len(data) - last if byteorder == "big" else start) & ((1 << width) - 1)


def value(ctype: Type, pattern: int, width: int) -> Any:
    assert isinstance(ctype, (Scalar, Enum))
    if ctype.signed and pattern >> (width - 1):
        pattern -= 1 << width
    if isinstance(ctype, Enum):
        return Named(pattern, width, next((name for name, number in ctype.values if number == pattern), None))
    return bool(pattern) if ctype.form == "bool" else pattern
