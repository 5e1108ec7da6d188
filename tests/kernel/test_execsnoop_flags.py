"""The classic tools' flags for what is shown, each against libbpf-tools' own execsnoop on the same workload."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel.watching import Command, marker

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["marker"]  # a fixture

CLASSIC = Path("/usr/sbin/execsnoop")

pytestmark = [
    pytest.mark.own_root,
    pytest.mark.skipif(not CLASSIC.exists(), reason="libbpf-tools' execsnoop is not installed"),
]


def both(flags: Sequence[str], script: str, marker: str, folder: Path) -> tuple[list[str], list[str]]:
    """The header and the rows with the marker that theirs shows, and ours, in which only execs count."""
    with subprocess.Popen(["stdbuf", "-oL", CLASSIC, *flags], stdout=subprocess.PIPE, text=True) as classic:
        assert classic.stdout is not None
        try:
            header = classic.stdout.readline()  # printed once it is attached
            ours = Command("--format", "table", *flags, output=folder / "ours")
            # The shell's own arguments come from a file, that only what it starts has the marker.
            (folder / "script").write_text(script)
            subprocess.run(["sh", folder / "script"], stderr=subprocess.DEVNULL)
            time.sleep(0.3)
            data, messages = ours.end()
        finally:
            classic.terminate()
        theirs = [header, *(line for line in classic.stdout if marker in line)]
    assert ours.process.returncode == 0, messages
    head, *rows = data.decode().splitlines()
    return theirs, [head, *(row for row in rows if marker in row and re.search(r" (exec|fail) ", row))]


def words(line: str, marker: str) -> str:
    """What stands from the argument with the marker on."""
    return line[line.rindex(marker) + len(marker) :].strip()


def test_times(marker: str, tmp_path: Path) -> None:
    theirs, ours = both(["-T", "-t"], f"/bin/true {marker}\n/bin/true {marker}", marker, tmp_path)
    assert theirs[0].split()[:2] == ours[0].split()[:2] == ["TIME", "TIME(s)"]
    assert len(theirs) == len(ours) == 3
    for row in theirs[1:] + ours[1:]:
        assert re.match(r"\d\d:\d\d:\d\d +\d+\.\d{3} ", row)


def test_the_uid(marker: str, tmp_path: Path) -> None:
    theirs, ours = both(["-U"], f"setpriv --reuid 1234 --clear-groups /bin/true {marker}", marker, tmp_path)
    for lines, row in ((theirs, theirs[-1]), (ours, ours[-1])):
        assert row.split()[lines[0].split().index("UID")] == "1234"


def test_arguments_in_quotes(marker: str, tmp_path: Path) -> None:
    theirs, ours = both(["-q"], f"/bin/true {marker} 'two words' 'a\"b' plain", marker, tmp_path)
    assert words(theirs[1], marker) == words(ours[1], marker) == r'" "two words" "a\"b" "plain"'


def test_at_most_so_many_arguments(marker: str, tmp_path: Path) -> None:
    theirs, ours = both(
        ["--max-args", "3"], f"/bin/true {marker} b c d\n/bin/true {marker} b", marker, tmp_path
    )
    assert [words(row, marker) for row in theirs[1:]] == ["b  ...", "b"]
    assert [words(row, marker) for row in ours[1:]] == ["b [2 more]", "b"]


def test_failed_execs(marker: str, tmp_path: Path) -> None:
    script = f"env PATH=/absent-a:/absent-b no-such {marker}"
    theirs, ours = both(["-x"], script, marker, tmp_path)
    failed = [row.split()[3:] for row in theirs[1:] if " -2 " in row]
    assert failed == [["-2", f"{folder}/no-such", marker] for folder in ("/absent-a", "/absent-b")]
    # One line stands for the whole search.
    (row,) = [row.split() for row in ours[1:] if row.split()[1] == "fail"]
    assert row[6:] == ["ENOENT", "/absent-b/no-such", marker, "[and", "1", "before]"]
