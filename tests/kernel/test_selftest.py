"""The self-test passes on a true trace, and fails on exactly what a lying one lies about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop
import snoopkit
from execsnoop import selftest
from execsnoop.selftest import programs, stage, suite
from kernel.test_execsnoop_hooks import refuse_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from execsnoop import ProcessEvent, Trace

SELFTEST = [sys.executable, "-m", "execsnoop", "selftest"]
FOLDERS = "execsnoop-selftest-*"


def folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(FOLDERS))


@pytest.mark.own_root
def test_all_is_true_here() -> None:
    before = folders()
    result = subprocess.run([*SELFTEST, "--json"], capture_output=True, text=True, timeout=120)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row for row in rows if row["verdict"] == "FAIL"] == []
    assert result.returncode == 0 and result.stderr == ""
    assert all(list(row) == ["case", "expected", "seen", "verdict"] for row in rows)
    passed = [row for row in rows if row["verdict"] == "pass"]
    assert len(passed) >= 25
    assert all(row["expected"] == row["seen"] for row in passed)
    others = [row for row in rows if row not in passed]
    assert all(row["verdict"].startswith("cannot run: ") and row["expected"] is None for row in others)
    assert len({row["case"] for row in rows}) == len(rows)
    assert folders() == before


def test_the_table_is_aligned_and_plain() -> None:
    rows = [
        selftest.Row("short", "1", "1", "pass"),
        selftest.Row("a longer case", "what\x1b[31m", "something else", "FAIL"),
        selftest.Row("another", None, None, "cannot run: no kernel"),
    ]
    head, *lines, count = selftest.table(rows).splitlines()
    assert count == "1 pass, 1 FAIL, 1 cannot run"
    assert head.split() == ["CASE", "EXPECTED", "SEEN", "VERDICT"]
    at = head.index("VERDICT")
    assert [line[at:] for line in lines] == ["pass", "FAIL", "cannot run: no kernel"]
    assert "\x1b" not in "".join(lines)


class Liar:
    """A trace that tells other than it saw."""

    def __init__(self, trace: Trace, lie: Callable[[ProcessEvent], ProcessEvent | None], lost: int) -> None:
        self.trace = trace
        self.lie = lie
        self.lies_lost = lost

    @property
    def lost(self) -> int:
        return self.trace.lost + self.lies_lost

    def _told(self, events: Iterable[ProcessEvent]) -> list[ProcessEvent]:
        return [told for event in events if (told := self.lie(event)) is not None]

    def poll(self, timeout: float | None = None) -> list[ProcessEvent]:
        return self._told(self.trace.poll(timeout))

    def finish(self) -> Iterator[list[ProcessEvent]]:
        return map(self._told, self.trace.finish())

    def fileno(self) -> int:
        return self.trace.fileno()


class Lies:
    """One lie for each of many cases, told to the first event that fits; remembers which were told."""

    def __init__(self) -> None:
        self.told: set[str] = set()

    def __call__(self, event: ProcessEvent) -> ProcessEvent | None:
        for lie in (name for name in dir(self) if name.startswith("lie_")):
            if lie not in self.told:
                result = getattr(self, lie)(event)
                if result is not False:
                    self.told.add(lie)
                    return event if result is None else None
        if event.type == "exit" and event.inherited:
            event.max_rss_bytes = (event.max_rss_bytes or 0) + 4096
        if event.type == "exec":
            event.unix_ns += 5_000_000_000
        return event

    # Each gives False where it doesn't fit, None where it has changed the event, and True to swallow it.

    def lie_status(self, event: ProcessEvent) -> bool | None:
        if event.type != "exit" or event.status != 7 << 8 or event.inherited:
            return False
        event.status = 8 << 8
        return None

    def lie_swallowed_exit(self, event: ProcessEvent) -> bool | None:
        return event.type == "exit" and event.signal == "SIGTERM" and event.comm == "rest"

    def lie_core(self, event: ProcessEvent) -> bool | None:
        if event.type != "exit" or event.signal != "SIGRTMIN+3":
            return False
        event.core_dumped = True
        return None

    def lie_cut_argument(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec" or not event.argv or len(event.argv[-1]) != 300:
            return False
        event.argv = [*event.argv[:-1], event.argv[-1][:127]]
        return None

    def lie_cut_without_a_mark(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec" or (event.argv_size_bytes or 0) < 1_900_000:
            return False
        event.argv = (event.argv or [])[:1]
        return None

    def lie_empty_arguments(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec" or not event.argv or event.argv[-5:] != ["a", "", "", "b", ""]:
            return False
        event.argv = [argument for argument in event.argv if argument]
        return None

    def lie_old_tid(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec" or event.old_tid is None or event.comm != "exits-7":
            return False
        event.old_tid = None
        return None

    def lie_memfd(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec" or event.flags != ["memfd"]:
            return False
        event.flags = None
        return None

    def lie_errno(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec_failed" or event.error != "ELOOP":
            return False
        event.error = "ENOENT"
        return None

    def lie_swallowed_failure(self, event: ProcessEvent) -> bool | None:
        return event.type == "exec_failed" and event.error == "ENOTDIR" and event.argv[:1] == ["refused"]  # type: ignore[index]

    def lie_setuid(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec" or event.flags != ["setuid", "secureexec"]:
            return False
        event.euid = event.uid
        return None

    def lie_interpreter(self, event: ProcessEvent) -> bool | None:
        if event.type != "exec" or not (event.script or "").endswith("/script"):
            return False
        event.interpreter = event.script
        return None

    def lie_swallowed_exec_of_many(self, event: ProcessEvent) -> bool | None:
        return event.type == "exec" and event.comm.startswith("exits-") and (event.argv or [""])[-1] == "500"  # type: ignore[union-attr]

    def lie_time(self, event: ProcessEvent) -> bool | None:
        if event.type != "exit" or (event.argv or [""])[-1] != "600":
            return False
        event.boottime_ns -= 10_000_000_000
        return None


EXPOSED = {
    "exit 7",
    "SIGTERM",
    "every process ends once",
    "a real-time signal",
    "an argument of 300 bytes",
    "arguments of 1.9 MB",
    "empty arguments among others",
    "exec by another thread",
    "a program in memory",
    "a link to itself",
    "a file below a file",
    "a setuid file",
    "a script",
    "1000 programs",
    "all events in order of time",
    "the most memory it had",
    "when it was",
    "no event lost",
}


def true_trace() -> Trace:
    return execsnoop.trace(failed=True, columns=selftest.COLUMNS)


@pytest.mark.own_root
def test_each_lie_is_exposed_and_nothing_else() -> None:
    lies = Lies()
    with true_trace() as trace:
        rows = selftest.run(Liar(trace, lies, lost=1))
    assert lies.told == {name for name in dir(lies) if name.startswith("lie_")}
    assert {row.case for row in rows if row.failed} == EXPOSED
    assert all(row.expected != row.seen for row in rows if row.failed)


@pytest.mark.own_root
def test_a_kernel_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """No typed arguments, no hook before an exec, no tracefs: what can't be told is not claimed, the rest is true."""
    found = snoopkit.supports
    monkeypatch.setattr(
        snoopkit,
        "supports",
        lambda s: not s.startswith("tp/") and not s.endswith("sched_prepare_exec") and found(s),
    )
    refuse_types(monkeypatch)
    with true_trace() as trace:
        rows = selftest.run(trace)
    assert [row.as_dict() for row in rows if row.failed] == []
    silent = {row.case for row in rows if row.verdict.endswith("it has no hook before an exec")}
    assert silent == {"a setuid file", "a setgid file", "a setuid file, no new privileges"}


