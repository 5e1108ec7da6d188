"""The filters' language: what each expression selects, and what is said of one that can't be understood."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from execsnoop.filters import Filter, FilterError, quoted
from execsnoop.model import COLUMNS, ProcessEvent


def event(type: str, **values: Any) -> ProcessEvent:
    made = ProcessEvent(type, 5_000_000_000, 1_767_225_600_000_000_000, 1)
    made.pid, made.tid, made.ppid, made.comm = 10, 10, 1, "cc"
    made.uid, made.gid, made.euid, made.egid = 1000, 100, 1000, 100
    for name, value in values.items():
        setattr(made, name, value)
    return made


ARGV = ["gcc", "-c", "a b.c"]
EVENTS = {
    "exec": event(
        "exec", argv=ARGV, argv_size_bytes=13, filename="/usr/bin/gcc", flags=["memfd", "setuid"], euid=0
    ),
    "rest": event("exec", argv=["sh"], uid=0, comm="sh", exe="/usr/bin/sh", cwd="/usr", cgroup="/a/b"),
    "fail": event("exec_failed", errno=2, error="ENOENT", filename="/no", argv=["no"], folded=3),
    "fork": event("fork", child_pid=11, clone_flags=0x4100, argv=ARGV),
    "good": event(
        "exit", status=0, exit_code=0, core_dumped=False, duration_ns=1_500_000_000, cpu_ns=20_000, argv=ARGV
    ),
    "bad": event(
        "exit",
        status=256,
        exit_code=1,
        core_dumped=False,
        duration_ns=900,
        max_rss_bytes=3 << 20,
        inherited=True,
    ),
    "dead": event(
        "exit",
        status=139,
        signal="SIGSEGV",
        core_dumped=True,
        duration_ns=1,
        container={"id": "abc", "runtime": None},
    ),
    "lost": ProcessEvent("lost", 0, 0, None),
}
EXECS = {"exec", "rest"}
EXITS = {"good", "bad", "dead"}
PROCESSES = set(EVENTS) - {"lost"}


def selected(text: str) -> set[str]:
    filter = Filter(text)
    found = {name for name, one in EVENTS.items() if filter.matches(one)}
    assert "lost" in found
    return found - {"lost"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # numbers
        ("pid == 10", PROCESSES),
        ("pid != 10", set()),
        ("exit_code == 0", {"good"}),
        ("exit_code != 0", {"bad"}),
        ("status != 0", {"bad", "dead"}),
        ("exit_code >= 0 and exit_code < 1", {"good"}),
        ("status > -1", EXITS),
        ("clone_flags == 0x4100", {"fork"}),
        ("folded >= 3", {"fail"}),
        ("cpu == 1 and type == fork", {"fork"}),
        # units
        ("duration > 1s", {"good"}),
        ("duration == 1.5s", {"good"}),
        ("duration == 1500ms", {"good"}),
        ("duration_ns == 1500000000", {"good"}),
        ("duration <= 0.9us", {"bad", "dead"}),
        ("duration > 0", EXITS),
        ("duration < 0.01h", EXITS),
        ("cpu_ns == 20us", {"good"}),
        ("max_rss == 3MiB", {"bad"}),
        ("max_rss > 3MB", {"bad"}),
        ("max_rss_bytes > 3145727", {"bad"}),
        ("argv_size == 13B", {"exec"}),
        # names
        ("uid == root", {"rest"}),
        ('uid == "root"', {"rest"}),
        ("uid != root", PROCESSES - {"rest"}),
        ("uid in (root, 1000)", PROCESSES),
        ("gid != root", PROCESSES),
        ("signal == SIGSEGV", {"dead"}),
        ("signal == segv", {"dead"}),
        ("signal == 11", {"dead"}),
        ("signal in (KILL, SEGV)", {"dead"}),
        ("signal != KILL", {"dead"}),
        ("errno == ENOENT", {"fail"}),
        ("errno == 2", {"fail"}),
        ("error == enoent", {"fail"}),
        ("error in (EACCES, ENOENT)", {"fail"}),
        ('error ~ "^ENO"', {"fail"}),
        ("type == exec", EXECS),
        ("type in (exec, fork)", {*EXECS, "fork"}),
        ("type == fail", {"fail"}),
        # truth
        ("core_dumped", {"dead"}),
        ("core_dumped == false", {"good", "bad"}),
        ("not core_dumped", PROCESSES - {"dead"}),
        ("inherited", {"bad"}),
        # absence
        ("exit_code == null", PROCESSES - {"good", "bad"}),
        ("type == exit and exit_code == null", {"dead"}),
        ("signal != null", {"dead"}),
        ("container != null", {"dead"}),
        ("container.runtime == null", PROCESSES),
        ("incomplete == null", PROCESSES),
        ("raw != null", set()),
        # text
        ('comm == "sh"', {"rest"}),
        ("comm != 'sh'", PROCESSES - {"rest"}),
        ('comm in ("sh", "bash")', {"rest"}),
        ('comm not in ("sh", "bash")', PROCESSES - {"rest"}),
        ('comm ~ "^s"', {"rest"}),
        ('comm !~ "^s"', PROCESSES - {"rest"}),
        ('container.id == "abc"', {"dead"}),
        ('time < "2026-01-01T00:00:01" and time >= "2026"', PROCESSES),
        # paths
        ('filename == "/usr/bin/gcc"', {"exec"}),
        ('filename in "/usr"', {"exec"}),
        ('filename not in "/usr"', {"fail"}),
        ('cwd in "/usr/"', {"rest"}),
        ('cwd in "/us"', set()),
        ('exe in "/"', {"rest"}),
        ('cgroup in "/a"', {"rest"}),
        ('cgroup in ("/a/b", "/c")', {"rest"}),
        # lists; a fork has no arguments of its own
        ('argv == "gcc -c a b.c"', {"exec", "good"}),
        ('argv ~ "c a"', {"exec", "good"}),
        ('argv !~ "c a"', {"rest", "fail"}),
        ('"a b.c" in argv', {"exec", "good"}),
        ('"a" in argv', set()),
        ('"a" not in argv', {"exec", "good", "rest", "fail"}),
        ('argv in ("sh", "no")', {"rest", "fail"}),
        ('"memfd" in flags', {"exec"}),
        # keys with each other
        ("uid != euid", {"exec", "rest"}),
        ("pid == tid", PROCESSES),
        ("duration > cpu_ns", {"good"}),
        # and, or, not
        ("not exit_code == 0", PROCESSES - {"good"}),
        ("type == exec or type == exit and exit_code == 0", {*EXECS, "good"}),
        ("(type == exec or type == exit) and uid == root", {"rest"}),
        ("not type == exec and not type == exit", {"fail", "fork"}),
        ("not (type == exec or type == exit)", {"fail", "fork"}),
        ("not not type == exec", EXECS),
        ("type == lost", set()),
        ("  type==exec\n\tand(uid==0)", {"rest"}),
    ],
)
def test_what_it_selects(text: str, names: set[str]) -> None:
    assert selected(text) == names


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", 0, "a key belongs here, not the end"),
        ("pdi == 3", 0, "no key 'pdi'; did you mean pid?"),
        ("uid == 0 and durations > 1s", 13, "no key 'durations'; did you mean duration?"),
        ("container.idd == 'x'", 0, "container has no part 'idd'; did you mean id?"),
        ("uid = 0", 4, "'=' has no meaning here; is it '=='?"),
        ("uid == 0 && gid == 0", 9, "'&' has no meaning here; is it 'and'?"),
        ("uid == 0 nad gid == 0", 9, "'and' or 'or' is missing here; did you mean and?"),
        ("uid == 0 gid == 0", 9, "'and' or 'or' is missing here"),
        ("uid ==", 6, "a value belongs here"),
        ("uid == and", 7, "a value belongs here, not 'and'"),
        ("uid", 3, "a comparison of uid belongs here, such as == or !="),
        ("(uid == 0", 9, "')' is missing here"),
        ("uid == 0)", 8, "no bracket is open here"),
        ('uid == "a b"', 7, "uid: there is no user 'a b'"),
        ("uid == rooot", 7, "uid: there is no user 'rooot'; did you mean root?"),
        ("uid == 1.5", 7, "uid is compared with a user's number or name"),
        ("gid == rooot", 7, "gid: there is no group 'rooot'; did you mean root?"),
        ("pid == sh", 7, "pid is compared with a whole number"),
        ("pid == 1s", 7, "pid is compared with a whole number"),
        ("duration > 1", 11, "duration: say the unit; there are ns us ms s m h d"),
        ("duration > 1x", 11, "duration: 'x' is no unit of it; there are ns us ms s m h d"),
        ("duration > root", 11, "duration is compared with a number and a unit (ns us ms s m h d)"),
        ("max_rss > 1s", 10, "max_rss: 's' is no unit of it; there are B KB MB GB TB KiB MiB GiB TiB"),
        ("signal == SIGKIL", 10, "signal: there is no signal 'SIGKIL'; did you mean SIGKILL?"),
        ("signal > 9", 7, "signal has no order: == or !="),
        ("error == ENOENTT", 9, "error: there is no errno 'ENOENTT'; did you mean ENOENT?"),
        (
            "type == exti",
            8,
            "type is one of exec exec_failed exit fork existing lost, not exti; did you mean exit?",
        ),
        ("comm == sh", 8, 'comm is text, which stands in quotes: "sh"'),
        ("comm == 'sh", 8, "the text that begins here doesn't end"),
        ("comm < 'sh'", 5, "comm has no order: == or !="),
        ("comm in 'sh'", 8, "after 'in' come values in brackets: (1, 2)"),
        ("cwd in 3", 7, "after 'in' come values in brackets: (1, 2), or a folder: \"/usr\""),
        ("uid in (1 2)", 10, "',' or ')' is missing here"),
        ("uid in ()", 8, "a value belongs here"),
        ("uid not 3", 8, "'in' is missing here"),
        ("uid ~ 'x'", 4, "uid is no text, so nothing can be found in it"),
        ("comm ~ sh", 7, "a regular expression in quotes belongs here"),
        ("comm ~ '('", 7, "not a regular expression: missing ), unterminated subpattern at position 0"),
        ("exit_code > null", 10, "null is neither less nor more: == or !="),
        ("core_dumped == 1", 15, "core_dumped is true or false"),
        ("'x' == argv", 4, "after a text comes 'in' and a key that is a list, as in \"-c\" in argv"),
        ("'x' in comm", 7, "comm is no list: argv and flags are"),
        ("uid == comm", 7, "comm can't be compared with uid"),
        (
            "container == 3",
            13,
            "container has parts, as container.id container.runtime container.name; itself it can only be null or not",
        ),
        ("pid == 1" + "0" * 50, 7, "that is too large a number"),
        ("(" * 100, 50, "that is nested too deeply"),
        ("pid == 1 # all", 9, "'#' has no meaning here"),
    ],
)
def test_what_is_wrong_and_where(text: str, place: int, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        Filter(text)
    assert (caught.value.position, caught.value.message) == (place, message)


def test_the_caret_stands_under_the_place() -> None:
    with pytest.raises(ValueError) as caught:
        Filter("uid == 0 and\tpdi == 3" + " or pid == 1" * 50)
    _, line, caret = str(caught.value).split("\n")
    assert line[caret.index("^") :].startswith("pdi == 3") and line.isprintable() and len(line) < 130


def test_a_backslash_escapes_only_quotes_and_itself() -> None:
    assert Filter(r'argv ~ "\d\.c$"').matches(event("exec", argv=["1.c"]))
    assert Filter(r'argv == "a\"b\\c\d"').matches(event("exec", argv=[r'a"b\c\d']))


@given(st.text())
def test_any_text_can_be_quoted(text: str) -> None:
    assert Filter(f"comm == {quoted(text)}").matches(event("exec", comm=text))


def test_columns_are_those_that_costly_groups_go_by() -> None:
    asks = Filter(
        'container.name in ("a", "b") and not container.name == "c" or cgroup in "/d/" or cgroup == "/e"'
    )
    assert (asks.containers, asks.cgroups) == ({"a", "b"}, {"/d", "/e"})
    assert Filter('container.id == "x" or exe in "/tmp" and duration > 1s').columns == {
        "container",
        "exe",
        "duration_ns",
    }


def test_every_column_is_a_key() -> None:
    for column in COLUMNS:
        assert Filter(f"{column} == null").columns == {column}


class TestBounds:
    """What is told to the kernel's side: it must let through whatever the filter does."""

    @pytest.mark.parametrize(
        ("text", "options"),
        [
            ("uid == 5", {"first_uid": 5, "last_uid": 5}),
            ("uid != 5", {}),
            ("uid < 5", {"first_uid": 0, "last_uid": 4}),
            ("uid <= 5 and uid > 2", {"first_uid": 3, "last_uid": 5}),
            ("uid >= 5 or gid == 3", {}),
            ("uid == 5 or uid == 7", {"first_uid": 5, "last_uid": 7}),
            ("uid in (9, 5, 7)", {"first_uid": 5, "last_uid": 9}),
            ("uid not in (5, 7)", {}),
            ("not uid == 5", {}),
            ("not (not uid == 5)", {}),
            ("uid == euid", {}),
            ("euid == 5", {}),
            ("uid == 5 and uid == 6", {"first_uid": 0xFFFFFFFF, "last_uid": 0}),
            ("uid < 0", {"first_uid": 0xFFFFFFFF, "last_uid": 0}),
            ("uid == 4294967296", {"first_uid": 0xFFFFFFFF, "last_uid": 0}),
            ("gid == 5 and duration > 1s", {"first_gid": 5, "last_gid": 5}),
            ('comm == "a"', {"comms": 1, "comm_1": b"a"}),
            ('comm in ("b", "a")', {"comms": 2, "comm_1": b"a", "comm_2": b"b"}),
            ('comm in ("a", "b", "c", "d", "e")', {}),
            ('comm == "0123456789abcdef"', {}),
            ('comm ~ "a"', {}),
            ('cgroup == "/a/b"', {"under_cgroup": b"b/a/", "under_cgroup_bytes": 4}),
            ('cgroup in "/a/b/" and pid != 3', {"under_cgroup": b"b/a/", "under_cgroup_bytes": 4}),
            ('cgroup in ("/a/b")', {"under_cgroup": b"b/a/", "under_cgroup_bytes": 4}),
            ('cgroup in "/"', {}),
            ('cgroup in "/a" or cgroup in "/b"', {}),
        ],
    )
    def test_of(self, text: str, options: dict[str, object]) -> None:
        assert Filter(text).kernel_options == ({"selects": True, **options} if options else {})


WORDS = st.sampled_from(
    [
        *COLUMNS,
        "and",
        "or",
        "not",
        "in",
        "==",
        "!=",
        "<",
        "~",
        "!~",
        "(",
        ")",
        ",",
        "null",
        "true",
        "root",
        "1s",
        "0x1f",
    ]
    + [
        '"x"',
        "'",
        "\\",
        "container.id",
        "duration",
        "SIGKILL",
        "ENOENT",
        "1.5",
        "-1",
        "=",
        "(" * 60,
        "9" * 50,
    ]
)


@example("\xa0")
@settings(max_examples=500)
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join)))
@example("\ud800 == 3")
@example("comm == '\udcff'")
@example("argv ~ '(?i)a**'")
@example('argv ~ "a{99999999999}"')
@example("duration > 99999999999999999999.5d")
def test_any_text_is_a_filter_or_an_error_with_a_place(text: str) -> None:
    try:
        filter = Filter(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)
        assert error.message and str(error).startswith(error.message)
        assert re.search(r"\n +\^$", str(error))
    else:
        for one in EVENTS.values():
            assert isinstance(filter.matches(one), bool)
