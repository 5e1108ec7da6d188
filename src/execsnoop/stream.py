"""From the package's records to events in order, each exit joined to the exec that it ends."""

from __future__ import annotations

import os
from collections import deque
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic

import snoopkit
from snoopkit.render import WallClock

from .model import ProcessEvent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

__all__ = ["Stream", "Trace", "package_path", "trace"]

# header.flags of execsnoop.h
_ARGV_TRUNCATED = 0x01
_ARGV_UNREADABLE = 0x02
_FILENAME_TRUNCATED = 0x04
_FILENAME_UNREADABLE = 0x08
_AUDIT_UNSUPPORTED = 0x10
_MAY_REPEAT = 0x20

_NO_AUDIT_ID = 0xFFFFFFFF  # loginuid or sessionid of what no login started

# How many processes' last execs are remembered, and with how many bytes of arguments in all. A Python string takes
# so much more than its text.
_MAX_RUNNING = 65_536
_MAX_ARGV_BYTES = 16 << 20
_STRING_BYTES = 64
# For how long the other threads of a process that end at once may still report its end.
_REPEAT_NS = 20_000_000
_MAX_ENDED = 1_024

_KIND_OF_MAP = {"events": "exec", "life": "exit"}

_Identity = tuple[int, int]


class _Running:
    """The last exec of a process that still runs."""

    __slots__ = ("argv", "argv_bytes", "boottime_ns", "reason")

    def __init__(self, boottime_ns: int, argv: list[str] | None, argv_bytes: int, reason: str | None) -> None:
        self.boottime_ns = boottime_ns
        self.argv = argv
        self.argv_bytes = argv_bytes
        self.reason = reason


