"""Execs indented by parentage as they come, and under each how it ended."""

from __future__ import annotations

from snoopkit.render import STRONG_RED, YELLOW, display

from .cells import duration, loss, result
from .grid import Column, Grid
from .look import Look
from .table import outcome_style, pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import ProcessEvent

__all__ = ["Tree"]

_MAX_PROCESSES = 65_536
_DRAWN = 16  # levels; of a deeper process the nearest
_DEEPEST = 64  # then the indentation begins anew: a chain of daemons has no end

# Two columns for each level. No argument looks like one of the marks: it would be in quotes.
_RUNS, _GONE, _BRANCH, _ORPHAN, _END, _DEEPER = "│ ", "  ", "├ ", "╶ ", "└ ", "… "
_BECOMES, _FAILS = "→ ", "× "


class _Process:
    """One that has a line, or may have descendants with one. `parent` is the nearest above it that has a line."""

    __slots__ = ("depth", "has_line", "is_running", "parent", "start_ns")

    def __init__(self, start_ns: int | None, parent: _Process | None) -> None:
        self.start_ns = start_ns
        is_root = parent is None or parent.depth == _DEEPEST
        self.parent: _Process | None = None if is_root else parent
        self.depth: int = self.parent.depth + 1 if self.parent is not None else 0
        self.has_line = False
        self.is_running = True

    def trunk(self) -> str:
        """The lines of those above it, by which one sees who still runs."""
        levels: list[str] = []
        above = self.parent
        while above is not None and len(levels) < _DRAWN:
            levels.append(_RUNS if above.is_running else _GONE)
            above = above.parent
        if above is not None:
            levels.append(_DEEPER)
        return "".join(reversed(levels))

    def branch(self) -> str:
        """What stands before the line that it begins with."""
        if self.parent is None:
            return ""
        return self.trunk()[: -len(_RUNS)] + (_BRANCH if self.parent.is_running else _ORPHAN)


class Tree:
    """A line goes down from each process for as long as it runs, ends with its result, and branches into its children.

    What is already printed can't be moved: the lines of processes that run at once alternate, and the pid tells them
    apart. A process that never ran a program of its own has no line, unless a signal ended it, and its children
    are shown as its parent's.
    """

    def __init__(self, look: Look | None = None, *, max_processes: int = _MAX_PROCESSES) -> None:
        look = look if look is not None else Look()
        self._words = look.words
        self._max_processes = max_processes
        self._processes: dict[int | None, _Process] = {}  # by pid, those that run
        self._grid = Grid(
            [
                *look.times(3, 2),
                Column("PID", 7, pid, is_right=True),
                *([look.uid(0)] if look.needs_uid or look.has_names else []),
            ],
            "COMMAND",
            look.screen,
        )

    def header(self) -> bytes:
        return self._grid.header()

    def row(self, event: ProcessEvent) -> bytes:
        if event.type == "lost":
            return self._grid.row(event, loss(event), STRONG_RED)
        process = self._process(event)
        if event.type == "fork":
            self._begin(event.child_pid, event.child_start_boottime_ns, process)
            return b""
        if event.type == "exit":
            return self._end(event, process)
        if event.type == "exec_failed":
            lead = (process.trunk() if process.has_line else process.branch()) + _FAILS
            return self._grid.row(event, f"{event.error} {self._words.of(event)}", YELLOW, lead=lead)
        lead = process.trunk() + _BECOMES if process.has_line else process.branch()
        process.has_line = True
        return self._grid.row(event, self._words.of(event), lead=lead, hang=process.trunk() + _RUNS)

    def _process(self, event: ProcessEvent) -> _Process:
        """The process that an event is of; where nobody saw it begin, the parent's pid tells its place."""
        process = self._processes.get(event.pid)
        if process is None or process.start_ns != event.start_boottime_ns:
            process = self._begin(event.pid, event.start_boottime_ns, self._processes.get(event.ppid))
        return process

    def _begin(self, pid: int | None, start_ns: int | None, parent: _Process | None) -> _Process:
        if parent is not None and not parent.has_line:
            parent = parent.parent
        process = self._processes[pid] = _Process(start_ns, parent)
        if len(self._processes) > self._max_processes:
            del self._processes[next(iter(self._processes))]
        return process

    def _end(self, event: ProcessEvent, process: _Process) -> bytes:
        self._processes.pop(event.pid, None)
        process.is_running = False
        if not process.has_line and event.signal is None:
            return b""
        how = result(event) if event.exit_code is None else f"exit {event.exit_code}"
        text = f"{display(event.comm or '')} {how} after {duration(event.duration_ns or 0)}"
        lead = process.trunk() + _END if process.has_line else process.branch()
        return self._grid.row(event, text, outcome_style(event), lead=lead)
