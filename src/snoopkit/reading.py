"""How a run is read: what was drained and not yet given, and who may take it, so that no event is lost or given twice,
whatever signals' handlers, threads and tasks do."""

from __future__ import annotations

from _thread import get_ident
from time import monotonic

from . import _core, transport as transports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._decode import Decoder
    from .batch import Batch
    from .events import Lost

__all__ = ["Reading"]

CHUNK = 2000  # events decoded at a time: objects made in larger lots cost twice as much each
NOTHING = transports.Batch(memoryview(b""), memoryview(b""), [])


class Reading:
    """The reading of one Snoop, by one thread or task at a time, from `begin()` until `close()`, in whatever ways it is
    asked to give events or batches."""

    def __init__(self) -> None:
        self.is_closed = False
        self.undecodable = 0
        self._forks = _core.forks()
        self._transport: transports.Transport | None = None
        # What was drained and not yet given: batches, only the first of which may be begun; how many of its records
        # and notices are decoded; the last of these, and an iterator over those of them that were not given.
        self._begun: list[transports.Batch] = []
        self._decoded = 0
        self._lot: list[Any] = []
        self.left: Any = iter(self._lot)
        # Who reads now: a thread, or a task that waits in its loop.
        self._reader_thread = 0
        self._waiter: tuple[AbstractEventLoop, Future[None]] | None = None

    def begin(self, transport: transports.Transport, decoder: Decoder) -> None:
        self._transport = transport
        self._decoder = decoder

    def reader(self) -> transports.Transport:
        """What is read. ValueError if that has ended, RuntimeError in a forked child."""
        if self._transport is None or self.is_closed:
            raise ValueError("this Snoop is closed")
        if self._forks != _core.forks():
            raise RuntimeError(
                "this Snoop is the parent's, which opened it before the fork: only close() is allowed"
            )
        return self._transport

    def _claim(self) -> None:
        """One at a time: who comes second is told, instead of both getting a part of the events."""
        # CPython switches threads nowhere between these two lines' looking and taking.
        me = get_ident()
        if self._reader_thread not in (0, me) or self._waiter is not None:
            raise RuntimeError("this Snoop is being read already, by another thread or task")
        self._reader_thread = me

    def fill(self, timeout: float | None) -> None:
        """Sees to it that there is something to give, waiting for it; in vain on timeout, or when another thread
        closes."""
        reader = self.reader()
        if self.has_begun():
            return
        deadline, left = None if timeout is None else monotonic() + timeout, timeout
        self._claim()
        try:
            while True:
                # Before it drains: of a busy program a drain at once would find the few events since the last one.
                if (left is None or left > 0) and not reader.is_behind:
                    self._wait(reader, left)
                self._drain(reader)
                left = None if deadline is None else deadline - monotonic()
                if self.has_begun() or self.is_closed or (left is not None and left <= 0):
                    return
        finally:
            self._reader_thread = 0

    def _wait(self, reader: transports.Transport, timeout: float | None) -> None:
        try:
            reader.wait(timeout)
        except ValueError:
            if not self.is_closed:
                raise

    async def fill_async(self, timeout: float | None) -> None:
        """The same for a task. It waits even where there are records, so that the loop gets its turn."""
        reader = self.reader()
        if self.has_begun():
            from asyncio import sleep

            await sleep(0)
            return
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self._claim()
            self._reader_thread = 0
            await self._readable(None if deadline is None else deadline - monotonic())
            self._drain(reader)
            if self.has_begun() or self.is_closed or (deadline is not None and deadline <= monotonic()):
                return

    async def _readable(self, timeout: float | None) -> None:
        """Until it is time to drain, for `timeout` seconds, or until `close()`."""
        import os
        from asyncio import get_running_loop

        loop = get_running_loop()
        # A descriptor of our own: the loop must be able to forget it after another thread has closed the Snoop.
        fd = os.dup(self.reader().fileno())
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

    # A signal's handler may raise wherever Python looks for signals, and another thread may close wherever Python
    # switches: at calls and at jumps back. So that no event is lost by that, or given twice, each lot goes from hand to
    # hand in one step that has neither.

    def _drain(self, reader: transports.Transport, *, final: bool = False, detached: bool = False) -> None:
        """Adds what the rings hold to what was begun."""
        if self.is_closed:
            return
        is_behind = True
        try:
            while is_behind:
                is_behind = reader.is_behind
                self._begun.extend(map(reader.drain, (final,), (detached,)))
        except ValueError:
            if not self.is_closed:
                raise

    def has_begun(self) -> bool:
        """Whether something is left to be given; forgets what is not."""
        while self._begun:
            batch = self._begun[0]
            if self._decoded < len(batch) + len(batch.lost) or self.left.__length_hint__():
                return True
            self._decoded = 0
            del self._begun[:1]
        return False

    def finish(self, detach: Callable[[], None]) -> Iterator[None]:
        """Each time there is a batch to be given; once the rings are empty, `detach` ends what fills them."""
        reader = self.reader()
        while self.has_begun():
            yield
        self._claim()
        self._reader_thread = 0
        self._drain(reader, final=True)
        yield
        while self.has_begun():  # where an earlier drain was interrupted
            yield
        detach()
        self._drain(self.reader(), final=True, detached=True)
        yield
        while self.has_begun():
            yield

    def _decode(self, batch: transports.Batch, start: int, stop: int) -> tuple[list[Any], int]:
        """Events, or notices in place of them, and how many notices these are."""
        before = self._decoder.undecodable
        found = self._decoder.events(batch.data, batch.index, start, stop)
        bad = 0
        if self._decoder.undecodable != before:  # by this, or by a batch in another thread
            from .events import Lost

            bad = sum(isinstance(event, Lost) for event in found)
        return found, bad

    def decode_more(self) -> None:
        """Has the next lot ready, unless there is still something left of the last."""
        if not self._begun:
            return
        batch, start = self._begun[0], self._decoded
        if self.left.__length_hint__():
            return
        lot, bad = self._decode(batch, start, start + CHUNK)
        if start + CHUNK >= len(batch):
            lot += _notices(batch)
        left, decoded = iter(lot), start + len(lot)
        self.undecodable += bad
        self._lot, self.left, self._decoded = lot, left, decoded

    def give_events(self) -> list[Any]:
        """All that is left of a batch."""
        if not self._begun:
            return []
        batch, lot = self._begun[0], self._lot
        found = lot[len(lot) - self.left.__length_hint__() :]
        undecodable = 0
        for start in range(self._decoded, len(batch), CHUNK):
            more, bad = self._decode(batch, start, start + CHUNK)
            found += more
            undecodable += bad
        found += _notices(batch)[max(self._decoded - len(batch), 0) :]
        self.undecodable += undecodable
        self._decoded = 0
        del lot[:], self._begun[:1]
        return found

    def give_batch(self) -> Batch:
        """All that is left of a batch, as records."""
        if self._begun and not self._decoded:  # all of it, as a rule
            batch = self._begun[0]
            made = self.batch(batch.data, batch.index, _notices(batch))
            del self._begun[:1]
            return made
        from .batch import INDEX_BYTES
        from .events import Lost

        lot = self._lot
        left = lot[len(lot) - self.left.__length_hint__() :]
        batch = self._begun[0] if self._begun else NOTHING
        given = self._decoded - len(left)
        # what was decoded and not given will be decoded, and counted, once more
        again = sum(isinstance(item, Lost) and item.detail is not None for item in left)
        made = self.batch(
            batch.data,
            batch.index[INDEX_BYTES * given :],
            _notices(batch)[max(given - len(batch), 0) :],
        )
        self.undecodable -= again
        self._decoded = 0
        del lot[:], self._begun[:1]
        return made

    def batch(self, data: memoryview, index: memoryview, losses: list[Lost]) -> Batch:
        """To be given: what can't be decoded of it is counted here."""
        from .batch import Batch

        return Batch(data, index, losses, self._decoder, self._count_undecodable)

    def _count_undecodable(self, count: int) -> None:
        self.undecodable += count

    def close(self) -> None:
        """Whoever waits is woken, and gets nothing."""
        self.is_closed = True
        self._begun.clear()
        self._lot.clear()
        if (waiter := self._waiter) is not None:
            try:
                waiter[0].call_soon_threadsafe(_wake, waiter[1])
            except RuntimeError:
                pass  # the loop is closed, and nobody waits in it


def _notices(batch: transports.Batch) -> list[Lost]:
    """What became known to be missing with this batch."""
    from .events import Lost

    return [Lost(note.boottime_ns, note.cpu, note.map_name, note.count, note.cause) for note in batch.lost]


def _wake(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
