"""The tools that snoopkit's execsnoop is compared with, and how any of them is started, awaited and ended."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from .build import HERE, OUT
from .measure import cpus

OURS = "execsnoop"
LIBBPF, LIBBPF_EXIT, BPFTRACE, BCC, FORKSTAT = (
    "libbpf-tools execsnoop",
    "libbpf-tools exitsnoop",
    "bpftrace execsnoop.bt",
    "BCC execsnoop",
    "forkstat",
)
COMMANDS: dict[str, list[str]] = {
    OURS: [str(HERE.parent / ".venv/bin/execsnoop")],
    LIBBPF: ["/usr/sbin/execsnoop"],
    LIBBPF_EXIT: ["/usr/sbin/exitsnoop"],
    BPFTRACE: ["/usr/bin/bpftrace", "/usr/sbin/execsnoop.bt"],
    BCC: ["/usr/sbin/execsnoop-bpfcc"],
    FORKSTAT: ["/usr/bin/forkstat", "-e", "exec,exit"],
}
# No other hides secrets in a file.
INTO_A_FILE = {OURS: ["--no-redact"]}
PACKAGES = ("libbpf-tools", "bpftrace", "bpfcc-tools", "forkstat", "libbpf1", "clang-14")
MARKER = f"marker-{os.getpid()}"
SHOWN = {LIBBPF_EXIT: "true"}  # by what else a tool shows the spawner's program
PATIENCE_SECONDS = 15.0


class Silent(Exception):
    """The tool showed nothing, or ended, before it should have."""


def versions() -> dict[str, str]:
    """Which of Debian's packages the peers are from."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES]
    text = subprocess.run(query, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in text.splitlines())


@contextmanager
def spawner(every_ms: int = 2) -> Iterator[None]:
    """Somebody who runs `true MARKER` all the time, for the tools to show."""
    process = subprocess.Popen([OUT / "spawn", MARKER, str(every_ms)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Watched:
    """A tool at work on a terminal, as for a user: so it doesn't hold its rows back in a buffer."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self._terminal, theirs = pty.openpty()
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [*COMMANDS[name], *options], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def first_row_ms(self) -> float:
        """How long after its start the tool showed the spawner's program."""
        seen = b""
        deadline = self._started + PATIENCE_SECONDS
        while MARKER.encode() not in seen:
            more = self._read(deadline - time.monotonic())
            if not more:
                raise Silent(f"{self.name} showed nothing but {seen.decode(errors='replace')[-300:]!r}")
            seen = seen[-4096:] + more
        return (time.monotonic() - self._started) * 1000

    def stop_ms(self) -> float:
        """How long after a Ctrl-C the tool was gone."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        while self._process.poll() is None and self._read(PATIENCE_SECONDS):
            pass  # what it still has to say: it must not block on a full terminal
        self._process.wait(PATIENCE_SECONDS)
        return (time.monotonic() - started) * 1000

    def _read(self, seconds: float) -> bytes:
        """What the tool wrote; nothing where it ended, or was silent for so long."""
        if not select.select([self._terminal], [], [], max(seconds, 0))[0]:
            return b""
        try:
            return os.read(self._terminal, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return b""

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def at_work(name: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A tool that writes into a file, attached and seen to work before the body begins."""
    with tempfile.TemporaryFile(dir=OUT) as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(cpus()[1]), *COMMANDS[name], *INTO_A_FILE.get(name, ()), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            with spawner():
                _await_marker(name, process, output)
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_marker(name: str, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    seen = b""
    while SHOWN.get(name, MARKER).encode() not in seen:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Silent(f"{name} showed nothing but {seen.decode(errors='replace')[-300:]!r}")
        time.sleep(0.01)
        seen = os.pread(output.fileno(), 1 << 20, 0)


def works(name: str, note: Callable[[str], None]) -> bool:
    """Whether a peer shows anything on this kernel: BCC, for one, needs the kernel's headers."""
    try:
        with at_work(name):
            return True
    except (Silent, FileNotFoundError) as error:
        note(f"not compared with {name}: {error}")
        return False
