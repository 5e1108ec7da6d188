"""A process event as one line: of the table, of JSON, of CSV."""

from __future__ import annotations

from snoopkit.render import WallClock, csv_row, display, json, quote

from .model import COLUMNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from .model import ProcessEvent

    class Writer(Protocol):
        def header(self) -> bytes: ...
        def row(self, event: ProcessEvent) -> bytes: ...


__all__ = ["Columns", "Csv", "JsonLines", "Table", "duration", "writer"]

_WIDEST = 40
_AT_FDCWD = -100
_WORDS = {"exec_failed": "fail", "existing": "exist"}  # of the EVENT column, where they are not the type's


class Table:
    """Aligned columns, one event a line whatever its bytes are; the arguments come last and in full."""

    def __init__(self) -> None:
        self._clock = WallClock()

    def header(self) -> bytes:
        return _line("TIME", "EVENT", "PID", "PPID", "UID", "COMM", "RET", "DURATION", "ARGS")

    def row(self, event: ProcessEvent) -> bytes:
        time = self._clock.local(event.boottime_ns)
        if event.type == "lost":
            return _line(time, "lost", "", "", "", "", "", "", _loss(event))
        comm = display(event.comm or "")
        if event.type == "exec":
            result, took = "0", ""
        elif event.type == "fork":
            result, took = str(event.child_pid), ""
        elif event.type == "exec_failed":
            result, took = event.error or "", ""
        elif event.type == "existing":
            result, took = "", ""
        else:
            result, took = _result(event), duration(event.duration_ns or 0)
        who = event.pid, event.ppid, event.uid, comm
        kind = _WORDS.get(event.type, event.type)
        return _line(time, kind, *who, result, took, _arguments(event))


class Columns:
    """A table of chosen columns, each headed by its key. A cell that is too wide widens its column for the rows that
    follow; of an event that has no such key it stays empty. Notices of loss stand in a row of their own."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._widths = [len(key) for key in columns]
        self._clock = WallClock()

    def header(self) -> bytes:
        return self._aligned([key.upper() for key in self._columns])

    def row(self, event: ProcessEvent) -> bytes:
        if event.type == "lost":
            return f"{self._clock.local(event.boottime_ns)} lost {_loss(event)}\n".encode()
        values = event.as_dict()
        return self._aligned([_cell(event, key, values.get(key)) for key in self._columns])

    def _aligned(self, cells: list[str]) -> bytes:
        for index, cell in enumerate(cells[:-1]):
            self._widths[index] = max(self._widths[index], min(len(cell), _WIDEST))
        padded = [cell.ljust(width) for cell, width in zip(cells[:-1], self._widths)]
        return " ".join([*padded, cells[-1]]).rstrip(" ").encode("utf-8", "backslashreplace") + b"\n"


def _cell(event: ProcessEvent, key: str, value: object) -> str:
    if key == "argv":
        return _arguments(event) if event.type != "fork" else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return display(value)
    if key == "flags" and isinstance(value, list):
        return ",".join(value)
    return json(value).decode() if isinstance(value, (dict, list)) else str(value)


class JsonLines:
    """One JSON object a line, with all its keys or with those of `columns`; notices of loss always with all."""

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self._columns = frozenset(columns) if columns is not None else None

    def header(self) -> bytes:
        return b""

    def row(self, event: ProcessEvent) -> bytes:
        values = event.as_dict()
        if self._columns is not None and event.type != "lost":
            values = _chosen(values, self._columns)
        return json(values) + b"\n"


class Csv:
    """A column for each key of the JSON lines, or for those of `columns`."""

    def __init__(self, columns: Sequence[str] = COLUMNS) -> None:
        self._columns = tuple(columns)

    def header(self) -> bytes:
        return csv_row(self._columns)

    def row(self, event: ProcessEvent) -> bytes:
        values = event.as_dict()
        return csv_row([values.get(key) for key in self._columns])


def _chosen(values: dict[str, Any], columns: frozenset[str]) -> dict[str, Any]:
    """The values of these keys, and what `incomplete` and `raw` say of them."""
    found = {key: value for key, value in values.items() if key in columns}
    for mark in ("incomplete", "raw"):
        about = {key: text for key, text in values.get(mark, {}).items() if key in columns}
        if about:
            found[mark] = about
    return found


def writer(format: str, columns: Sequence[str] | None = None) -> Writer:
    """The writer for `table`, `json` or `csv`, with the columns of the format or those that were chosen."""
    if format == "json":
        return JsonLines(columns)
    if format == "csv":
        return Csv(columns) if columns is not None else Csv()
    return Columns(columns) if columns is not None else Table()


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


def _loss(event: ProcessEvent) -> str:
    kind = f" {event.events}" if event.events else ""
    return f"{event.count}{kind} events are missing: {event.cause}"


def _result(event: ProcessEvent) -> str:
    if event.signal is None:
        return str(event.exit_code)
    return f"{event.signal} core" if event.core_dumped else event.signal


def _arguments(event: ProcessEvent) -> str:
    reason = event.incomplete.get("argv") if event.incomplete else None
    if event.type == "exec_failed":
        return _attempt(event, reason)
    if event.argv is None:
        return "[unreadable]" if reason else "?"
    text = quote(event.argv)
    # A shell's word with a bracket stands in quotes, so no argument can look like these marks.
    if event.inherited or event.type == "fork":
        text = f"[{text}]"
    return f"{text} [{reason}]" if reason else text


def _attempt(event: ProcessEvent, reason: str | None) -> str:
    """What was tried: the file stands in the place of the name that the program would have had."""
    parts = ["[unreadable]" if event.filename is None else quote([event.filename])]
    if event.argv and len(event.argv) > 1:
        parts.append(quote(event.argv[1:]))
    if reason:
        parts.append(f"[{reason}]")
    if event.dirfd is not None:
        at = f"dirfd {event.dirfd}" if event.dirfd != _AT_FDCWD else ""
        flags = f"at_flags {event.at_flags:#x}" if event.at_flags else ""
        parts.append(f"[{' '.join(filter(None, (at, flags)))}]")
    if event.folded:
        parts.append(f"[and {event.folded} before]")
    return " ".join(parts)
