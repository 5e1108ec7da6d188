"""A process event as a line of the table, of JSON and of CSV."""

from __future__ import annotations

import csv
import io
import json
import shlex

import pytest

from execsnoop.model import COLUMNS, ProcessEvent
from execsnoop.views.cells import duration
from execsnoop.views.data import Csv, JsonLines
from execsnoop.views.table import Columns, Table

HOSTILE = b"a\nb\x1b]0;t\x07\xff\xe2\x80\xae'\"$(id)".decode("utf-8", "surrogateescape")


def make_event(type: str = "exec", **values: object) -> ProcessEvent:
    event = ProcessEvent(type, 1_000, 1_790_000_000_000_000_000, 0)
    event.pid = event.tid = 42
    event.ppid, event.uid, event.comm = 1, 1000, "x"
    for name, value in values.items():
        setattr(event, name, value)
    return event


def make_exit(status: int, **values: object) -> ProcessEvent:
    event = make_event("exit", duration_ns=1_200_000, **values)
    event.set_status(status)
    return event


def cells(event: ProcessEvent) -> list[str]:
    return Table().row(event).decode().split()


def test_the_header_names_the_promised_columns() -> None:
    assert Table().header().split() == b"TIME EVENT PID PPID UID COMM RET DURATION ARGS".split()


def test_an_exec() -> None:
    row = Table().row(make_event(argv=["ls", "-l", "a b"])).decode()
    assert row.split()[1:7] == ["exec", "42", "1", "1000", "x", "0"]
    assert shlex.split(row)[7:] == ["ls", "-l", "a b"]


@pytest.mark.parametrize(
    ("status", "shown"), [(0, ["0"]), (512, ["2"]), (9, ["SIGKILL"]), (139, ["SIGSEGV", "core"])]
)
def test_the_result_of_an_exit(status: int, shown: list[str]) -> None:
    assert cells(make_exit(status, argv=["ls"]))[6:] == [*shown, "1.2ms", "ls"]


def test_a_fork_shows_the_child_and_what_it_runs() -> None:
    assert cells(make_event("fork", child_pid=43, argv=["sh", "-c", "a b"]))[1:] == [
        *("fork", "42", "1", "1000", "x", "43", "[sh", "-c", "'a", "b']")
    ]


def test_commands_that_are_not_its_own() -> None:
    assert cells(make_exit(0, argv=["sh", "[x]"], inherited=True))[-2:] == ["[sh", "'[x]']"]
    assert cells(make_exit(0))[-1] == "?"
    assert cells(make_event("fork", child_pid=43))[-1] == "?"


def test_marks_can_not_be_arguments() -> None:
    cut = make_event(argv=["ls", "[truncated]"])
    cut.mark("argv", "truncated")
    assert Table().row(cut).endswith(b"ls '[truncated]' [truncated]\n")
    unreadable = make_event()
    unreadable.mark("argv", "unreadable")
    assert cells(unreadable)[-1] == "[unreadable]"


def test_a_notice_of_loss() -> None:
    lost = ProcessEvent("lost", 1_000, 1_000, None)
    lost.count, lost.cause, lost.events = 3, "buffer_full", "exec"
    assert Table().row(lost).endswith(b"3 exec events are missing: buffer_full\n")
    assert json.loads(JsonLines().row(lost))["count"] == 3


@pytest.mark.parametrize("writer", [Table(), JsonLines(), Csv()])
def test_hostile_bytes_stay_in_their_line(writer: Table | JsonLines | Csv) -> None:
    row = writer.row(make_event(argv=[HOSTILE], comm="\x1b[2J\n", filename=HOSTILE))
    assert row.endswith(b"\n") and row.count(b"\n") == 1
    assert not any(byte < 0x20 or byte == 0x7F for byte in row[:-1])
    assert "\u202e" not in row.decode()


