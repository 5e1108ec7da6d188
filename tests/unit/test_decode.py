"""Batches to events: kinds, tails, true sizes, what can't be decoded; and values to text."""

from __future__ import annotations

import base64
import gc
import json
import shlex
import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st

from snoopkit import _decode, layout, plans
from snoopkit.events import Event, Lost, _make_class, nested_class

U32 = layout.IntType("unsigned int", 4, signed=False, is_bool=False, is_char=False)
CHAR = layout.IntType("char", 1, signed=True, is_bool=False, is_char=True)
HIDDEN = ("_map", "_time_ns", "_cpu")


def members(*pairs: tuple[str, int, layout.CType]) -> tuple[layout.Member, ...]:
    return tuple(layout.Member(*pair) for pair in pairs)


HEADER = layout.StructType("header", 8, members(("type", 0, U32), ("size_bytes", 4, U32)))
TAIL = layout.ArrayType("char[]", CHAR, 0)
EXEC = layout.StructType(
    "exec",
    20,
    members(
        ("header", 0, HEADER),
        ("pid", 8, U32),
        ("name_size", 12, U32),
        ("argv_size", 16, U32),
        ("tail", 20, TAIL),
    ),
)
PARTS = (layout.TailPart("name", "name_size", "text"), layout.TailPart("argv", "argv_size", "strings"))
EXIT = layout.StructType("exit", 12, members(("header", 0, HEADER), ("pid", 8, U32)))


def program(source: layout.StructType, **tail: Any) -> _decode.EventProgram:
    plan = plans.event_plan(source, size_member="header.size_bytes", **tail)
    fields = tuple(step[1] for step in plan[3])
    return _decode.EventProgram(plan, False, _make_class(Event, source.name, fields, HIDDEN), nested_class)


def decoder() -> _decode.Decoder:
    programs = {1: program(EXEC, tail_member="tail", tail_parts=PARTS), 2: program(EXIT)}
    return _decode.Decoder([("events", (0, 4), programs)], False, Lost)


def exec_record(name: bytes, argv: bytes, size: int | None = None) -> bytes:
    true = 20 + len(name) + len(argv)
    return struct.pack("<IIIII", 1, true if size is None else size, 7, len(name), len(argv)) + name + argv


def batch(*records: bytes) -> tuple[bytes, bytes]:
    index = b""
    offset = 0
    for number, record in enumerate(records):
        index += struct.pack("<QIIIHH", 1000 + number, offset, len(record), number, 3, 0)
        offset += len(record)
    return b"".join(records), index


def test_kinds_tails_and_padding() -> None:
    padded = exec_record(b"/bin/ls", b"ls\0-l\0\0") + b"\xaa" * 5
    first, second = decoder().events(*batch(padded, struct.pack("<III", 2, 12, 9) + bytes(4)))
    assert (first._struct, first.pid, first.name, first.argv) == ("exec", 7, "/bin/ls", ["ls", "-l", ""])
    assert first.header.type == 1
    assert (first._map, first._time_ns, first._cpu) == ("events", 1000, 3)
    assert (second._struct, second.pid) == ("exit", 9)
    assert [*second] == [second.header, 9]
    assert second._asdict() == {"header": {"type": 2, "size_bytes": 12}, "pid": 9}


@pytest.mark.parametrize(
    ("captured", "expected"),
    [
        (b"", []),
        (b"\0", [""]),
        (b"\0\0", ["", ""]),
        (b"a\0b", ["a", "b"]),
        (b"\xff\0", ["\udcff"]),
        ("é\0".encode(), ["é"]),
    ],
)
def test_strings_end_in_nul_and_the_last_may_be_cut(captured: bytes, expected: list[str]) -> None:
    (event,) = decoder().events(*batch(exec_record(b"x", captured)))
    assert event.argv == expected


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\1\0\0",
        struct.pack("<III", 2, 12, 9)[:-1],
        struct.pack("<III", 3, 12, 9),
        exec_record(b"a", b"b\0", size=19),
        exec_record(b"a", b"b\0", size=2**32 - 1),
        struct.pack("<IIIII", 1, 22, 7, 3, 0) + b"ab",
        struct.pack("<IIIII", 1, 22, 7, 1, 2**32 - 1) + b"ab",
    ],
)
def test_what_cant_be_decoded_is_a_notice_in_its_place(record: bytes) -> None:
    good = exec_record(b"a", b"b\0")
    found = decoder()
    before, notice, after = found.events(*batch(good, record, good))
    assert (before.pid, after.pid) == (7, 7)
    assert isinstance(notice, Lost)
    assert (notice.count, notice.cause, notice._map, notice._cpu) == (1, "undecodable", "events", 3)
    assert found.undecodable == 1


def test_a_part_of_a_batch() -> None:
    data, index = batch(*[struct.pack("<III", 2, 12, pid) for pid in range(5)])
    assert [event.pid for event in decoder().events(data, index, 1, 3)] == [1, 2]
    assert [event.pid for event in decoder().events(data, index, 3)] == [3, 4]


def test_an_index_that_leads_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        decoder().events(b"1234", struct.pack("<QIIIHH", 0, 1, 4, 0, 0, 0))
    with pytest.raises(ValueError, match="map"):
        decoder().events(b"1234", struct.pack("<QIIIHH", 0, 0, 4, 0, 0, 1))


