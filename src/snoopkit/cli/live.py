"""A live run on a terminal, in a pipe or into a file: its options, its limits, its end."""

from __future__ import annotations

import gc
import os
import sys
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic

from ..render.output import Output
from .command import DONE, INCOMPLETE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from signal import SIGINT, SIGTERM, signal
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
else:
    from _signal import SIGINT, SIGTERM, signal  # signal itself imports enum


__all__ = ["Live", "add_live_options"]

PACE_SECONDS = 0.1  # how soon an end without an event is noticed: a limit, a closed pipe
BUSY_SECONDS = 0.02  # for how long the rings may wait for the output, and the output for the rings
PIECE = 4000  # records made lines or events at a time: there is no need of more memory than that


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
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"{text} is not a power of two of pages ({page} bytes each)")
    return size


def _descriptor(text: str) -> int:
    number = int(text)
    try:
        os.fstat(number)
    except (OSError, OverflowError):
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"descriptor {text} is not open") from None
    return number


_seconds.__name__, _count.__name__ = "number of seconds", "count"
_size.__name__, _descriptor.__name__ = "size", "descriptor"


class Live:
    """One live run: `with Live(options, "execsnoop") as live: snoop = …; return live.run(snoop, writer)`.

    From entering on, SIGINT and SIGTERM ask for an orderly end instead of interrupting: what happened before the
    signal is still printed, and everything is detached. Rows go to descriptor `fd` unless the options name a file.
    An output that is slow or stuck never keeps the source from being read: what there is no room for is counted, and
    told where it is missing. At the end an output gets the time it needs, until a second signal.
    """

    def __init__(self, options: argparse.Namespace, name: str, fd: int = 1) -> None:
        self.options = options
        self.name = name
        self.events = 0
        self.dropped = 0
        self._told = 0  # of those dropped
        self._stops = 0
        self._is_ending = False
        self._is_giving_up = False
        self._signals: dict[int, Any] = {}
        self.output = Output(options.output, fd)
        if options.debug:
            from .._core import set_log_to_stderr

            set_log_to_stderr(True)

    def __enter__(self) -> Self:
        for number in (SIGINT, SIGTERM):
            self._signals[number] = signal(number, self._stop)
        # In a storm a search for cycles among all that waits takes longer than the rings last, and rows make none.
        self._collects_garbage = gc.isenabled()
        gc.disable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._signals.items():
            signal(number, handler)
        if self._collects_garbage:
            gc.enable()
        self.output.close()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1

    def run(self, source: Source, writer: Writer) -> int:
        """Print what `source` gives until the end comes, close it, print the summary; returns the exit status.

        The end is a signal, a limit, a reader that has gone, or a source whose `is_done`, if it has that, is true.
        Raises OSError where the output fails, after everything is detached and what is missing told.
        """
        started = monotonic()
        self._ready()
        for warning in source.warnings:
            print(f"{self.name}: warning: {warning}", file=sys.stderr)
        failure: OSError | None = None
        try:
            self._print_all(source, writer, started)
        except BrokenPipeError as error:
            failure = error
        except OSError as error:
            failure = error
            self._give_up(source, writer)
        finally:
            source.close()
        if not self.options.quiet:
            self._summary(source, monotonic() - started)
        if isinstance(failure, BrokenPipeError):
            return DONE  # whoever closed the pipe has all that they asked for
        if failure is not None:
            raise failure
        return INCOMPLETE if source.lost or self.dropped else DONE

    def _print_all(self, source: Source, writer: Writer, started: float) -> None:
        duration = self.options.duration
        self.output.write(writer.header())
        self.output.flush()
        while not self._stops and not getattr(source, "is_done", False) and not self.output.is_broken():
            left = BUSY_SECONDS if self.output.pending_bytes else PACE_SECONDS
            if duration is not None:
                left = min(left, started + duration - monotonic())
            if left <= 0 or self._print_next(source, writer, left):
                break
        self._is_ending = True
        self._print_rest(source, writer)
        self._tell_dropped(source, writer)
        if hasattr(writer, "footer"):
            self.output.write(writer.footer())
        while not self.output.drain(PACE_SECONDS):
            if self._stops > 1:
                self._discard()

    def _ready(self) -> None:
        if self.options.ready_fd is not None:
            try:
                os.write(self.options.ready_fd, b"\n")
                os.close(self.options.ready_fd)
            except BrokenPipeError:
                pass  # nobody waits any more: not our concern

    # What the output takes too slowly

    def _put(self, source: Source, writer: Writer, data: bytes, events: int, losses: list[Any]) -> None:
        """Queue rows that tell of so many events, or count these where there is no room: then of what was lost before,
        which has rows among them, it is still told. At the end there is room: what is left in the rings is bounded by
        their size."""
        if self._is_giving_up:
            self.dropped += events
        elif self.output.is_full and not self._is_ending and events:
            self.dropped += events
            self.output.write(b"".join(map(writer.row, losses)))
        else:
            self._tell_dropped(source, writer)
            self.output.write(data, events)
            self.events += events
        self.output.flush(BUSY_SECONDS)

    def _tell_dropped(self, source: Source, writer: Writer) -> None:
        count = self.dropped - self._told
        if count:
            self._told = self.dropped
            self.output.write(writer.row(_notice(source, count)))

    def _discard(self) -> None:
        lost = self.output.discard()
        self.events -= lost
        self.dropped += lost

    def _give_up(self, source: Source, writer: Writer) -> None:
        """Only count what can't be written any more."""
        self._is_giving_up = True
        self._discard()
        try:
            self._print_rest(source, writer)
        except OSError:
            pass  # the source's own: the first error is the one to tell

    # A source that has batches is asked for these: for a writer that can do without events, and to make of a large one
    # a few events at a time.

    def _print_next(self, source: Any, writer: Any, seconds: float) -> bool:
        """Print what comes within that time; whether that reached the limit of events."""
        if not hasattr(source, "batches"):
            return self._print(source.poll(seconds), source, writer)
        return self._print_batch(next(source.batches(seconds)), source, writer)

    def _print_rest(self, source: Any, writer: Any) -> None:
        if not hasattr(source, "finish_batches"):
            for lot in source.finish():
                self._print(lot, source, writer)
            return
        for batch in source.finish_batches():
            self._print_batch(batch, source, writer)

    def _print_batch(self, batch: Batch, source: Any, writer: Any) -> bool:
        most = self.options.max_events
        by_lines = hasattr(writer, "lines") and (most is None or self.events + len(batch) <= most)
        left = len(batch)
        for part in batch._parts(PIECE):
            left -= len(part)
            try:
                if by_lines:
                    data, events = writer.lines(part)
                    self._put(source, writer, data, events, part.losses)
                elif self._print([*part.events(), *part.losses], source, writer):
                    return True
            except OSError as error:
                if not isinstance(error, BrokenPipeError):
                    self.dropped += left  # nobody will write what is behind it
                raise
        return most is not None and self.events >= most

    def _print(self, lot: list[Any], source: Source, writer: Writer) -> bool:
        """Print one lot; whether that reached the limit of events."""
        from ..events import Lost

        most = self.options.max_events
        rows, events, losses = [], 0, []
        for event in lot:
            if most is not None and self.events + events >= most:
                break
            row = writer.row(event)
            if not row:
                continue
            rows.append(row)
            if isinstance(event, Lost) or getattr(event, "type", None) == "lost":
                losses.append(event)
            else:
                events += 1
        self._put(source, writer, b"".join(rows), events, losses)
        return most is not None and self.events >= most

    def _summary(self, source: Source, seconds: float) -> None:
        losses = dict(source.losses)
        if self.dropped:
            losses["output_full"] = self.dropped
        causes = ", ".join(f"{cause} {count}" for cause, count in losses.items())
        line = f"events={self.events} lost={source.lost + self.dropped} seconds={seconds:.3f}"
        if causes:
            line += f" ({causes})"
        if getattr(source, "loss_unknown", ()):  # a tool's own stream knows what it loses
            line += " (ring buffer: loss unknown)"
        print(line, file=sys.stderr)


def _notice(source: Any, count: int) -> Any:
    """That the output lost so many events, as an event of the source's own kind."""
    make = getattr(source, "lost_event", None)
    if make is not None:
        return make(count, "output_full")
    from ..events import Lost

    return Lost(clock_gettime_ns(CLOCK_BOOTTIME), -1, "", count, "output_full")
