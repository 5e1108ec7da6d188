"""Values to bytes and back, over types of every kind in both byte orders; and what is refused."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, reject, settings, strategies as st

from snoopkit import _decode, layout, plans
from snoopkit.encode import Encoder
from snoopkit.events import nested_class

CHAR = layout.IntType("char", 1, signed=True, is_bool=False, is_char=True)
BOOL = layout.IntType("_Bool", 1, signed=False, is_bool=True, is_char=False)
FLOAT, DOUBLE = layout.FloatType("float", 4), layout.FloatType("double", 8)
POINTER = layout.PointerType("void *", 8)
COLOR = layout.EnumType("enum color", 4, signed=False, values=(("RED", 0), ("GREEN", 5), ("ALSO_GREEN", 5)))
SIGN = layout.EnumType("enum sign", 4, signed=True, values=(("MINUS", -3), ("PLUS", 3)))
LARGE = layout.EnumType("enum large", 8, signed=False, values=(("NONE", 0), ("LARGE", 1 << 40)))
# As clang 14 writes them: no sign, and of numbers wider than 32 bits the low half only.
UNSIGNED_MINUS = layout.EnumType("enum sign", 4, signed=False, values=(("MINUS", 2**32 - 3), ("PLUS", 3)))
SMALL_MINUS = layout.EnumType("enum sign", 1, signed=False, values=(("MINUS", 2**32 - 3), ("PLUS", 3)))
CUT = layout.EnumType("enum cut", 8, signed=False, values=(("LARGE", 1 << 5),), is_cut=True)
BYTE_ORDERS = ("little", "big")


def integer(size: int, signed: bool) -> layout.IntType:
    spelling = f"{'s' if signed else 'u'}{8 * size}"
    return layout.IntType(spelling, size, signed=signed, is_bool=False, is_char=False)


INTEGERS = [integer(size, signed) for size in (1, 2, 4, 8, 16) for signed in (False, True)]
U8, U32, S32, U64 = integer(1, False), integer(4, False), integer(4, True), integer(8, False)
SCALARS = [*INTEGERS, BOOL, FLOAT, DOUBLE, POINTER, COLOR, SIGN, LARGE]


def array(element: layout.CType, count: int) -> layout.ArrayType:
    return layout.ArrayType(f"{element.spelling}[{count}]", element, count)


def struct_of(*types: layout.CType | tuple[layout.CType, int], is_union: bool = False) -> layout.StructType:
    """A struct with members m0, m1, …; (type, bits) is a bit-field. Each starts at a multiple of 4, for padding."""
    members: list[layout.Member] = []
    bit = size = 0
    for number, one in enumerate(types):
        ctype, bits = one if isinstance(one, tuple) else (one, 0)
        if not bits or is_union:
            bit = 0 if is_union else (bit + 31) // 32 * 32
        name = f"m{number}"
        members.append(layout.Member(name, bit // 8, ctype, bit % 8 if bits else 0, bits))
        bit += bits or 8 * ctype.size_bytes
        size = max(size, (bit + 31) // 32 * 4)
    return layout.StructType("thing", size, tuple(members), is_union=is_union)


@st.composite
def bit_fields(draw: st.DrawFn) -> tuple[layout.CType, int]:
    ctype = draw(st.sampled_from([U8, U32, S32, U64, integer(8, True), COLOR, SIGN]))
    return ctype, draw(st.integers(1, 8 * ctype.size_bytes))


def types(unions: bool) -> st.SearchStrategy[layout.CType]:
    leaves = st.sampled_from(SCALARS) | st.integers(0, 9).map(lambda size: array(CHAR, size))

    def larger(inner: st.SearchStrategy[layout.CType]) -> st.SearchStrategy[layout.CType]:
        members = st.lists(inner | bit_fields(), max_size=4)
        made = members.map(lambda members: struct_of(*members)) | st.tuples(inner, st.integers(0, 3)).map(
            lambda pair: array(*pair)
        )
        return made | members.map(lambda members: struct_of(*members, is_union=True)) if unions else made

    return st.recursive(leaves, larger, max_leaves=6)


def values(ctype: layout.CType, bits: int = 0) -> st.SearchStrategy[Any]:
    """What the type decodes to."""
    bits = bits or 8 * ctype.size_bytes
    if isinstance(ctype, layout.IntType) and ctype.is_bool:
        return st.booleans()
    if isinstance(ctype, (layout.IntType, layout.PointerType, layout.EnumType)):
        signed = not isinstance(ctype, layout.PointerType) and ctype.signed
        numbers = (
            st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)
        )
        if not isinstance(ctype, layout.EnumType):
            return numbers
        names: dict[int, str] = {}
        for name, number in ctype.values:
            names.setdefault(number, name)
        return numbers.map(lambda number: names.get(number, number))
    if isinstance(ctype, layout.FloatType):
        return st.floats(width=32 if ctype.size_bytes == 4 else 64)
    if isinstance(ctype, layout.ArrayType):
        if ctype.is_text:
            text = st.binary(max_size=ctype.size_bytes).filter(lambda text: b"\0" not in text)
            return text.map(lambda text: text.decode("utf-8", "surrogateescape"))
        return st.lists(values(ctype.element), min_size=ctype.count, max_size=ctype.count)
    assert isinstance(ctype, layout.StructType)
    return st.tuples(*(values(member.type, member.bit_size) for member in ctype.members))


def decoded(ctype: layout.CType, byteorder: str, data: bytes) -> Any:
    whole = layout.StructType("", ctype.size_bytes, (layout.Member("value", 0, ctype),))
    name, size, steps = plans.plan(whole)
    return _decode.Program(name, size, steps, byteorder == "big", None, nested_class).read(data)[0]


def plain(value: Any) -> Any:
    """Without record classes, and with NaN equal to itself."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, list):
        return list(map(plain, value))
    return "NaN" if isinstance(value, float) and value != value else value


