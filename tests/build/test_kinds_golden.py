"""Rows and lines over every kind of type that BTF has, in each form, against golden files.

The records are made here, by the encoder; the types are clang's, but for those that the clang at hand doesn't write.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from btf_writer import BtfWriter
from elf_writer import ElfWriter
from snoopkit import btf, elf, events, skeleton, sources
from snoopkit.encode import Encoder
from snoopkit.render import Csv, JsonLines, Screen, Table, WallClock
from snoopkit.render.eunomia import EunomiaJson, EunomiaText
from snoopkit.render.formats import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "kinds"
TIME_NS = 1_769_860_800_123_456_789  # 2026-01-31 12:00:00.123 UTC

TEXTS = {
    "yes": True, "c": -1, "text": "tab\tend", "full": "full", "rows": ["a", "four"], "cv": b"\xff\xc3z",
    "named": "é", "letters": "\x1b[1", "octets": [0, 1, 254, 255], "signs": [-128, 127],
}  # fmt: skip
RECORDS: dict[str, list[dict[str, Any]]] = {
    "event": [
        {},
        {"a": -128, "b": 255, "c": -32768, "d": 65535, "e": -(1 << 31), "f": (1 << 32) - 1, "g": -(1 << 63)}
        | {"h": (1 << 64) - 1, "i": -(1 << 63), "j": (1 << 64) - 1, "k": -(1 << 127), "l": (1 << 128) - 1},
        {"a": 127, "b": 200, "c": 32767, "d": 50000, "e": (1 << 31) - 1, "f": 1 << 31, "g": (1 << 63) - 1}
        | {"h": 1 << 63, "i": (1 << 63) - 1, "j": 1 << 63, "k": (1 << 127) - 1, "l": 1 << 127},
    ],
    "letters": [{}, TEXTS, TEXTS | {"yes": False, "c": 65, "text": 'a "b" c', "full": "\\"}],
    "floats": [
        {},
        {"f": 1.2300000190734863, "d": 4.56, "ds": [-0.1, 1e300]},
        {"f": float("inf"), "d": float("-inf"), "ds": [float("nan"), 1e-310]},
    ],
    "enums": [
        {},
        {"a": "GREEN", "b": "MINUS", "c": "NONE", "d": 0x700000002, "e": "ON", "f": ["BLUE", "RED"]},
        {"a": 7, "b": 4294967295, "c": 5, "d": 3, "e": 9, "f": [1, "GREEN"]},
    ],
    "pointers": [
        {},
        {"p": 0xFFFF888000000001, "forward": 1, "function": (1 << 64) - 1, "constant": 0x7FFF12345678}
        | {"to_array": 2, "tagged": 3, "each": [4, 5]},
    ],
    "arrays": [
        {},
        {"a": [1, -2, 3], "b": [[1, 2, 65535], [4, 5, 6]], "c": [True, False], "e": [1 << 127]}
        | {"d": [{"a": -1, "tag": "x"}, {"a": 2, "tag": "full"}]},
    ],
    "nested": [
        {},
        {"pair": {"a": -1, "tag": "a\nb"}, "either": {"whole": 0x04030201}, "lifted": 4, "all": 0x10002}
        | {"inner": {"x": 2, "y": {"z": 3}}},
    ],
    "bits": [
        {},
        {"a": 7, "b": 127, "c": -16, "d": (1 << 40) - 1, "e": True, "f": 15},
        {"a": 5, "b": 100, "c": 15, "d": 1, "f": 1},
    ],
    "qualified": [{}, {"a": -1, "b": 65535, "c": -2, "d": 3, "e": 1}],
    "packed": [{}, {"a": 255, "b": (1 << 64) - 1, "c": 65535}],
    "tail_of_text": [{"count": 1}, {"count": 2}],
    "tail_of_numbers": [{"count": 1}, {"count": 2}],
    "later": [
        {},
        {"a": "LOW", "b": "HIGH", "c": "LOW", "d": "HIGH"},
        {"a": -2, "b": 3, "c": -2, "d": 3},
    ],
}  # fmt: skip
TAILS = {"tail_of_text": [b"", b"of any length\0"], "tail_of_numbers": [b"", b"\1\0\2\0\xff\xff"]}


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.build(HERE / "bpf" / "kinds.bpf.c", HERE / "bpf" / "kinds.h")


def later() -> snoopkit.Package:
    """What clang 15 and later write: enumerations of 8 bytes as BTF_KIND_ENUM64, and the sign of each."""
    writer = BtfWriter()
    number = writer.integer("int", 4, signed=True)
    enums = [
        writer.enum(
            f"{'s' if signed else 'u'}{8 * size}",
            size,
            [("LOW", -(1 << 8 * size - 1))] if signed else [("HIGH", (1 << 8 * size) - 1)],
            signed=signed,
            wide=size == 8,
        )
        for size in (8, 4)
        for signed in (True, False)
    ]
    places = (0, 64, 128, 160)
    members = [(name, type_id, at) for name, type_id, at in zip("abcd", enums, places, strict=True)]
    writer.struct("later", 24, members)
    numbers = {"type": 4, "key_size": 4, "value_size": 4, "max_entries": 0}
    map_members = [
        (name, writer.ptr(writer.array(number, number, count)), 64 * index)
        for index, (name, count) in enumerate(numbers.items())
    ]
    variable = writer.var("events", writer.struct("", 32, map_members))
    writer.datasec(".maps", 32, [(variable, 0, 32)])
    file = ElfWriter()
    file.program("raw_tp/sys_enter", "program")
    maps = file.section(".maps", bytes(32), elf.SHF_ALLOC | elf.SHF_WRITE)
    file.section(".BTF", writer.blob(), alignment=4)
    file.symbol("events", maps, 0, 32)
    data = file.bytes()
    read = elf.Elf.parse(data)
    return snoopkit.Package(data, skeleton.meta(read, read.btf(), "later", []))


def with_event(package: snoopkit.Package, name: str) -> snoopkit.Package:
    return sources._with_events(package, {"events": name})


class Run:
    """What the writers ask of a run."""

    def __init__(self, package: snoopkit.Package) -> None:
        self.package = package
        self.decoder, self.event_types = events.decoder(package, ["events"])

    def events(self, records: list[bytes]) -> list[Any]:
        index, offset = b"", 0
        for number, record in enumerate(records):
            index += struct.pack(
                "<QIIIHH", TIME_NS + number * 1_000_000_000, offset, len(record), number, 1, 0
            )
            offset += len(record)
        return self.decoder.events(b"".join(records), index)


def records(package: snoopkit.Package, name: str) -> list[bytes]:
    encoder = Encoder(package.events["events"], package.btf.byteorder)
    tails = TAILS.get(name, [b""] * len(RECORDS[name]))
    return [encoder.encode(value) + tail for value, tail in zip(RECORDS[name], tails, strict=True)]


WRITERS: dict[str, Callable[[Any], Any]] = {
    "table.txt": lambda run: Table(run.package, formats(run.package)),
    "table-80.txt": lambda run: Table(run.package, formats(run.package), Screen(width=80)),
    "lines.jsonl": lambda run: JsonLines(run),
    "table.csv": lambda run: Csv(run),
    "eunomia.txt": lambda run: EunomiaText(run.package, formats(run.package)),
    "eunomia.jsonl": lambda run: EunomiaJson(run.package),
}


@pytest.fixture
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The records' times are wall times already."""
    monkeypatch.setattr(WallClock, "wall_ns", lambda self, boottime_ns: boottime_ns)
    monkeypatch.setattr("time.localtime", __import__("time").gmtime)
    yield


