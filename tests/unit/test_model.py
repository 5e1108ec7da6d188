"""A process event's own values: status, text that isn't UTF-8, the keys and their order."""

from __future__ import annotations

import base64
import json
import os
import signal

import pytest
from hypothesis import given, strategies as st

from execsnoop.model import COLUMNS, ProcessEvent, signal_name
from snoopkit import render


def make_exec(**values: object) -> ProcessEvent:
    event = ProcessEvent("exec", 5_000, 1_790_000_000_123_456_789, 1)
    event.pid = event.tid = 42
    event.ppid = 1
    event.start_boottime_ns = 4_000
    event.uid = event.gid = event.euid = event.egid = 0
    event.comm, event.argv, event.filename = "true", ["true"], "/bin/true"
    event.argv_size_bytes = 5
    for name, value in values.items():
        setattr(event, name, value)
    return event


def test_signal_names_are_the_systems() -> None:
    for number in signal.valid_signals():
        if number <= 31 or number in (signal.SIGRTMIN, signal.SIGRTMAX):
            assert signal_name(number) == signal.Signals(number).name
    assert signal_name(37) == "SIGRTMIN+3"
    assert signal_name(32) == "SIG32"
    assert signal_name(0) == "SIG0"


@pytest.mark.parametrize(
    ("status", "exit_code", "name", "core"),
    [
        (0, 0, None, False),
        (7 << 8, 7, None, False),
        (255 << 8, 255, None, False),
        (9, None, "SIGKILL", False),
        (11 | 0x80, None, "SIGSEGV", True),
        (64, None, "SIGRTMAX", False),
    ],
)
def test_status(status: int, exit_code: int | None, name: str | None, core: bool) -> None:
    event = ProcessEvent("exit", 0, 0, 0)
    event.set_status(status)
    assert (event.status, event.exit_code, event.signal, event.core_dumped) == (status, exit_code, name, core)
    if exit_code is not None:
        assert os.waitstatus_to_exitcode(status) == exit_code


def test_keys_of_an_exec_stand_in_the_promised_order() -> None:
    event = make_exec(
        loginuid=1000, sessionid=3, tty="pts0", old_tid=43, flags=["setuid"], old_euid=1, old_egid=1
    )
    event.interpreter, event.script = "/bin/sh", "/bin/x"
    assert " ".join(event.as_dict()) == (
        "type time boottime_ns cpu pid tid ppid start_boottime_ns uid gid euid egid loginuid sessionid tty comm "
        "argv argv_size_bytes filename interpreter script old_tid old_euid old_egid flags"
    )


def test_keys_of_an_exit_stand_in_the_promised_order() -> None:
    event = make_exec(type="exit", duration_ns=1, lifetime_ns=2, inherited=True)
    event.set_status(0)
    event.cpu_ns = event.user_cpu_ns = event.system_cpu_ns = event.max_rss_bytes = 0
    event.cpu_exact = False
    event.minor_faults = event.major_faults = event.read_bytes = event.write_bytes = 0
    event.voluntary_switches = event.involuntary_switches = 0
    assert " ".join(event.as_dict()) == (
        "type time boottime_ns cpu pid tid ppid start_boottime_ns uid gid euid egid comm "
        "status exit_code signal core_dumped duration_ns lifetime_ns cpu_ns cpu_exact user_cpu_ns system_cpu_ns "
        "max_rss_bytes minor_faults major_faults read_bytes write_bytes voluntary_switches involuntary_switches "
        "argv inherited"
    )


def test_keys_of_a_fork_stand_in_the_promised_order() -> None:
    event = make_exec(type="fork", child_pid=43, child_start_boottime_ns=5_000, clone_flags=0)
    event.argv = ["\udcff"]  # the parent's, for the table
    event.mark("argv", "truncated")
    assert " ".join(event.as_dict()) == (
        "type time boottime_ns cpu pid tid ppid start_boottime_ns uid gid euid egid comm "
        "child_pid child_start_boottime_ns clone_flags"
    )


def test_keys_of_a_failed_exec_stand_in_the_promised_order() -> None:
    event = make_exec(type="exec_failed", errno=2, error="ENOENT", dirfd=3, at_flags=0, folded=2)
    assert " ".join(event.as_dict()) == (
        "type time boottime_ns cpu pid tid ppid start_boottime_ns uid gid euid egid comm "
        "errno error filename dirfd at_flags argv folded"
    )


