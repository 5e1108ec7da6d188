"""How the views for people fit a screen, quote, count and remember; the recorded build has the look of each."""

from __future__ import annotations

import fcntl
import os
import pwd
import struct
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from execsnoop import views
from execsnoop.cli import parser
from execsnoop.model import ProcessEvent
from execsnoop.views.cells import Words, size
from execsnoop.views.joined import Joined
from execsnoop.views.look import Look
from execsnoop.views.names import group, user
from execsnoop.views.shell import Shell, word
from execsnoop.views.table import Columns, Table
from execsnoop.views.totals import Tally, Totals
from execsnoop.views.tree import Tree
from snoopkit.render import Screen, cut, pad, width, wrap
from unit.test_views import make_event, make_exit, make_fail

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = st.text(alphabet="ab 世é\u0301/…", max_size=40)


class TestWidth:
    @pytest.mark.parametrize(
        ("text", "columns"),
        [("", 0), ("abc", 3), ("世界", 4), ("e\u0301", 1), ("🚀", 2), ("\u1112\u1161", 2)],
    )
    def test_what_a_terminal_takes(self, text: str, columns: int) -> None:
        assert width(text) == columns

    @given(TEXTS, st.integers(2, 30))
    def test_what_is_cut_fits_and_says_so(self, text: str, columns: int) -> None:
        shown = cut(text, columns)
        assert width(shown) <= columns
        assert shown == text or "…" in shown

    def test_a_path_gives_up_its_folders_first(self) -> None:
        assert cut("/usr/lib/gcc/cc1 -quiet a.c", 18) == "…/cc1 -quiet a.c"
        assert cut("/usr/lib/gcc/cc1 -quiet a.c", 10) == "…/cc1 -qu…"
        assert cut("/usr/lib/gcc/cc1 -quiet a.c", 27) == "/usr/lib/gcc/cc1 -quiet a.c"

    @given(TEXTS, st.integers(2, 30), st.integers(2, 30))
    def test_what_is_wrapped_is_all_there(self, text: str, first: int, others: int) -> None:
        pieces = wrap(text, first, others)
        assert width(pieces[0]) <= first and all(width(piece) <= others for piece in pieces[1:])
        assert "".join(pieces).replace(" ", "") == text.replace(" ", "")

    def test_padding(self) -> None:
        assert pad("世", 4) == "世  " and pad("世", 4, is_right=True) == "  世" and pad("abc", 2) == "abc"


