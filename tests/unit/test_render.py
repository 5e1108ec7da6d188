"""Rows: the table, JSON lines and CSV for any package, and eunomia-bpf's own forms."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import termios
import time
from types import SimpleNamespace
from typing import Any

import pytest

from package_writer import struct
from snoopkit import layout, plans
from snoopkit._decode import EventProgram
from snoopkit.events import Event, Lost, _make_class, nested_class
from snoopkit.render import Csv, JsonLines, Output, Screen, Table, WallClock
from snoopkit.render.eunomia import EunomiaJson, EunomiaText

S32 = layout.IntType("int", 4, signed=True, is_bool=False, is_char=False)
U32 = layout.IntType("unsigned int", 4, signed=False, is_bool=False, is_char=False)
U64 = layout.IntType("unsigned long long", 8, signed=False, is_bool=False, is_char=False)
BOOL = layout.IntType("bool", 1, signed=False, is_bool=True, is_char=False)
CHAR = layout.IntType("char", 1, signed=True, is_bool=False, is_char=True)
WORDS = layout.ArrayType("unsigned int[2]", U32, 2)
COLOR = layout.EnumType("enum e", 4, signed=False, values=(("E_A", 0), ("E_B", 1)))
PAIR = layout.StructType("pair", 8, (layout.Member("b", 0, U32), layout.Member("a", 4, U32)))


def text(count: int) -> layout.ArrayType:
    return layout.ArrayType(f"char[{count}]", CHAR, count)


class Fake:
    """What the writers ask of a run: the package's event types, and their compiled plans."""

    def __init__(self, *structs: layout.StructType) -> None:
        specs = [SimpleNamespace(struct=each, tail_member=None, map="events") for each in structs]
        self.package: Any = SimpleNamespace(event_specs=specs, maps={})
        self.classes: dict[str, Any] = {}
        self.event_types: dict[tuple[str, str], EventProgram] = {}
        for each in structs:
            plan = plans.event_plan(each)
            fields = tuple(step[1] for step in plan[3])
            cls = self.classes[each.name] = _make_class(
                Event, each.name, fields, ("_map", "_time_ns", "_cpu")
            )
            self.event_types["events", each.name] = EventProgram(plan, False, cls, nested_class)

    def event(self, name: str, *values: Any) -> Any:
        return self.classes[name]((*values, "events", time.clock_gettime_ns(time.CLOCK_BOOTTIME), 1))


BOOTSTRAP = struct(
    "event",
    ("pid", S32),
    ("ppid", S32),
    ("exit_code", U32),
    ("duration_ns", U64),
    ("comm", text(16)),
    ("filename", text(127)),
    ("exit_event", BOOL),
)


def test_eunomia_header_and_row() -> None:
    fake = Fake(BOOTSTRAP)
    writer = EunomiaText(fake.package)
    assert writer.header() == b"TIME     PID    PPID   EXIT_CODE DURATION_NS COMM   FILENAME EXIT_EVENT \n"
    row = writer.row(fake.event("event", 506334, 505970, 0, 0, "sh", "/bin/sh", False)).decode()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  506334 505970 0        0           sh     /bin/sh  false\n", row)


def test_eunomia_values() -> None:
    fake = Fake(struct("event", ("w", WORDS), ("e", COLOR), ("u", COLOR), ("p", PAIR), ("s", text(4))))
    pair = nested_class("pair", ("b", "a"))((1, 2))
    event = fake.event("event", [7, 8], "E_B", 9, pair, "a\x1bb")
    row = EunomiaText(fake.package).row(event).decode()
    assert row[10:] == (
        "[7,8] E_B(1) <UNKNOWN_VARIANT>(9) "
        '{"__EUNOMIA_TYPE":"struct","__EUNOMIA_TYPE_NAME":"pair","b":1,"a":2} a\\x1bb\n'
    )
    line = EunomiaJson(fake.package).row(event)
    assert line == (
        b'{"e":"E_B(1)","p":{"__EUNOMIA_TYPE":"struct","__EUNOMIA_TYPE_NAME":"pair","a":2,"b":1},'
        b'"s":"a\\u001bb","u":"<UNKNOWN_VARIANT>(9)","w":[7,8]}\n'
    )


def test_table_columns_stand_under_their_headings() -> None:
    fake = Fake(struct("event", ("pid", S32), ("comm", text(16)), ("ok", BOOL)))
    writer = Table(fake.package)
    lines = [writer.header()] + [writer.row(fake.event("event", pid, "ab cd", True)) for pid in (1, 4194304)]
    head, *rows = [line.decode() for line in lines]
    assert head == "TIME                 PID COMM             OK\n"
    assert [row[13:] for row in rows] == [
        "          1 ab cd            true\n",
        "    4194304 ab cd            true\n",
    ]


WIDE = struct("event", ("n", U64), ("path", text(64)), ("m", U64), ("comm", text(16)))


def cells_under(header: str, row: str) -> list[str]:
    """What stands under N, PATH, M and COMM, by where these stand."""
    ends = [header.index(" N ") + 2, header.index("PATH"), header.index(" M ") + 2, header.index("COMM")]
    places = [slice(ends[0] - 20, ends[0]), slice(ends[1], ends[2] - 20), slice(ends[2] - 20, ends[2])]
    return [row[place].strip() for place in places] + [row[ends[3] :]]


