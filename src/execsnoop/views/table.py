"""Aligned columns, one event a line."""

from __future__ import annotations

from snoopkit.render import WallClock, display

from .cells import arguments, cell, duration, loss, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import ProcessEvent

__all__ = ["Columns", "Table"]

_WIDEST = 40
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
            return _line(time, "lost", "", "", "", "", "", "", loss(event))
        comm = display(event.comm or "")
        if event.type == "exec":
            status, took = "0", ""
        elif event.type == "fork":
            status, took = str(event.child_pid), ""
        elif event.type == "exec_failed":
            status, took = event.error or "", ""
        elif event.type == "existing":
            status, took = "", ""
        else:
            status, took = result(event), duration(event.duration_ns or 0)
        who = event.pid, event.ppid, event.uid, comm
        kind = _WORDS.get(event.type, event.type)
        return _line(time, kind, *who, status, took, arguments(event))


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
            return f"{self._clock.local(event.boottime_ns)} lost {loss(event)}\n".encode()
        values = event.as_dict()
        return self._aligned([cell(event, key, values.get(key)) for key in self._columns])

    def _aligned(self, cells: list[str]) -> bytes:
        for index, text in enumerate(cells[:-1]):
            self._widths[index] = max(self._widths[index], min(len(text), _WIDEST))
        padded = [text.ljust(width) for text, width in zip(cells[:-1], self._widths)]
        return " ".join([*padded, cells[-1]]).rstrip(" ").encode("utf-8", "backslashreplace") + b"\n"


def _line(*cells: object) -> bytes:
    line = "{:<12} {:<5} {:>7} {:>7} {:>6} {:<15} {:<7} {:>8} {}".format(*cells)
    return line.rstrip(" ").encode("utf-8", "backslashreplace") + b"\n"
