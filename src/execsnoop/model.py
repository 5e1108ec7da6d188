"""What a process event is: its values under the names that JSON, CSV and Python users know."""

from __future__ import annotations

from time import gmtime, strftime

from snoopkit import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

__all__ = ["COLUMNS", "GROUPS", "LISTS", "ProcessEvent", "signal_name"]

GROUPS = {
    "with_cgroups": frozenset({"cgroup", "container"}),
    "with_namespaces": frozenset({"namespaces"}),
    "with_paths": frozenset({"exe", "cwd"}),
    "with_capabilities": frozenset({"capabilities"}),
}
"""Keys that cost more, by the package's option that has them collected."""

LISTS = (
    ("list_commands_more", "iter.s/task"),
    ("list_commands", "iter.s/task"),
    ("list_processes", "iter/task"),
)
"""The package's programs that tell who lives, the better one first, and what each is. The first is for the package's
options alone."""

_EVERY_LINE = ("type", "time", "boottime_ns", "cpu")
_PROCESS = (
    "pid",
    "tid",
    "ppid",
    "start_boottime_ns",
    "uid",
    "gid",
    "euid",
    "egid",
    "loginuid",
    "sessionid",
    "tty",
    "comm",
    "cgroup",
    "container",
    "namespaces",
)
_EXEC = (
    "argv",
    "argv_size_bytes",
    "filename",
    "interpreter",
    "script",
    "old_tid",
    "old_euid",
    "old_egid",
    "flags",
    "exe",
    "cwd",
    "capabilities",
    "folded",
)
_FAILED = ("errno", "error", "filename", "dirfd", "at_flags", "argv", "folded")
_EXIT = (
    "status",
    "exit_code",
    "signal",
    "core_dumped",
    "duration_ns",
    "lifetime_ns",
    "cpu_ns",
    "cpu_exact",
    "user_cpu_ns",
    "system_cpu_ns",
    "max_rss_bytes",
    "minor_faults",
    "major_faults",
    "read_bytes",
    "write_bytes",
    "voluntary_switches",
    "involuntary_switches",
)
_INHERITED = ("inherited",)
_FORK = ("child_pid", "child_start_boottime_ns", "clone_flags")
_LOST = ("count", "cause", "events")
_MARKS = ("incomplete", "raw")

# By event type, in the order of output. `raw` is made from the others, so it comes separately.
_KEYS = {
    "exec": _EVERY_LINE + _PROCESS + _EXEC,
    "exec_failed": _EVERY_LINE + _PROCESS + _FAILED,
    "existing": _EVERY_LINE + _PROCESS + ("argv", *_INHERITED, "exe", "cwd"),
    "exit": _EVERY_LINE + _PROCESS + _EXIT + ("argv", *_INHERITED),
    "fork": _EVERY_LINE + _PROCESS + _FORK,
    "lost": _EVERY_LINE + _LOST,
}
# Those that may have bytes that aren't UTF-8, beside argv.
_TEXTS = ("comm", "tty", "cgroup", "filename", "interpreter", "script", "exe", "cwd")
# Those where None is an answer and not the lack of a question.
_NULLABLE = frozenset({"exit_code", "signal"})

_OF_FAILED = tuple(key for key in _FAILED if key not in _EXEC)
COLUMNS = _EVERY_LINE + _PROCESS + _EXEC + _OF_FAILED + _EXIT + _INHERITED + _FORK + _LOST + _MARKS
"""Every key that an event may have, in the order of CSV's columns."""

# fmt: off
_SIGNALS = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
    "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)