@pytest.mark.parametrize("form", WRITERS)
def test_every_kind_is_as_on_record(package: snoopkit.Package, form: str, fixed_time: None) -> None:
    written = b""
    for name in RECORDS:
        run = Run(with_event(later() if name == "later" else package, name))
        writer = WRITERS[form](run)
        if not form.endswith(".jsonl"):
            written += b"" if not written else b"\n"
            written += writer.header()
        for event in run.events(records(run.package, name)):
            assert isinstance(event, events.Event)
            written += writer.row(event)
    path = GOLDEN / form
    if os.environ.get("ACCEPT"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(written)
    assert written.decode().splitlines() == path.read_text().splitlines()


def test_every_kind_is_there(package: snoopkit.Package) -> None:
    """No kind of BTF is missing from these types but those that only a kernel's own BTF has."""
    kinds = {package.btf.types[number].kind for number in range(1, len(package.btf))}
    wide = later().btf
    kinds |= {wide.types[number].kind for number in range(1, len(wide))}
    names = {value: name for name, value in vars(btf).items() if name.startswith("KIND_")}
    assert sorted(names[kind] for kind in names if kind not in kinds) == ["KIND_VOID"]
    exported = {struct["name"] for struct in package.meta["export_types"]}
    assert set(RECORDS) == exported - {"pair"} | {"later"}  # that one stands in others


def test_formats_reach_structs_inside(package: snoopkit.Package, fixed_time: None) -> None:
    run = Run(with_event(package, "nested"))
    _, event = run.events(records(run.package, "nested"))
    shown = formats(run.package, ["pair.a=hex", "either.whole=ipv4", "half=errno"])
    row = Table(run.package, shown).row(event).decode()
    assert '{"a":"0xffffffff","tag":"a\\nb"}' in row
    assert '{"whole":"1.2.3.4","parts":[1,2,3,4]}' in row
    assert row.rstrip().endswith(" ENOENT")
    row = EunomiaText(run.package, shown).row(event).decode()
    assert '"__EUNOMIA_TYPE_NAME":"pair","a":"0xffffffff"' in row
    assert row.rstrip().endswith(" ENOENT")
    line = EunomiaJson(run.package).row(event).decode()
    assert '"a":-1' in line
