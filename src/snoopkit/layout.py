"""C layout from BTF.

`struct_type()` turns a BTF struct into a tree that people can look at: a `StructType` with its members, each with
its name, its offset in bytes and its type. `plans` makes of it what the native decoder needs to know.
"""

from __future__ import annotations

from .btf import (
    KIND_ARRAY,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_UNION,
)
from .cdecl import type_name
from .errors import PackageError

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from .btf import Btf, Type

__all__ = [
    "ArrayType",
    "EnumType",
    "FloatType",
    "IntType",
    "Member",
    "PointerType",
    "StructType",
    "TailPart",
    "c_type",
    "flexible_tail",
    "locate",
    "struct_type",
]

INT_SIGNED, INT_CHAR, INT_BOOL = 1, 2, 4
MAX_STEPS = 65_536  # members of one type, nested ones counted: a bound for types that nobody wrote by hand


class CType:
    """A type as C has it: `spelling` is how C writes it, `size_bytes` what sizeof() gives."""

    __slots__ = ("size_bytes", "spelling")

    def __init__(self, spelling: str, size_bytes: int) -> None:
        self.spelling = spelling
        self.size_bytes = size_bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spelling}: {self.size_bytes} bytes>"

    def __str__(self) -> str:
        return self.spelling


class IntType(CType):
    """An integer of 1, 2, 4, 8 or 16 bytes; bool and char are integers with a meaning of their own."""

    __slots__ = ("is_bool", "is_char", "signed")

    def __init__(self, spelling: str, size_bytes: int, *, signed: bool, is_bool: bool, is_char: bool) -> None:
        super().__init__(spelling, size_bytes)
        self.signed = signed
        self.is_bool = is_bool
        self.is_char = is_char


class FloatType(CType):
    """float or double."""

    __slots__ = ()


class PointerType(CType):
    """A pointer, read as an unsigned integer: what it points to is another machine's memory."""

    __slots__ = ()


class EnumType(CType):
    """An enumeration. `values` are its (name, number) pairs in the order of the source.

    clang 14 writes no sign, and of numbers wider than 32 bits the low half only: then `signed` is False, negative
    numbers stand as their 32-bit pattern, and `is_cut` says that an enumeration of 8 bytes has only low halves.
    """

    __slots__ = ("is_cut", "signed", "values")

    def __init__(
        self,
        spelling: str,
        size_bytes: int,
        *,
        signed: bool,
        values: tuple[tuple[str, int], ...],
        is_cut: bool = False,
    ) -> None:
        super().__init__(spelling, size_bytes)
        self.signed = signed
        self.values = values
        self.is_cut = is_cut

    def names(self, bits: int = 0) -> dict[int, str]:
        """Names by number as a record has it, in a bit-field of that many bits or else in the whole type: where
        several names have a number, the first; where low halves leave it open which is meant, none."""
        width = bits or 8 * self.size_bytes
        names: dict[int, str] = {}
        unclear: set[int] = set()
        for name, number in self.values:
            if not self.signed and width < 32 and number >> 31:
                number &= (1 << width) - 1  # it can only be a negative one
            if number in names:
                unclear.add(number)
            names.setdefault(number, name)
        return {number: names[number] for number in names if not (self.is_cut and number in unclear)}


class ArrayType(CType):
    """`count` elements of one type, 0 for a flexible array."""

    __slots__ = ("count", "element")

    def __init__(self, spelling: str, element: CType, count: int) -> None:
        super().__init__(spelling, element.size_bytes * count)
        self.element = element
        self.count = count

    @property
    def is_text(self) -> bool:
        """Whether this is a char array, which decodes to str."""
        return isinstance(self.element, IntType) and self.element.is_char

    @property
    def is_octets(self) -> bool:
        """Whether this is an array of unsigned char, __u8 or uint8_t, which decodes to numbers or to bytes."""
        one = self.element
        return (
            isinstance(one, IntType)
            and one.size_bytes == 1
            and not (one.signed or one.is_bool or one.is_char)
        )


class Member:
    """A member of a struct. `bit_size` is 0 unless it is a bit-field; then it starts `bit_offset` bits (0 to 7)
    into the byte at `offset_bytes`, counted as the object's byte order counts."""

    __slots__ = ("bit_offset", "bit_size", "name", "offset_bytes", "type")

    def __init__(
        self, name: str, offset_bytes: int, type: CType, bit_offset: int = 0, bit_size: int = 0
    ) -> None:
        self.name = name
        self.offset_bytes = offset_bytes
        self.type = type
        self.bit_offset = bit_offset
        self.bit_size = bit_size

    def __repr__(self) -> str:
        width = f" : {self.bit_size}" if self.bit_size else ""
        return f"<Member {self.type.spelling} {self.name}{width} at {self.offset_bytes}>"


