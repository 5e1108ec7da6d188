"""Keys and values: bytes of one size to Python and back, by the package's types."""

from __future__ import annotations

import sys

from .. import _core
from .._decode import Program
from ..encode import Encoder
from ..errors import PackageError
from ..events import Record, nested_class
from ..layout import IntType, Member, StructType, c_type
from ..plans import DEFAULT_FORMS, Forms, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..btf import Btf
    from ..layout import CType

    Values = list[Any]
else:
    Values = list


class Codec:
    """Bytes of one size to values and back. `type` is None where nothing is known: then values are bytes."""

    __slots__ = ("decode", "encode", "size_bytes", "type")

    def __init__(
        self,
        type: CType | None,
        size_bytes: int,
        decode: Callable[[bytes], Any],
        encode: Callable[[Any], bytes],
    ) -> None:
        self.type = type
        self.size_bytes = size_bytes
        self.decode = decode
        self.encode = encode


def codec_of(btf: Btf, type_id: int, size_bytes: int, forms: Forms) -> Codec:
    """For a type of the BTF, or bytes where that says nothing, or nothing that fits."""
    if type_id and size_bytes:
        try:
            ctype = c_type(btf, type_id)
            if ctype.size_bytes == size_bytes:
                return typed(ctype, btf.byteorder, forms)
        except (PackageError, TypeError, ValueError):
            pass  # such as a long double: it can still be carried
    return untyped(size_bytes)


def typed(ctype: CType, byteorder: str, forms: Forms = DEFAULT_FORMS) -> Codec:
    whole = (
        ctype
        if isinstance(ctype, StructType)
        else StructType("", ctype.size_bytes, (Member("value", 0, ctype),))
    )
    name, size_bytes, steps = plan(whole, forms)
    read = Program(name, size_bytes, steps, byteorder == "big", None, nested_class).read
    encode = Encoder(ctype, byteorder).encode
    if whole is ctype:
        return Codec(ctype, size_bytes, read, encode)
    return Codec(ctype, size_bytes, lambda data: read(data)[0], encode)


def untyped(size_bytes: int) -> Codec:
    def encode(value: Any) -> bytes:
        if not isinstance(value, (bytes, bytearray)):
            raise TypeError(f"bytes are needed, not {type(value).__name__}")
        if len(value) != size_bytes:
            raise ValueError(f"{len(value)} bytes where {size_bytes} are needed")
        return bytes(value)

    return Codec(None, size_bytes, bytes, encode)


def as_key(codec: Codec) -> Codec:
    """Keys that can be put into a dict: tuples for lists."""
    decode = codec.decode
    return Codec(codec.type, codec.size_bytes, lambda data: _frozen(decode(data)), codec.encode)


def _frozen(value: Any) -> Any:
    return tuple([_frozen(item) for item in value]) if isinstance(value, list) else value


def index_codec(ctype: CType | None) -> Codec:
    """Array indices: numbers, whatever the source says of their type; names where it is an enumeration."""
    return typed(
        ctype or IntType("unsigned int", 4, signed=False, is_bool=False, is_char=False), sys.byteorder
    )


class PerCpu(Values):
    """A value of each possible CPU, in their order; those that never ran have zeros."""

    __slots__ = ()

    def sum(self) -> Any:
        """The sum over all CPUs: of structs and arrays, member by member. TypeError where text or names are among
        them, which have no sum."""
        return _sum(self)


def _sum(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, (int, float)):
        return sum(values)
    if isinstance(first, Record):
        return tuple.__new__(type(first), [_sum(list(column)) for column in zip(*values, strict=True)])
    if isinstance(first, list):
        return [_sum(list(column)) for column in zip(*values, strict=True)]
    raise TypeError(f"{first!r} has no sum; add up the members that do: sum(v.member for v in value)")


def per_cpu(one: Codec) -> Codec:
    cpus = _core.possible_cpus()
    size = one.size_bytes
    slot = (size + 7) // 8 * 8

    def decode(data: bytes) -> PerCpu:
        return PerCpu([one.decode(data[at : at + size]) for at in range(0, slot * cpus, slot)])

    def encode(values: Any) -> bytes:
        if not isinstance(values, (list, tuple)) or isinstance(values, Record):
            raise TypeError(f"a list with a value for each of {cpus} CPUs is needed")
        if len(values) != cpus:
            raise ValueError(f"{len(values)} values where there are {cpus} possible CPUs")
        return b"".join([one.encode(value).ljust(slot, b"\0") for value in values])

    return Codec(one.type, slot * cpus, decode, encode)


def has_lock(ctype: CType | None) -> bool:
    return isinstance(ctype, StructType) and any(
        isinstance(member.type, StructType) and member.type.name == "bpf_spin_lock"
        for member in ctype.members
    )


def number_of(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)
