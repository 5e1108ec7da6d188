"""One line for each process that has ended: what it was, who started it, how it ended and what it took."""

from __future__ import annotations

from snoopkit.render import DIM, STRONG_RED, YELLOW, display

from .cells import duration, loss, number, result, size
from .grid import Column, Grid
from .look import Look
from .table import outcome_style, pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import ProcessEvent

__all__ = ["Joined"]

_MAX_PARENTS = 65_536


class Joined:
    """An exit with what led to it. Failed execs, where they are traced, and notices of loss have their line too."""

    def __init__(self, look: Look | None = None, *, max_parents: int = _MAX_PARENTS) -> None:
        look = look if look is not None else Look()
        ppid = Column("PPID", 7, _ppid, is_right=True)
        self._words = look.words
        self._max_parents = max_parents
        # Who started it, by process. The oldest are forgotten where exits are lost.
        self._parents: dict[tuple[int | None, int | None], str] = {}
        self._grid = Grid(
            [
                *look.times(3, 2),
                Column("PID", 7, pid, is_right=True),
                Column("PARENT", 20, self._parent, most=24, rank=4, narrow=ppid),
                *([look.uid(0)] if look.needs_uid or look.has_names else []),
                Column("STATUS", 7, _status, most=12, style=_status_style),
                Column("DURATION", 8, _took, is_right=True),
                Column("CPU", 7, _cpu, is_right=True),
                Column("RSS", 5, _rss, is_right=True),
            ],
            "COMMAND",
            look.screen,
        )

    def header(self) -> bytes:
        return self._grid.header()

    def row(self, event: ProcessEvent) -> bytes:
        if event.type == "lost":
            return self._grid.row(event, loss(event), STRONG_RED)
        if event.type == "fork":
            self._remember(event)
        if event.type not in ("exit", "exec_failed"):
            return b""
        row = self._grid.row(event, self._words.of(event), DIM if event.inherited else "")
        if event.type == "exit":
            self._parents.pop((event.pid, event.start_boottime_ns), None)
        return row

    def _remember(self, event: ProcessEvent) -> None:
        child = event.child_pid, event.child_start_boottime_ns
        self._parents[child] = f"{display(event.comm or '?')}[{event.pid}]"
        if len(self._parents) > self._max_parents:
            del self._parents[next(iter(self._parents))]

    def _parent(self, event: ProcessEvent) -> str:
        return self._parents.get((event.pid, event.start_boottime_ns)) or number(event.ppid)


def _ppid(event: ProcessEvent) -> str:
    return number(event.ppid)


def _status(event: ProcessEvent) -> str:
    return result(event) if event.type == "exit" else event.error or ""


def _status_style(event: ProcessEvent) -> str:
    return outcome_style(event) if event.type == "exit" else YELLOW


def _took(event: ProcessEvent) -> str:
    return "" if event.duration_ns is None else duration(event.duration_ns)


def _cpu(event: ProcessEvent) -> str:
    """With a mark where the kernel's exact total didn't come in time."""
    if event.cpu_ns is None:
        return ""
    return duration(event.cpu_ns) if event.cpu_exact else f"~{duration(event.cpu_ns)}"


def _rss(event: ProcessEvent) -> str:
    return "" if event.max_rss_bytes is None else size(event.max_rss_bytes)
