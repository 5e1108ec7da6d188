"""Python values to the bytes that C has for them: the way back of what `_decode` reads.

What can be written for a type is what it decodes to, and what is as clear: an enumeration by its name or number, a
char array as str or bytes, a struct as a record, as a tuple in the order of the source, or as a dict, in which absent
members are 0. Bytes of a struct's or array's exact size are taken as they are. Numbers must fit: nothing is cut,
wrapped or rounded to fit.

Members of a union share bytes: one of them is enough, several must agree. A record that was read from a union is
refused only where another member has a part of a bool's or a NaN's bytes, which its value doesn't tell: give one
member then, or bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from operator import index

from .layout import ArrayType, EnumType, FloatType, IntType, PointerType, StructType

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .layout import CType, Member

    Put = Callable[[bytearray, int, Any], None]  # writes a value into the bytes at an offset

__all__ = ["Encoder"]

_MANY_NAMES = 12


class Encoder:
    """Bytes for the values of one type, which is compiled once. `byteorder` is "little" or "big"."""

    __slots__ = ("_put", "size_bytes", "type")

    def __init__(self, type: CType, byteorder: str) -> None:
        self.type = type
        self.size_bytes = type.size_bytes
        self._put = _compiled(type, byteorder)

    def encode(self, value: Any) -> bytes:
        """TypeError for a value of a kind that the type doesn't take, ValueError for one that it can't hold."""
        data = bytearray(self.size_bytes)
        try:
            self._put(data, 0, value)
        except _Refused as refused:
            raise refused.error() from None
        return bytes(data)


class _Refused(Exception):
    """A value that doesn't go into its place; the path to it grows while the error rises."""

    def __init__(self, kind: type[Exception], cause: str) -> None:
        super().__init__(cause)
        self.kind = kind
        self.cause = cause
        self.path = ""

    def error(self) -> Exception:
        return self.kind(f"{self.path.lstrip('.')}: {self.cause}" if self.path else self.cause)


def _wrong_type(value: Any, wanted: str) -> _Refused:
    return _Refused(TypeError, f"{wanted} is needed, not {type(value).__name__}")


def _compiled(ctype: CType, byteorder: str) -> Put:
    if isinstance(ctype, (IntType, PointerType, EnumType)):
        return _plain_number(ctype, byteorder)
    if isinstance(ctype, FloatType):
        return _float(ctype, byteorder)
    if isinstance(ctype, ArrayType):
        return _text(ctype) if ctype.is_text else _array(ctype, byteorder)
    if isinstance(ctype, StructType):
        return _struct(ctype, byteorder)
    raise TypeError(f"no way to write {ctype!r}")


# ---------------------------------------------------------------------------------------------------------------
# Numbers


def _number(ctype: CType, bits: int) -> Callable[[Any], int]:
    """Reads a value of an integer type with so many bits: the number whose two's complement is stored."""
    signed = isinstance(ctype, (IntType, EnumType)) and ctype.signed
    low = -(1 << bits - 1) if signed else 0
    high = (1 << bits - signed) - 1
    names = _numbers_by_name(ctype, bits) if isinstance(ctype, EnumType) else None
    is_cut = isinstance(ctype, EnumType) and ctype.is_cut
    is_bool = isinstance(ctype, IntType) and ctype.is_bool

    def read(value: Any) -> int:
        if isinstance(value, str) and names is not None:
            if value not in names:
                listed = ", ".join(list(names)[:_MANY_NAMES]) + (", …" if len(names) > _MANY_NAMES else "")
                raise _Refused(ValueError, f"{ctype.spelling} has no {value!r}; it has {listed}")
            if is_cut:
                raise _Refused(
                    ValueError,
                    f"of {value} of {ctype.spelling} only the low half is known: the number is needed",
                )
            value = names[value]
        try:
            number = index(value)
        except TypeError:
            raise _wrong_type(value, "a number or a name" if names is not None else "a number") from None
        if is_bool:
            if number not in (0, 1):
                raise _Refused(ValueError, f"{number} is neither true nor false")
        elif not low <= number <= high:
            raise _Refused(ValueError, f"{number} doesn't fit {ctype.spelling}, {low} to {high}")
        return number

    return read