def test_a_trace_that_tells_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_STARTING_SECONDS", 0.5)
    with true_trace() as trace:
        rows = selftest.run(Liar(trace, lambda event: None, lost=0))
    assert rows and all(row.failed for row in rows)


def test_one_that_goes_dumb_fails_every_case_that_runs() -> None:
    """After the first program it tells nothing: a map that is full, say."""
    seen: list[Any] = []

    def lie(event: ProcessEvent) -> ProcessEvent | None:
        if event.type == "exit" and event.argv and event.argv[0] == "first":
            seen.append(event)
        return None if seen else event

    with true_trace() as trace:
        rows = selftest.run(Liar(trace, lie, lost=0))
    passed = {row.case for row in rows if row.verdict == "pass"}
    assert "all events in order of time" in passed
    # whether an event was lost depends on what else the machine does
    assert passed <= {"all events in order of time", "no event lost"}


def test_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_MACHINES", {"sparc64": 43})
    with true_trace() as trace:
        rows = selftest.run(trace)
    assert len(rows) > 50
    assert {row.verdict for row in rows} == {f"cannot run: there are no programs for {os.uname().machine}"}


def test_the_page_shows_these_cases() -> None:
    page = (Path(__file__).parents[2] / "docs" / "selftest.md").read_text()
    table = page.split("```text\n")[1].split("```")[0].splitlines()
    at = table[0].index("EXPECTED")
    assert [line[:at].rstrip() for line in table[1:-1]] == [name for name, _ in suite._CASES]


def test_it_tidies_up_when_it_is_told_to_end() -> None:
    before = folders()
    process = subprocess.Popen(SELFTEST, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not folders() - before:
        assert process.poll() is None
    process.terminate()
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 1 and messages == "execsnoop: interrupted\n"
    assert folders() == before


def test_bad_usage_is_2() -> None:
    result = subprocess.run([*SELFTEST, "--nonsense"], capture_output=True, text=True)
    assert result.returncode == 2 and os.path.basename(SELFTEST[0]) not in result.stderr


@pytest.mark.own_root
def test_on_an_overlay_as_in_a_container(tmp_path: Path) -> None:
    """There every program that we make lies in an upper layer, and is told to."""
    script = (
        'mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir lower upper work merged && '
        "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && "
        'TMPDIR=$1/merged exec "$2" -m execsnoop selftest --json'
    )
    line = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable]
    told = subprocess.run(line, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    (row,) = [line for line in told.stdout.splitlines() if '"case":"fexecve"' in line]
    assert "upper_layer" in row
