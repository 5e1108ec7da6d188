"""Failed execs: what was tried, as the program that tried knows it."""

from __future__ import annotations

import os
import subprocess
from errno import E2BIG, EACCES, EFAULT, EINVAL, ENOENT, ENOEXEC, ENOTDIR, errorcode
from typing import TYPE_CHECKING

import pytest

import snoopkit
from kernel.watching import Command, marker, of, one, programs, watch

if TYPE_CHECKING:
    from pathlib import Path

    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures


@pytest.fixture(params=["tracepoints", "raw sys_exit"])
def hook(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By each of the two ways."""
    if request.param == "raw sys_exit":
        found = snoopkit.supports
        monkeypatch.setattr(
            snoopkit, "supports", lambda section: not section.startswith("tp/") and found(section)
        )
    return str(request.param)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "empty").touch(0o755)
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o644)
    paths = {name: str(tmp_path / name) for name in ("empty", "text", "absent")}
    return {**paths, "below": paths["text"] + "/below", "no interpreter": paths["text"]}


def tried(programs: dict[str, str], mode: str, file: str, marker: str) -> tuple[int, list[ProcessEvent]]:
    """The errno that the program got, and the failed execs of its process."""
    events, printed = watch(programs["tries"], mode, file, marker, options={"failed": True})
    pid = one(of(events, "exec", marker)).pid
    return int(printed), [e for e in events if e.type == "exec_failed" and e.pid == pid]


@pytest.mark.parametrize(
    ("file", "number"), [("absent", ENOENT), ("empty", ENOEXEC), ("text", EACCES), ("below", ENOTDIR)]
)
def test_the_errno_the_file_and_the_arguments(
    programs: dict[str, str], files: dict[str, str], marker: str, hook: str, file: str, number: int
) -> None:
    got, events = tried(programs, "execve", files[file], marker)
    event = one(events)
    assert got == number
    assert (event.errno, event.error) == (number, errorcode[number])
    assert (event.filename, event.argv) == (files[file], [files[file], marker])
    assert (event.dirfd, event.at_flags, event.incomplete) == (None, None, None)
    assert event.comm == "tries"


def test_a_thread_that_fails(programs: dict[str, str], files: dict[str, str], marker: str, hook: str) -> None:
    _, events = tried(programs, "thread", files["absent"], marker)
    event = one(events)
    assert event.tid != event.pid and event.argv == [files["absent"], marker]


def test_too_many_arguments(programs: dict[str, str], files: dict[str, str], marker: str, hook: str) -> None:
    got, events = tried(programs, "too-big", programs["leaf"], marker)
    event = one(events)
    assert got == event.errno == E2BIG
    assert event.argv is not None and event.argv[:2] == [programs["leaf"], marker]
    assert len(event.argv[2]) >= 16_000 and set(event.argv[2]) == {"x"}
    assert event.incomplete == {"argv": "truncated"}


def test_what_can_not_be_read_is_marked(
    programs: dict[str, str], files: dict[str, str], marker: str, hook: str
) -> None:
    got, events = tried(programs, "bad-pointers", programs["leaf"], marker)
    assert got == one(events).errno == EFAULT
    assert one(events).argv == [programs["leaf"], marker]
    assert one(events).incomplete == {"argv": "unreadable"}
    got, events = tried(programs, "bad-file", programs["leaf"], marker)
    assert got == one(events).errno == EFAULT
    assert one(events).filename is None and one(events).argv == [programs["leaf"], marker]
    assert one(events).incomplete == {"filename": "unreadable"}


def test_no_arguments(programs: dict[str, str], files: dict[str, str], marker: str, hook: str) -> None:
    _, events = tried(programs, "nothing", files["absent"], marker)
    assert one(events).argv == [] and one(events).incomplete is None


def test_below_an_open_folder(programs: dict[str, str], marker: str, hook: str) -> None:
    got, events = tried(programs, "at", "no/such", marker)
    event = one(events)
    assert got == event.errno == ENOENT
    assert (event.filename, event.dirfd, event.at_flags) == ("no/such", 77, 0x100)
    assert event.argv == ["no/such", marker]


def test_asking_whether_it_could_run_is_no_exec(programs: dict[str, str], marker: str, hook: str) -> None:
    got, events = tried(programs, "check", programs["leaf"], marker)
    if got == 0:
        assert events == []
    else:  # before 6.14 the kernel doesn't know the question
        assert got == EINVAL and one(events).at_flags == 0x10000


def test_a_32_bit_call(
    programs: dict[str, str], files: dict[str, str], marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = snoopkit.supports
    monkeypatch.setattr(
        snoopkit, "supports", lambda section: not section.startswith("tp/") and found(section)
    )
    got, events = tried(programs, "compat", files["absent"], marker)
    if got == 38:
        raise snoopkit.UnsupportedError("no 32-bit system calls", feature="32-bit system calls")
    event = one(events)
    assert got == event.errno == ENOENT
    assert (event.filename, event.argv) == (files["absent"], [files["absent"], marker])


def test_a_32_bit_call_that_works(programs: dict[str, str], marker: str) -> None:
    events, printed = watch(programs["tries"], "compat", programs["leaf"], marker, status=None)
    if printed:
        raise snoopkit.UnsupportedError("no 32-bit system calls", feature="32-bit system calls")
    _, event = of(events, "exec", marker)
    assert event.argv == [programs["leaf"], marker]


def test_the_search_along_the_path(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in "abc"]
    command = Command("-x", "--format", "table", output=tmp_path / "out")
    subprocess.run(
        ["/usr/bin/env", "leaf", marker, "exit", "0"],
        check=True,
        env={"PATH": ":".join([*folders, os.path.dirname(programs["leaf"])])},
    )
    data, messages = command.end()
    assert command.process.returncode == 0, messages
    rows = [line.split() for line in data.decode().splitlines() if marker in line]
    assert "fail" not in [row[1] for row in rows]
    _, ran = [row for row in rows if row[1] == "exec"]
    assert ran[7:] == ["leaf", marker, "exit", "0", "[after", "3", "tries]"]


def test_without_asking_there_are_none(programs: dict[str, str], files: dict[str, str], marker: str) -> None:
    events, _ = watch(programs["tries"], "execve", files["absent"], marker)
    assert not [event for event in events if event.type == "exec_failed"]
