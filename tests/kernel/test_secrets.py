"""Where secrets are hidden if nobody says so: in files, whoever opened them, and not where someone is looking."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

EXECSNOOP = [sys.executable, "-m", "execsnoop"]
COMMAND = ["--", "sh", "-c", ": --password hunter2; exit 7"]
NOTE = "execsnoop: secrets in arguments are hidden, as the output is a file; --no-redact keeps them\n"


def run(*words: str, output: int | None = subprocess.PIPE) -> str:
    """What execsnoop itself said; a command's trace goes there too, without -o."""
    done = subprocess.run([*EXECSNOOP, *words], stderr=output, stdout=output, text=True, timeout=60)
    assert done.returncode == 7
    return done.stderr


@pytest.mark.parametrize("view", [[], ["--json"], ["--format", "csv"], ["--joined"], ["--tree"], ["--shell"]])
def test_in_a_file_they_are_hidden(view: Sequence[str], tmp_path: Path) -> None:
    path = tmp_path / "trace"
    messages = run(*view, "-o", str(path), *COMMAND)
    assert messages.startswith(NOTE) and messages.count("\n") == 2
    text = path.read_text()
    assert "hunter2" not in text and "[redacted]" in text


def test_in_a_file_of_the_shell_s_too(tmp_path: Path) -> None:
    with (tmp_path / "trace").open("w+") as file:
        run("--json", *COMMAND, output=file.fileno())
    text = (tmp_path / "trace").read_text()
    assert text.startswith(NOTE) and "hunter2" not in text and "[redacted]" in text


def test_in_a_pipe_they_stay() -> None:
    messages = run("--json", *COMMAND)
    assert "hunter2" in messages and "secrets" not in messages and "[redacted]" not in messages


def test_in_a_fifo_they_stay(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE, text=True) as reader:
        messages = run("--json", "-o", str(fifo), *COMMAND)
        text, _ = reader.communicate(timeout=60)
    assert "hunter2" in text and "secrets" not in messages


def test_in_a_socket_they_are_hidden() -> None:
    """A service's output, which goes to the journal, is one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        run("--json", *COMMAND, output=theirs.fileno())
        text = ours.recv(1 << 20).decode()
    assert "hunter2" not in text and "[redacted]" in text and NOTE.replace("a file", "a socket") in text


def test_on_a_terminal_they_stay() -> None:
    terminal, theirs = pty.openpty()
    run("--width", "0", *COMMAND, output=theirs)
    os.close(theirs)
    text = ""
    while True:
        try:
            text += os.read(terminal, 4096).decode()
        except OSError:
            break
    os.close(terminal)
    assert "hunter2" in text and "secrets" not in text


@pytest.mark.parametrize(
    ("options", "hidden", "said"),
    [
        (["--no-redact"], False, False),
        (["--redact"], True, False),
        (["--quiet"], True, False),
        (["--redact-rule", "port"], True, False),
        (["--no-redact", "--redact-rule", "port"], False, False),
    ],
)
def test_who_says_so_has_it_so(options: list[str], hidden: bool, said: bool, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    messages = run(*options, "-o", str(path), *COMMAND)
    assert ("hunter2" not in path.read_text()) is hidden
    assert (NOTE in messages) is said


def test_a_line_without_its_secret_is_not_to_be_run_again(tmp_path: Path) -> None:
    path = tmp_path / "again.sh"
    subprocess.run(
        [*EXECSNOOP, "--shell", "-o", path, "--", "sh", "-c", "env TOKEN=hunter2 true; env A=b true"],
        check=True,
        timeout=60,
        capture_output=True,
    )
    lines = [line for line in path.read_text().splitlines() if "/env " in line]
    assert lines[0].startswith("# secrets hidden: cd ") and not lines[1].startswith("#")