class TestScreen:
    @pytest.fixture
    def terminal(self) -> Iterator[int]:
        ours, theirs = os.openpty()
        yield theirs
        os.close(ours)
        os.close(theirs)

    @staticmethod
    def resize(terminal: int, columns: int, lines: int) -> None:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def test_a_file_has_no_end_and_no_colour(self, tmp_path: Path) -> None:
        with (tmp_path / "x").open("wb") as file:
            screen = Screen(file.fileno())
            assert screen.size() == (None, None) and screen.paint("x", "31") == "x"
            assert Screen(file.fileno(), width=70, color="always").size() == (70, None)

    def test_colour_is_asked_for_or_not(self, terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert Screen(terminal).is_coloured
        assert not Screen(terminal, color="never").is_coloured
        monkeypatch.setenv("TERM", "dumb")
        assert not Screen(terminal).is_coloured
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        assert not Screen(terminal).is_coloured
        assert Screen(terminal, color="always").is_coloured

    def test_rows_follow_the_terminals_width(self, terminal: int) -> None:
        self.resize(terminal, 80, 50)
        table = Table(Look(Screen(terminal, color="never")))
        event = make_event(argv=["x" * 300])
        assert table.header().split() == b"TIME EVENT PID PPID RET DURATION ARGS".split()
        assert width(table.row(event).decode().rstrip("\n")) == 80
        self.resize(terminal, 200, 50)
        header, row, _ = table.row(event).decode().split("\n")
        assert header.split() == ["TIME", "EVENT", "PID", "PPID", "UID", "COMM", "RET", "DURATION", "ARGS"]
        assert width(row) == 200

    def test_the_header_comes_again_when_it_has_gone(self, terminal: int) -> None:
        self.resize(terminal, 80, 5)
        table = Table(Look(Screen(terminal, color="never")))
        text = table.header() + b"".join([table.row(make_event(argv=["x"])) for _ in range(9)])
        assert [line[:4] == b"TIME" for line in text.splitlines()] == [i % 5 == 0 for i in range(12)]

    def test_a_screen_that_is_too_narrow_for_anything(self) -> None:
        table = Table(Look(Screen(width=10)))
        assert table.row(make_event(argv=["x" * 300])).endswith(b"x" * 15 + "…\n".encode())


class TestWords:
    def test_all_in_quotes(self) -> None:
        argv = ["ls", "a b", 'q"', "$(id)", "\x1b", "\\"]
        text = Words(all_quoted=True).of(make_event(argv=argv))
        assert text == r'"ls" "a b" "q\"" "\$(id)" "\x1b" "\\"'

    def test_at_most_so_many(self) -> None:
        words = Words(most=2)
        assert words.of(make_event(argv=["a", "b"])) == "a b"
        assert words.of(make_event(argv=["a", "b", "c", "[1 more]"])) == "a b [2 more]"
        assert words.of(make_fail(filename="/x/a", argv=["a", "b", "c"])) == "/x/a b [1 more]"

    def test_tries_before_a_success(self) -> None:
        assert Words().of(make_event(argv=["a"], folded=1)) == "a [after 1 try]"
        assert Words().of(make_event(argv=["a"], folded=3)) == "a [after 3 tries]"


class TestLook:
    def test_times(self) -> None:
        event = make_event(argv=["x"])  # at 2026-09-21T14:13:20Z, 1 us after the machine's start
        event.boottime_ns = 3_500_000_000
        assert Table(Look(utc=True)).row(event).startswith(b"14:13:20.000 exec")
        assert Table(Look(utc=True, time=True)).row(event).startswith(b"14:13:20  exec")
        both = Table(Look(utc=True, time=True, timestamp=True, started_ns=1_000_000_000))
        assert both.header().startswith(b"TIME(UTC)  TIME(s) EVENT")
        assert both.row(event).startswith(b"14:13:20     2.500 exec")
        assert Table(Look(timestamp=True, started_ns=0)).row(event).startswith(b"   3.500 exec")

    def test_names(self) -> None:
        root = pwd.getpwuid(0).pw_name
        assert (user(0), user(3_999_999_999), group(3_999_999_999)) == (root, "3999999999", "3999999999")
        assert Table(Look(names=True)).row(make_event(argv=["x"], uid=0)).split()[4] == root.encode()
        columns = Columns(["uid", "loginuid", "pid"], Look(names=True))
        assert columns.row(make_event(uid=0, loginuid=4_294_967_295)).split()[:2] == [
            root.encode(),
            b"4294967295",
        ]

    def test_uid_stays_where_it_is_asked_for(self) -> None:
        narrow = Screen(width=80)
        assert b" UID " not in Table(Look(narrow)).header()
        assert b" UID " in Table(Look(narrow, uid=True)).header()
        assert b" UID " in Joined(Look(uid=True)).header() and b" UID " in Tree(Look(uid=True)).header()


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.0K"), (4 << 20, "4.0M"), (37 << 20, "37M"), (1 << 60, "1024P")],
)
def test_sizes_for_people(number: int, shown: str) -> None:
    assert size(number) == shown


def fork(parent: int, child: int, **values: object) -> ProcessEvent:
    return make_event(
        "fork", pid=parent, start_boottime_ns=parent, child_pid=child, child_start_boottime_ns=child, **values
    )


def of(event: ProcessEvent, pid: int, ppid: int) -> ProcessEvent:
    event.pid, event.start_boottime_ns, event.ppid = pid, pid, ppid
    return event


