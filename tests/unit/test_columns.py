"""Columns of a batch: NumPy arrays and Arrow record batches hold what the decoded events hold."""

from __future__ import annotations

import struct
import sys
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from snoopkit import _decode, events, layout
from snoopkit.columns import arrow_batch, numpy_array, numpy_dtype


def integer(
    size: int, *, signed: bool = False, is_bool: bool = False, is_char: bool = False
) -> layout.IntType:
    return layout.IntType(f"int{size}", size, signed=signed, is_bool=is_bool, is_char=is_char)


CHAR, U8, U32 = integer(1, signed=True, is_char=True), integer(1), integer(4)
Member = layout.Member


def array(element: layout.CType, count: int) -> layout.ArrayType:
    return layout.ArrayType("array", element, count)


def make(
    *structs: layout.StructType, byteorder: str = "little", kind: str | None = None, **forms: Any
) -> _decode.Decoder:
    extra = {"tail_member": forms.pop("tail_member", None), "tail_parts": forms.pop("tail_parts", ())}
    specs = tuple(
        SimpleNamespace(
            struct=one, map="events", kind_member=kind, kind_value=number if kind else None, **extra
        )
        for number, one in enumerate(structs)
    )
    package: Any = SimpleNamespace(btf=SimpleNamespace(byteorder=byteorder), event_specs=specs)
    return events.decoder(package, ["other", "events"], **forms)[0]


def batch(*records: bytes) -> tuple[bytes, bytes]:
    index, at = b"", 0
    for number, record in enumerate(records):
        index += struct.pack("<QIIIhH", 1000 + number, at, len(record), number, number % 3 - 1, 1)
        at += len(record)
    return b"".join(records), index


PAIR = layout.StructType("pair", 8, (Member("a", 0, U32), Member("b", 4, array(integer(2, signed=True), 2))))
EVENT = layout.StructType(
    "event",
    72,
    (
        Member("pid", 0, U32),
        Member("comm", 4, array(CHAR, 8)),
        Member("pair", 16, PAIR),
        Member("pairs", 24, array(PAIR, 2)),
        Member("ok", 40, integer(1, is_bool=True)),
        Member("color", 41, layout.EnumType("enum e", 1, signed=True, values=(("RED", 0), ("BLUE", -1)))),
        Member("where", 48, layout.PointerType("void *", 8)),
        Member("ratio", 56, layout.FloatType("double", 8)),
        Member("octets", 64, array(U8, 3)),
        Member("small", 67, integer(1), 2, 3),
        Member("sign", 67, integer(1, signed=True), 5, 3),
    ),
)


def record(pid: int, comm: bytes, color: int = 0) -> bytes:
    return struct.pack(
        "<I8s4xIhhIhhIhh?b6xQd3BB4x",
        *(pid, comm, 1, -2, 3, 4, -5, 6, 7, -8, 9, True, color, 2**63 + pid, 0.5, 0, 1, 255, 0b110_101_00),
    )


RECORDS = [record(1, b"bash"), record(2, b"stale\0xx", -1), record(3, b"\xc3\xa9\xff", 5)]


def test_numpy() -> None:
    decoder = make(EVENT)
    found = numpy_array(decoder, *batch(*RECORDS, b"short"))
    assert decoder.undecodable == 1
    assert len(found) == 3
    assert found["pid"].tolist() == [1, 2, 3]
    assert found["comm"].tolist() == [b"bash", b"stale", b"\xc3\xa9\xff"]
    assert found["pair"]["b"].tolist() == [[-2, 3]] * 3
    assert found["pairs"]["a"].tolist() == [[4, 7]] * 3
    assert found["ok"].tolist() == [True] * 3
    assert found["color"].tolist() == [0, -1, 5]
    assert found["where"].tolist() == [2**63 + 1, 2**63 + 2, 2**63 + 3]
    assert found["octets"].tolist() == [[0, 1, 255]] * 3
    assert (found["small"].tolist(), found["sign"].tolist()) == ([0b101] * 3, [-2] * 3)
    found["pid"] += 1  # it is the caller's own
    for member in EVENT.members:
        if not member.bit_size:
            assert found.dtype.fields[member.name][1] == member.offset_bytes


def test_the_dtype_is_the_structs() -> None:
    plain = layout.StructType(
        "plain", 24, (Member("a", 0, U8), Member("b", 8, integer(8)), Member("c", 16, U8))
    )
    dtype = numpy_dtype(plain)
    assert (dtype.itemsize, [dtype.fields[name][1] for name in "abc"]) == (24, [0, 8, 16])
    assert numpy_array(make(plain), *batch(bytes(24))).dtype == dtype
    assert numpy_dtype(plain, "big")["b"] == np.dtype(">u8")


