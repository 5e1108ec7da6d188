"""A process event as one line: of the table, of JSON, of CSV."""

from __future__ import annotations

from snoopkit.render import WallClock, csv_row, display, json, quote

from .model import COLUMNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .model import ProcessEvent

    class Writer(Protocol):
        def header(self) -> bytes: ...
        def row(self, event: ProcessEvent) -> bytes: ...


__all__ = ["Csv", "JsonLines", "Table", "duration", "writer"]


class Table:
    """Aligned columns, one event a line whatever its bytes are; the arguments come last and in full."""

    def __init__(self) -> None:
        self._clock = WallClock()

    def header(self) -> bytes:
        return _line("TIME", "EVENT", "PID", "PPID", "UID", "COMM", "RET", "DURATION", "ARGS")

    def row(self, event: ProcessEvent) -> bytes:
        time = self._clock.local(event.boottime_ns)
        if event.type == "lost":
            kind = f" {event.events}" if event.events else ""
            what = f"{event.count}{kind} events are missing: {event.cause}"
            return _line(time, "lost", "", "", "", "", "", "", what)
        comm = display(event.comm or "")
        if event.type == "exec":
            result, took = "0", ""
        elif event.type == "fork":
            result, took = str(event.child_pid), ""
        else:
            result, took = _result(event), duration(event.duration_ns or 0)
        who = event.pid, event.ppid, event.uid, comm
        return _line(time, event.type, *who, result, took, _arguments(event))


class JsonLines:
    """One JSON object a line."""

    def header(self) -> bytes:
        return b""

    def row(self, event: ProcessEvent) -> bytes:
        return json(event.as_dict()) + b"\n"


class Csv:
    """A column for each key of the JSON lines."""

    def header(self) -> bytes:
        return csv_row(COLUMNS)

    def row(self, event: ProcessEvent) -> bytes:
        values = event.as_dict()
        return csv_row([values.get(key) for key in COLUMNS])


def writer(format: str) -> Writer:
    """The writer for `table`, `json` or `csv`."""
    if format == "json":
        return JsonLines()
    return Csv() if format == "csv" else Table()


def duration(nanoseconds: int) -> str:
    """For people: `850us`, `1.2ms`, `3.04s`, `4m05s`, `2h07m`, `3d04h`."""
    if nanoseconds < 999_500:
        return f"{nanoseconds / 1e3:.0f}us"
    if nanoseconds < 99_950_000:
        return f"{nanoseconds / 1e6:.1f}ms"
    if nanoseconds < 999_500_000:
        return f"{nanoseconds / 1e6:.0f}ms"
    if nanoseconds < 59_995_000_000:
        return f"{nanoseconds / 1e9:.2f}s"
    seconds = round(nanoseconds / 1e9)
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600:02}h"


def _line(*cells: object) -> bytes:
    line = "{:<12} {:<5} {:>7} {:>7} {:>6} {:<15} {:<7} {:>8} {}".format(*cells)
    return line.rstrip(" ").encode("utf-8", "backslashreplace") + b"\n"


def _result(event: ProcessEvent) -> str:
    if event.signal is None:
        return str(event.exit_code)
    return f"{event.signal} core" if event.core_dumped else event.signal


def _arguments(event: ProcessEvent) -> str:
    reason = event.incomplete and event.incomplete.get("argv")
    if event.argv is None:
        return "[unreadable]" if reason else "?"
    text = quote(event.argv)
    # A shell's word with a bracket stands in quotes, so no argument can look like these marks.
    if event.inherited or event.type == "fork":
        text = f"[{text}]"
    return f"{text} [{reason}]" if reason else text