class TestTree:
    @staticmethod
    def lines(*events: ProcessEvent) -> list[str]:
        tree = Tree(Look(utc=True))
        return [line[21:] for event in events for line in tree.row(event).decode().splitlines()]

    def test_a_fork_without_a_program_is_passed_over(self) -> None:
        assert self.lines(
            of(make_event(argv=["sh"], comm="sh"), 7, 1),
            fork(7, 8),
            fork(8, 9),
            of(make_event(argv=["ls"], comm="ls"), 9, 8),
            of(make_exit(0, comm="ls"), 9, 8),
            of(make_exit(0, comm="sh"), 8, 7),
            of(make_exit(256, comm="sh"), 7, 1),
        ) == ["sh", "├ ls", "│ └ ls exit 0 after 1.2ms", "└ sh exit 1 after 1.2ms"]

    def test_one_that_a_signal_ended_is_shown_all_the_same(self) -> None:
        sh = of(make_event(argv=["sh"], comm="sh"), 7, 1)
        assert self.lines(sh, fork(7, 8), of(make_exit(139, comm="sh"), 8, 7)) == [
            "sh",
            "├ sh SIGSEGV core after 1.2ms",
        ]

    def test_who_outlives_the_parent(self) -> None:
        assert self.lines(
            of(make_event(argv=["sh"]), 7, 1),
            fork(7, 8),
            of(make_exit(0, comm="sh"), 7, 1),
            of(make_event(argv=["d"]), 8, 1),
            fork(8, 9),
            of(make_event(argv=["w"]), 9, 8),
            of(make_exit(9, comm="w"), 9, 8),
        ) == ["sh", "└ sh exit 0 after 1.2ms", "╶ d", "  ├ w", "  │ └ w SIGKILL after 1.2ms"]

    def test_another_program_in_the_same_process_and_one_that_fails(self) -> None:
        failed = of(make_fail(filename="/x/d", argv=["d"]), 7, 1)
        assert self.lines(of(make_event(argv=["a"]), 7, 1), failed, of(make_event(argv=["b"]), 7, 1)) == [
            *("a", "× ENOENT /x/d", "→ b")
        ]

    def test_a_pid_used_again_is_another_process(self) -> None:
        again = of(make_event(argv=["b"]), 7, 1)
        again.start_boottime_ns = 99
        assert self.lines(of(make_event(argv=["a"]), 7, 1), again) == ["a", "b"]

    def test_where_no_fork_was_seen_the_parents_pid_tells(self) -> None:
        assert self.lines(of(make_event(argv=["a"]), 7, 1), of(make_event(argv=["b"]), 8, 7)) == ["a", "├ b"]

    def test_depth_and_memory_are_bounded(self) -> None:
        tree = Tree(max_processes=100)
        for pid in range(1, 3_000):
            row = tree.row(of(make_event(argv=["x"]), pid, pid - 1))
            assert width(row.decode()) < 80
            tree.row(fork(pid, pid + 1))
        assert len(tree._processes) == 100


class TestJoined:
    def test_the_parent_is_who_started_it(self) -> None:
        view = Joined()
        assert view.row(fork(7, 8, comm="sh\n")) == b""
        assert view.row(of(make_event(argv=["x"]), 8, 7)) == b""
        row = view.row(
            of(make_exit(0, argv=["x"], cpu_ns=5_000_000, cpu_exact=False, max_rss_bytes=1 << 20), 8, 1)
        )
        assert row.split()[1:] == b"8 sh\\x0a[7] 0 1.2ms ~5.0ms 1.0M x".split()
        assert not view._parents

    def test_a_failed_exec_has_its_line(self) -> None:
        assert Joined().row(make_fail(filename="/x/d", argv=["d"])).split()[1:] == b"42 1 ENOENT /x/d".split()

    def test_memory_is_bounded(self) -> None:
        view = Joined(max_parents=10)
        for pid in range(100):
            view.row(fork(1, pid))
        assert len(view._parents) == 10


class TestShell:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=12).filter(lambda data: 0 not in data), min_size=1, max_size=6))
    def test_bash_reads_the_same_words(self, arguments: list[bytes]) -> None:
        words = " ".join(word(os.fsdecode(argument)) for argument in arguments)
        result = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {words}".encode("utf-8", "surrogateescape")],
            capture_output=True,
            check=True,
        )
        assert result.stdout.split(b"\0")[:-1] == arguments
        assert all(byte >= 0x20 for byte in words.encode())

    def line(self, **values: object) -> str:
        return Shell().row(make_event(**{"cwd": "/w d", **values})).decode()

    def test_programs(self) -> None:
        assert self.line(argv=["ls", "-l"], filename="/bin/ls") == "cd '/w d' && /bin/ls -l\n"
        assert self.line(argv=["./a", "b"], filename="./a") == "cd '/w d' && ./a b\n"
        assert self.line(argv=["a"], filename="a") == "cd '/w d' && ./a\n"
        assert self.line(argv=["-sh"], filename="/bin/sh") == "cd '/w d' && (exec -a -sh /bin/sh)\n"
        script = self.line(argv=["/bin/sh", "./s", "x"], filename="./s", script="./s")
        assert script == "cd '/w d' && /bin/sh ./s x\n"
        by_descriptor = self.line(argv=["x"], filename="/dev/fd/3", exe="/opt/x")
        assert by_descriptor == "cd '/w d' && /opt/x\n"

    def test_what_can_not_be_run_again_is_a_comment(self) -> None:
        assert self.line(argv=["x"], filename="/dev/fd/3", flags=["memfd"]).startswith("# program memfd: ")
        assert self.line(argv=["x"], filename="/x", cwd=None) == "# folder unknown: /x\n"
        assert self.line(argv=["x"], filename="/x", incomplete={"argv": "truncated"}).startswith(
            "# arguments trunc"
        )
        lost = ProcessEvent("lost", 1, 1, None)
        lost.count, lost.cause = 3, "buffer_full"
        assert Shell().row(lost) == b"# 3 events are missing: buffer_full\n"
        assert Shell().row(make_exit(0)) == b""

    def test_it_runs(self, tmp_path: Path) -> None:
        line = self.line(
            argv=["printf", "%s", "a\n\x1b\udcff"], filename="/usr/bin/printf", cwd=str(tmp_path)
        )
        assert subprocess.run(["bash", "-c", line], capture_output=True).stdout == b"a\n\x1b\xff"


