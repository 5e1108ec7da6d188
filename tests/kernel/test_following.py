"""One command, or one process, with all that comes from it and nothing else, and nothing about it changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop
import snoopkit
from execsnoop import family

from .terminal import Terminal
from .test_commands import EXECSNOOP
from .watching import programs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["programs"]

NOBODY = 65534
IN_NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]
# Twice forked, away from its session and its parent, and its own child made by vfork.
DAEMON = """
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        subprocess.run(["sleep", "0.3"])
        os.execv("/bin/true", ["true", sys.argv[1]])
    os._exit(0)
"""


@pytest.fixture
def bystanders() -> Iterator[None]:
    """Programs that run all the while, and whose names nobody else has."""
    process = subprocess.Popen(
        ["sh", "-c", "while :; do /bin/echo bystander; done"], stdout=subprocess.DEVNULL
    )
    yield
    process.kill()
    process.wait()


def follow(
    *arguments: str, options: Sequence[str] = (), before: Sequence[str] = (), **how: Any
) -> tuple[int, list[dict[str, Any]], subprocess.CompletedProcess[str]]:
    """The status, the events and the rest of `execsnoop -- ARGUMENTS`."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/events"
        line = [*before, *EXECSNOOP, "--json", "-o", path, *options, "--", *arguments]
        result = subprocess.run(line, capture_output=True, text=True, timeout=60, **how)
        events = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return result.returncode, events, result


def commands(events: Sequence[dict[str, Any]], type: str = "exec") -> list[list[str]]:
    return [event["argv"] for event in events if event["type"] == type]


@pytest.mark.parametrize("before", [[], IN_NAMESPACE], ids=["", "in a pid namespace"])
def test_the_whole_family_and_nobody_else(bystanders: None, before: list[str]) -> None:
    status, events, result = follow("sh", "-c", "(setsid sleep 1 &); echo out; exit 7", before=before)
    assert status == 7 and result.stdout == "out\n"
    assert commands(events) == [
        ["sh", "-c", "(setsid sleep 1 &); echo out; exit 7"],
        ["setsid", "sleep", "1"],
        ["sleep", "1"],
    ]
    exits = [event for event in events if event["type"] == "exit"]
    assert len(exits) == 3 and exits[-1]["argv"] == ["sleep", "1"] and exits[-1]["duration_ns"] > 900_000_000
    made = {event["child_pid"] for event in events if event["type"] == "fork"}
    first = events[0]["pid"]
    assert {event["pid"] for event in events} == made | {first}


@pytest.mark.parametrize("before", [[], IN_NAMESPACE], ids=["", "in a pid namespace"])
def test_daemons_belong_to_it(bystanders: None, before: list[str]) -> None:
    status, events, _ = follow(sys.executable, "-c", DAEMON, "marker", before=before)
    assert status == 0
    assert commands(events)[1:] == [["sleep", "0.3"], ["true", "marker"]]
    assert commands(events, "exit")[-1] == ["true", "marker"]


@pytest.mark.parametrize(("way", "count"), [("fork", 1), ("vfork", 1), ("sibling", 2), ("orphan", 2)])
def test_every_way_to_make_a_process(
    programs: dict[str, str], bystanders: None, way: str, count: int
) -> None:
    """By vfork, by clone, for another's parent, with the maker gone: all that are made, and nobody else."""
    status, events, result = follow(programs["forks"], way, "marker", programs["leaf"])
    assert status == 0
    made = [
        (event["child_pid"], event["child_start_boottime_ns"]) for event in events if event["type"] == "fork"
    ]
    ended = [(event["pid"], event["start_boottime_ns"]) for event in events if event["type"] == "exit"]
    assert len(made) == len(set(made)) == count
    assert made[0][0] == int(result.stdout.split()[0]), "as the program itself says"
    assert sorted(ended) == sorted([*made, (events[0]["pid"], events[0]["start_boottime_ns"])])
    ran = 2 if way == "orphan" else 1
    assert len(commands(events)) == ran
    assert {event["pid"] for event in events} == {pid for pid, _ in ended}


