"""What comes beside the events of a run, put among them in the order of time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Protocol

    from .cli.live import Source
    from .session import Snoop

    class Extra(Protocol):
        """What is merged: items that have a `_time_ns`. `read` gives those that came since the last time."""

        warnings: list[str]
        lost: int
        is_done: bool

        def read(self) -> Sequence[Any]: ...
        def close(self) -> None: ...


__all__ = ["Merged"]

PACE_SECONDS = 0.05
EVER = 1 << 64


class Merged:
    """A source of what `source` gives, which is from `snoop`, and of what the extras have."""

    def __init__(self, source: Source, snoop: Snoop, extras: Sequence[Extra]) -> None:
        self._source = source
        self._snoop = snoop
        self._extras = extras
        self._event_maps = snoop.package.events
        self._is_alone = not self._event_maps and not any(spec.sample for spec in snoop.package.maps.values())
        self._waiting: list[Any] = []
        self._pace = 0.0  # the first time there may be something at once

    def poll(self, timeout: float | None = None) -> list[Any]:
        events = self._source.poll(self._pace if timeout is None else min(timeout, self._pace))
        self._pace = PACE_SECONDS
        self._read()  # behind the events: what was before them is all there now
        if not self._event_maps:
            return self._merged(events, EVER)
        return self._merged(events, max(self._last(events), self._snoop.complete_until_ns))

    def finish(self) -> Iterator[list[Any]]:
        for lot in self._source.finish():
            self._read()
            yield self._merged(lot, self._last(lot))
        self._read()
        yield self._merged([], EVER)

    def _read(self) -> None:
        for extra in self._extras:
            self._waiting += extra.read()

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
            for extra in self._extras:
                extra.close()

    @property
    def is_done(self) -> bool:
        """Whether nothing else can come."""
        return self._is_alone and not self._waiting and all(extra.is_done for extra in self._extras)

    @property
    def warnings(self) -> list[str]:
        return self._source.warnings + [text for extra in self._extras for text in extra.warnings]

    @property
    def lost(self) -> int:
        return self._source.lost + sum(extra.lost for extra in self._extras)

    @property
    def losses(self) -> dict[str, int]:
        losses = dict(self._source.losses)
        if lost := sum(extra.lost for extra in self._extras):
            losses["buffer_full"] = losses.get("buffer_full", 0) + lost
        return losses

    @property
    def loss_unknown(self) -> tuple[str, ...]:
        return getattr(self._source, "loss_unknown", ())