@given(st.binary(max_size=64), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), max_size=4))
def test_any_bytes_decode_or_are_counted(data: bytes, cuts: list[tuple[int, int]]) -> None:
    entries = [(start, size) for start, size in cuts if start + size <= len(data)]
    index = b"".join(struct.pack("<QIIIHH", 0, start, size, 0, 0, 0) for start, size in entries)
    found = decoder()
    assert len(found.events(data, index)) == len(entries)
    bad = found.undecodable
    assert found.json_lines(data, index, 10**18).count(b"\n") == len(entries)
    rows = [found.rows(data, index, (program,)) for program in found.programs.values()]
    assert sum(len(stamps) for _, stamps, _ in rows) == 24 * (len(entries) - bad)
    assert found.undecodable >= 3 * bad


@pytest.mark.parametrize(
    "steps",
    [
        ((plans.OP_UNSIGNED, "a", 5, 4, 0, 0, 1, None),),
        ((plans.OP_UNSIGNED, "a", 0, 3, 0, 0, 1, None),),
        ((plans.OP_TEXT, "a", 0, 9, 0, 0, 1, None),),
        ((plans.OP_ARRAY, "a", 0, 4, 0, 0, 2**31, (plans.OP_UNSIGNED, "", 0, 4, 0, 0, 1, None)),),
        ((plans.OP_UNSIGNED, "a", 7, 8, 1, 60, 1, None),),
        ((plans.OP_STRUCT, "a", 4, 8, 0, 0, 1, ("in", 8, ())),),
    ],
)
def test_a_plan_that_reads_outside_its_struct_is_refused(steps: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        _decode.Program("x", 8, steps, False, None, nested_class)


def test_big_endian() -> None:
    steps = plans.plan(layout.StructType("x", 8, members(("a", 0, U32), ("b", 4, U32))))[2]
    bit = ((plans.OP_UNSIGNED, "bits", 0, 4, 3, 9, 1, None),)
    values = _decode.Program("x", 8, steps + bit, True, None, nested_class).read(struct.pack(">II", 1, 2))
    assert (values.a, values.b) == (1, 2)
    assert _decode.Program("x", 4, bit, True, None, nested_class).read(b"\x1f\xf0\0\0").bits == 0b111111111


# --- text -------------------------------------------------------------------------------------------------

texts = st.text(alphabet=st.characters(exclude_categories=())).map(
    lambda text: text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
)


@given(texts)
def test_what_is_displayed_has_nothing_a_terminal_acts_on(text: str) -> None:
    shown = _decode.display(text)
    shown.encode()  # no surrogate is left
    assert not any(c < " " or "\x7f" <= c <= "\x9f" or "\u202a" <= c <= "\u202e" for c in shown)
    assert len(shown.splitlines()) <= 1


@given(texts)
def test_json_keeps_the_text_and_is_one_harmless_line(text: str) -> None:
    line = _decode.json({"text": text})
    assert not any(byte < 0x20 or byte == 0x7F for byte in line)
    exact = text.encode("utf-8", "surrogateescape")
    assert json.loads(line) == {"text": "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)}
    assert _decode.is_lossy(text) == any("\ud800" <= c <= "\udfff" for c in text)
    assert base64.b64decode(_decode.base64(text)) == exact


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(plain_values)
def test_json_is_what_the_standard_library_reads(value: Any) -> None:
    expected = json.loads(json.dumps(value).replace("-Infinity", "null").replace("Infinity", "null"))
    if "Infinity" in json.dumps(value):
        return
    assert json.loads(_decode.json(value)) == expected


def test_json_of_numbers_that_json_lacks() -> None:
    assert _decode.json([float("nan"), float("inf"), 2**64, -(2**70)]) == b'[null,null,"%d","%d"]' % (
        2**64,
        -(2**70),
    )


def test_json_that_never_ends_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="64"):
        _decode.json(endless)
    with pytest.raises(TypeError):
        _decode.json({1, 2})


printable = st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@given(st.lists(printable))
def test_a_quoted_line_splits_into_the_same_arguments(argv: list[str]) -> None:
    assert shlex.split(_decode.quote(argv)) == argv


def test_quoting_spells_out_what_is_unsafe() -> None:
    assert _decode.quote(["ls", "a b", "", "it's", "\x1b[31m", "\udcff", "\u202e", "\x85"]) == (
        r"ls 'a b' '' 'it'\''s' '\x1b[31m' '\xff' '\u{202e}' '\u{85}'"
    )


def test_numbers_that_come_again_and_others() -> None:
    numbers = [0, 300, 300, 2**63, 2**63, 2**64 - 1, 5, 300]
    source = layout.StructType(
        "numbers",
        24,
        members(
            ("unsigned", 0, layout.IntType("u64", 8, signed=False, is_bool=False, is_char=False)),
            ("signed", 8, layout.IntType("s64", 8, signed=True, is_bool=False, is_char=False)),
            (
                "list",
                16,
                layout.ArrayType(
                    "s32[2]", layout.IntType("int", 4, signed=True, is_bool=False, is_char=False), 2
                ),
            ),
        ),
    )
    plan = plans.event_plan(source)
    made = _decode.EventProgram(
        plan, False, _make_class(Event, "numbers", ("unsigned", "signed", "list"), HIDDEN), nested_class
    )
    found = _decode.Decoder([("events", None, {None: made})], False, Lost)
    records = [struct.pack("<QQii", number, number, -number % 7, 7) for number in numbers]
    got = found.events(*batch(*records))
    signed = [number - (number >> 63 << 64) for number in numbers]
    assert [(one.unsigned, one.signed, one.list) for one in got] == [
        (number, plain, [-number % 7, 7]) for number, plain in zip(numbers, signed, strict=True)
    ]
    assert all(map(gc.is_tracked, got)), "a cycle could go through the list"