class Stream:
    """Joins exits to execs, drops what old kernels say twice, and passes notices of loss on.

    A process is (pid, start_boottime_ns), never the pid alone. Memory is bounded: beyond `max_running` processes or
    `max_argv_bytes` of their arguments the oldest execs are forgotten and counted in `evicted`. `since_ns`
    (CLOCK_BOOTTIME) is when watching began.
    """

    def __init__(
        self, since_ns: int, *, max_running: int = _MAX_RUNNING, max_argv_bytes: int = _MAX_ARGV_BYTES
    ) -> None:
        self.evicted = 0
        self.repeated = 0
        self._clock = WallClock()
        self._latest_ns = 0
        self._max_running = max_running
        self._max_argv_bytes = max_argv_bytes
        self._running: dict[_Identity, _Running] = {}
        self._argv_bytes = 0
        # What began no later than this may have run a program that we never saw, or forgot.
        self._uncertain_ns = since_ns
        # From an exit that may be repeated on, everything waits, so that the order stays.
        self._held: deque[ProcessEvent] = deque()
        # The latest report of each such exit, and until when it waits for another.
        self._repeatable: dict[_Identity, tuple[ProcessEvent, int]] = {}
        self._ended: dict[_Identity, None] = {}

    @property
    def waiting(self) -> bool:
        """Whether events are held that a later `feed` gives, even one without records."""
        return bool(self._held)

    def feed(self, records: Iterable[Any], now_ns: int) -> list[ProcessEvent]:
        """Take records in order of time; return the events that are ready, in the same order.

        `now_ns` is CLOCK_BOOTTIME.
        """
        events: list[ProcessEvent] = []
        for record in records:
            struct = record._struct
            event: ProcessEvent | None
            if struct == "exec_event":
                event = self._exec(record)
            elif struct == "exit_event":
                event = self._exit(record)
            else:
                event = self._lost(record)
            if event is None:
                continue
            self._latest_ns = event.boottime_ns
            if self._repeatable:
                self._held.append(event)
            else:
                events.append(event)
        if self._held:
            events += self._release(now_ns)
        return events

    def flush(self) -> list[ProcessEvent]:
        """What is still held, when no more records come."""
        return self._release(None)

    def _release(self, now_ns: int | None) -> list[ProcessEvent]:
        events: list[ProcessEvent] = []
        while self._held:
            event = self._held[0]
            identity = (event.pid, event.start_boottime_ns)
            if event.type == "exit" and identity in self._repeatable:
                latest, until_ns = self._repeatable[identity]
                if event is latest:
                    if now_ns is not None and now_ns < until_ns:
                        break
                    del self._repeatable[identity]
                    self._ended[identity] = None
                    if len(self._ended) > _MAX_ENDED:
                        del self._ended[next(iter(self._ended))]
                    events.append(event)
                # else it was said again later, and better
            else:
                events.append(event)
            self._held.popleft()
        return events

    def _exec(self, record: Any) -> ProcessEvent:
        event = ProcessEvent("exec", record._time_ns, self._clock.wall_ns(record._time_ns), record._cpu)
        _describe(event, record)
        flags = record.header.flags
        reason = None
        if flags & _ARGV_UNREADABLE:
            reason = "unreadable"
        else:
            event.argv = record.argv
            if flags & _ARGV_TRUNCATED:
                reason = "truncated"
        if reason:
            event.mark("argv", reason)
        event.argv_size_bytes = record.argv_size_bytes
        if flags & _FILENAME_UNREADABLE:
            event.mark("filename", "unreadable")
        else:
            event.filename = record.filename
            if flags & _FILENAME_TRUNCATED:
                event.mark("filename", "truncated")
        if record.old_tid != record.pid:
            event.old_tid = record.old_tid
        argv_bytes = record.argv_captured_bytes + _STRING_BYTES * len(record.argv)
        self._remember(
            (record.pid, record.start_boottime_ns),
            _Running(event.boottime_ns, event.argv, argv_bytes, reason),
        )
        return event

    def _exit(self, record: Any) -> ProcessEvent | None:
        identity = (record.pid, record.start_boottime_ns)
        if identity in self._ended:
            self.repeated += 1
            return None
        event = ProcessEvent("exit", record._time_ns, self._clock.wall_ns(record._time_ns), record._cpu)
        _describe(event, record)
        event.set_status(record.status)
        event.lifetime_ns = event.boottime_ns - record.start_boottime_ns
        earlier = self._repeatable.get(identity)
        if earlier is None:
            self._join(event, identity)
        else:
            self.repeated += 1
            _take_over(event, earlier[0])
        if record.header.flags & _MAY_REPEAT:
            self._repeatable[identity] = (event, event.boottime_ns + _REPEAT_NS)
        elif earlier is not None:
            self._repeatable[identity] = (event, 0)
        return event

    def _lost(self, record: Any) -> ProcessEvent:
        # The time up to which nothing else is missing. Never before an event that is already out.
        boottime_ns = max(record._time_ns, self._latest_ns)
        cpu = record._cpu if record._cpu >= 0 else None
        event = ProcessEvent("lost", boottime_ns, self._clock.wall_ns(boottime_ns), cpu)
        event.count = record.count
        event.cause = record.cause
        event.events = _KIND_OF_MAP.get(record._map)
        if event.events != "exit":
            self._uncertain_ns = max(self._uncertain_ns, record._time_ns)
        return event

    def _join(self, event: ProcessEvent, identity: _Identity) -> None:
        running = self._running.pop(identity, None)
        if running is None:
            event.duration_ns = event.lifetime_ns
            event.seen_from_start = identity[1] > self._uncertain_ns
            return
        self._argv_bytes -= running.argv_bytes
        event.duration_ns = event.boottime_ns - running.boottime_ns
        event.argv = running.argv
        if running.reason:
            event.mark("argv", running.reason)

    def _remember(self, identity: _Identity, running: _Running) -> None:
        before = self._running.pop(identity, None)
        if before is not None:
            self._argv_bytes -= before.argv_bytes
        self._running[identity] = running
        self._argv_bytes += running.argv_bytes
        while len(self._running) > self._max_running or self._argv_bytes > self._max_argv_bytes:
            oldest = next(iter(self._running))
            self._argv_bytes -= self._running.pop(oldest).argv_bytes
            self._uncertain_ns = max(self._uncertain_ns, oldest[1])
            self.evicted += 1


