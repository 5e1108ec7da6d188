"""Event classes: attributes, dicts, equality, hashing, copies; what arrays of bytes become."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from package_writer import struct
from snoopkit import events, layout

U32 = layout.IntType("unsigned int", 4, signed=False, is_bool=False, is_char=False)
U8 = layout.IntType("unsigned char", 1, signed=False, is_bool=False, is_char=False)
CHAR = layout.IntType("char", 1, signed=True, is_bool=False, is_char=True)
INDEX = (1_000).to_bytes(8, sys.byteorder) + bytes(4)


def decode(source: layout.StructType, record: bytes, tail: str | None = None, **forms: str) -> Any:
    spec = SimpleNamespace(
        struct=source, map="events", kind_member=None, kind_value=None, tail_member=tail, tail_parts=()
    )
    package: Any = SimpleNamespace(btf=SimpleNamespace(byteorder="little"), event_specs=(spec,))
    decoder, _ = events.decoder(package, ["events"], **forms)
    index = INDEX + len(record).to_bytes(4, sys.byteorder) + bytes(4) + b"\3\0" + b"\0\0"
    (event,) = decoder.events(record, index)
    return event


PAIR = struct("pair", ("a", U32), ("b", layout.ArrayType("unsigned int[2]", U32, 2)))
WHOLE = struct("whole", ("pid", U32), ("pair", PAIR), ("comm", layout.ArrayType("char[4]", CHAR, 4)))


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


RECORD = number(7) + number(1) + number(2) + number(3) + b"ab\0z"


def test_attributes_dict_and_repr() -> None:
    event = decode(WHOLE, RECORD)
    assert (event.pid, event.pair.a, event.pair.b, event.comm) == (7, 1, [2, 3], "ab")
    assert event._asdict() == {"pid": 7, "pair": {"a": 1, "b": [2, 3]}, "comm": "ab"}
    assert repr(event) == "whole(pid=7, pair=pair(a=1, b=[2, 3]), comm='ab')"
    assert (event._struct, event._size_bytes, event.pair._size_bytes) == ("whole", 20, 12)
    assert (type(event).__doc__ or "").startswith("whole, 20 bytes: pid, pair, comm.\n")
    with pytest.raises(AttributeError):
        event.pid = 8


def test_short_texts_are_one_object() -> None:
    assert decode(WHOLE, RECORD).comm is decode(WHOLE, RECORD).comm


def test_an_event_is_a_sequence_of_its_members() -> None:
    event = decode(WHOLE, RECORD)
    pid, pair, comm = event
    assert [*event] == [pid, pair, comm] and len(event) == 3
    assert (event[0], event[-1], event[1:]) == (7, "ab", (pair, "ab"))
    assert 7 in event and "events" not in event
    assert tuple(event) == (pid, pair, comm)
    assert len(event.pair) == 2 and event.pair[0] == 1


def test_equality_and_hash() -> None:
    event, same, other = decode(WHOLE, RECORD), decode(WHOLE, RECORD), decode(WHOLE, number(8) + RECORD[4:])
    assert event == same and hash(event) == hash(same) and len({event, same, other}) == 2
    assert event != other
    renamed = decode(struct("another", *[(m.name, m.type) for m in WHOLE.members]), RECORD)
    assert event != renamed


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_and_copied(protocol: int) -> None:
    event = decode(WHOLE, RECORD)
    for back in (pickle.loads(pickle.dumps(event, protocol)), copy.copy(event), copy.deepcopy(event)):
        assert back == event
        assert type(back) is type(event)
        assert (back._map, back._time_ns, back._cpu, back.pair.b) == ("events", 1000, 3, [2, 3])
    lost = events.Lost(1, 2, "events", 3, "buffer_full")
    assert repr(pickle.loads(pickle.dumps(lost, protocol))) == repr(lost)


def test_unpickled_where_there_is_no_package() -> None:
    code = "import pickle, sys; e = pickle.load(sys.stdin.buffer); print(e, e._cpu, e.pair.a, e._size_bytes)"
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(decode(WHOLE, RECORD)),
        capture_output=True,
        check=True,
    )
    assert said.stdout.decode() == "whole(pid=7, pair=pair(a=1, b=[2, 3]), comm='ab') 3 1 20\n"


def test_names_that_clash() -> None:
    names = ("class", "_map", "_asdict", "__iter__", "_private", "count", "index", "_fields")
    event = decode(struct("odd", *[(name, U32) for name in names]), b"".join(map(number, range(8))))
    assert event._asdict() == dict(zip(names, range(8)))
    assert getattr(event, "class") == 0
    assert (event._map, event._private, event.count, event.index) == ("events", 4, 5, 6)
    assert [*event] == [*range(8)]
    assert pickle.loads(pickle.dumps(event)) == event
    assert repr(event).startswith("odd(class=0, _map=1, ")


def test_what_arrays_of_bytes_become() -> None:
    source = struct(
        "bytes",
        ("text", layout.ArrayType("char[4]", CHAR, 4)),
        ("two", layout.ArrayType("char[2][2]", layout.ArrayType("char[2]", CHAR, 2), 2)),
        ("u8", layout.ArrayType("__u8[3]", U8, 3)),
    )
    record = b"a\xff\0b" + b"c\0de" + b"\0\1\2"
    event = decode(source, record)
    assert [*event] == ["a\udcff", ["c", "de"], [0, 1, 2]]
    event = decode(source, record, text="bytes", u8="bytes")
    assert [*event] == [b"a\xff", [b"c", b"de"], b"\0\1\2"]
    with pytest.raises(ValueError, match="text is 'str' or 'bytes'"):
        decode(source, record, text="list")
    with pytest.raises(ValueError, match="u8 is 'list' or 'bytes'"):
        decode(source, record, u8="str")


def test_tails_of_bytes() -> None:
    source = struct("tail", ("n", U32), ("tail", layout.ArrayType("unsigned char[]", U8, 0)))
    assert decode(source, number(1) + b"\0\1", "tail").tail == [0, 1]
    assert decode(source, number(1) + b"\0\1", "tail", u8="bytes").tail == b"\0\1"
    source = struct("tail", ("n", U32), ("tail", layout.ArrayType("char[]", CHAR, 0)))
    assert decode(source, number(1) + b"a\xff", "tail").tail == "a\udcff"
    assert decode(source, number(1) + b"a\xff", "tail", text="bytes").tail == b"a\xff"


def enum(size: int, *values: tuple[str, int], signed: bool = False, cut: bool = False) -> layout.EnumType:
    return layout.EnumType("enum e", size, signed=signed, values=values, is_cut=cut)


@pytest.mark.parametrize(
    ("ctype", "value", "expected"),
    [
        # as clang 15 and later have them: every bit, and the sign
        (enum(8, ("A", -1), ("B", 2**40), signed=True), -1, "A"),
        (enum(8, ("A", -1), ("B", 2**40), signed=True), 2**40, "B"),
        (enum(8, ("A", 1), ("B", 2**63)), 2**63, "B"),
        (enum(8, ("A", -1), signed=True), -2, -2),
        # as clang 14 has them: low halves
        (enum(8, ("A", 1), ("B", 2), cut=True), 2**32 + 2, "B"),
        (enum(8, ("A", 0xFFFFFFFF), ("B", 2), cut=True), -1, "A"),
        (enum(8, ("A", 2), ("B", 2), cut=True), 2, 2),
        (enum(8, ("A", 2), cut=True), 2**40 + 1, 2**40 + 1),
        (enum(1, ("A", 0xFFFFFFFF), ("B", 3)), -1, "A"),
        (enum(4, ("A", 0xFFFFFFFD), ("B", 3)), -3, "A"),
    ],
)
def test_enumerations(ctype: layout.EnumType, value: int, expected: object) -> None:
    record = (value & (1 << 8 * ctype.size_bytes) - 1).to_bytes(ctype.size_bytes, "little")
    assert decode(struct("one", ("e", ctype)), record).e == expected
