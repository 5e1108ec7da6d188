"""A live run on a terminal, in a pipe or into a file: its options, its limits, its end."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from time import monotonic

from ..events import Lost
from ..render.output import Output
from .command import DONE, INCOMPLETE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType
    from typing import Any, Protocol, Self

    from ..batch import Batch
    from ..render.writers import Writer

    class Source(Protocol):
        """What a live run reads: a `Snoop`, or a tool's own stream on top of one."""

        @property
        def warnings(self) -> list[str]: ...
        @property
        def lost(self) -> int: ...
        @property
        def losses(self) -> dict[str, int]: ...
        def poll(self, timeout: float | None = None) -> list[Any]: ...
        def finish(self) -> Iterator[list[Any]]: ...
        def close(self) -> None: ...


__all__ = ["Live", "add_live_options"]

PACE_SECONDS = 0.1  # how soon an end without an event is noticed: a limit, a closed pipe


def add_live_options(parser: argparse.ArgumentParser) -> None:
    """The options that every live command has."""
    group = parser.add_argument_group("live options")
    group.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="how to print (default: table)"
    )
    group.add_argument(
        "--json", action="store_const", const="json", dest="format", help="short for --format json"
    )
    group.add_argument("--duration", type=_seconds, metavar="SECONDS", help="stop this long after attaching")
    group.add_argument("--max-events", type=_count, metavar="N", help="stop after N events")
    group.add_argument("-o", "--output", metavar="FILE", help="write to FILE instead of standard output")
    group.add_argument(
        "--buffer-size",
        type=_size,
        metavar="N[K|M]",
        help="bytes per CPU of the events' ring, a power of two of pages (default: 2M, less on many CPUs)",
    )
    group.add_argument(
        "--ready-fd", type=_descriptor, metavar="N", help="write a newline to descriptor N once attached"
    )
    group.add_argument("--quiet", action="store_true", help="no summary at the end")
    group.add_argument("--debug", action="store_true", help="print the log of libbpf and of the verifier")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _size(text: str) -> int:
    scale = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper(), 1)
    size = int(text[:-1] if scale > 1 else text) * scale
    page = os.sysconf("SC_PAGE_SIZE")
    if size < page or size % page or (size // page) & (size // page - 1):
        raise argparse.ArgumentTypeError(f"{text} is not a power of two of pages ({page} bytes each)")
    return size


def _descriptor(text: str) -> int:
    number = int(text)
    try:
        os.fstat(number)
    except (OSError, OverflowError):
        raise argparse.ArgumentTypeError(f"descriptor {text} is not open") from None
    return number


_seconds.__name__, _count.__name__ = "number of seconds", "count"
_size.__name__, _descriptor.__name__ = "size", "descriptor"


class Live:
    """One live run: `with Live(options, "execsnoop") as live: snoop = …; return live.run(snoop, writer)`.

    From entering on, SIGINT and SIGTERM ask for an orderly end instead of interrupting: what happened before the
    signal is still printed, and everything is detached.
    """

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        self.options = options
        self.name = name
        self.events = 0
        self._is_stopping = False
        self._signals: dict[int, Any] = {}
        self.output = Output(options.output)
        if options.debug:
            from .._core import set_log_to_stderr

            set_log_to_stderr(True)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._signals[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        self.output.close()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def run(self, source: Source, writer: Writer) -> int:
        """Print what `source` gives until the end comes, close it, print the summary; returns the exit status."""
        started = monotonic()
        self._ready()
        for warning in source.warnings:
            print(f"{self.name}: warning: {warning}", file=sys.stderr)
        is_broken = False
        try:
            self.output.write(writer.header())
            self.output.flush()
            deadline = started + self.options.duration if self.options.duration is not None else None
            while not self._is_stopping and not self.output.is_broken():
                left = PACE_SECONDS if deadline is None else min(PACE_SECONDS, deadline - monotonic())
                if left <= 0 or self._print_next(source, writer, left):
                    break
            self._print_rest(source, writer)
        except BrokenPipeError:
            is_broken = True
        finally:
            source.close()
        if not self.options.quiet:
            self._summary(source, monotonic() - started)
        # whoever closed the pipe has all that they asked for
        return INCOMPLETE if source.lost and not is_broken else DONE

    def _ready(self) -> None:
        if self.options.ready_fd is not None:
            try:
                os.write(self.options.ready_fd, b"\n")
                os.close(self.options.ready_fd)
            except BrokenPipeError:
                pass  # nobody waits any more: not our concern

    # A writer that can do without events gets whole batches, from a source that has them.

    def _print_next(self, source: Any, writer: Any, seconds: float) -> bool:
        """Print what comes within that time; whether that reached the limit of events."""
        if not (hasattr(writer, "lines") and hasattr(source, "batches")):
            return self._print(source.poll(seconds), writer)
        return self._print_batch(next(source.batches(seconds)), writer)

    def _print_rest(self, source: Any, writer: Any) -> None:
        if not (hasattr(writer, "lines") and hasattr(source, "finish_batches")):
            for lot in source.finish():
                self._print(lot, writer)
            return
        for batch in source.finish_batches():
            self._print_batch(batch, writer)

    def _print_batch(self, batch: Batch, writer: Any) -> bool:
        most = self.options.max_events
        if most is not None and self.events + len(batch) > most:
            return self._print([*batch.events(), *batch.losses], writer)
        lines, events = writer.lines(batch)
        self.output.write(lines)
        self.output.flush()
        self.events += events
        return most is not None and self.events >= most

    def _print(self, events: list[Any], writer: Writer) -> bool:
        """Print one lot; whether that reached the limit of events."""
        most = self.options.max_events
        for event in events:
            if most is not None and self.events >= most:
                break
            row = writer.row(event)
            if row:
                self.output.write(row)
                self.events += not (isinstance(event, Lost) or getattr(event, "type", None) == "lost")
        self.output.flush()
        return most is not None and self.events >= most

    def _summary(self, source: Source, seconds: float) -> None:
        causes = ", ".join(f"{cause} {count}" for cause, count in source.losses.items())
        line = f"events={self.events} lost={source.lost} seconds={seconds:.3f}"
        if causes:
            line += f" ({causes})"
        if getattr(source, "loss_unknown", ()):  # a tool's own stream knows what it loses
            line += " (ring buffer: loss unknown)"
        print(line, file=sys.stderr)
