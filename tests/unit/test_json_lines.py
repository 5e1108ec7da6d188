"""JSON lines written from records are, byte for byte, what the writer makes of the decoded events."""

from __future__ import annotations

import json
import struct
import time
from types import SimpleNamespace
from typing import Any

from hypothesis import example, given, strategies as st

from snoopkit import events, layout
from snoopkit.batch import Batch
from snoopkit.render import JsonLines, WallClock


def integer(
    size: int, *, signed: bool = False, is_bool: bool = False, is_char: bool = False
) -> layout.IntType:
    return layout.IntType(f"int{size}", size, signed=signed, is_bool=is_bool, is_char=is_char)


CHAR = integer(1, signed=True, is_char=True)
ENUM = (("ZERO", 0), ("ONE", 1), ("MINUS", -1))

scalars = st.one_of(
    [st.just(integer(size, signed=signed)) for size in (1, 2, 4, 8, 16) for signed in (False, True)]
    + [st.just(integer(1, is_bool=True)), st.just(layout.PointerType("void *", 8))]
    + [st.just(layout.FloatType("float", 4)), st.just(layout.FloatType("double", 8))]
    + [st.just(layout.EnumType("enum e", size, signed=True, values=ENUM)) for size in (1, 4, 8)]
    + [st.just(layout.EnumType("enum e", 8, signed=False, values=ENUM[:2], is_cut=True))]
)
texts = st.integers(0, 24).map(lambda count: layout.ArrayType(f"char[{count}]", CHAR, count))


@st.composite
def structs(draw: Any, inner: st.SearchStrategy[layout.CType], name: str = "inner") -> layout.StructType:
    members: list[layout.Member] = []
    end = 0
    for number, ctype in enumerate(draw(st.lists(inner, min_size=1, max_size=6))):
        is_integer = isinstance(ctype, (layout.IntType, layout.EnumType))
        if is_integer and ctype.size_bytes <= 8 and draw(st.booleans()):
            bits = draw(st.integers(1, 8 * ctype.size_bytes))
            start = draw(st.integers(0, 7))
            members.append(layout.Member(f"m{number}", end, ctype, start, bits))
            end += (start + bits + 7) // 8
        else:
            members.append(layout.Member(f"m{number}", end, ctype))
            end += ctype.size_bytes
    return layout.StructType(name, end, tuple(members))


types = st.recursive(
    scalars | texts,
    lambda inner: (
        structs(inner)
        | st.tuples(inner, st.integers(0, 3)).map(lambda one: layout.ArrayType("array", one[0], one[1]))
    ),
    max_leaves=5,
)
# Bytes that texts and numbers are likely to go wrong with.
pieces = st.sampled_from(
    [b"\0", b"a", b'"\\', b"\xc3\xa9", b"\xff", b"\xe2\x80", b"\x1b[1m", b"\xf0\x9f\x92\xa9", b"~\x7f"]
)
contents = st.binary(max_size=80) | st.lists(pieces, max_size=30).map(b"".join)


class Fixed(WallClock):
    """A wall clock whose offset is known."""

    def __init__(self, offset_ns: int) -> None:
        super().__init__()
        self.offset_ns = offset_ns

    def wall_ns(self, boottime_ns: int) -> int:
        return boottime_ns + self.offset_ns


def both(
    source: layout.StructType, records: list[bytes], offset_ns: int, times_ns: list[int], **spec: Any
) -> tuple[bytes, bytes]:
    plain = {"kind_member": None, "kind_value": None, "tail_member": None, "tail_parts": (), "map": 'a "map"'}
    specs = (SimpleNamespace(**{**plain, "struct": source, **spec}),)
    package: Any = SimpleNamespace(btf=SimpleNamespace(byteorder="little"), event_specs=specs)
    decoder, programs = events.decoder(package, ['a "map"'])
    index, at = b"", 0
    for number, record in enumerate(records):
        cpu = number - 1  # a ring buffer doesn't tell
        index += struct.pack("<QIIIhH", times_ns[number % len(times_ns)], at, len(record), number, cpu, 0)
        at += len(record)
    writer = JsonLines(SimpleNamespace(event_types=programs))  # type: ignore[arg-type]
    writer._clock = Fixed(offset_ns)
    data = b"".join(records)
    rows = b"".join([writer.row(event) for event in decoder.events(data, index)])
    return decoder.json_lines(data, index, offset_ns), rows