def _numbers_by_name(ctype: EnumType, bits: int) -> dict[str, int]:
    # A compiler that writes no sign has a negative number as its pattern of 32 bits, whatever the type's width.
    def number_of(number: int) -> int:
        return number & ((1 << bits) - 1) if bits < 32 and number >> 31 and not ctype.signed else number

    return {name: number_of(number) for name, number in ctype.values}


def _plain_number(ctype: CType, byteorder: Any) -> Put:  # int.to_bytes wants a literal type
    size = ctype.size_bytes
    read = _number(ctype, 8 * size)
    signed = isinstance(ctype, (IntType, EnumType)) and ctype.signed

    def put(data: bytearray, at: int, value: Any) -> None:
        data[at : at + size] = read(value).to_bytes(size, byteorder, signed=signed)

    def put_bool(data: bytearray, at: int, value: Any) -> None:
        number = read(value)
        # In a union another member may have said which of the many true ones it is.
        if not number or not any(data[at : at + size]):
            data[at : at + size] = number.to_bytes(size, byteorder)

    return put_bool if isinstance(ctype, IntType) and ctype.is_bool else put


def _bit_field(member: Member, byteorder: Any) -> Put:
    """Little-endian fields count bits from the low end of their first byte, big-endian ones from its high end."""
    size = member.bit_size
    read = _number(member.type, size)
    width = (member.bit_offset + size + 7) // 8
    shift = member.bit_offset if byteorder == "little" else 8 * width - member.bit_offset - size
    mask = (1 << size) - 1

    def put(data: bytearray, at: int, value: Any) -> None:
        number = read(value) & mask
        word = int.from_bytes(data[at : at + width], byteorder)
        word = word & ~(mask << shift) | number << shift
        data[at : at + width] = word.to_bytes(width, byteorder)

    return put


def _float(ctype: FloatType, byteorder: str) -> Put:
    if ctype.size_bytes not in (4, 8):
        raise TypeError(f"no way to write {ctype!r}")
    form = struct.Struct((">" if byteorder == "big" else "<") + ("f" if ctype.size_bytes == 4 else "d"))

    def put(data: bytearray, at: int, value: Any) -> None:
        if isinstance(value, (str, bytes, bytearray)):
            raise _wrong_type(value, "a number")
        try:
            number = float(value)
            packed = form.pack(number)
        except (TypeError, ValueError):
            raise _wrong_type(value, "a number") from None
        except OverflowError:
            raise _Refused(ValueError, f"{value} doesn't fit {ctype.spelling}") from None
        # There are many NaNs; in a union another member may have said which.
        (before,) = form.unpack_from(data, at)
        if number == number or before == before:
            data[at : at + form.size] = packed

    return put


# ---------------------------------------------------------------------------------------------------------------
# Arrays and structs


def _text(ctype: ArrayType) -> Put:
    size = ctype.size_bytes

    def put(data: bytearray, at: int, value: Any) -> None:
        if isinstance(value, str):
            try:
                text = value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                raise _Refused(ValueError, f"{value!r} has characters that UTF-8 hasn't") from None
            if b"\0" in text:
                raise _Refused(ValueError, f"{value!r} has a NUL, where C would end it")
        elif isinstance(value, (bytes, bytearray, memoryview)):
            text = bytes(value)
        else:
            raise _wrong_type(value, "str or bytes")
        if len(text) > size:
            raise _Refused(ValueError, f"{len(text)} bytes don't fit {ctype.spelling}")
        # What stands behind the NUL is nobody's, or another member's of a union.
        text += b"\0"
        data[at : at + min(len(text), size)] = text[:size]

    return put