def test_stamps_and_no_records() -> None:
    decoder = make(EVENT)
    found = numpy_array(decoder, *batch(*RECORDS), stamps=True)
    assert found["_time_ns"].tolist() == [1000, 1001, 1002]
    assert found["_cpu"].tolist() == [-1, 0, 1]
    assert [decoder.map_names[number] for number in found["_map"]] == ["events"] * 3
    assert found["sign"].tolist() == [-2] * 3
    none = numpy_array(decoder, b"", b"", stamps=True)
    assert (len(none), none.dtype) == (0, found.dtype)
    assert arrow_batch(decoder, b"", b"").schema == arrow_batch(decoder, *batch(*RECORDS)).schema


def test_several_types() -> None:
    one = layout.StructType("one", 8, (Member("kind", 0, U32), Member("x", 4, U32)))
    two = layout.StructType("two", 4, (Member("kind", 0, U32),))
    decoder = make(one, two, kind="kind")
    data = batch(
        struct.pack("<II", 0, 5), struct.pack("<I", 1), struct.pack("<II", 0, 6), struct.pack("<I", 9)
    )
    assert numpy_array(decoder, *data, "one")["x"].tolist() == [5, 6]
    assert len(numpy_array(decoder, *data, "two")) == 1
    assert arrow_batch(decoder, *data, "one")["x"].to_pylist() == [5, 6]
    with pytest.raises(ValueError, match="several event types: name one of one, two"):
        numpy_array(decoder, *data)
    with pytest.raises(ValueError, match="no event type 'three': name one of one, two"):
        arrow_batch(decoder, *data, "three")


def test_arrow() -> None:
    found = arrow_batch(make(EVENT), *batch(*RECORDS)).to_pylist()
    assert found[1] == {
        "pid": 2,
        "comm": "stale",
        "pair": {"a": 1, "b": [-2, 3]},
        "pairs": [{"a": 4, "b": [-5, 6]}, {"a": 7, "b": [-8, 9]}],
        "ok": True,
        "color": "BLUE",
        "where": 2**63 + 2,
        "ratio": 0.5,
        "octets": [0, 1, 255],
        "small": 5,
        "sign": -2,
        "_map": "events",
        "_time_ns": 1001,
        "_cpu": 0,
    }
    assert (found[2]["comm"], found[2]["color"]) == ("é\ufffd", "5")


def test_arrow_of_bytes() -> None:
    found = arrow_batch(make(EVENT, text="bytes", u8="bytes"), *batch(*RECORDS))
    assert found["comm"].to_pylist() == [b"bash", b"stale", b"\xc3\xa9\xff"]
    assert found["octets"].to_pylist() == [b"\0\1\xff"] * 3


def test_arrow_tails() -> None:
    source = layout.StructType(
        "tailed", 8, (Member("n", 0, U32), Member("m", 4, U32), Member("tail", 8, array(CHAR, 0)))
    )
    parts = (layout.TailPart("name", "n", "text"), layout.TailPart("argv", "m", "strings"))
    data = batch(
        struct.pack("<II", 2, 6) + b"ab" + b"x\0\0\xff\0y",
        struct.pack("<II", 0, 0),
        struct.pack("<II", 1, 9),
        struct.pack("<II", 1, 2) + b"c" + b"d\0" + b"padding",
    )
    decoder = make(source, tail_member="tail", tail_parts=parts)
    found = arrow_batch(decoder, *data)
    assert decoder.undecodable == 1
    assert found["name"].to_pylist() == ["ab", "", "c"]
    assert found["argv"].to_pylist() == [["x", "", "\ufffd", "y"], [], ["d"]]
    assert [*numpy_array(decoder, *data).dtype.names] == ["n", "m"]
    for element, record_, expected in (
        (CHAR, b"ab\0c", "ab"),
        (U8, b"\1\2", [1, 2]),
        (PAIR, struct.pack("<IhhB", 1, 2, 3, 4), [{"a": 1, "b": [2, 3]}]),
    ):
        source = layout.StructType("tailed", 4, (Member("n", 0, U32), Member("t", 4, array(element, 0))))
        found = arrow_batch(make(source, tail_member="t"), *batch(bytes(4) + record_, bytes(4)))
        assert found["t"].to_pylist() == [expected, expected[:0]]