# fmt: on
_RTMIN, _RTMAX = 34, 64  # as the C library counts: it keeps the kernel's first two to itself


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; real-time signals as `SIGRTMIN+3`; what has no name as `SIG32`."""
    if 1 <= number <= len(_SIGNALS):
        return "SIG" + _SIGNALS[number - 1]
    if number == _RTMAX:
        return "SIGRTMAX"
    if _RTMIN <= number < _RTMAX:
        return f"SIGRTMIN+{number - _RTMIN}" if number > _RTMIN else "SIGRTMIN"
    return f"SIG{number}"


class ProcessEvent:
    """One exec, one failed exec, one fork, one exit, a process that was there before (`existing`), or a notice that
    events are missing.

    Times and durations are in nanoseconds, `*_boottime_ns` on CLOCK_BOOTTIME and `unix_ns` since 1970, sizes in
    bytes. A value that doesn't apply to this type of event, or isn't known, is None; `incomplete` names those that
    should have been there, or are only a part, with the reason: `truncated`, `unreadable`, `raced` or
    `unsupported`. Text
    keeps bytes that aren't UTF-8 as surrogate escapes, so that `os.fsencode` gives back what the kernel had.

    A process that never ran a program of its own has its parent's `argv`, and `inherited` is true. A fork has the
    parent's as `argv` too, beyond what JSON shows of it.
    """

    # Values that every event but a few leaves at None stand in the class: an event sets what it has.
    pid: int | None = None
    tid: int | None = None
    ppid: int | None = None
    start_boottime_ns: int | None = None
    uid: int | None = None
    gid: int | None = None
    euid: int | None = None
    egid: int | None = None
    loginuid: int | None = None
    sessionid: int | None = None
    tty: str | None = None
    comm: str | None = None
    cgroup: str | None = None
    container: dict[str, str | None] | None = None
    namespaces: dict[str, int] | None = None
    argv: list[str] | None = None
    argv_size_bytes: int | None = None
    filename: str | None = None
    interpreter: str | None = None
    script: str | None = None
    old_tid: int | None = None
    old_euid: int | None = None
    old_egid: int | None = None
    flags: list[str] | None = None
    exe: str | None = None
    cwd: str | None = None
    capabilities: dict[str, str] | None = None
    errno: int | None = None
    error: str | None = None
    dirfd: int | None = None
    at_flags: int | None = None
    folded: int | None = None
    status: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    core_dumped: bool | None = None
    duration_ns: int | None = None
    lifetime_ns: int | None = None
    cpu_ns: int | None = None
    cpu_exact: bool | None = None
    user_cpu_ns: int | None = None
    system_cpu_ns: int | None = None
    max_rss_bytes: int | None = None
    minor_faults: int | None = None
    major_faults: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    inherited: bool | None = None
    child_pid: int | None = None
    child_start_boottime_ns: int | None = None
    clone_flags: int | None = None
    count: int | None = None
    cause: str | None = None
    events: str | None = None
    incomplete: dict[str, str] | None = None

    def __init__(self, type: str, boottime_ns: int, unix_ns: int, cpu: int | None) -> None:
        self.type = type
        self.boottime_ns = boottime_ns
        self.unix_ns = unix_ns
        self.cpu = cpu

    @property
    def time(self) -> str:
        """When it happened, in UTC by RFC 3339 with nine digits."""
        seconds, nanoseconds = divmod(self.unix_ns, 1_000_000_000)
        return f"{_second(seconds)}.{nanoseconds:09}Z"

    @property
    def raw(self) -> dict[str, str | list[str]] | None:
        """The exact bytes, in base64, of each text that isn't UTF-8; None if all are."""
        values = vars(self)
        texts = {key: values[key] for key in _TEXTS if values.get(key)}
        argv = self.argv or ()
        if "".join((*texts.values(), *argv)).isascii():
            return None
        found: dict[str, str | list[str]] = {
            key: render.base64(text) for key, text in texts.items() if render.is_lossy(text)
        }
        if self.type != "fork" and any(map(render.is_lossy, argv)):
            found["argv"] = [render.base64(argument) for argument in argv]
        return found or None

    def as_dict(self) -> dict[str, Any]:
        """What JSON has of this event, in its order. Text has U+FFFD for its bad bytes."""
        keys = _KEYS[self.type]
        missing = {key: reason for key, reason in (self.incomplete or {}).items() if key in keys}
        values = {**vars(self), "time": self.time}
        get = values.get
        result: dict[str, Any] = {
            key: value
            for key in keys
            if (value := get(key)) is not None
            or key in missing
            or (key in _NULLABLE and self.status is not None)
        }
        raw = self.raw
        if raw:
            for key in raw:
                value = result[key]
                result[key] = [_replaced(text) for text in value] if key == "argv" else _replaced(value)
        if missing:
            result["incomplete"] = missing
        if raw:
            result["raw"] = raw
        return result

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The event of which `as_dict()`, or a JSON line that was read, has these values.

        KeyError or ValueError if they are not of an event.
        """
        if values["type"] not in _KEYS:
            raise ValueError(f"no type of event is called {values['type']!r}")
        event = cls(values["type"], values["boottime_ns"], _unix_ns(values["time"]), values.get("cpu"))
        raw = values.get("raw", {})
        for key in _KEYS[event.type][len(_EVERY_LINE) :]:
            value = values.get(key)
            if key in raw:
                value = [_exact(text) for text in raw[key]] if key == "argv" else _exact(raw[key])
            if value is not None:
                setattr(event, key, value)
        event.incomplete = values.get("incomplete")
        return event

    def __repr__(self) -> str:
        return f"ProcessEvent({', '.join(f'{key}={value!r}' for key, value in self.as_dict().items())})"

    def set_status(self, status: int) -> None:
        """Fill what follows from a status as wait() gives it."""
        self.status = status
        number = status & 0x7F
        self.core_dumped = bool(status & 0x80)
        if number:
            self.signal = signal_name(number)
        else:
            self.exit_code = status >> 8 & 0xFF

    def mark(self, key: str, reason: str) -> None:
        """Say that `key` is not the whole truth."""
        if self.incomplete is None:
            self.incomplete = {}
        self.incomplete[key] = reason


def _replaced(text: str) -> str:
    return (
        text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if render.is_lossy(text) else text
    )


def _exact(base64: str) -> str:
    """The text, as an event has it, whose bytes are that in base64."""
    from binascii import a2b_base64

    return a2b_base64(base64, strict_mode=True).decode("utf-8", "surrogateescape")


def _unix_ns(time: str) -> int:
    """The opposite of `ProcessEvent.time`."""
    from calendar import timegm

    second, nanoseconds = time[:-1].split(".")
    date, clock = second.split("T")
    broken_down = (*map(int, date.split("-")), *map(int, clock.split(":")), 0, 0, 0)
    return timegm(broken_down) * 1_000_000_000 + int(nanoseconds)


_last_second = (-1, "")


def _second(seconds: int) -> str:
    global _last_second
    if _last_second[0] != seconds:
        _last_second = seconds, strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))
    return _last_second[1]
