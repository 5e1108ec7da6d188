"""The one place that wires a run: package → kernel → events."""

from __future__ import annotations

from _thread import RLock, get_ident
from time import monotonic

from . import attach as attaching, events, loader, transport as transports
from .events import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from os import PathLike
    from types import TracebackType
    from typing import Any, Self

    from ._decode import EventProgram
    from .batch import Batch
    from .maps import Globals, Map
    from .options import Value
    from .package import Package

__all__ = ["Snoop", "run"]

CHUNK = 2000  # events decoded at a time: objects made in larger lots cost twice as much each
INDEX_BYTES = 24  # of a record's entry in a batch's index


def run(
    package: Package | str | PathLike[str],
    *,
    options: Mapping[str, Value] | None = None,
    attach: Mapping[str, str] | None = None,
    transport: str | None = None,
    buffer_bytes: int | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    text: str = "str",
    u8: str = "list",
) -> Snoop:
    """Load `package` into the kernel, attach its programs and return the running `Snoop`.

    `package` may be a path. `options` are the package's own, by name. `attach` goes from a program's name to its
    target, where it isn't the one in the source. `enable` names programs that their section switches off
    (`SEC("?…")`), `disable` others that shall not run: see `supports`.

    `transport` is "perf" or "ring", None for what the source has: it can have the other one too if it says so
    (`SNOOPKIT_TRANSPORT` of `<snoopkit.bpf.h>`). `buffer_bytes` is the size of the events' ring per CPU, a power of two
    of pages; a second map of events gets a quarter, and a ring buffer what the rings of all CPUs would have together.

    Char arrays become `text`: "str", in which surrogateescape keeps what is not UTF-8, or "bytes", up to the first NUL.
    Arrays of unsigned char become `u8`: "list", of numbers, or "bytes", all of them.

    Raises OptionError, LoadError, AttachError, MapError or UnsupportedError; whatever was loaded by then is gone,
    and so it is when a signal's handler raises in the middle of it. ValueError for an argument that can't be.
    """
    return Snoop(
        package,
        options=options,
        attach=attach,
        transport=transport,
        buffer_bytes=buffer_bytes,
        enable=enable,
        disable=disable,
        text=text,
        u8=u8,
    )


