"""From the package's records to events in order, each exit joined to the command that it ends."""

from __future__ import annotations

import os
from collections import deque
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic

import snoopkit

from .model import GROUPS, ProcessEvent
from .processes import Processes
from .procfs import TICK_NS
from .records import MAY_REPEAT, Records, set_account
from .snapshot import look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from .processes import Command, Identity

__all__ = ["SETTLE_SECONDS", "Stream", "Trace", "package_path", "trace"]

SETTLE_SECONDS = 0.15
"""For how long most parents need at most to reap, and the kernel to settle the account."""

# For how long the other threads of a process that end at once may still report its end.
_REPEAT_NS = 20_000_000
_MAX_ENDED = 1_024
_MAX_HELD = 65_536
# How soon the next try follows when a program is looked for along PATH, and the answers that let the search go on.
_WALK_NS = 20_000_000
_GOES_ON = frozenset({"ENOENT", "ENOTDIR"})
_MAX_PREPARED = 1_024
# Records looked at between two drains, and how many may wait for that; more stay in the rings, where the kernel counts
# what it has no room for.
_LOT = 256
_MAX_BACKLOG = 200_000

_KINDS_OF_MAP = {"events": "exec", "life": "fork or exit"}


class Stream:
    """Joins exits to commands, drops what old kernels say twice, and passes notices of loss on.

    Exits wait up to `settle` seconds for the kernel's final account of the process, and what comes after them waits
    too, so that the order stays. `sees_credentials` says that this kernel tells of changes of user and group before
    they happen, `groups` which of the package's options are on. Memory is bounded, see `Processes`.
    """

    def __init__(
        self,
        processes: Processes | None = None,
        *,
        settle: float = 0.0,
        sees_credentials: bool = True,
        groups: Collection[str] = (),
        max_held: int = _MAX_HELD,
    ) -> None:
        self.processes = processes if processes is not None else Processes()
        self.repeated = 0
        self._settle_ns = int(settle * 1e9)
        self._max_held = max_held
        self._records = Records(sees_credentials=sees_credentials, groups=groups)
        self._latest_ns = 0
        # From an exit that may be repeated or is not settled on, everything waits.
        self._held: deque[ProcessEvent] = deque()
        # The latest report of each such exit, and until when it waits.
        self._unsettled: dict[Identity, tuple[ProcessEvent, int]] = {}
        self._ended: dict[Identity, None] = {}
        # The latest try of each thread that may be looking for a program along PATH, and until when it waits.
        self._walks: dict[tuple[int, int, int], tuple[ProcessEvent, int]] = {}
        self._folded: set[ProcessEvent] = set()
        # Changes of credentials, by the thread whose exec comes next.
        self._prepared: dict[int, Any] = {}
        self._takers = {
            "exec_event": self._exec,
            "fail_event": self._fail,
            "exit_event": self._exit,
            "fork_event": self._fork,
            "free_event": self._free,
            "prepare_event": self._prepare,
        }

    @property
    def due_ns(self) -> int | None:
        """When (CLOCK_BOOTTIME) a `feed` gives what is held now, even one without records; None: nothing is held."""
        if not self._held:
            return None
        return self._waits_until_ns(self._held[0])

    def _waits_until_ns(self, event: ProcessEvent) -> int:
        """0 if it doesn't wait. An exit that was said again has nothing to wait for, nor has a try that is folded."""
        if event.type == "exit":
            latest, until_ns = self._unsettled.get(_identity(event), (None, 0))
        elif event.type == "exec_failed":
            latest, until_ns = self._walks.get(_thread(event), (None, 0))
        else:
            return 0
        return until_ns if latest is event else 0

    def feed(self, records: Iterable[Any], now_ns: int) -> list[ProcessEvent]:
        """Take records in order of time; return the events that are ready, in the same order.

        `now_ns` is CLOCK_BOOTTIME.
        """
        events: list[ProcessEvent] = []
        takers = self._takers
        for record in records:
            event = takers.get(record._struct, self._lost)(record)
            if event is None:
                continue
            self._latest_ns = event.boottime_ns
            if self._held or self._unsettled or self._walks:
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
            if (
                now_ns is not None
                and now_ns < self._waits_until_ns(event)
                and len(self._held) <= self._max_held
            ):
                break
            self._held.popleft()
            if event.type == "exit" and _identity(event) in self._unsettled:
                self._settle(event, events)
            elif event in self._folded:
                self._folded.remove(event)
            else:
                events.append(event)
                if event.type == "exec_failed" and self._walks.get(_thread(event), (None, 0))[0] is event:
                    del self._walks[_thread(event)]
        return events

    def _settle(self, event: ProcessEvent, events: list[ProcessEvent]) -> None:
        identity = _identity(event)
        if self._unsettled[identity][0] is not event:
            return  # it was said again later, and better
        del self._unsettled[identity]
        self._ended[identity] = None
        if len(self._ended) > _MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        events.append(event)

    def _exec(self, record: Any) -> ProcessEvent:
        event, command = self._records.exec(record)
        if self._prepared:
            self._set_credentials(event, record)
        if self._walks:
            self._walks.pop((record.pid, record.start_boottime_ns, record.old_tid), None)
        self.processes.execed((record.pid, record.start_boottime_ns), command, event.boottime_ns)
        return event

    def _fail(self, record: Any) -> ProcessEvent:
        event = self._records.fail(record)
        self._fold(event)
        return event

    def _fold(self, event: ProcessEvent) -> None:
        """Let the latest try of a search along PATH stand for those before it."""
        thread = _thread(event)
        before = self._walks.pop(thread, None)
        if before is not None and _goes_on(before[0], event):
            event.folded = (before[0].folded or 0) + 1
            self._folded.add(before[0])
        if event.error in _GOES_ON and event.filename is not None:
            self._walks[thread] = event, event.boottime_ns + _WALK_NS

    def _prepare(self, record: Any) -> None:
        self._prepared[record.tid] = record
        if len(self._prepared) > _MAX_PREPARED:
            del self._prepared[next(iter(self._prepared))]

    def _set_credentials(self, event: ProcessEvent, record: Any) -> None:
        before = self._prepared.pop(record.old_tid, None)
        if before is None or (before.pid, before.start_boottime_ns) != (record.pid, record.start_boottime_ns):
            return
        flags = event.flags or []
        at = len(flags) - ("secureexec" in flags)
        if before.old_egid != record.egid:
            event.old_egid = before.old_egid
            flags.insert(at, "setgid")
        if before.old_euid != record.euid:
            event.old_euid = before.old_euid
            flags.insert(at, "setuid")
        event.flags = flags or None

    def _fork(self, record: Any) -> ProcessEvent:
        event = self._records.event("fork", record)
        event.child_pid = record.child_pid
        event.child_start_boottime_ns = record.child_start_boottime_ns
        event.clone_flags = record.clone_flags
        child = (record.child_pid, record.child_start_boottime_ns)
        _set_command(event, self.processes.forked((record.pid, record.start_boottime_ns), child))
        return event

    def _exit(self, record: Any) -> ProcessEvent | None:
        identity = (record.pid, record.start_boottime_ns)
        if identity in self._ended:
            self.repeated += 1
            return None
        event = self._records.event("exit", record)
        event.set_status(record.status)
        event.lifetime_ns = event.boottime_ns - record.start_boottime_ns
        set_account(event, record, False)
        earlier = self._unsettled.get(identity)
        if earlier is None:
            running = self.processes.ended(identity)
            if running is None:
                event.duration_ns = event.lifetime_ns
            else:
                event.duration_ns = event.boottime_ns - running.since_ns
                _set_command(event, running.command)
                if running.inherited and event.argv is not None:
                    event.inherited = True
        else:
            self.repeated += 1
            _take_over(event, earlier[0])
        may_repeat = record.header.flags & MAY_REPEAT
        wait_ns = max(self._settle_ns, _REPEAT_NS if may_repeat else 0)
        if wait_ns:
            self._unsettled[identity] = (event, event.boottime_ns + wait_ns)
        elif earlier is not None:
            self._unsettled[identity] = (event, 0)
        return event

    def _free(self, record: Any) -> None:
        identity = (record.pid, record.start_boottime_ns)
        waiting = self._unsettled.get(identity)
        if waiting is not None:
            set_account(waiting[0], record, True)
            self._unsettled[identity] = (waiting[0], 0)

    def _lost(self, record: Any) -> ProcessEvent:
        # The time up to which nothing else is missing. Never before an event that is already out.
        boottime_ns = max(record._time_ns, self._latest_ns)
        cpu = record._cpu if record._cpu >= 0 else None
        event = ProcessEvent("lost", boottime_ns, self._records.clock.wall_ns(boottime_ns), cpu)
        event.count = record.count
        event.cause = record.cause
        event.events = _KINDS_OF_MAP.get(record._map)
        if record._map != "life":
            self.processes.doubt(record._time_ns)
        return event