def test_what_was_asked_for_stands_where_promised() -> None:
    event = make_exec(cgroup="/", container={"id": "1", "runtime": None}, namespaces={"net": 1})
    event.exe, event.cwd, event.capabilities = "/bin/true", "/", {"effective": "0"}
    assert " ".join(event.as_dict()) == (
        "type time boottime_ns cpu pid tid ppid start_boottime_ns uid gid euid egid comm cgroup container namespaces "
        "argv argv_size_bytes filename exe cwd capabilities"
    )


def test_every_key_is_a_column() -> None:
    event = make_exec(comm="\udcff")
    event.mark("argv", "truncated")
    assert set(event.as_dict()) <= set(COLUMNS)
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_what_does_not_apply_is_absent_and_what_is_unknown_is_null() -> None:
    event = make_exec()
    assert "tty" not in event.as_dict()
    event.mark("tty", "unsupported")
    event.argv = None
    event.mark("argv", "unreadable")
    values = event.as_dict()
    assert values["tty"] is None and values["argv"] is None
    assert values["incomplete"] == {"tty": "unsupported", "argv": "unreadable"}


def test_time_is_utc_with_nine_digits() -> None:
    assert make_exec().time == "2026-09-21T14:13:20.123456789Z"
    assert make_exec(unix_ns=1).time == "1970-01-01T00:00:00.000000001Z"


def test_bytes_that_are_not_utf8_are_kept_beside() -> None:
    argument = b"caf\xe9 \xf0\x9f\x98".decode("utf-8", "surrogateescape")
    values = make_exec(argv=["true", argument], filename="/tmp/\udc80", comm="ok").as_dict()
    assert values["argv"][1].startswith("caf\N{REPLACEMENT CHARACTER} ")
    assert [base64.b64decode(text) for text in values["raw"]["argv"]] == [b"true", b"caf\xe9 \xf0\x9f\x98"]
    assert base64.b64decode(values["raw"]["filename"]) == b"/tmp/\x80"
    assert "comm" not in values["raw"]
    assert list(values)[-1] == "raw"
    values["argv"][1].encode()  # no surrogate is left


def test_good_text_has_no_raw() -> None:
    assert make_exec(argv=["true", "é", ""]).raw is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.binary(max_size=8).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)


@st.composite
def events(draw: st.DrawFn) -> ProcessEvent:
    """Any event, with all or some of the values that its type has."""
    kind = draw(st.sampled_from(["exec", "exec_failed", "exit", "fork", "lost", "existing"]))
    event = ProcessEvent(
        kind, draw(st.integers(0, 1 << 60)), draw(st.integers(0, 1 << 61)), draw(st.none() | st.just(3))
    )
    if kind == "lost":
        event.count, event.cause = draw(st.integers(1, 1 << 40)), "buffer_full"
        return event
    event.pid, event.comm = draw(st.integers(1, 1 << 22)), draw(TEXTS)
    if kind != "fork":
        event.argv = draw(st.none() | st.lists(TEXTS, max_size=3))
    if kind in ("exec", "exec_failed"):
        event.filename = draw(st.none() | TEXTS)
    if kind == "exec":
        event.cwd, event.flags = draw(st.none() | TEXTS), draw(st.none() | st.just(["memfd"]))
    if kind == "exit":
        event.set_status(draw(st.integers(0, 0xFFFF)))
        event.cpu_exact = draw(st.booleans())
    if kind == "fork":
        event.child_pid = draw(st.integers(1, 1 << 22))
    if draw(st.booleans()):
        event.mark("argv", "truncated")
    return event


@given(events())
def test_an_event_comes_back_from_its_json_line(event: ProcessEvent) -> None:
    line = render.json(event.as_dict())
    again = ProcessEvent.from_dict(json.loads(line))
    assert render.json(again.as_dict()) == line
    assert (again.unix_ns, again.comm) == (event.unix_ns, event.comm)
    assert event.type == "fork" or again.argv == event.argv


@pytest.mark.parametrize(
    "values",
    [{}, {"type": "x", "time": "", "boottime_ns": 0}, {"type": "exec", "boottime_ns": 0, "time": "now"}],
)
def test_what_is_no_event_is_refused(values: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError)):
        ProcessEvent.from_dict(values)
