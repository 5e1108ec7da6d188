"""What a process event is: its values under the names that JSON, CSV and Python users know."""

from __future__ import annotations

from time import gmtime

from snoopkit.render import base64, is_lossy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["COLUMNS", "ProcessEvent", "signal_name"]

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
)
_EXEC = ("argv", "argv_size_bytes", "filename", "old_tid")
_EXIT = ("status", "exit_code", "signal", "core_dumped", "duration_ns", "lifetime_ns")
_LOST = ("count", "cause", "events")
_MARKS = ("incomplete", "raw")

# By event type, in the order of output. `raw` is made from the others, so it comes separately.
_KEYS = {
    "exec": _EVERY_LINE + _PROCESS + _EXEC,
    "exit": _EVERY_LINE + _PROCESS + _EXIT + ("argv",),
    "lost": _EVERY_LINE + _LOST,
}
# Those where None is an answer and not the lack of a question.
_NULLABLE = frozenset({"exit_code", "signal"})

COLUMNS = _EVERY_LINE + _PROCESS + _EXEC + _EXIT + _LOST + _MARKS
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
    """One exec, one exit, or a notice that events are missing.

    Times and durations are in nanoseconds, `*_boottime_ns` on CLOCK_BOOTTIME and `unix_ns` since 1970, sizes in
    bytes. A value that doesn't apply to this type of event, or isn't known, is None; `incomplete` names those that
    should have been there, or are only a part, with the reason: `truncated`, `unreadable` or `unsupported`. Text
    keeps bytes that aren't UTF-8 as surrogate escapes, so that `os.fsencode` gives back what the kernel had.

    `seen_from_start` is false on an exit if the process may have run a program that nobody saw: it is older than the
    trace, or execs were lost since.
    """

    __slots__ = (
        "argv",
        "argv_size_bytes",
        "boottime_ns",
        "cause",
        "comm",
        "core_dumped",
        "count",
        "cpu",
        "duration_ns",
        "egid",
        "euid",
        "events",
        "exit_code",
        "filename",
        "gid",
        "incomplete",
        "lifetime_ns",
        "loginuid",
        "old_tid",
        "pid",
        "ppid",
        "seen_from_start",
        "sessionid",
        "signal",
        "start_boottime_ns",
        "status",
        "tid",
        "tty",
        "type",
        "uid",
        "unix_ns",
    )

    def __init__(self, type: str, boottime_ns: int, unix_ns: int, cpu: int | None) -> None:
        self.type = type
        self.boottime_ns = boottime_ns
        self.unix_ns = unix_ns
        self.cpu = cpu
        self.incomplete: dict[str, str] | None = None
        self.seen_from_start = True
        self.pid: int | None = None
        self.tid: int | None = None
        self.ppid: int | None = None
        self.start_boottime_ns: int | None = None
        self.uid: int | None = None
        self.gid: int | None = None
        self.euid: int | None = None
        self.egid: int | None = None
        self.loginuid: int | None = None
        self.sessionid: int | None = None
        self.tty: str | None = None
        self.comm: str | None = None
        self.argv: list[str] | None = None
        self.argv_size_bytes: int | None = None
        self.filename: str | None = None
        self.old_tid: int | None = None
        self.status: int | None = None
        self.exit_code: int | None = None
        self.signal: str | None = None
        self.core_dumped: bool | None = None
        self.duration_ns: int | None = None
        self.lifetime_ns: int | None = None
        self.count: int | None = None
        self.cause: str | None = None
        self.events: str | None = None

    @property
    def time(self) -> str:
        """When it happened, in UTC by RFC 3339 with nine digits."""
        seconds, nanoseconds = divmod(self.unix_ns, 1_000_000_000)
        when = gmtime(seconds)
        return (
            f"{when.tm_year:04}-{when.tm_mon:02}-{when.tm_mday:02}"
            f"T{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}.{nanoseconds:09}Z"
        )

    @property
    def raw(self) -> dict[str, str | list[str]] | None:
        """The exact bytes, in base64, of each text that isn't UTF-8; None if all are."""
        found: dict[str, str | list[str]] = {}
        for key in ("comm", "tty", "filename"):
            text = getattr(self, key)
            if text is not None and is_lossy(text):
                found[key] = base64(text)
        if self.argv is not None and any(map(is_lossy, self.argv)):
            found["argv"] = [base64(argument) for argument in self.argv]
        return found or None

    def as_dict(self) -> dict[str, Any]:
        """What JSON has of this event, in its order. Text has U+FFFD for its bad bytes."""
        missing = self.incomplete or {}
        result: dict[str, Any] = {}
        for key in _KEYS[self.type]:
            value = getattr(self, key)
            if value is not None:
                if type(value) is str:
                    value = _replaced(value)
                elif key == "argv":
                    value = [_replaced(argument) for argument in value]
                result[key] = value
            elif key in _NULLABLE or key in missing:
                result[key] = None
        if missing:
            result["incomplete"] = missing
        raw = self.raw
        if raw:
            result["raw"] = raw
        return result

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
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if is_lossy(text) else text
