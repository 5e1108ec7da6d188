"""The one place that wires a run: package → kernel → events."""

from __future__ import annotations

from time import monotonic

from . import attach as attaching, events, loader, transport as transports
from .events import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike
    from types import TracebackType
    from typing import Any, Self

    from ._decode import EventProgram
    from .options import Value
    from .package import Package

__all__ = ["Snoop", "run"]

CHUNK = 2000  # events decoded at a time: objects made in larger lots cost twice as much each


def run(
    package: Package | str | PathLike[str],
    *,
    options: Mapping[str, Value] | None = None,
    attach: Mapping[str, str] | None = None,
    transport: str | None = None,
    buffer_bytes: int | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
) -> Snoop:
    """Load `package` into the kernel, attach its programs and return the running `Snoop`.

    `package` may be a path. `options` are the package's own, by name; `attach` goes from a program's name to its
    target, where it isn't the one in the source; `transport` is "perf", or None for what the package has;
    `buffer_bytes` is the size of the events' ring per CPU, a power of two of pages. `enable` names programs that their
    section switches off (`SEC("?…")`), `disable` others that shall not run: see `supports`.

    Raises OptionError, LoadError, AttachError, MapError or UnsupportedError; whatever was loaded by then is gone.
    """
    return Snoop(
        package,
        options=options,
        attach=attach,
        transport=transport,
        buffer_bytes=buffer_bytes,
        enable=enable,
        disable=disable,
    )


class Snoop:
    """A running package. Close it, or use it as a context manager: then nothing stays loaded or attached.

    Nothing reads the rings but your own calls; there is no thread. Iterate, or `poll()`.
    """

    def __init__(
        self,
        package: Package | str | PathLike[str],
        *,
        options: Mapping[str, Value] | None = None,
        attach: Mapping[str, str] | None = None,
        transport: str | None = None,
        buffer_bytes: int | None = None,
        enable: Iterable[str] = (),
        disable: Iterable[str] = (),
    ) -> None:
        from .package import Package

        self.package = package if isinstance(package, Package) else Package.read(package)
        self._links: attaching.Links | None = None
        self._transport: transports.Transport | None = None
        self._pending: list[Any] = []  # what an iteration hasn't given yet, the next one last
        self._last_losses: dict[str, int] = {}
        self._decoder, self._event_types = events.decoder(self.package, list(self.package.events))
        self._object = loader.open(self.package, options=options, enable=enable, disable=disable)
        try:
            transports.prepare(self._object, self.package, buffer_bytes, transport)
            self._object.load()
            self._transport = transports.open(self._object, self.package, buffer_bytes)
            self._links = attaching.attach_all(self._object, attach)
        except BaseException:
            self.close()
            raise

    # Reading

    def poll(self, timeout: float | None = None) -> list[Any]:
        """The events that are there, waiting up to `timeout` seconds (None: for ever) for the first of them.

        [] on timeout; `poll(0)` never waits. Events and `Lost` notices come in the order of their time; what
        happened in the last few milliseconds may still be held back, so that it can be put in order.
        """
        if self._pending:
            pending, self._pending = self._pending[::-1], []
            return pending
        reader = self._reader()
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            found = self._drain()
            left = None if deadline is None else deadline - monotonic()
            if found or (left is not None and left <= 0):
                return found
            reader.wait(left)

    def __iter__(self) -> Iterator[Any]:
        """Events for ever, or until `close()`; `Lost` notices among them where events are missing."""
        while not self.closed:
            self._pending = self.poll()[::-1]
            while self._pending:
                yield self._pending.pop()

    def finish(self) -> Iterator[list[Any]]:
        """The rest, in lots: what the rings hold now; then, all programs detached, what came in between.

        After the last lot `lost` is final. Detaching can take a tenth of a second: the first lot comes before.
        """
        if self._pending:
            yield self.poll(0)
        yield self._drain(final=True)
        if self._links is not None:
            self._links.close()
            self._links = None
        yield self._drain(final=True, detached=True)

    def fileno(self) -> int:
        """A descriptor that becomes readable when it is time to call `poll(0)`, which may still return []."""
        return self._reader().fileno()

    def _reader(self) -> transports.Transport:
        if self._transport is None:
            raise ValueError("this Snoop is closed")
        return self._transport

    def _drain(self, *, final: bool = False, detached: bool = False) -> list[Any]:
        batch = self._reader().drain(final=final, detached=detached)
        found: list[Any] = []
        for start in range(0, len(batch), CHUNK):
            found += self._decoder.events(batch.data, batch.index, start, start + CHUNK)
        found += [Lost(n.boottime_ns, n.cpu, n.map_name, n.count, n.cause) for n in batch.lost]
        return found

    # State

    @property
    def lost(self) -> int:
        """How many events are known to be missing so far, whatever the cause."""
        return sum(self.losses.values())

    @property
    def losses(self) -> dict[str, int]:
        """The same by cause; a cause that has not occurred is absent."""
        if self._transport is None:
            return self._last_losses
        counts = dict(self._transport.losses)
        if self._decoder.undecodable:
            counts["undecodable"] = counts.get("undecodable", 0) + self._decoder.undecodable
        return counts

    @property
    def maps(self) -> Mapping[str, Any]:
        """The object's live maps by name."""
        return self._object.maps

    @property
    def event_types(self) -> Mapping[tuple[str, str], EventProgram]:
        """The compiled event types, by the map they arrive through and their struct's name."""
        return self._event_types

    @property
    def warnings(self) -> list[str]:
        """What the user should know about this run: smaller rings than asked for, say."""
        return list(self._reader().warnings)

    # The end

    @property
    def closed(self) -> bool:
        return self._transport is None

    def close(self) -> None:
        """Detach, free the rings and unload; idempotent. What was not read is gone: see `finish()`."""
        self._pending.clear()
        if self._links is not None:
            self._links.close()
            self._links = None
        if self._transport is not None:
            self._last_losses = self.losses
            self._transport.close()
            self._transport = None
        self._object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