def _describe(event: ProcessEvent, record: Any) -> None:
    """Fill in what every record tells of its process."""
    event.pid = record.pid
    event.tid = record.tid
    event.ppid = record.ppid
    event.start_boottime_ns = record.start_boottime_ns
    event.uid = record.uid
    event.gid = record.gid
    event.euid = record.euid
    event.egid = record.egid
    event.comm = record.comm
    event.tty = record.tty or None
    if record.header.flags & _AUDIT_UNSUPPORTED:
        event.mark("loginuid", "unsupported")
        event.mark("sessionid", "unsupported")
        return
    if record.loginuid != _NO_AUDIT_ID:
        event.loginuid = record.loginuid
    if record.sessionid != _NO_AUDIT_ID:
        event.sessionid = record.sessionid


def _take_over(event: ProcessEvent, earlier: ProcessEvent) -> None:
    """Give an exit what an earlier report of the same exit was joined with."""
    assert earlier.duration_ns is not None
    event.duration_ns = earlier.duration_ns + event.boottime_ns - earlier.boottime_ns
    event.argv = earlier.argv
    event.seen_from_start = earlier.seen_from_start
    if earlier.incomplete and "argv" in earlier.incomplete:
        event.mark("argv", earlier.incomplete["argv"])


def package_path() -> str:
    """Where the prebuilt package with execsnoop's programs is."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpf", "package.json")


class Trace:
    """Every exec and exit on the machine while it is open: iterate, or poll. A context manager.

    Nothing is read unless the caller iterates or polls: there is no thread.
    """

    def __init__(self, *, buffer_bytes: int | None = None) -> None:
        package = snoopkit.Package.read(package_path())
        self._snoop = snoopkit.run(package, buffer_bytes=buffer_bytes)
        self._stream = Stream(clock_gettime_ns(CLOCK_BOOTTIME))
        self._pending: list[ProcessEvent] = []  # what an iteration hasn't given yet, the next one last
        self._is_open = True

    def poll(self, timeout: float | None = None) -> list[ProcessEvent]:
        """The events that are there, waiting up to `timeout` seconds (None: for ever) for the first of them.

        [] on timeout; `poll(0)` never waits.
        """
        if self._pending:
            pending, self._pending = self._pending[::-1], []
            return pending
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            left = None if deadline is None else max(deadline - monotonic(), 0.0)
            wait = left
            if self._stream.waiting:
                wait = _REPEAT_NS / 1e9 if left is None else min(left, _REPEAT_NS / 1e9)
            events = self._feed(self._snoop.poll(wait))
            if events or left == 0.0:
                return events

    def __iter__(self) -> Iterator[ProcessEvent]:
        """Events for ever, or until `close()`."""
        while self._is_open:
            self._pending = self.poll()[::-1]
            while self._pending:
                yield self._pending.pop()

    def finish(self) -> Iterator[list[ProcessEvent]]:
        """The rest, in lots, the programs being detached meanwhile; then `lost` is final."""
        if self._pending:
            yield self.poll(0)
        for records in self._snoop.finish():
            yield self._feed(records)
        yield self._stream.flush()

    def _feed(self, records: Iterable[Any]) -> list[ProcessEvent]:
        return self._stream.feed(records, clock_gettime_ns(CLOCK_BOOTTIME))

    def fileno(self) -> int:
        """A descriptor that becomes readable when it is time to call `poll(0)`, which may still return []."""
        return self._snoop.fileno()

    @property
    def lost(self) -> int:
        """How many events are known to be missing so far."""
        return self._snoop.lost

    @property
    def losses(self) -> dict[str, int]:
        """The same by cause."""
        return self._snoop.losses

    @property
    def warnings(self) -> list[str]:
        """What the user should know about this run: smaller rings than asked for, say."""
        return self._snoop.warnings

    def close(self) -> None:
        """Detach and unload; idempotent. What was not read is gone: see `finish()`."""
        self._is_open = False
        self._pending.clear()
        self._snoop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def trace(*, buffer_bytes: int | None = None) -> Trace:
    """Start watching the whole machine; the `Trace` gives `ProcessEvent`s until it is closed.

    `buffer_bytes` is the size of the execs' ring per CPU, a power of two of pages; exits have one of a quarter.
    Raises LoadError, AttachError or UnsupportedError where the kernel refuses.
    """
    return Trace(buffer_bytes=buffer_bytes)