def test_wide_integers() -> None:
    wide = layout.StructType(
        "w", 32, (Member("u", 0, integer(16)), Member("s", 16, integer(16, signed=True)))
    )
    for order in ("little", "big"):
        data = (2**127 + 5).to_bytes(16, order) + (-(2**90)).to_bytes(16, order, signed=True)
        decoder = make(wide, byteorder=order)
        found = numpy_array(decoder, *batch(data))
        for name, expected in (("u", 2**127 + 5), ("s", -(2**90))):
            assert (int(found[name]["high"][0]) << 64) + int(found[name]["low"][0]) == expected
            assert arrow_batch(decoder, *batch(data))[name].to_pylist() == [Decimal(expected)]


def test_bit_fields_inside_arrays() -> None:
    inner = layout.StructType("i", 2, (Member("f", 0, integer(2), 3, 9), Member("plain", 1, U8)))
    outer = layout.StructType("o", 8, (Member("g", 0, array(array(inner, 2), 2)),))
    rows = [bytes(range(8)), bytes(range(100, 108))]
    decoder = make(outer)
    found = numpy_array(decoder, *batch(*rows))
    decoded = decoder.events(*batch(*rows))
    assert found["g.f"].tolist() == [[[one.f for one in pair] for pair in event.g] for event in decoded]
    assert found["g"]["plain"].tolist() == [
        [[one.plain for one in pair] for pair in event.g] for event in decoded
    ]
    assert arrow_batch(decoder, *batch(*rows))["g"].to_pylist() == [event._asdict()["g"] for event in decoded]


def test_text_in_a_union_keeps_the_others_bytes() -> None:
    both = (Member("text", 0, array(CHAR, 4)), Member("number", 0, U32))
    found = numpy_array(make(layout.StructType("u", 4, both)), *batch(b"a\0bc"))
    assert (found["number"].tolist(), found["text"].tolist()) == (
        [int.from_bytes(b"a\0bc", "little")],
        [b"a\0bc"],
    )


def test_empty_and_odd_structs() -> None:
    empty = layout.StructType("empty", 0, ())
    odd = layout.StructType(
        "odd", 4, (Member("e", 0, empty), Member("z", 0, array(U32, 0)), Member("x", 0, U32))
    )
    assert numpy_array(make(odd), *batch(bytes(4))).dtype.names == ("x",)
    assert len(numpy_array(make(empty), *batch(b"", b""))) == 2
    assert arrow_batch(make(odd), *batch(bytes(4))).to_pylist()[0]["z"] == []


@pytest.mark.parametrize(("module", "name"), [("numpy", "numpy"), ("pyarrow", "arrow")])
def test_what_is_not_installed_is_named(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    call = numpy_array if module == "numpy" else arrow_batch
    with pytest.raises(ImportError, match=rf"pip install 'snoopkit\[{name}\]'"):
        call(make(EVENT), *batch(*RECORDS))


def test_text_columns_outside_their_struct_are_refused() -> None:
    decoder = make(EVENT)
    programs = tuple(decoder.programs.values())
    with pytest.raises(ValueError, match="outside"):
        decoder.rows(*batch(*RECORDS), programs, ((70, 3),))
    with pytest.raises(TypeError):
        decoder.rows(*batch(*RECORDS), ("no program",))


@given(st.integers(0, 3), st.binary(max_size=30))
def test_texts_end_at_their_first_nul(before: int, text: bytes) -> None:
    whole = layout.StructType(
        "text",
        before + len(text),
        (Member("octets", 0, array(U8, before)), Member("text", before, array(CHAR, len(text)))),
    )
    found = numpy_array(make(whole), *batch(b"\1" * before + text))
    ended = text.split(b"\0")[0].ljust(len(text), b"\0")
    assert found.tobytes() == b"\1" * before + ended * bool(before + len(text))


def test_arrays_keep_their_memory_while_others_come_and_go() -> None:
    decoder = make(PAIR)

    def lot(number: int) -> Any:
        return numpy_array(decoder, *batch(*[struct.pack("<I4x", number)] * (1 + 7 * number)))

    kept = [lot(number) for number in range(20)]
    for number in range(40, 0, -1):
        lot(number)
        kept[number % 20]["b"] = number
    assert [set(array["a"].tolist()) for array in kept] == [{number} for number in range(20)]
    assert [set(array["b"].ravel().tolist()) for array in kept] == [
        {20},
        *[{number} for number in range(1, 20)],
    ]