def _array(ctype: ArrayType, byteorder: str) -> Put:
    element = _compiled(ctype.element, byteorder)
    step, count, size = ctype.element.size_bytes, ctype.count, ctype.size_bytes
    one = ctype.element
    takes_bytes = isinstance(one, IntType) and one.size_bytes == 1 and not one.signed and not one.is_bool

    def put(data: bytearray, at: int, value: Any) -> None:
        if takes_bytes and isinstance(value, (bytes, bytearray)):
            if len(value) != size:
                raise _Refused(ValueError, f"{len(value)} bytes where {ctype.spelling} has {size}")
            data[at : at + size] = value
            return
        if isinstance(value, (str, Mapping, set, frozenset)) or not hasattr(value, "__len__"):
            raise _wrong_type(value, f"a list of {count}")
        if len(value) != count:
            raise _Refused(ValueError, f"{len(value)} elements where {ctype.spelling} has {count}")
        for number, item in enumerate(value):
            try:
                element(data, at + number * step, item)
            except _Refused as refused:
                refused.path = f"[{number}]{refused.path}"
                raise

    return put


def _struct(ctype: StructType, byteorder: str) -> Put:
    size = ctype.size_bytes
    fields: list[tuple[str, int, Put]] = [
        (
            member.name,
            member.offset_bytes,
            _bit_field(member, byteorder) if member.bit_size else _compiled(member.type, byteorder),
        )
        for member in ctype.members
    ]
    names = {name for name, _, _ in fields}
    shared = _has_shared_bytes(ctype)

    def put(data: bytearray, at: int, value: Any) -> None:
        if isinstance(value, (bytes, bytearray)):
            if len(value) != size:
                raise _Refused(ValueError, f"{len(value)} bytes where {ctype.spelling} has {size}")
            data[at : at + size] = value
            return
        given = _given(ctype, names, value)
        write(data, at, given)
        if not shared:
            return
        # Members share bytes, in a union. They agree if writing them once more changes nothing.
        before = bytes(data[at : at + size])
        for name, offset, put_member in fields:
            if name in given:
                put_member(data, at + offset, given[name])
                if data[at : at + size] != before:
                    raise _Refused(
                        ValueError,
                        f"{name} contradicts another member in the same bytes of {ctype.spelling}; give one of them",
                    )

    def write(data: bytearray, at: int, given: Mapping[str, Any]) -> None:
        for name, offset, put_member in fields:
            if name in given:
                try:
                    put_member(data, at + offset, given[name])
                except _Refused as refused:
                    refused.path = f".{name}{refused.path}"
                    raise

    return put


def _given(ctype: StructType, names: set[str], value: Any) -> Mapping[str, Any]:
    """The members that a value for a struct has, by name."""
    if isinstance(value, Mapping):
        for name in value:
            if name not in names:
                listed = ", ".join(member.name for member in ctype.members)
                raise _Refused(ValueError, f"{ctype.spelling} has no member {name!r}; it has {listed}")
        return value
    if not isinstance(value, (tuple, list)):
        raise _wrong_type(value, f"a record, tuple or dict for {ctype.spelling}")
    if len(value) != len(names):
        raise _Refused(ValueError, f"{len(value)} values where {ctype.spelling} has {len(names)} members")
    fields = getattr(value, "_fields", None)
    if fields is None or set(fields) != names:
        fields = [member.name for member in ctype.members]
    return dict(zip(fields, value, strict=True))


def _has_shared_bytes(ctype: StructType) -> bool:
    """Whether any two members overlap: it is a union, or anonymous ones were lifted into it."""
    places = sorted(
        (8 * m.offset_bytes + m.bit_offset, m.bit_size or 8 * m.type.size_bytes) for m in ctype.members
    )
    end = 0
    for start, bits in places:
        if bits and start < end:
            return True
        end = max(end, start + bits)
    return False
