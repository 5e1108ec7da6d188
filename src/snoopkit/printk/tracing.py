"""An own instance of the kernel's tracing: a buffer that nobody else reads."""

from __future__ import annotations

import os
import re

from ..errors import AttachError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Instance", "Line", "parse"]

_PREFIX = "snoopkit-"
_EVENT = "events/bpf_trace/bpf_trace_printk"
_BUFFER_KB = 512  # for each CPU
_READ_BYTES = 64 << 10  # more than the kernel puts together in one go, so that no message is cut in two
_LONGEST_FILTER_BYTES = 3000
# How the lines look, whoever has set up the machine's tracing otherwise.
_OPTIONS = ("context-info", "noraw", "nohex", "nobin", "nolatency-format", "noverbose", "nofields")
_HEAD = re.compile(
    rb" *(?P<comm>.{1,16})-(?P<tid>\d+) +(?:\([ \d-]+\) )?\[(?P<cpu>\d+)\] \S+ +(?P<s>\d+)\.(?P<us>\d{6}): "
    rb"bpf_trace_printk: (?P<message>.*)"
)
_LOST = re.compile(rb"CPU:(?P<cpu>\d+) \[LOST (?P<count>\d+) EVENTS\]")

Line = tuple[int, int, int, bytes | None, bytes]  # time in ns, CPU, thread, its comm, the message
Lost = tuple[int, int]  # CPU, how many


class Instance:
    """Messages of all programs of the machine, from when it is made to `close()`; those that don't begin with any of
    `prefixes` may be among them or not.

    AttachError where it can't be made.
    """

    def __init__(self, tracefs: str, prefixes: Iterable[str] = ()) -> None:
        folder = f"{tracefs}/instances"
        _remove_stale(folder)
        self._path = ""
        self._fd = -1
        try:
            self._path = _make(folder)
            for name, value in (("trace_clock", "boot"), ("buffer_size_kb", str(_BUFFER_KB))):
                self._write(name, value)
            for option in _OPTIONS:
                self._try("trace_options", option)
            if text := _filter(prefixes):
                self._try(f"{_EVENT}/filter", text)
            self._fd = os.open(f"{self._path}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._write(f"{_EVENT}/enable", "1")
        except OSError as error:
            self.close()
            raise AttachError(
                f"printk: {folder}: {os.strerror(error.errno or 0)}",
                errno=error.errno or 0,
                hint="run as root to see what the programs print",
            ) from None
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes:
        """What came since the last time, as text."""
        parts = []
        while self._fd >= 0:
            try:
                part = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            if not part:
                break
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Remove it; idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        path, self._path = self._path, ""
        try:
            if path:
                os.rmdir(path)
        except OSError:
            pass  # somebody else is looking into it: it goes when the next one is made

    def _write(self, name: str, value: str) -> None:
        with open(f"{self._path}/{name}", "w") as file:
            file.write(value)

    def _try(self, name: str, value: str) -> None:
        try:
            self._write(name, value)
        except OSError:
            pass  # not every kernel has it; then nothing is to be done either


def _make(folder: str) -> str:
    number = 0
    while True:
        path = f"{folder}/{_PREFIX}{os.getpid()}-{number}"
        try:
            os.mkdir(path)
        except FileExistsError:
            number += 1
        else:
            return path


def _remove_stale(folder: str) -> None:
    """Those of processes that were killed. One that somebody reads the kernel keeps, whatever its process is called."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        if name.startswith(_PREFIX) and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            try:
                os.rmdir(f"{folder}/{name}")
            except OSError:
                pass


def _filter(prefixes: Iterable[str]) -> str:
    """The kernel's filter for messages that begin so; "" where there is none, or it would be too long."""
    parts = []
    for prefix in prefixes:
        plain = re.match(r"[\w .,:;=/()<>+-]*", prefix, re.ASCII)
        if plain is None or not plain[0]:
            return ""
        parts.append(f'bpf_string ~ "{plain[0]}*"')
    text = " || ".join(dict.fromkeys(parts))
    return text if len(text) <= _LONGEST_FILTER_BYTES else ""


def parse(data: bytes) -> Iterator[Line | Lost]:
    """The messages in what `read` gave, and how many are missing where."""
    found: Line | None = None
    for line in data.split(b"\n")[:-1]:
        if head := _HEAD.fullmatch(line):
            if found:
                yield found
            comm = None if head["comm"] == b"<...>" else head["comm"].lstrip(b" ")
            time_ns = (int(head["s"]) * 1_000_000 + int(head["us"])) * 1000
            found = time_ns, int(head["cpu"]), int(head["tid"]), comm, head["message"]
        elif lost := _LOST.fullmatch(line):
            if found:
                yield found
                found = None
            yield int(lost["cpu"]), int(lost["count"])
        elif found:  # a message of several lines
            found = (*found[:4], found[4] + b"\n" + line)
    if found:
        yield found