class TestTotals:
    def test_totals(self) -> None:
        look = Look()
        totals = Totals(Table(look), look, 2)
        totals.row(make_event(argv=["a"], comm="a"))
        for status, took in [(0, 5), (0, 9), (256, 7), (9, 1)]:
            end = make_exit(status, argv=["a", str(took)], comm="a", cpu_ns=1_000_000)
            end.duration_ns = took * 1_000_000_000
            totals.row(end)
        totals.row(make_fail(filename="/x/d", argv=["d"]))
        lines = totals.footer().decode().splitlines()
        assert lines[-1] == "1 exec; 4 exits (2 exit 0, 1 exit 1, 1 SIGKILL); 1 failed exec; 4.0ms of CPU"
        slowest = lines.index("Slowest")
        assert lines[slowest + 1 : slowest + 3] == ["   9.00s  exit 0  a 9", "   7.00s  exit 1  a 7"]
        assert lines[1:3] == ["Most spawned", "       1  a"]
        assert len(totals._slowest) == 2

    def test_names_beyond_the_limit_count_together(self) -> None:
        tally = Tally(2)
        for name in "abcda":
            tally.add(name)
        assert tally.ranking() == [("a", 2), (None, 2), ("b", 1)]


LOOKS = [
    ["-T"],
    ["-t"],
    ["--utc"],
    ["-U"],
    ["--names"],
    ["-q"],
    ["--max-args", "3"],
    ["--wrap"],
    ["--width", "80"],
    ["--color", "always"],
    ["--top", "3"],
]


@pytest.mark.parametrize(
    ("options", "about"),
    [
        (["--joined", "--json"], "--joined"),
        (["--top", "3", "--format", "csv"], "--top"),
        (["--tree", "--columns", "pid"], "--columns"),
        *((["--json", *words], words[0]) for words in LOOKS),
        *((["--format", "csv", *words], words[0]) for words in LOOKS),
        *((["--shell", *words], words[0]) for words in [*LOOKS, ["-x"], ["--existing"]]),
        (["--joined", "--existing"], "--existing"),
        (["--columns", "pid,argv", "-T"], "-T"),
        (["--columns", "pid,argv", "-t"], "-t"),
        (["--columns", "pid,argv", "-U"], "-U"),
        (
            ["--columns", "pid,argv", "-q", "--names", "--wrap", "--width", "70", "--max-args", "2", "--utc"],
            None,
        ),
        (["--json", "--color", "never", "--width", "0", "-x", "--existing"], None),
        (["--joined", *(word for words in LOOKS for word in words), "-x"], None),
        (["--tree", *(word for words in LOOKS for word in words), "-x", "--existing"], None),
        (["--tree"], None),
        (["--json", "--columns", "pid"], None),
    ],
)
def test_what_does_not_go_together_is_told(options: list[str], about: str | None) -> None:
    problem = views.problem(parser().parse_args(options))
    assert (problem is None) if about is None else (problem is not None and about in problem)


def test_only_what_is_shown_is_collected() -> None:
    assert set(views.keys(parser().parse_args(["--shell"]))) == {"cwd", "exe"}
    assert views.keys(parser().parse_args(["--tree"])) == ()
