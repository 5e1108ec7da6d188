"""One event a line, in columns: those of the default table, or keys of the JSON lines."""

from __future__ import annotations

from snoopkit.render import DIM, RED, STRONG_RED, YELLOW, display

from .cells import cell, duration, loss, number, result
from .grid import Column, Grid
from .look import Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..model import ProcessEvent

    _Source = tuple[ProcessEvent, dict[str, Any]]

__all__ = ["Columns", "Table", "outcome_style", "pid"]

_WORDS = {"exec_failed": "fail", "existing": "exist"}  # of the EVENT column, where they are not the type's
_USERS = frozenset({"uid", "euid", "old_euid", "loginuid"})
_GROUPS = frozenset({"gid", "egid", "old_egid"})
_WIDEST = 40


class Table:
    """Everything at a glance; the arguments come last."""

    def __init__(self, look: Look | None = None) -> None:
        look = look if look is not None else Look()
        columns = [
            *look.times(2),
            Column("EVENT", 5, _kind, style=_kind_style),
            Column("PID", 7, pid, is_right=True),
            Column("PPID", 7, _ppid, is_right=True, rank=1),
            look.uid(4),
            Column("COMM", 15, _comm, rank=3),
            Column("RET", 7, _ret, style=_ret_style),
            Column("DURATION", 8, _took, is_right=True),
        ]
        self._grid = Grid(columns, "ARGS", look.screen)
        self._words = look.words

    def header(self) -> bytes:
        return self._grid.header()

    def row(self, event: ProcessEvent) -> bytes:
        if event.type == "lost":
            return self._grid.row(event, loss(event), STRONG_RED)
        return self._grid.row(event, self._words.of(event), "" if event.type == "exec" else DIM)


class Columns:
    """Chosen columns, each headed by its key; of an event that has no such key a cell stays empty. Notices of loss
    stand in a row of their own."""

    def __init__(self, keys: Sequence[str], look: Look | None = None) -> None:
        self._look = look if look is not None else Look()
        columns = [Column(key.upper(), 0, self._cell(key), most=_WIDEST) for key in keys[:-1]]
        self._last = self._cell(keys[-1])
        self._grid = Grid(columns, keys[-1].upper(), self._look.screen)

    def _cell(self, key: str) -> Callable[[_Source], str]:
        words = self._look.words
        named = self._look.has_names and (key in _USERS or key in _GROUPS)

        def text(source: _Source) -> str:
            event, values = source
            value = values.get(key)
            return _name(key, value) if named and value is not None else cell(words, event, key, value)

        return text

    def header(self) -> bytes:
        return self._grid.header()

    def row(self, event: ProcessEvent) -> bytes:
        if event.type == "lost":
            notice = f"{self._look.time(event)} lost {loss(event)}"
            return self._look.screen.paint(notice, STRONG_RED).encode() + b"\n"
        source = event, event.as_dict()
        return self._grid.row(source, self._last(source))


def _name(key: str, number: int) -> str:
    from .names import group, user

    return group(number) if key in _GROUPS else user(number)


def pid(event: ProcessEvent) -> str:
    return number(event.pid)


def _ppid(event: ProcessEvent) -> str:
    return number(event.ppid)


def _kind(event: ProcessEvent) -> str:
    return _WORDS.get(event.type, event.type)


def _kind_style(event: ProcessEvent) -> str:
    if event.type == "lost":
        return STRONG_RED
    return DIM if event.type in ("fork", "exit") else ""


def _comm(event: ProcessEvent) -> str:
    return display(event.comm or "")


def _ret(event: ProcessEvent) -> str:
    if event.type == "exit":
        return result(event)
    if event.type == "fork":
        return number(event.child_pid)
    if event.type == "exec_failed":
        return event.error or ""
    return "0" if event.type == "exec" else ""


def _ret_style(event: ProcessEvent) -> str:
    if event.type == "exec_failed":
        return YELLOW
    return outcome_style(event) if event.type == "exit" else DIM


def outcome_style(event: ProcessEvent) -> str:
    """How bad an end was."""
    if event.signal is not None:
        return STRONG_RED
    return RED if event.exit_code else DIM


def _took(event: ProcessEvent) -> str:
    return duration(event.duration_ns or 0) if event.type == "exit" else ""