def test_a_wide_value_pushes_nothing_in_a_file() -> None:
    fake = Fake(WIDE)
    writer = Table(fake.package)
    header = writer.header().decode().rstrip()
    for n in (1, (1 << 64) - 1):
        row = writer.row(fake.event("event", n, "x" * 40, n, "comm")).decode().rstrip()
        assert cells_under(header, row) == [str(n), "x" * 40, str(n), "comm"]
    long = writer.row(fake.event("event", 1, "x" * 55, 2, "comm")).decode().rstrip()
    assert "x" * 55 + " " in long  # not cut; it takes the spaces of the number behind it
    assert long[header.index(" M ") :].split() == ["2", "comm"]
    assert long.endswith("comm") and long.index("comm") == header.index("COMM")


def test_a_terminal_cuts_texts_and_widens_for_numbers() -> None:
    fake = Fake(WIDE)
    leader, terminal = os.openpty()
    try:
        termios.tcsetwinsize(terminal, (24, 60))
        writer = Table(fake.package, None, Screen(terminal, color="never"))
        header = writer.header().decode()
        first = writer.row(fake.event("event", 5, "/a/long/way/to/go/x" * 3, 6, "comm")).decode()
        assert max(map(len, (header, first))) <= 61
        assert "…" in first and first.endswith(" comm\n") and first.index("comm") == header.index("COMM")
        again, wide = writer.row(fake.event("event", 1 << 63, "/x", 6, "comm")).decode().splitlines()
        assert again.startswith("TIME ") and wide.index("/x") == again.index("PATH")
        assert str(1 << 63) in wide and wide.index("comm") == again.index("COMM")
        (plain,) = writer.row(fake.event("event", 7, "/x", 6, "comm")).decode().splitlines()
        assert plain.index("/x") == again.index("PATH")
        termios.tcsetwinsize(terminal, (24, 200))
        header, row = writer.row(fake.event("event", 7, "y" * 40, 6, "comm")).decode().splitlines()
        assert "y" * 40 in row and row.index("comm") == header.index("COMM")
        termios.tcsetwinsize(terminal, (4, 200))
        headers = sum(writer.row(fake.event("event", 7, "y", 6, "c")).startswith(b"TIME ") for _ in range(9))
        assert headers == 3  # one a screen
    finally:
        os.close(leader)
        os.close(terminal)


def test_table_is_one_harmless_line_an_event() -> None:
    fake = Fake(struct("event", ("comm", text(64))))
    row = Table(fake.package).row(fake.event("event", "a\nb\x1b[31m\udcff\u202e"))
    assert row[13:] == b"a\\x0ab\\x1b[31m\\xff\\u{202e}\n"


def test_table_of_several_types_names_each() -> None:
    fake = Fake(struct("fork_event", ("pid", S32)), struct("exit", ("pid", S32), ("code", S32)))
    writer = Table(fake.package)
    assert writer.header() == b"TIME         EVENT      MEMBERS\n"
    assert writer.row(fake.event("exit", 5, 0))[13:] == b"exit       pid=5 code=0\n"


def test_json_lines() -> None:
    fake = Fake(struct("event", ("pid", S32), ("comm", text(16)), ("p", layout.PointerType("void *", 8))))
    line = JsonLines(fake).row(fake.event("event", -1, "a\udcffb", 0xFFFF888000000001))  # type: ignore[arg-type]
    assert line.endswith(b"}\n")
    found = json.loads(line)
    assert [*found] == ["type", "time", "map", "cpu", "struct", "data", "raw"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", found["time"])
    assert found["data"] == {"pid": -1, "comm": "a\ufffdb", "p": "0xffff888000000001"}
    assert found["raw"] == {"comm": "Yf9i"}
    assert (found["type"], found["map"], found["cpu"], found["struct"]) == ("event", "events", 1, "event")


def test_lost_is_a_line_of_its_own() -> None:
    fake = Fake(struct("event", ("pid", S32)))
    lost = Lost(time.clock_gettime_ns(time.CLOCK_BOOTTIME), 0, "events", 7, "buffer_full")
    found = json.loads(JsonLines(fake).row(lost))  # type: ignore[arg-type]
    assert {key: found[key] for key in ("type", "map", "cpu", "count", "cause")} == {
        "type": "lost", "map": "events", "cpu": 0, "count": 7, "cause": "buffer_full",
    }  # fmt: skip
    assert Table(fake.package).row(lost)[13:] == b"lost 7 of events on CPU 0, buffer_full\n"


def test_csv_has_the_json_keys_and_reads_back() -> None:
    fake = Fake(struct("event", ("pid", S32), ("comm", text(16))))
    writer = Csv(fake)  # type: ignore[arg-type]
    data = writer.header() + writer.row(fake.event("event", 3, 'a,"b"\n'))
    assert data.count(b"\n") == 2
    (row,) = csv.DictReader(io.StringIO(data.decode()))
    assert (row["type"], row["map"], row["struct"]) == ("event", "events", "event")
    assert json.loads(row["data"]) == {"pid": 3, "comm": 'a,"b"\n'}


def test_wall_clock_follows_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WallClock()
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert abs(clock.wall_ns(now) - time.time_ns()) < 100_000_000
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)
    assert clock.wall_ns(now + 10**9) - now - 10**9 > clock.wall_ns(now) - now - 10**9
    assert abs(clock.wall_ns(now + 10**9) - 10**9 - real() - 3600 * 10**9) < 10**9


def test_output_writes_everything_and_notices_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    kept = os.dup(1)
    try:
        os.dup2(writer, 1)
        output = Output()
        output.write(b"one\n")
        output.write(b"two\n")
        output.flush()
        assert os.read(reader, 100) == b"one\ntwo\n"
        assert not output.is_broken()
        os.close(reader)
        assert output.is_broken()
        output.write(b"three\n")
        with pytest.raises(BrokenPipeError):
            output.flush()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(writer)