@settings(max_examples=400)
@given(st.data(), types(unions=False), st.sampled_from(BYTE_ORDERS))
def test_what_is_written_is_read(data: st.DataObject, ctype: layout.CType, byteorder: str) -> None:
    value = data.draw(values(ctype))
    written = Encoder(ctype, byteorder).encode(value)
    assert len(written) == ctype.size_bytes
    assert plain(decoded(ctype, byteorder, written)) == plain(value)


def has_many_bytes_for_one_value(ctype: layout.CType) -> bool:
    """A bool's true and a float's NaN can be any of many bytes."""
    if isinstance(ctype, layout.StructType):
        return any(has_many_bytes_for_one_value(member.type) for member in ctype.members)
    if isinstance(ctype, layout.ArrayType):
        return has_many_bytes_for_one_value(ctype.element)
    return isinstance(ctype, layout.FloatType) or (isinstance(ctype, layout.IntType) and ctype.is_bool)


@settings(max_examples=400)
@given(st.data(), types(unions=True), st.sampled_from(BYTE_ORDERS))
def test_what_was_read_can_be_written(data: st.DataObject, ctype: layout.CType, byteorder: str) -> None:
    """Any bytes: also in unions, whose members then agree, and bytes behind a NUL included."""
    size = ctype.size_bytes
    first = decoded(ctype, byteorder, data.draw(st.binary(min_size=size, max_size=size)))
    try:
        written = Encoder(ctype, byteorder).encode(first)
    except ValueError as error:
        # Another member has some bits only of such a value, and those we would choose for it are not the ones.
        assert "contradicts" in str(error) and has_many_bytes_for_one_value(ctype)
        reject()
    assert plain(decoded(ctype, byteorder, written)) == plain(first)


@pytest.mark.parametrize("byteorder", BYTE_ORDERS)
def test_bytes_are_those_of_pythons_own_struct(byteorder: str) -> None:
    order = ">" if byteorder == "big" else "<"
    thing = struct_of(S32, array(CHAR, 4), DOUBLE, array(U8, 4), COLOR)
    expected = struct.pack(order + "i4sd4BI", -7, b"ab", 1.5, 1, 2, 3, 4, 5)
    encoder = Encoder(thing, byteorder)
    for value in (
        (-7, "ab", 1.5, [1, 2, 3, 4], "GREEN"),
        [-7, b"ab", 1.5, b"\1\2\3\4", 5],
        {"m4": "ALSO_GREEN", "m3": (1, 2, 3, 4), "m2": 1.5, "m1": "ab", "m0": -7},
        decoded(thing, byteorder, expected),
        expected,
    ):
        assert encoder.encode(value) == expected
    assert encoder.encode({}) == bytes(24)
    named = nested_class("thing", ("m4", "m3", "m2", "m1", "m0"))
    assert encoder.encode(tuple.__new__(named, (5, [1, 2, 3, 4], 1.5, "ab", -7))) == expected


