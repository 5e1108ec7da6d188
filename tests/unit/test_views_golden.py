"""Each view of one recorded build, byte for byte: `ACCEPT=1 pytest` writes what it looks like now.

`tests/golden/build.jsonl` was recorded once: `make -k -j2` of three C files and a script, with a compile error,
searches along PATH, a daemon, a segmentation fault and bytes that no terminal should get.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from execsnoop import views
from execsnoop.cli import parser
from execsnoop.model import ProcessEvent

GOLDEN = Path(__file__).parents[1] / "golden"
LINES = (GOLDEN / "build.jsonl").read_bytes().splitlines(keepends=True)
VIEWS = {
    "table": [],
    "table-uid": ["-U", "-T"],
    "joined": ["--joined", "--top", "3"],
    "tree": ["--tree"],
    "tree-wrapped": ["--tree", "--wrap"],
    "columns": ["--columns", "pid,comm,signal,duration_ns,argv"],
}


def shown(*options: str) -> bytes:
    writer = views.writer(parser().parse_args(["--utc", *options]))
    header = writer.header()
    rows = [writer.row(ProcessEvent.from_dict(json.loads(line))) for line in LINES]
    footer = writer.footer() if hasattr(writer, "footer") else b""
    return b"".join([header, *rows, footer])


def compare(name: str, text: bytes) -> None:
    path = GOLDEN / "views" / name
    if os.environ.get("ACCEPT"):
        path.write_bytes(text)
    assert text.decode() == path.read_text()


@pytest.mark.parametrize("width", ["80", "200"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_at_a_width(view: str, width: str) -> None:
    text = shown("--width", width, *VIEWS[view])
    compare(f"{view}-{width}.txt", text)


def test_lines_to_run_again() -> None:
    compare("shell.sh", shown("--shell"))


def test_in_colour() -> None:
    compare("tree-80-colour.txt", shown("--tree", "--width", "80", "--color", "always"))


def test_what_was_recorded_is_written_again_as_it_was() -> None:
    assert shown("--json") == b"".join(LINES)


@pytest.mark.parametrize("view", ["table", "joined", "tree"])
def test_no_row_is_wider_than_asked_for(view: str) -> None:
    from snoopkit.render import width

    rows = shown("--width", "80", *VIEWS[view]).decode().splitlines()
    assert len(rows) > 26 and max(map(width, rows[:-1])) <= 80  # the totals may be
