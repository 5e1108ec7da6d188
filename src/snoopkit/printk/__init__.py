"""What a package's programs print by bpf_printk(), with their names, among the events.

All programs of the machine print into the same buffers, and nothing in a message tells whose it is. So those are taken
that fit one of the package's own formats; who else prints by the same format, a second run of the package say, is
seen too.
"""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

from .. import features
from ..errors import AttachError
from ..events import Lost
from ..messages import Message
from .formats import formats
from .tracing import Instance, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..cli.live import Source
    from ..package import Package
    from ..session import Snoop
    from .formats import Format

__all__ = ["Printed"]

MAP = "printk"  # what stands in a map's place where messages are missing
_PACE_SECONDS = 0.05
_EVER = 1 << 64


class Printed:
    """The messages of a package's programs, from when this is made to `close()`.

    Make it before they are attached. Where that can't be there are none, and `warnings` says why.
    """

    def __init__(self, package: Package) -> None:
        self.warnings: list[str] = []
        self.lost = 0
        self._formats, silent = formats(package)
        if silent:
            self.warnings.append(
                f"what {', '.join(silent)} prints isn't shown: its formats aren't among the object's constants"
            )
        self._instance = self._opened() if self._formats else None
        anything = dict.fromkeys(name for one in self._formats if one.fits_anything for name in one.programs)
        if anything and self._instance is not None:
            self.warnings.append(
                f"{', '.join(anything)} prints by a format that any program's message fits: others' may be shown too"
            )

    def _opened(self) -> Instance | None:
        path = features.tracefs()
        if path is None:
            self.warnings.append(
                "what the programs print isn't shown: no tracefs is mounted (mount -t tracefs tracefs "
                "/sys/kernel/tracing)"
            )
            return None
        try:
            return Instance(path, [one.prefix for one in self._formats])
        except AttachError as error:
            self.warnings.append(f"what the programs print isn't shown: {error}")
            return None

    def read(self) -> list[Message | Lost]:
        """The messages that came since the last time, in the order of time."""
        if self._instance is None:
            return []
        found: list[Message | Lost] = []
        for line in parse(self._instance.read()):
            if len(line) == 2:
                cpu, count = line
                self.lost += count
                what = "messages of whatever programs"
                found.append(Lost(clock_gettime_ns(CLOCK_BOOTTIME), cpu, MAP, count, "buffer_full", what))
                continue
            time_ns, cpu, tid, comm, data = line
            message = data.decode("utf-8", "surrogateescape").removesuffix("\n")
            programs = _programs(self._formats, message)
            if programs:
                found.append(Message(time_ns, cpu, programs, message, tid, _comm(tid, comm)))
        found.sort(key=lambda item: item._time_ns)
        return found

    def merged_into(self, source: Source, snoop: Snoop) -> Source:
        """A source of what `snoop` gives, with the messages in the order of time; as it is where there are none."""
        if self._instance is None and not self.warnings:
            return source
        return _WithMessages(source, self, snoop)

    def close(self) -> None:
        if self._instance is not None:
            self._instance.close()


def _comm(tid: int, told: bytes | None) -> str | None:
    """A thread's, if the kernel had it at hand; it notes it down some time after the message."""
    if told is None:
        try:
            with open(f"/proc/{tid}/comm", "rb") as file:
                told = file.read().removesuffix(b"\n")
        except OSError:
            return None
    return told.decode("utf-8", "surrogateescape")


def _programs(known: list[Format], message: str) -> list[str]:
    return list(dict.fromkeys(name for one in known if one.fits(message) for name in one.programs))


class _WithMessages:
    def __init__(self, source: Source, printed: Printed, snoop: Snoop) -> None:
        self._source = source
        self._printed = printed
        self._snoop = snoop
        self._event_maps = snoop.package.events
        self._waiting: list[Message | Lost] = []

    def poll(self, timeout: float | None = None) -> list[Any]:
        events = self._source.poll(_PACE_SECONDS if timeout is None else min(timeout, _PACE_SECONDS))
        self._waiting += self._printed.read()  # behind the events: what was before them is all there now
        if not self._event_maps:
            return self._merged(events, _EVER)
        return self._merged(events, max(self._last(events), self._snoop.complete_until_ns))

    def finish(self) -> Iterator[list[Any]]:
        for lot in self._source.finish():
            self._waiting += self._printed.read()
            yield self._merged(lot, self._last(lot))
        self._waiting += self._printed.read()
        yield self._merged([], _EVER)

    def _last(self, events: list[Any]) -> int:
        """When the last one was, 0 if there is none; samples come whenever they are due."""
        return max((event._time_ns for event in events if event._map in self._event_maps), default=0)

    def _merged(self, events: list[Any], until_ns: int) -> list[Any]:
        """The events, and what waits and is not later than `until_ns`."""
        due = [item for item in self._waiting if item._time_ns <= until_ns]
        if not due:
            return events
        self._waiting = [item for item in self._waiting if item._time_ns > until_ns]
        return sorted([*events, *due], key=lambda item: item._time_ns)

    def close(self) -> None:
        try:
            self._source.close()
        finally:
            self._printed.close()

    @property
    def is_done(self) -> bool:
        return bool(getattr(self._source, "is_done", False))

    @property
    def warnings(self) -> list[str]:
        return self._source.warnings + self._printed.warnings

    @property
    def lost(self) -> int:
        return self._source.lost + self._printed.lost

    @property
    def losses(self) -> dict[str, int]:
        losses = dict(self._source.losses)
        if self._printed.lost:
            losses["buffer_full"] = losses.get("buffer_full", 0) + self._printed.lost
        return losses

    @property
    def loss_unknown(self) -> tuple[str, ...]:
        return getattr(self._source, "loss_unknown", ())
