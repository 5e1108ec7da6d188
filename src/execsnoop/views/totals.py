"""What a trace comes to: a line of totals, and the commands that stand out."""

from __future__ import annotations

from snoopkit.render import BOLD, cut, display

from .cells import duration, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import ProcessEvent
    from . import Writer
    from .look import Look

__all__ = ["Totals"]

_MAX_NAMES = 4_096
_MAX_TEXT = 1_024  # characters that are kept of a command


class Tally:
    """Counts by name, of the first so many names; what comes under any other is counted together, under None."""

    def __init__(self, most: int = _MAX_NAMES) -> None:
        self.counts: dict[str | None, int] = {}
        self._most = most

    def add(self, name: str, number: int = 1) -> None:
        counts = self.counts
        key = name if name in counts or len(counts) < self._most else None
        counts[key] = counts.get(key, 0) + number

    def ranking(self) -> list[tuple[str | None, int]]:
        """The largest first."""
        return sorted(self.counts.items(), key=lambda item: -item[1])


class Totals:
    """A view with totals at its end, and the `top` most spawned, slowest and most often failed commands."""

    def __init__(self, view: Writer, look: Look, top: int = 0) -> None:
        self._view = view
        self._screen = look.screen
        self._top = top
        self._words = look.words
        self._counts = dict.fromkeys(("exec", "exec_failed", "fork", "exit", "existing", "lost"), 0)
        self._cpu_ns = 0
        self._outcomes = Tally()
        self._spawned = Tally()
        self._failed = Tally()
        self._slowest: list[tuple[int, str]] = []

    def header(self) -> bytes:
        return self._view.header()

    def row(self, event: ProcessEvent) -> bytes:
        self._counts[event.type] += 1
        if event.type == "exit":
            self._count_exit(event)
        elif self._top and event.type == "exec":
            self._spawned.add(_name(event))
        elif self._top and event.type == "exec_failed":
            self._failed.add(f"{event.error}  {display(event.filename or '?')}")
        return self._view.row(event)

    def _count_exit(self, event: ProcessEvent) -> None:
        self._outcomes.add(_outcome(event))
        self._cpu_ns += event.cpu_ns or 0
        if not self._top:
            return
        if event.status:
            self._failed.add(f"{_outcome(event)}  {_name(event)}")
        took_ns = event.duration_ns or 0
        if event.inherited or (len(self._slowest) == self._top and took_ns <= self._slowest[-1][0]):
            return
        self._slowest.append((took_ns, f"{_outcome(event)}  {self._words.of(event)[:_MAX_TEXT]}"))
        self._slowest.sort(key=lambda item: -item[0])
        del self._slowest[self._top :]

    def footer(self) -> bytes:
        lines = self._rankings()
        columns = self._screen.size()[0]
        if columns is not None:
            lines = [cut(line, columns) for line in lines]
        return "".join([f"{line}\n" for line in [*lines, self._line()]]).encode("utf-8", "backslashreplace")

    def _rankings(self) -> list[str]:
        spawned = [(str(count), name) for name, count in self._spawned.ranking()]
        slowest = [(duration(took_ns), text) for took_ns, text in self._slowest]
        failed = [(str(count), name) for name, count in self._failed.ranking()]
        lines = []
        for heading, rows in (("Most spawned", spawned), ("Slowest", slowest), ("Most often failed", failed)):
            if rows and self._top:
                lines += ["", self._screen.paint(heading, BOLD)]
                lines += [f"{measure:>8}  {name or '(others)'}" for measure, name in rows[: self._top]]
        return [*lines, ""] if lines else []

    def _line(self) -> str:
        counts = self._counts
        outcomes = ", ".join(f"{count} {name or 'others'}" for name, count in self._outcomes.ranking())
        parts = [_plural(counts["exec"], "exec"), _plural(counts["exit"], "exit")]
        if outcomes:
            parts[-1] += f" ({outcomes})"
        if counts["exec_failed"]:
            parts.append(_plural(counts["exec_failed"], "failed exec"))
        return "; ".join([*parts, f"{duration(self._cpu_ns)} of CPU"])


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _name(event: ProcessEvent) -> str:
    return display(event.comm or "?")


def _outcome(event: ProcessEvent) -> str:
    return f"exit {event.exit_code}" if event.signal is None else result(event)