def test_csv_has_a_cell_for_every_column() -> None:
    text = Csv().header() + Csv().row(make_event(argv=["a,b", 'c"d']))
    (row,) = csv.DictReader(io.StringIO(text.decode()))
    assert tuple(row) == COLUMNS
    assert json.loads(row["argv"]) == ["a,b", 'c"d']
    assert row["status"] == ""


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (0, "0us"),
        (850_000, "850us"),
        (999_600, "1.0ms"),
        (1_200_000, "1.2ms"),
        (99_960_000, "100ms"),
        (999_700_000, "1.00s"),
        (3_040_000_000, "3.04s"),
        (59_996_000_000, "1m00s"),
        (245_000_000_000, "4m05s"),
        (7_620_000_000_000, "2h07m"),
        (273_600_000_000_000, "3d04h"),
    ],
)
def test_durations_for_people(nanoseconds: int, shown: str) -> None:
    assert duration(nanoseconds) == shown


def make_fail(**values: object) -> ProcessEvent:
    return make_event("exec_failed", errno=2, error="ENOENT", **values)


def test_a_failed_exec_shows_the_file_that_was_tried() -> None:
    assert cells(make_fail(filename="/a/env", argv=["env", "x y"]))[1:] == [
        *("fail", "42", "1", "1000", "x", "ENOENT", "/a/env", "'x", "y'")
    ]
    unreadable = make_fail(filename="/a/env")
    unreadable.mark("argv", "unreadable")
    assert cells(unreadable)[7:] == ["/a/env", "[unreadable]"]
    nothing = make_fail(dirfd=-100, at_flags=0x10000)
    nothing.mark("filename", "unreadable")
    assert cells(nothing)[7:] == ["[unreadable]", "[at_flags", "0x10000]"]
    assert cells(make_fail(filename="x", argv=["x"], dirfd=3, at_flags=0))[7:] == ["x", "[dirfd", "3]"]
    assert cells(make_fail(filename="/c/x", argv=["x"], folded=2))[7:] == ["/c/x", "[and", "2", "before]"]


SHOP: dict[str, str | None] = {"id": "0123456789abcdef" * 4, "runtime": None, "name": "shop"}


class TestColumns:
    def test_cells(self) -> None:
        table = Columns(["pid", "signal", "flags", "container", "cpu_exact", "argv"])
        assert table.header().split() == b"PID SIGNAL FLAGS CONTAINER CPU_EXACT ARGV".split()
        event = make_event(argv=["a b"], flags=["memfd", "setuid"], container=SHOP)
        assert table.row(event) == b"42         memfd,setuid shop                'a b'\n"
        event.container = SHOP | {"name": None}
        assert table.row(event).split()[2] == b"0123456789ab"
        assert table.row(make_exit(9, argv=["x"], cpu_exact=True)).split() == b"42 SIGKILL true x".split()

    def test_hostile_bytes(self) -> None:
        row = Columns(["comm", "filename"]).row(make_event(comm="\x1b[2J\n", filename=HOSTILE))
        assert row.count(b"\n") == 1 and not any(byte < 0x20 for byte in row[:-1])

    def test_a_notice_of_loss(self) -> None:
        lost = ProcessEvent("lost", 1_000, 1_000, None)
        lost.count, lost.cause, lost.events = 3, "buffer_full", "exec"
        assert Columns(["pid"]).row(lost).endswith(b" lost 3 exec events are missing: buffer_full\n")
        assert json.loads(JsonLines(["pid"]).row(lost))["cause"] == "buffer_full"

    def test_of_json_and_csv(self) -> None:
        event = make_event(argv=["a"], comm="\udcff", filename="\udcfe")
        event.mark("argv", "truncated")
        assert json.loads(JsonLines(["comm", "pid"]).row(event)) == {
            "pid": 42,
            "comm": "\N{REPLACEMENT CHARACTER}",
            "raw": {"comm": "/w=="},
        }
        assert json.loads(JsonLines(["argv"]).row(event)) == {
            "argv": ["a"],
            "incomplete": {"argv": "truncated"},
        }
        assert Csv(["pid", "ppid"]).header() + Csv(["pid", "ppid"]).row(event) == b"pid,ppid\n42,1\n"