def _identity(event: ProcessEvent) -> Identity:
    return event.pid or 0, event.start_boottime_ns or 0


def _thread(event: ProcessEvent) -> tuple[int, int, int]:
    return event.pid or 0, event.start_boottime_ns or 0, event.tid or 0


def _goes_on(before: ProcessEvent, event: ProcessEvent) -> bool:
    """Whether a try is for the same program as the one before it, in another folder."""
    if event.filename is None or before.filename is None or event.boottime_ns - before.boottime_ns > _WALK_NS:
        return False
    same_name = before.filename.rpartition("/")[2] == event.filename.rpartition("/")[2]
    return same_name and before.filename != event.filename and before.argv == event.argv


def _set_command(event: ProcessEvent, command: Command | None) -> None:
    if command is not None:
        event.argv = command.argv
        if command.reason:
            event.mark("argv", command.reason)


def _take_over(event: ProcessEvent, earlier: ProcessEvent) -> None:
    """Give an exit what an earlier report of the same exit was joined with."""
    assert earlier.duration_ns is not None
    event.duration_ns = earlier.duration_ns + event.boottime_ns - earlier.boottime_ns
    event.argv = earlier.argv
    event.inherited = earlier.inherited
    if earlier.incomplete and "argv" in earlier.incomplete:
        event.mark("argv", earlier.incomplete["argv"])