class StructType(CType):
    """A struct or union. `members` are in the order of the source; an anonymous member's own members stand in its
    place, as C lets a program name them.

    `str()` gives its definition in C, after those of all that it needs: a compiler that reads it lays it out the same.
    """

    __slots__ = ("_btf", "is_union", "members", "name", "type_id")

    def __init__(
        self,
        name: str,
        size_bytes: int,
        members: tuple[Member, ...],
        *,
        is_union: bool = False,
        type_id: int = 0,
        btf: Btf | None = None,
    ) -> None:
        super().__init__(f"{'union' if is_union else 'struct'} {name or '{...}'}", size_bytes)
        self._btf = btf
        self.name = name
        self.members = members
        self.is_union = is_union
        self.type_id = type_id

    def __str__(self) -> str:
        if self._btf is None:
            return self.spelling
        from .cheader import definition

        return definition(self._btf, self.type_id)

    def member(self, name: str) -> Member:
        """The member called `name`; KeyError if there is none."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)


def flexible_tail(struct: StructType) -> str | None:
    """The name of the trailing array without a size, if the struct ends in one."""
    last = struct.members[-1]
    return last.name if isinstance(last.type, ArrayType) and not last.type.count else None


class TailPart:
    """One variable part of a record's tail: `size_member` (a path such as "argv_size") gives its captured bytes;
    `form` is "text" (one string) or "strings" (strings that each end in NUL)."""

    __slots__ = ("form", "name", "size_member")

    def __init__(self, name: str, size_member: str, form: str) -> None:
        self.name = name
        self.size_member = size_member
        self.form = form


def struct_type(btf: Btf, type_id: int, *, name: str = "") -> StructType:
    """The layout of the struct or union `type_id`, through typedefs. `name` is used where the struct has none.

    Raises PackageError for what isn't a struct, and for one that C itself could not use: two members of the same
    name after anonymous ones were lifted.
    """
    resolved = btf.types[btf.resolve(type_id)]
    if resolved.kind not in (KIND_STRUCT, KIND_UNION):
        raise PackageError(f"BTF: type {type_id} ({type_name(btf, type_id)}) is not a struct")
    return _Builder(btf).struct(resolved.id, name or btf.types[type_id].name)


def c_type(btf: Btf, type_id: int) -> CType:
    """The layout of any type that a variable can have. Raises PackageError for one that has no size."""
    return _Builder(btf).type(type_id)


class _Builder:
    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.known: dict[int, CType] = {}
        self.left = MAX_STEPS

    def struct(self, type_id: int, name: str) -> StructType:
        source = self.btf.types[type_id]
        members: list[Member] = []
        for member in source.members:
            self.left -= 1
            if self.left < 0:
                raise PackageError(f"BTF: struct {name!r} has more than {MAX_STEPS} members")
            members.extend(self.member(member.name, member.type_id, member.bit_offset, member.bit_size))
        seen: set[str] = set()
        for lifted in members:
            if lifted.name in seen:
                raise PackageError(
                    f"BTF: struct {name!r}: two members are called {lifted.name!r}",
                    hint="one stands in an anonymous struct or union: rename it",
                )
            seen.add(lifted.name)
        return StructType(
            source.name or name,
            source.size,
            tuple(members),
            is_union=source.kind == KIND_UNION,
            type_id=type_id,
            btf=self.btf,
        )

    def member(self, name: str, type_id: int, bit_offset: int, bit_size: int) -> list[Member]:
        if not name and not bit_size:
            inner = self.type(type_id)
            if isinstance(inner, StructType):
                start = bit_offset // 8
                return [
                    Member(m.name, start + m.offset_bytes, m.type, m.bit_offset, m.bit_size)
                    for m in inner.members
                ]
        if not name:
            return []  # an unnamed bit-field is padding
        return [
            Member(name, bit_offset // 8, self.type(type_id), bit_offset % 8 if bit_size else 0, bit_size)
        ]

    def type(self, type_id: int) -> CType:
        found = self.known.get(type_id)
        if found is None:
            found = self.known[type_id] = self.build(type_id)
        return found

    def build(self, type_id: int) -> CType:
        btf = self.btf
        resolved = btf.types[btf.resolve(type_id)]
        spelling = type_name(btf, type_id)
        kind = resolved.kind
        if kind == KIND_INT:
            return IntType(
                spelling,
                resolved.size,
                signed=bool(resolved.encoding & INT_SIGNED),
                is_bool=bool(resolved.encoding & INT_BOOL),
                # clang marks `char` as SIGNED only; the name is what tells it from `signed char`
                is_char=resolved.size == 1
                and (resolved.name == "char" or bool(resolved.encoding & INT_CHAR)),
            )
        if kind == KIND_PTR:
            return PointerType(spelling, 8)
        if kind == KIND_ARRAY:
            element = self.type(resolved.type_id)
            if not element.size_bytes and resolved.count > MAX_STEPS:
                raise PackageError(f"BTF: array {spelling!r} has too many elements of no size")
            return ArrayType(spelling, element, resolved.count)
        if kind in (KIND_STRUCT, KIND_UNION):
            return self.struct(resolved.id, btf.types[type_id].name)
        if kind in (KIND_ENUM, KIND_ENUM64):
            return _enum(spelling, resolved)
        if kind == KIND_FLOAT:
            if resolved.size > 8:
                raise PackageError(
                    f"BTF: {spelling!r} has {resolved.size} bytes, in a form that depends on the machine",
                    hint="use double",
                )
            return FloatType(spelling, resolved.size)
        raise PackageError(f"BTF: a member of type {spelling!r} has no size")


def _enum(spelling: str, source: Type) -> EnumType:
    signed, values = source.signed, source.values
    if not signed and source.size < 4 and any(number >> 31 for _, number in values):
        # No unsigned number of 32 bits is in so few bytes: they are negative, and clang 14 didn't say so.
        signed = True
        values = tuple([(name, number - (number >> 31 << 32)) for name, number in values])
    is_cut = source.kind == KIND_ENUM and source.size == 8
    return EnumType(spelling, source.size, signed=signed, values=values, is_cut=is_cut)


def locate(struct: StructType, path: str) -> Member:
    """The member that a dotted path names, its offset counted from the start of `struct`.

    Raises PackageError if the path leads nowhere.
    """
    offset = 0
    current: CType = struct
    member: Member | None = None
    for name in path.split("."):
        try:
            if not isinstance(current, StructType):
                raise KeyError(name)
            member = current.member(name)
        except KeyError:
            raise PackageError(f"struct {struct.name!r} has no member {path!r}") from None
        offset += member.offset_bytes
        current = member.type
    assert member is not None
    return Member(member.name, offset, member.type, member.bit_offset, member.bit_size)