class Snoop:
    """A running package, `package`. Close it, or use it as a context manager: then nothing stays loaded or attached.

    Nothing reads the rings but your own calls; there is no thread. Iterate (`for`, or `async for` in asyncio),
    `poll()`, or take whole `batches()`; what one of them leaves, the next one gives. All of them give events in the
    order of time, from all maps of the package.

    One thread, and one task, reads at a time: another one gets a RuntimeError. Any thread may `close()`, which ends
    the reading of the others. What is called after that raises ValueError, but for iterations, which end.
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
        text: str = "str",
        u8: str = "list",
    ) -> None:
        from .package import Package

        self.package = package if isinstance(package, Package) else Package.read(package)
        self._is_closed = False
        self._closing = RLock()
        self._object: loader.Object | None = None
        self._transport: transports.Transport | None = None
        self._maps: Mapping[str, Map] | None = None
        self._globals: Globals | None = None
        self._links: attaching.Links | None = None
        self._forms = {"text": text, "u8": u8}
        self._undecodable = 0
        # What an iteration has begun: a batch, how many of its records and notices are decoded, and which of these
        # it hasn't given yet, the next one last. Always the same list, so that an iteration need not look again.
        self._begun: transports.Batch | None = None
        self._decoded = 0
        self._lot: list[Any] = []
        # Who reads now: a thread, or a task that waits in its loop.
        self._reader_thread = 0
        self._waiter: tuple[AbstractEventLoop, Future[None]] | None = None
        self._decoder, self._event_types = events.decoder(
            self.package, list(self.package.events), **self._forms
        )
        try:
            self._object = loader.open(self.package, options=options, enable=enable, disable=disable)
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

        Raises ValueError if the Snoop is closed, RuntimeError if another thread or task reads it.
        """
        if self._begun is not None:
            found = self._lot[::-1]
            while self._decode_more():
                found += self._lot[::-1]
            self._lot.clear()
            if found:
                return found
        return self._decode(self._take(timeout))

    def __iter__(self) -> Iterator[Any]:
        """Events for ever, or until `close()`; `Lost` notices among them where events are missing."""
        lot = self._lot
        while not self._is_closed:
            if not lot and not self._decode_more():
                self._begin(self._take(None))
            while lot:
                yield lot.pop()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """As iteration, in a running asyncio loop, which gets its turn before each lot of events.

        Nothing stays registered with the loop where this ends: by `close()`, by leaving the iteration, by
        cancellation. The Snoop itself stays open until it is closed.
        """
        from asyncio import sleep

        lot = self._lot
        while not self._is_closed:
            if not lot:
                if self._decode_more():
                    await sleep(0)
                else:
                    self._begin(await self._take_async(None))
            while lot:
                yield lot.pop()

    def batches(self, timeout: float | None = 0.1) -> Batches:
        """The records in the batches that they are drained in: for NumPy, Arrow, JSON, or anything done by the lot.

        An iterator for `for` and, in asyncio, for `async for`. Where no record comes for `timeout` seconds it gives
        an empty batch, so that a loop can look at other things; None waits for ever. It ends with `close()`.
        """
        return Batches(self, timeout)

    def finish(self) -> Iterator[list[Any]]:
        """The rest, in lots: what the rings hold now; then, all programs detached, what came in between.

        After the last lot `lost` is final; `maps` and `globals` stay readable until `close()`. Detaching can take a
        tenth of a second for each program: the first lot comes before. Errors are those of `poll`.
        """
        for batch in self._finish():
            yield self._decode(batch)

    def finish_batches(self) -> Iterator[Batch]:
        """The rest, as `finish()`, in batches."""
        for batch in self._finish():
            yield self._public(batch)

    def fileno(self) -> int:
        """A descriptor that becomes readable when it is time to call `poll(0)`, which may still return [].

        That is when a ring is a quarter full, and else every 20 ms. It stays the same until `close()`.
        """
        return self._reader().fileno()

    def _reader(self) -> transports.Transport:
        if self._transport is None or self._is_closed:
            raise ValueError("this Snoop is closed")
        return self._transport

    def _claim(self) -> None:
        """One at a time: who comes second is told, instead of both getting a part of the events."""
        # CPython switches threads nowhere between these two lines' looking and taking.
        me = get_ident()
        if self._reader_thread not in (0, me) or self._waiter is not None:
            raise RuntimeError("this Snoop is being read already, by another thread or task")
        self._reader_thread = me

    def _take(self, timeout: float | None) -> transports.Batch:
        """The next records, waiting for them; none on timeout, or when another thread closes."""
        reader = self._reader()
        deadline = None if timeout is None else monotonic() + timeout
        self._claim()
        try:
            while True:
                batch = self._drain(reader)
                left = None if deadline is None else deadline - monotonic()
                if batch or batch.lost or self._is_closed or (left is not None and left <= 0):
                    return batch
                reader.wait(left)
        finally:
            self._reader_thread = 0

    async def _take_async(self, timeout: float | None) -> transports.Batch:
        """The same for a task. It waits even where there are records, so that the loop gets its turn."""
        reader = self._reader()
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self._claim()
            self._reader_thread = 0
            await self._readable(None if deadline is None else deadline - monotonic())
            batch = self._drain(reader)
            if batch or batch.lost or self._is_closed or (deadline is not None and deadline <= monotonic()):
                return batch

    def _next_batch(self, timeout: float | None) -> transports.Batch:
        return self._rest() if self._begun is not None else self._take(timeout)

    async def _next_batch_async(self, timeout: float | None) -> transports.Batch:
        return self._rest() if self._begun is not None else await self._take_async(timeout)

    async def _readable(self, timeout: float | None) -> None:
        """Until it is time to drain, for `timeout` seconds, or until `close()`."""
        import os
        from asyncio import get_running_loop

        loop = get_running_loop()
        # A descriptor of our own: the loop must be able to forget it after another thread has closed the Snoop.
        fd = os.dup(self.fileno())
        future = loop.create_future()
        self._waiter = loop, future
        timer = None
        try:
            loop.add_reader(fd, _wake, future)
            if timeout is not None:
                timer = loop.call_later(timeout, _wake, future)
            await future
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
            loop.remove_reader(fd)
            os.close(fd)

    def _drain(self, reader: transports.Transport) -> transports.Batch:
        if not self._is_closed:
            try:
                return reader.drain()
            except ValueError:
                if not self._is_closed:
                    raise
        return transports.Batch(memoryview(b""), memoryview(b""), [])

    def _finish(self) -> Iterator[transports.Batch]:
        reader = self._reader()
        if self._begun is not None:
            yield self._rest()
        self._claim()
        self._reader_thread = 0
        yield reader.drain(final=True)
        with self._closing:
            if self._links is not None:
                self._links.close()
                self._links = None
        yield self._reader().drain(final=True, detached=True)

    # Decoding

    def _decode(self, batch: transports.Batch) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(batch), CHUNK):
            found += self._decode_records(batch, start, start + CHUNK)
        return found + notices(batch)

    def _decode_records(self, batch: transports.Batch, start: int, stop: int) -> list[Any]:
        before = self._decoder.undecodable
        found = self._decoder.events(batch.data, batch.index, start, stop)
        if self._decoder.undecodable != before:  # by this or by a batch in another thread
            self._undecodable += sum(isinstance(event, Lost) for event in found)
        return found

    def _public(self, batch: transports.Batch) -> Batch:
        from .batch import Batch

        return Batch(batch.data, batch.index, notices(batch), self._decoder, self._count_undecodable)

    def _count_undecodable(self, count: int) -> None:
        self._undecodable += count

    def _begin(self, batch: transports.Batch) -> None:
        self._begun, self._decoded = batch, 0
        self._decode_more()

    def _decode_more(self) -> bool:
        """The next lot of the batch that was begun; False where there is no more of it."""
        batch = self._begun
        if batch is None:
            return False
        start = self._decoded
        if start >= len(batch) + len(batch.lost):
            self._begun = None
            return False
        lot = self._decode_records(batch, start, start + CHUNK)
        if start + CHUNK >= len(batch):
            lot += notices(batch)
        self._decoded += len(lot)
        self._lot[:] = lot[::-1]
        return True

    def _rest(self) -> transports.Batch:
        """What the iteration has not given of its batch, as records again."""
        batch, lot = self._begun, self._lot[:]
        assert batch is not None
        given = self._decoded - len(lot)
        self._lot.clear()
        self._begun = None
        # they will be decoded, and counted, once more
        self._undecodable -= sum(isinstance(item, Lost) and item.detail is not None for item in lot)
        return transports.Batch(
            batch.data, batch.index[INDEX_BYTES * given :], batch.lost[max(given - len(batch), 0) :]
        )

    # State

    @property
    def lost(self) -> int:
        """How many events are known to be missing so far, whatever the cause. It stays readable after the end."""
        return sum(self.losses.values())

    @property
    def losses(self) -> dict[str, int]:
        """The same by cause: `buffer_full`, `undecodable`. A cause that has not occurred is absent."""
        counts = dict(self._transport.losses) if self._transport is not None else {}
        if self._undecodable:
            counts["undecodable"] = counts.get("undecodable", 0) + self._undecodable
        return counts

    @property
    def maps(self) -> Mapping[str, Map]:
        """The package's maps by name, live: mappings, queues and sets of typed keys and values.

        `snoop.maps["name"][key]`; what a map can do depends on its type, see the documentation. ValueError after
        the end, MapError where the kernel refuses.
        """
        loaded = self._loaded()
        if self._maps is None:
            from .maps import typed_maps

            self._maps = typed_maps(loaded, self.package, **self._forms)
        return self._maps

    @property
    def globals(self) -> Globals:
        """The programs' global variables, live: `snoop.globals.name` reads; in `.data` and `.bss` it can be set.

        Numbers, text, lists, and structs as records. AttributeError for a name that the programs don't have, TypeError
        for setting a constant, ValueError after the end.
        """
        loaded = self._loaded()
        if self._globals is None:
            from .maps import Globals

            self._globals = Globals(loaded, self.package, **self._forms)
        return self._globals

    def _loaded(self) -> loader.Object:
        if self._object is None or self._is_closed:
            raise ValueError("this Snoop is closed")
        return self._object

    @property
    def event_types(self) -> Mapping[tuple[str, str], EventProgram]:
        """The compiled event types, by the map they arrive through and their struct's name."""
        return self._event_types

    @property
    def loss_unknown(self) -> tuple[str, ...]:
        """Maps of which more may be lost than is known: ring buffers whose program doesn't count its outputs."""
        return self._transport.loss_unknown if self._transport is not None else ()

    @property
    def warnings(self) -> list[str]:
        """What the user should know about this run: smaller rings than asked for, say."""
        return list(self._transport.warnings) if self._transport is not None else []

    # The end

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._is_closed

    def close(self) -> None:
        """Detach, free the rings and unload; idempotent, from any thread. What was not read is gone: see `finish()`.

        Who waits for events in another thread or task is woken, and gets none. Detaching can take a tenth of a second.
        """
        try:
            self._close()
        except BaseException:
            self._close()  # Ctrl-C fell into it: it goes on from there
            raise

    def _close(self) -> None:
        self._is_closed = True
        self._begun = None
        self._lot.clear()
        if (waiter := self._waiter) is not None:
            try:
                waiter[0].call_soon_threadsafe(_wake, waiter[1])
            except RuntimeError:
                pass  # the loop is closed, and nobody waits in it
        with self._closing:  # another thread may be detaching
            try:
                if self._object is not None:
                    self._object.close()  # its links first
            finally:
                if self._transport is not None:
                    self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Batches:
    """Batches as they are drained, for `for` and `async for`, until the Snoop is closed: see `Snoop.batches`."""

    def __init__(self, snoop: Snoop, timeout: float | None) -> None:
        self._snoop = snoop
        self._timeout = timeout

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        snoop = self._snoop
        if snoop.closed:
            raise StopIteration
        return self._given(snoop._next_batch(self._timeout), StopIteration)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        snoop = self._snoop
        if snoop.closed:
            raise StopAsyncIteration
        return self._given(await snoop._next_batch_async(self._timeout), StopAsyncIteration)

    def _given(self, batch: transports.Batch, end: type[Exception]) -> Batch:
        if self._snoop.closed and not batch:  # it was closed while this one waited
            raise end
        return self._snoop._public(batch)


def notices(batch: transports.Batch) -> list[Lost]:
    """What became known to be missing with this batch."""
    return [Lost(note.boottime_ns, note.cpu, note.map_name, note.count, note.cause) for note in batch.lost]


def _wake(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