def package_path() -> str:
    """Where the prebuilt package with execsnoop's programs is."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpf", "package.json")


# By each program its twin for kernels that refuse programs with typed arguments.
_TWINS = {
    "on_exec": "on_exec_raw",
    "on_exit": "on_exit_raw",
    "on_fork": "on_fork_raw",
    "on_prepare": "on_prepare_raw",
    "on_free": "on_free_raw",
}
_ALWAYS = ("on_exec", "on_exit", "on_fork")


def _hooks(failed: bool, settles: bool) -> list[str]:
    """The programs beside those that always run, as far as this kernel has hooks for them."""
    hooks = []
    if snoopkit.supports("tp_btf/sched_prepare_exec"):
        hooks.append("on_prepare")
    if settles and snoopkit.supports("tp_btf/sched_process_free"):
        hooks.append("on_free")
    if failed:
        calls = ("execve", "execveat")
        if all(snoopkit.supports(f"tp/syscalls/sys_exit_{call}") for call in calls):
            hooks += [f"on_fail_{call}" for call in calls]
        else:
            hooks.append("on_fail_raw")
    return hooks


def _run(package: snoopkit.Package, hooks: list[str], groups: dict[str, bool], **how: Any) -> snoopkit.Snoop:
    how["options"] = groups
    try:
        if any(groups.values()):
            more = [f"{name}_more" for name in _ALWAYS]
            return snoopkit.run(package, enable=[*more, *hooks], disable=_ALWAYS, **how)
        return snoopkit.run(package, enable=hooks, **how)
    except snoopkit.UnsupportedError as error:
        if not error.feature.removeprefix("?").startswith("tp_btf/"):
            raise
    twins = [_TWINS.get(name, name) for name in (*_ALWAYS, *hooks)]
    return snoopkit.run(package, enable=twins, disable=_ALWAYS, **how)


class Trace:
    """Every exec, fork and exit on the machine while it is open: iterate, or poll. A context manager.

    Nothing is read unless the caller iterates or polls: there is no thread.
    """

    def __init__(
        self,
        *,
        failed: bool = False,
        existing: bool = False,
        columns: Iterable[str] = (),
        settle: float = SETTLE_SECONDS,
        buffer_bytes: int | None = None,
        transport: str | None = None,
    ) -> None:
        package = snoopkit.Package.read(package_path())
        wanted = set(columns)
        groups = {name: bool(wanted & keys) for name, keys in GROUPS.items()}
        hooks = _hooks(failed, settle > 0)
        began_ns = clock_gettime_ns(CLOCK_BOOTTIME)
        self._snoop = _run(package, hooks, groups, buffer_bytes=buffer_bytes, transport=transport)
        self._stream = Stream(
            settle=settle if "on_free" in hooks else 0.0,
            sees_credentials="on_prepare" in hooks,
            groups=[name for name, is_on in groups.items() if is_on],
        )
        self._backlog: deque[Any] = deque()  # records that are out of the rings, but not looked at
        self._pending: list[ProcessEvent] = []  # what an iteration hasn't given yet, the next one last
        self._is_open = True
        try:
            found = look(self._stream.processes, began_ns, groups if existing else None)
            if existing:
                # What a second drain holds back is younger than the first; that is, than the snapshot.
                records = [*self._snoop.poll(0), *self._snoop.poll(0)]
                begun = {
                    (record.child_pid, record.child_start_boottime_ns // TICK_NS)
                    for record in records
                    if record._struct == "fork_event"
                }
                self._pending = [event for event, ticks in found if (event.pid, ticks) not in begun]
                self._pending = [*self._pending, *self._feed(records)][::-1]
        except BaseException:
            self._snoop.close()
            raise

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
            due_ns = self._stream.due_ns
            if due_ns is not None:
                due = max(due_ns - clock_gettime_ns(CLOCK_BOOTTIME), 0) / 1e9
                wait = due if left is None else min(left, due)
            events = self._feed(self._records(wait))
            if events or (left == 0.0 and not self._backlog):
                return events

    def _records(self, timeout: float | None) -> list[Any]:
        """The next lot of records, at most so many that the kernel's rings are emptied again soon: in a storm they
        fill faster than events can be printed."""
        if len(self._backlog) < _MAX_BACKLOG:
            self._backlog.extend(self._snoop.poll(0 if self._backlog else timeout))
        if len(self._backlog) <= _LOT:
            records = list(self._backlog)
            self._backlog.clear()
            return records
        return [self._backlog.popleft() for _ in range(_LOT)]

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
            # What the rings held is out of them before any of it is worked through.
            self._backlog.extend(records)
            while self._backlog:
                lot = [self._backlog.popleft() for _ in range(min(_LOT, len(self._backlog)))]
                yield self._feed(lot)
        yield self._stream.flush()

    def _feed(self, records: list[Any]) -> list[ProcessEvent]:
        # While more records wait, their time is the stream's: what an exit waits for may be among them.
        now_ns = self._backlog[0]._time_ns if self._backlog else clock_gettime_ns(CLOCK_BOOTTIME)
        return self._stream.feed(records, now_ns)

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


def trace(
    *,
    failed: bool = False,
    existing: bool = False,
    columns: Iterable[str] = (),
    settle: float = SETTLE_SECONDS,
    buffer_bytes: int | None = None,
    transport: str | None = None,
) -> Trace:
    """Start watching the whole machine; the `Trace` gives `ProcessEvent`s until it is closed.

    `failed` asks for failed execs too, which makes every system call of the machine some 50 ns slower; `existing` for
    the processes that are there already, first. What costs more
    is collected only where `columns` names it: `cgroup`, `container`, `namespaces`, `exe`, `cwd`, `capabilities`.

    Exits, and what comes after them, are held back up to `settle` seconds for the kernel's exact account of the
    process, which is there once its parent has reaped it; 0 doesn't wait, and no `cpu_ns` is exact then.

    `buffer_bytes` is the size of the execs' ring per CPU, a power of two of pages; forks and exits have one of a
    quarter. `transport` is "perf" (the same as None) or "ring".
    Raises LoadError, AttachError or UnsupportedError where the kernel refuses.
    """
    return Trace(
        failed=failed,
        existing=existing,
        columns=columns,
        settle=settle,
        buffer_bytes=buffer_bytes,
        transport=transport,
    )