times = st.integers(0, 2**60)


@given(structs(types, "event"), st.lists(contents, min_size=1, max_size=4), st.data())
def test_json_lines_equal_the_rows_of_the_events(
    source: layout.StructType, filling: list[bytes], data: st.DataObject
) -> None:
    padded = [
        (content * (source.size_bytes // max(1, len(content)) + 1))[: source.size_bytes]
        for content in filling
    ]
    records = [record.ljust(source.size_bytes, b"\0") for record in padded] + [filling[0]]
    native, rows = both(source, records, data.draw(times), [data.draw(times), data.draw(times)])
    assert native == rows


PARTS = (layout.TailPart("name", "name_size", "text"), layout.TailPart("argv", "argv_size", "strings"))
TAILED = layout.StructType(
    "tailed",
    8,
    (
        layout.Member("name_size", 0, integer(4)),
        layout.Member("argv_size", 4, integer(4)),
        layout.Member("tail", 8, layout.ArrayType("char[]", CHAR, 0)),
    ),
)


@given(contents, contents, st.integers(-2, 2))
@example(b"", b"", 0)
@example(b"/bin/\xff", b"a\0\0b", 0)
@example(b"a", b"b\0", 1)
def test_tails(name: bytes, argv: bytes, lie: int) -> None:
    record = struct.pack("<II", len(name), max(0, len(argv) + lie)) + name + argv
    for spec in ({"tail_member": "tail", "tail_parts": PARTS}, {"tail_member": "tail"}):
        native, rows = both(TAILED, [record, record[:7]], 10**18, [5], **spec)
        assert native == rows
        assert native.count(b"\n") == 2


@given(structs(types).filter(lambda one: one.size_bytes > 0), contents)
def test_tails_of_anything(element: layout.StructType, content: bytes) -> None:
    tail = layout.ArrayType("struct inner[]", element, 0)
    source = layout.StructType("t", 0, (layout.Member("tail", 0, tail),))
    native, rows = both(source, [content], 10**18, [5], tail_member="tail")
    assert native == rows


@given(st.integers(0, 2**63 // 10**9 - 1), st.integers(0, 999_999_999))
def test_times(second: int, rest: int) -> None:
    source = layout.StructType("event", 1, (layout.Member("x", 0, integer(1)),))
    native, rows = both(source, [b"\0"], 0, [second * 10**9 + rest])
    assert native == rows
    assert (
        time.strftime('"time":"%Y-%m-%dT%H:%M:%S', time.gmtime(second)).encode() + b".%09dZ" % rest in native
    )


def test_every_week_of_two_centuries() -> None:
    source = layout.StructType("event", 1, (layout.Member("x", 0, integer(1)),))
    days = [day * 86400 * 10**9 for day in range(0, 365 * 200, 7)]
    native, rows = both(source, [b"\0"] * len(days), 0, days)
    assert native == rows


def test_a_batch_is_written_whole_and_its_events_counted() -> None:
    kind = layout.Member("kind", 0, integer(1))
    source = layout.StructType("event", 1, (kind,))
    spec = SimpleNamespace(
        struct=source, kind_member=None, kind_value=None, tail_member=None, tail_parts=(), map="m"
    )
    package: Any = SimpleNamespace(btf=SimpleNamespace(byteorder="little"), event_specs=(spec,))
    decoder, programs = events.decoder(package, ["m"])
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    index = b"".join(struct.pack("<QIIIhH", now, n, n < 2, n, -1, 0) for n in range(3))
    lost = events.Lost(now, -1, "m", 7, "buffer_full")
    batch = Batch(memoryview(b"\1\2\3"), memoryview(index), [lost], decoder, lambda count: None)
    lines, count = JsonLines(SimpleNamespace(event_types=programs)).lines(batch)  # type: ignore[arg-type]
    found = [json.loads(line) for line in lines.splitlines()]
    assert count == 2
    assert [one["type"] for one in found] == ["event", "event", "lost", "lost"]
    assert [one.get("cpu") for one in found] == [None] * 4
    assert (found[2]["cause"], found[3]["count"]) == ("undecodable", 7)