def test_negative_names_without_a_sign() -> None:
    assert Encoder(UNSIGNED_MINUS, "little").encode("MINUS") == struct.pack("<i", -3)
    assert Encoder(SMALL_MINUS, "little").encode("MINUS") == struct.pack("<b", -3)
    assert Encoder(struct_of((SMALL_MINUS, 3)), "little").encode(("MINUS",))[0] == 0b101
    assert Encoder(CUT, "little").encode(1 << 37) == struct.pack("<Q", 1 << 37)


def test_members_of_a_union_go_alone_or_in_agreement() -> None:
    union = struct_of(U32, array(CHAR, 4), struct_of(BOOL), FLOAT, is_union=True)
    encoder = Encoder(union, "little")
    assert encoder.encode({"m0": 0x01020304}) == b"\4\3\2\1"
    assert encoder.encode({"m1": "abc"}) == b"abc\0"
    assert encoder.encode({"m1": "a", "m0": 0x78000061}) == b"a\0\0x"  # behind the NUL the text says nothing
    assert encoder.encode({"m0": 2, "m2": (True,)}) == encoder.encode({"m2": (True,), "m0": 2}) == b"\2\0\0\0"
    for value in ({"m0": 1, "m1": "a"}, {"m0": 0, "m2": (True,)}, (1, "a", (True,), 0.0)):
        with pytest.raises(ValueError, match="contradicts"):
            encoder.encode(value)


@pytest.mark.parametrize(
    ("ctype", "value", "error", "said"),
    [
        (U8, 256, ValueError, "256 doesn't fit u8, 0 to 255"),
        (S32, -(2**31) - 1, ValueError, "doesn't fit s32"),
        (U8, "1", TypeError, "a number is needed, not str"),
        (U8, 1.0, TypeError, "a number is needed, not float"),
        (U8, None, TypeError, "a number is needed"),
        (BOOL, 2, ValueError, "2 is neither true nor false"),
        (COLOR, "BLUE", ValueError, "enum color has no 'BLUE'; it has RED, GREEN, ALSO_GREEN"),
        (COLOR, b"RED", TypeError, "a number or a name"),
        (struct_of((COLOR, 2)), ("GREEN",), ValueError, "m0: 5 doesn't fit enum color, 0 to 3"),
        (CUT, "LARGE", ValueError, "only the low half is known: the number is needed"),
        (POINTER, -1, ValueError, "-1 doesn't fit void \\*"),
        (FLOAT, 1e300, ValueError, "doesn't fit float"),
        (FLOAT, "1.5", TypeError, "a number is needed"),
        (array(CHAR, 3), "four", ValueError, "4 bytes don't fit char\\[3\\]"),
        (array(CHAR, 3), "a\0b", ValueError, "has a NUL"),
        (array(CHAR, 3), "\ud800", ValueError, "UTF-8"),
        (array(CHAR, 3), [1, 2], TypeError, "str or bytes is needed"),
        (array(U8, 3), b"four", ValueError, "4 bytes where u8\\[3\\] has 3"),
        (array(U32, 3), [1, 2], ValueError, "2 elements where"),
        (array(U32, 3), "abc", TypeError, "a list of 3 is needed, not str"),
        (array(U32, 3), {1, 2, 3}.__iter__(), TypeError, "a list of 3"),
        (struct_of(U32, array(U8, 2)), (1, [2, 300]), ValueError, "m1\\[1\\]: 300 doesn't fit u8"),
        (struct_of(U32, U8), (1,), ValueError, "1 values where struct thing has 2 members"),
        (struct_of(U32, U8), {"x": 1}, ValueError, "struct thing has no member 'x'; it has m0, m1"),
        (struct_of(U32, U8), 5, TypeError, "a record, tuple or dict for struct thing"),
        (struct_of(U32, U8), b"short", ValueError, "5 bytes where struct thing has 8"),
        (struct_of((U32, 3)), (8,), ValueError, "m0: 8 doesn't fit u32, 0 to 7"),
        (struct_of((SIGN, 3)), ({},), TypeError, "m0: a number or a name"),
    ],
)
def test_what_does_not_fit_is_refused(
    ctype: layout.CType, value: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Encoder(ctype, "little").encode(value)


def test_some_types_can_not_be_written() -> None:
    for ctype in (layout.FloatType("long double", 16), layout.CType("void", 0)):
        with pytest.raises(TypeError, match="no way to write"):
            Encoder(ctype, "little")