def test_without_lingering_it_ends_with_the_command() -> None:
    status, events, _ = follow("sh", "-c", "sleep 2 & echo $!; exit 3", options=["--no-linger"])
    assert status == 3
    ends = commands(events, "exit")
    assert ["sh", "-c", "sleep 2 & echo $!; exit 3"] in ends and ["sleep", "2"] not in ends


def test_who_outlives_it_lives_on() -> None:
    _, _, result = follow("sh", "-c", "sleep 5 >/dev/null 2>&1 & echo $!", options=["--no-linger"])
    pid = int(result.stdout)
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["sh", "-c", "kill -9 $$"], 137, None),
        (["sh", "-c", "kill -TERM $$"], 143, None),
        (["no-such-program"], 127, "execsnoop: error: no-such-program: No such file or directory\n"),
        (["/no/such"], 127, "execsnoop: error: /no/such: No such file or directory\n"),
        (["/etc/passwd"], 126, "execsnoop: error: /etc/passwd: Permission denied\n"),
        (["/etc"], 126, "execsnoop: error: /etc: Permission denied\n"),
        ([""], 127, "execsnoop: error: '': No such file or directory\n"),
    ],
)
def test_statuses_are_those_of_env(arguments: list[str], status: int, message: str | None) -> None:
    bare = subprocess.run(["env", *arguments], capture_output=True).returncode
    assert (bare if bare >= 0 else 128 - bare) == status
    found, _, result = follow(*arguments)
    assert found == status
    if message is not None:
        assert result.stderr == message


def test_a_file_without_an_interpreter_is_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("exit 9\n")
    script.chmod(0o755)
    assert follow(str(script))[0] == subprocess.run(["env", script]).returncode == 9


@pytest.mark.parametrize(
    "options",
    [["--"], ["--no-such", "--", "true"], ["--subtree", "1", "--", "true"], ["-o", "/no/such", "--", "true"]],
)
def test_our_own_failures_are_125(options: list[str]) -> None:
    assert subprocess.run([*EXECSNOOP, *options], capture_output=True).returncode == 125


