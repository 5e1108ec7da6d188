"""From the package's records to events in order, each exit joined to the command that it ends."""

from __future__ import annotations

from .model import ProcessEvent
from .processes import Processes
from .records import MAY_REPEAT, UNSELECTED, Records, command, set_account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Collection, Iterable
    from typing import Any

    from .containers import Containers
    from .processes import Command, Identity
else:
    from _collections import deque  # collections imports seven more modules

__all__ = ["Stream"]

# For how long the other threads of a process that end at once may still report its end.
_REPEAT_NS = 20_000_000
_MAX_ENDED = 1_024
_MAX_HELD = 65_536
# How soon the next try follows when a program is looked for along PATH, and the answers that let the search go on.
_WALK_NS = 20_000_000
_GOES_ON = frozenset({"ENOENT", "ENOTDIR"})
_MAX_PREPARED = 1_024

_KINDS_OF_MAP = {"events": "exec", "life": "fork or exit"}


class Stream:
    """Joins exits to commands, drops what old kernels say twice, and passes notices of loss on.

    Exits wait up to `settle` seconds for the kernel's final account of the process, and what comes after them waits
    too, so that the order stays. `sees_credentials` says that this kernel tells of changes of user and group before
    they happen, `groups` which of the package's options are on, `containers` who they belong to. Memory is bounded, see
    `Processes`.
    """

    def __init__(
        self,
        processes: Processes | None = None,
        *,
        settle: float = 0.0,
        sees_credentials: bool = True,
        groups: Collection[str] = (),
        containers: Containers | None = None,
        max_held: int = _MAX_HELD,
    ) -> None:
        self.processes = processes if processes is not None else Processes()
        self.repeated = 0
        self._settle_ns = int(settle * 1e9)
        self._max_held = max_held
        self._records = Records(sees_credentials=sees_credentials, groups=groups, containers=containers)
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
            "child_event": self._child,
            "gone_event": self._gone,
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

    def _exec(self, record: Any) -> ProcessEvent | None:
        process = (record.pid, record.start_boottime_ns)
        if record.header.flags & UNSELECTED:
            self._prepared.pop(record.old_tid, None)
            ran = command(record)
            self._found((*process, record.old_tid), ran, record._time_ns)
            self.processes.execed(process, ran, record._time_ns)
            return None
        event, ran = self._records.exec(record)
        if self._prepared:
            self._set_credentials(event, record)
        event.folded = self._found((*process, record.old_tid), ran, event.boottime_ns)
        self.processes.execed(process, ran, event.boottime_ns)
        return event

    def _found(self, thread: tuple[int, int, int], ran: Command, now_ns: int) -> int | None:
        """Let an exec stand for the tries along PATH before it; returns how many there were."""
        before = self._walks.pop(thread, None) if self._walks else None
        if before is None or not _ends(before[0], ran, now_ns):
            return None
        self._folded.add(before[0])
        return (before[0].folded or 0) + 1

    def _fail(self, record: Any) -> ProcessEvent:
        """A failed exec; the latest try of a search along PATH stands for those before it."""
        event = self._records.fail(record)
        thread = _thread(event)
        before = self._walks.pop(thread, None)
        if before is not None and _goes_on(before[0], event):
            event.folded = (before[0].folded or 0) + 1
            self._folded.add(before[0])
        if event.error in _GOES_ON and event.filename is not None:
            self._walks[thread] = event, event.boottime_ns + _WALK_NS
        return event

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

    # Those of processes that the kernel's side didn't select: others are joined to them.

    def _child(self, record: Any) -> None:
        child = (record.child_pid, record.child_start_boottime_ns)
        self.processes.forked((record.pid, record.start_boottime_ns), child)

    def _gone(self, record: Any) -> None:
        self.processes.ended((record.pid, record.start_boottime_ns))

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
        event = self.lost_event(boottime_ns, record.count, record.cause, cpu)
        event.events = _KINDS_OF_MAP.get(record._map)
        if record._map != "life":
            self.processes.doubt(record._time_ns)
        return event

    def lost_event(self, boottime_ns: int, count: int, cause: str, cpu: int | None = None) -> ProcessEvent:
        """A notice that so many events are missing."""
        event = ProcessEvent("lost", boottime_ns, self._records.clock.wall_ns(boottime_ns), cpu)
        event.count = count
        event.cause = cause
        return event


def _identity(event: ProcessEvent) -> Identity:
    return event.pid or 0, event.start_boottime_ns or 0


def _thread(event: ProcessEvent) -> tuple[int, int, int]:
    return event.pid or 0, event.start_boottime_ns or 0, event.tid or 0


def _goes_on(before: ProcessEvent, event: ProcessEvent) -> bool:
    """Whether a try is for the same program as the one before it; in another folder, or PATH names one twice."""
    if event.filename is None or before.filename is None or event.boottime_ns - before.boottime_ns > _WALK_NS:
        return False
    same_name = before.filename.rpartition("/")[2] == event.filename.rpartition("/")[2]
    return same_name and before.argv == event.argv


def _ends(before: ProcessEvent, ran: Command, now_ns: int) -> bool:
    """Whether an exec is that of the program that a try was for; by its arguments alone, for of one that isn't
    selected there is no more."""
    tried = before.argv
    if not tried or ran.argv is None or before.filename is None or now_ns - before.boottime_ns > _WALK_NS:
        return False
    if ran.argv == tried:
        return True
    # A script has its interpreter's arguments in front of its own, and its path in place of its name.
    own = ran.argv[-len(tried) :]
    same_name = own[0].rpartition("/")[2] == before.filename.rpartition("/")[2]
    return len(own) < len(ran.argv) and same_name and own[1:] == tried[1:]


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
