"""The commands as people start and stop them: nothing lost unsaid, nothing left behind, clear words on refusal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit

from .watching import held

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BIN = Path(sys.executable).parent
EXECSNOOP = [str(BIN / "execsnoop")]
PROGRAMS = Path(__file__).parent / "programs"
NOBODY = 65534


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`spawn` and `leaf`: a workload of known size."""
    folder = tmp_path_factory.mktemp("tools")
    for name in ("spawn", "leaf"):
        subprocess.run(["gcc", "-O1", "-static", "-o", folder / name, PROGRAMS / f"{name}.c"], check=True)
    return {name: str(folder / name) for name in ("spawn", "leaf")}


@contextlib.contextmanager
def started(command: Sequence[str], **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A live command, attached; killed at the end if it is still there."""
    ready, told = os.pipe()
    how.setdefault("stdout", subprocess.PIPE)
    at = 1 + (command[0].endswith(("ecli", "snoopkit")))
    line = [*command[:at], "--ready-fd", str(told), *command[at:]]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, pass_fds=[told], **how)
    os.close(told)
    try:
        readable, _, _ = select.select([ready], [], [], 20)
        assert readable, "not attached within 20 seconds"
        assert os.read(ready, 2) == b"\n", process.stderr and process.stderr.read().decode()
        yield process
    finally:
        os.close(ready)
        if process.poll() is None:
            process.kill()
        process.communicate()


def run_children(tools: dict[str, str], marker: str, count: int, abreast: int = 4) -> None:
    printed = subprocess.run(
        [tools["spawn"], tools["leaf"], marker, str(count), str(abreast)], check=True, capture_output=True
    ).stdout
    assert len(printed.splitlines()) == count


def ours(output: bytes, tools: dict[str, str], marker: str, type: str) -> list[dict[str, Any]]:
    """The JSON lines of one type that the children of `run_children` caused."""
    events = [json.loads(line) for line in output.splitlines()]
    return [e for e in events if e["type"] == type and (e.get("argv") or [])[:2] == [tools["leaf"], marker]]


def listed(what: str) -> list[dict[str, Any]]:
    """Programs or links, as bpftool sees them."""
    found = subprocess.run(["bpftool", "-j", what, "list"], check=True, capture_output=True).stdout
    return json.loads(found or b"[]")  # type: ignore[no-any-return]


def is_gone(programs: set[int], links: set[int]) -> bool:
    """Whether the kernel, which frees a moment later than it says, lets go of all of them."""
    for _ in range(50):
        left = [{entry["id"] for entry in listed(what)} for what in ("prog", "link")]
        if not (left[0] & programs or left[1] & links):
            return True
        time.sleep(0.1)
    return False


def switches(pid: int) -> int:
    """How often a process was put on or off a CPU."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(count) for count in re.findall(r"ctxt_switches:\s*(\d+)", status))


# --- nothing is missing at the end ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ran_just_before_a_signal_is_printed(tools: dict[str, str], number: int) -> None:
    with started([*EXECSNOOP, "--json"]) as process:
        run_children(tools, "just-before", 20)
        process.send_signal(number)
        output, messages = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(ours(output, tools, "just-before", "exec")) == 20
    assert len(ours(output, tools, "just-before", "exit")) == 20
    assert re.fullmatch(r"events=\d+ lost=0 seconds=\d+\.\d+\n", messages.decode())


WITNESS = """
tracepoint:sched:sched_process_exec { printf("exec %s\\n", comm); }
tracepoint:sched:sched_process_exit /args->group_dead/ { printf("exit %s\\n", comm); }
tracepoint:task:task_newtask /(args->clone_flags & 0x10000) == 0/ { printf("fork %s\\n", comm); }
"""


@contextlib.contextmanager
def witness(path: Path) -> Iterator[None]:
    """bpftrace writes "exec COMM", "exit COMM", "fork COMM" to `path` for whatever happens, and loses none."""
    with path.open("wb") as sink:
        process = subprocess.Popen(
            ["bpftrace", "-e", 'BEGIN { printf("ready\\n"); }' + WITNESS],
            stdout=sink,
            env=os.environ | {"BPFTRACE_PERF_RB_PAGES": "1024"},
        )
        try:
            for _ in range(200):
                if path.read_bytes().count(b"ready"):
                    break
                time.sleep(0.1)
            time.sleep(0.5)  # BEGIN runs before the rest is attached
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
    assert b"Lost" not in path.read_bytes()


def between(lines: Sequence[tuple[str, str]], kind: str) -> int:
    """How many of a kind lie between the exec of `mark_a` and that of `mark_b`."""
    first, last = lines.index(("exec", "mark_a")), lines.index(("exec", "mark_b"))
    return sum(line[0] == kind for line in lines[first:last])


def test_what_a_stopped_reader_missed_is_declared(tools: dict[str, str], tmp_path: Path) -> None:
    """4 KB rings and a reader that sleeps through a burst of 3,000: seen + declared equals what bpftrace saw."""
    marks = [tmp_path / "mark_a", tmp_path / "mark_b"]
    for mark in marks:
        mark.symlink_to(tools["leaf"])
    output = tmp_path / "events.json"
    with (
        witness(tmp_path / "witness"),
        started([*EXECSNOOP, "--json", "--settle", "0", "--buffer-size", "4K", "-o", str(output)]) as process,
    ):
        subprocess.run([marks[0], "m", "0", "exit", "0"], check=True)
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        run_children(tools, "stopped", 3000)
        process.send_signal(signal.SIGCONT)
        time.sleep(2)  # none of our events comes any more, and the tail is declared all the same
        running = [json.loads(line) for line in output.read_bytes().splitlines()]
        subprocess.run([marks[1], "m", "0", "exit", "0"], check=True)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 3
    events = [json.loads(line) for line in output.read_bytes().splitlines()]
    lost = [event for event in events if event["type"] == "lost"]
    assert {event["cause"] for event in lost} == {"buffer_full"}
    assert [event for event in running if event["type"] == "lost"] == lost
    told = [
        (*line.split(" ", 1),) for line in (tmp_path / "witness").read_text(errors="replace").splitlines()
    ]
    happened = [line for line in told if len(line) == 2]
    seen = [(event["type"], event.get("comm", "")) for event in events]
    for what, kinds in {"exec": ("exec",), "fork or exit": ("fork", "exit")}.items():
        declared = sum(event["count"] for event in lost if event["events"] == what)
        assert declared > 1000
        assert sum(between(seen, k) for k in kinds) + declared == sum(between(happened, k) for k in kinds)
    summary = re.fullmatch(
        r"(?s).*\nevents=(\d+) lost=(\d+) seconds=\S+ \(buffer_full (\d+)\)\n", messages.decode()
    )
    assert summary, messages
    assert int(summary[1]) == len(events) - len(lost)
    assert int(summary[2]) == int(summary[3]) == sum(event["count"] for event in lost)


def test_max_events_and_duration_end_it(tools: dict[str, str]) -> None:
    with started([*EXECSNOOP, "--json", "--max-events", "3"]) as process:
        run_children(tools, "limit", 20)
        output, messages = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(output.splitlines()) == 3
    assert messages.startswith(b"events=3 lost=0 ")
    began = time.monotonic()
    with started([*EXECSNOOP, "--duration", "0.5", "--quiet"]) as process:
        output, messages = process.communicate(timeout=20)
    assert (process.returncode, messages) == (0, b"")
    assert 0.5 <= time.monotonic() - began < 10
    assert output.startswith(b"TIME ")


# --- waking -----------------------------------------------------------------------------------------------


def test_the_reader_is_not_woken_at_every_event(tools: dict[str, str], tmp_path: Path) -> None:
    """In a burst of 2,000 programs, at most a fifth of what libbpf-tools' execsnoop needs in the same test."""

    def woken(pid: int) -> int:
        before = switches(pid)
        run_children(tools, "woken", 2000)
        time.sleep(0.1)
        return switches(pid) - before

    with started([*EXECSNOOP, "-o", str(tmp_path / "ours")]) as process:
        mine = woken(process.pid)
    with (tmp_path / "theirs").open("wb") as sink:
        peer = subprocess.Popen(["/usr/sbin/execsnoop"], stdout=sink, stderr=subprocess.PIPE)
        try:
            time.sleep(1)
            theirs = woken(peer.pid)
        finally:
            peer.send_signal(signal.SIGINT)
            peer.communicate(timeout=20)
    assert (tmp_path / "theirs").read_bytes().count(
        b"/leaf woken "
    ) == 2001  # spawn's own exec names leaf too
    assert mine <= theirs / 5


def test_one_event_on_an_idle_machine_is_there_at_once(bursts: snoopkit.Package) -> None:
    """Idle as the reader sees it: its program reports this process only, and nothing for a while."""
    with snoopkit.run(bursts, options={"target_pid": os.getpid()}) as snoop:
        assert snoop.poll(0.3) == []
        os.getppid()
        found: list[Any] = []
        deadline = time.monotonic() + 0.2
        while not found:
            readable, _, _ = select.select([snoop.fileno()], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, "no event within 200 ms"
            found = snoop.poll(0)
        assert len(found) == 1


# --- nothing is left behind -------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGKILL", "closed pipe", "duration"])
def test_nothing_stays_in_the_kernel(tools: dict[str, str], end: str) -> None:
    options = ["--duration", "0.5"] if end == "duration" else []
    with started([*EXECSNOOP, *options]) as process:
        programs, links = held(process.pid)
        hooks = ("process_exec", "prepare_exec", "process_exit", "process_free")
        count = 1 + sum(bool(snoopkit.supports(f"tp_btf/sched_{hook}")) for hook in hooks)
        # And what lists the processes that are there already.
        lists = any(snoopkit.supports(kind) for kind in ("iter.s/task", "iter/task"))
        assert (len(programs), len(links)) == (count + lists, count)
        if end == "closed pipe":
            assert process.stdout is not None
            process.stdout.read(5)
            process.stdout.close()
            process.stdout = None
        elif end != "duration":
            process.send_signal(getattr(signal, end))
        process.communicate(timeout=20)
    assert process.returncode == (-signal.SIGKILL if end == "SIGKILL" else 0)
    assert is_gone(programs, links)


def test_a_closed_pipe_is_noticed_without_an_event(tools: dict[str, str]) -> None:
    with started([*EXECSNOOP, "--json"]) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        began = time.monotonic()
        process.wait(timeout=20)
        assert time.monotonic() - began < 2
        assert process.returncode == 0


@pytest.mark.parametrize("messages_too", [False, True])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_head_ends_it(tools: dict[str, str], messages_too: bool, unbuffered: str) -> None:
    line = f"{shlex.quote(EXECSNOOP[0])} --json {'2>&1' if messages_too else ''}; echo status=$? >&2"
    process = subprocess.Popen(
        ["sh", "-c", f"({line}) | head -1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    try:
        for _ in range(100):
            subprocess.run([tools["leaf"], "m", "0", "exit", "0"], check=True)
            if process.poll() is not None:
                break
            time.sleep(0.1)
        output, messages = process.communicate(timeout=20)
    finally:
        process.kill()
    assert len(output.splitlines()) == 1
    assert b"status=0" in messages
    assert b"Traceback" not in messages and b"Broken pipe" not in messages


def test_a_full_disk_is_an_error_that_names_it() -> None:
    process = subprocess.run([*EXECSNOOP, "--duration", "5", "-o", "/dev/full"], capture_output=True)
    assert process.returncode == 1
    assert b"execsnoop: error: /dev/full: No space left on device" in process.stderr


# --- refusals ---------------------------------------------------------------------------------------------


# The checkout and its Python may lie where only root can look: so everything is imported by a first run as root.
AS_NOBODY = f"""
import os, sys
from execsnoop import cli, tracing
cli.main(["--duration", "0.1", "--quiet"])
package = open(tracing.package_path(), "rb").read()
tracing.package_path = lambda: package
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
sys.exit(cli.main(["--duration", "1"]))
"""


def test_nobody_is_told_which_capabilities_are_missing() -> None:
    process = subprocess.run([sys.executable, "-c", AS_NOBODY], capture_output=True, text=True)
    assert process.returncode == 1, process.stderr
    assert process.stderr.startswith("execsnoop: error: load: ")
    assert "CAP_BPF" in process.stderr and "CAP_PERFMON" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--duration", "-1"], "invalid number of seconds value"),
        (["--duration", "nan"], "invalid number of seconds value"),
        (["--max-events", "0"], "invalid count value"),
        (["--buffer-size", "5000"], "not a power of two of pages"),
        (["--buffer-size", "12K"], "not a power of two of pages"),
        (["--ready-fd", "77"], "descriptor 77 is not open"),
        (["--format", "xml"], "invalid choice"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_bad_usage_is_status_2(arguments: list[str], message: str) -> None:
    process = subprocess.run([*EXECSNOOP, *arguments], capture_output=True, text=True)
    assert process.returncode == 2
    assert message in process.stderr


def test_a_package_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"[1]", b"\xff\xfe", b'{"bpf_object": "AAAA", "meta": {}}'):
        (tmp_path / "package.json").write_bytes(content)
        for command in (["snoopkit", "run"], ["ecli", "run"], ["ecli"]):
            process = subprocess.run(
                [BIN / command[0], *command[1:], "package.json"], cwd=tmp_path, capture_output=True, text=True
            )
            assert process.returncode == 1
            assert process.stderr.count("\n") == 1 and ": error: " in process.stderr


def test_a_missing_file_is_named() -> None:
    process = subprocess.run([BIN / "snoopkit", "run", "nowhere.json"], capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr == "snoopkit run: error: nowhere.json: No such file or directory\n"


@pytest.mark.parametrize("command", [["snoopkit", "run"], ["ecli"], ["ecli", "run", "-j"]])
def test_a_missing_target_is_asked_for_by_its_name(command: list[str]) -> None:
    process = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.endswith(": error: the following arguments are required: TARGET\n")