def test_a_trace_that_fails_leaves_the_command_alone(tmp_path: Path) -> None:
    done = tmp_path / "done"
    result = subprocess.run(
        [*EXECSNOOP, "-o", "/dev/full", "--", "sh", "-c", f"sleep 0.5; touch {done}"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 125 and done.exists()
    assert "execsnoop: error: /dev/full: No space left on device\n" in result.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_who_closes_the_pipe_gets_no_more_and_the_command_goes_on(tmp_path: Path, unbuffered: str) -> None:
    """Python would fail to flush what it has of our messages."""
    done = tmp_path / "done"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    line = (
        f'{EXECSNOOP[0]} -- sh -c "sleep 0.5; touch {done}; exit 4" 2>&1 | head -1; exit ${{PIPESTATUS[0]}}'
    )
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, timeout=60)
    assert result.returncode == 4 and done.exists() and result.stdout.startswith("TIME ")


# --- nothing about it is changed --------------------------------------------------------------------------

SHOW = """
import os, resource, signal
status = open("/proc/self/status").read()
wanted = ("NoNewPrivs", "Seccomp:", "SigP", "SigB", "SigI", "SigC", "Cap", "Uid", "Gid", "Groups")
print([line for line in status.splitlines() if line.startswith(wanted)])
print(sorted(os.listdir("/proc/self/fd")), os.getpgrp() == os.getpgid(os.getppid()), os.getsid(0))
print(os.getcwd(), os.umask(0))
print([resource.getrlimit(n) for n in range(16)], os.nice(0), sorted(os.sched_getaffinity(0)))
print(sorted(open("/proc/self/environ", "rb").read().split(b"\\0")), sorted(open("/proc/self/limits")))
print(open("/proc/self/oom_score_adj").read(), open("/proc/self/timerslack_ns").read())
"""


def prepared() -> None:
    """Some of what a shell or nohup may have set."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])


@pytest.mark.parametrize("before", [None, prepared])
@pytest.mark.parametrize("locale", [{}, {"LANG": "C.UTF-8"}])
def test_the_command_is_as_it_would_be_without_us(before: Any, locale: dict[str, str]) -> None:
    # Not Python itself: that changes some of it before it can tell. So a shell is between.
    command = ["sh", "-c", f"exec {sys.executable} -Ic '{SHOW.replace(chr(39), chr(34))}'"]
    how: dict[str, Any] = {"preexec_fn": before, "env": {"PATH": os.environ["PATH"], **locale}}
    bare = subprocess.run(command, capture_output=True, text=True, check=True, **how).stdout
    status, _, result = follow(*command, **how)
    assert status == 0, result.stderr
    assert result.stdout == bare


def test_a_ready_descriptor_is_not_the_commands() -> None:
    reader, writer = os.pipe()
    result = subprocess.run(
        [*EXECSNOOP, "--quiet", "--ready-fd", str(writer), "--", "ls", "/proc/self/fd"],
        pass_fds=[writer],
        capture_output=True,
        text=True,
    )
    os.close(writer)
    assert os.read(reader, 10) == b"\n"
    os.close(reader)
    assert str(writer) not in result.stdout.split()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may search, on a file system where set-user-ID counts."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_under_sudo_it_runs_as_who_called(open_folder: Path) -> None:
    own = open_folder / "id"
    shutil.copy("/usr/bin/id", own)
    own.chmod(0o4755)
    sudo = os.environ | {"SUDO_UID": "65534", "SUDO_GID": "65534", "SUDO_USER": "nobody", "HOME": "/root"}
    script = f"id -u; id -G; echo $HOME $USER $SUDO_UID; {own} -u; grep NoNewPrivs /proc/self/status"
    status, _, result = follow("sh", "-c", script, env=sudo)
    assert status == 0, result.stderr
    # Set-user-ID programs keep their rights.
    home = pwd.getpwuid(NOBODY).pw_dir
    assert result.stdout.split("\n")[:4] == ["65534", "65534", f"{home} nobody", "0"]
    assert result.stdout.split()[-1] == "0"
    status, _, result = follow("sh", "-c", "id -u; echo $HOME", options=["--as-root"], env=sudo)
    assert (status, result.stdout) == (0, "0\n/root\n")
    bad = subprocess.run(
        [*EXECSNOOP, "--", "id"], env=sudo | {"SUDO_UID": "x"}, capture_output=True, text=True
    )
    assert bad.returncode == 125 and bad.stderr.startswith("execsnoop: error: SUDO_UID") and not bad.stdout


# --- signals ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(script: str, *options: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """execsnoop in front of a shell script that has said "ready"."""
    process = subprocess.Popen(
        [*EXECSNOOP, "--quiet", *options, "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT"])
def test_signals_are_passed_on(name: str) -> None:
    script = f"trap 'echo got; exit 5' {name}; echo ready; while [ $((n += 1)) -lt 600 ]; do sleep 0.05; done"
    with running(script) as process:
        process.send_signal(signal.Signals[f"SIG{name}"])
        output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (5, "got\n")


def test_a_signal_after_its_end_ends_the_lingering() -> None:
    with running("sleep 30 >/dev/null 2>&1 & echo ready; echo $!; exit 6") as process:
        assert process.stdout is not None
        left = int(process.stdout.readline())
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(30)
    os.kill(left, signal.SIGKILL)
    assert process.returncode == 6 and time.monotonic() - began < 15


def test_ctrl_c_reaches_the_command_once() -> None:
    script = "trap 'echo caught-$((n=n+1))' INT; echo rea''dy; read line; echo line-$line; exit 8"
    with Terminal(*EXECSNOOP, "-o", "/dev/null", "--", "sh", "-c", script) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("caught-1")
        time.sleep(0.5)
        terminal.type("hello\n")
        terminal.expect("line-")
        assert "caught-2" not in terminal.text
        assert terminal.end() == 8


def test_ctrl_c_ends_it_with_its_status() -> None:
    with Terminal(*EXECSNOOP, "-o", "/dev/null", "--", "sh", "-c", "echo rea''dy; exec sleep 60") as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        assert terminal.end() == 130


@pytest.fixture
def shell() -> Iterator[Terminal]:
    """An interactive one, with job control."""
    with Terminal("bash", "--norc", "--noprofile", "-i") as terminal:
        terminal.type("PS1='at '; PS1+='your service> '\n")
        terminal.expect("at your service> ")
        yield terminal


def test_ctrl_z_stops_both_and_fg_continues_both(shell: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "events"
    shell.type(f"{EXECSNOOP[0]} --json -o {path} -- cat\n")
    shell.expect("keeps them\r\n")  # what was typed while the shell edits a line is not for others
    shell.type("hello\n")
    shell.expect("hello\r\nhello\r\n")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.expect("at your service> ")
    shell.insist("fg\n", "-- cat\r\n")
    shell.type("again\n")
    shell.expect("again\r\nagain\r\n")
    shell.type("\x04")
    shell.expect("lost=")
    shell.insist("echo status-$?\n", "status-0")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(event["type"], event["argv"]) for event in events] == [("exec", ["cat"]), ("exit", ["cat"])]


def test_a_command_that_stops_itself_stops_us_with_it(shell: Terminal) -> None:
    """Else the shell would wait for ever, and whoever sits there with it."""
    shell.type(f"{EXECSNOOP[0]} -o /dev/null -- sh -c 'echo be''fore; kill -STOP $$; echo af''ter; exit 5'\n")
    shell.expect("before")
    shell.expect("Stopped")
    shell.expect("at your service> ")
    shell.insist("fg\n", "after")
    shell.expect("at your service> ")
    shell.insist("echo status-$?\n", "status-5")


def test_a_shell_in_it_can_be_suspended(shell: Terminal) -> None:
    """It has the terminal with a process group of its own."""
    shell.type(f"{EXECSNOOP[0]} -o /dev/null -- bash --norc --noprofile -i\n")
    shell.type("PS1='in''side> '\n")
    shell.expect("inside> ")
    shell.insist("suspend\n", "Stopped")
    shell.expect("at your service> ")
    shell.insist("fg\n", "inside> ")
    shell.insist("echo still-he''re\n", "still-here")
    shell.insist("exit 4\n", "at your service> ")
    shell.insist("echo status-$?\n", "status-4")


def test_a_command_that_is_begun_in_the_background_waits_for_the_terminal(shell: Terminal) -> None:
    shell.type(f"{EXECSNOOP[0]} -o /dev/null -- cat &\n")
    shell.expect("at your service> ")
    shell.insist("while jobs -r | grep -q cat; do sleep 0.1; done; echo it wai''ts\n", "it waits")
    shell.insist("fg\n", "-- cat\r\n")
    shell.type("hello\n")
    shell.expect("hello\r\nhello\r\n")
    shell.type("\x04")
    shell.expect("lost=")
    shell.insist("echo status-$?\n", "status-0")


def test_a_command_that_is_stopped_in_the_background_is_still_watched() -> None:
    with running("echo ready; kill -STOP $$; /bin/echo after; exit 5", "--json") as process:
        command = next(pid for pid in children(process.pid))
        deadline = time.monotonic() + 30
        while (state := Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[0]) != "T":
            assert time.monotonic() < deadline, state
            time.sleep(0.01)
        time.sleep(0.3)
        assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T"
        os.kill(command, signal.SIGCONT)
        output, messages = process.communicate(timeout=30)
    assert (process.returncode, output) == (5, "after\n")
    assert '["/bin/echo","after"]' in messages


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- a subtree --------------------------------------------------------------------------------------------

TREE = "sh -c 'sh -c \"echo >&4; read a; /bin/echo deep; exit 2\"; /bin/echo middle; exit 3'; exit 4"


@pytest.mark.parametrize("before", [[], IN_NAMESPACE], ids=["", "in a pid namespace"])
def test_a_subtree_with_who_was_there(bystanders: None, before: list[str], tmp_path: Path) -> None:
    """In the namespace the pid is the one there, and so is everything else: a shell there starts both."""
    fifo, ready, path = tmp_path / "fifo", tmp_path / "ready", tmp_path / "events"
    os.mkfifo(fifo)
    os.mkfifo(ready)
    inner = f"""
        exec 3<>{fifo} 4<>{ready}
        sh -c {json.dumps(TREE.replace("$", chr(92) + "$"))} <{fifo} & pid=$!
        read there <&4
        {EXECSNOOP[0]} --json -o {path} --existing --ready-fd 4 --subtree $pid & tracer=$!
        read begun <&4
        echo go >&3
        wait $tracer
    """
    result = subprocess.run([*before, "bash", "-c", inner], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [argv[-1] for argv in commands(events)] == ["deep", "middle"]
    ends = [event for event in events if event["type"] == "exit"]
    assert [event["exit_code"] for event in ends] == [0, 2, 0, 3, 4]
    there = [event for event in events if event["type"] == "existing"]
    assert there and events[: len(there)] == there and all("incomplete" not in event for event in there)
    begun = [(event["pid"], event["start_boottime_ns"]) for event in there]
    begun += [
        (event["child_pid"], event["child_start_boottime_ns"]) for event in events if event["type"] == "fork"
    ]
    assert sorted(begun) == sorted((event["pid"], event["start_boottime_ns"]) for event in ends)


def test_a_subtree_of_nobody() -> None:
    result = subprocess.run([*EXECSNOOP, "--subtree", str(2**22 + 1)], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"execsnoop: error: follow: no process has the pid {2**22 + 1}\n"


# --- in Python --------------------------------------------------------------------------------------------


def test_a_command_in_python(bystanders: None) -> None:
    with execsnoop.trace(["sh", "-c", "/bin/true a; exit 7"]) as trace:
        events = list(trace)
        assert trace.returncode == 7 and trace.is_done
    assert [event.argv for event in events if event.type == "exec"] == [
        ["sh", "-c", "/bin/true a; exit 7"],
        ["/bin/true", "a"],
    ]
    assert events[-1].type == "exit" and events[-1].exit_code == 7


def test_an_end_that_is_not_told_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    select = family.Family.select

    def deaf(self: family.Family, events: Any, now_ns: int) -> list[Any]:
        return select(self, [event for event in events if event.type != "exit"], now_ns)

    monkeypatch.setattr(family.Family, "select", deaf)
    with execsnoop.trace(["sh", "-c", "/bin/true a; exit 7"]) as trace:
        assert {event.type for event in trace} == {"exec", "fork"}
        assert trace.returncode == 7 and trace.is_done


def test_a_command_in_asyncio(bystanders: None) -> None:
    async def run() -> list[str]:
        with execsnoop.trace(["sh", "-c", "/bin/true a; kill -9 $$"]) as trace:
            found = [event.type async for event in trace]
            assert trace.returncode == -9
            return found

    assert asyncio.run(run()) == ["exec", "fork", "exec", "exit", "exit"]


def test_a_command_that_is_missing_in_python() -> None:
    with pytest.raises(execsnoop.CommandError) as caught:
        execsnoop.trace(["/no/such"])
    assert caught.value.errno == 2 and isinstance(caught.value, snoopkit.SnoopkitError)
    with pytest.raises(TypeError):
        execsnoop.trace("ls")
    with pytest.raises(ValueError, match="at least a name"):
        execsnoop.trace([])
