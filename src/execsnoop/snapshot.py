"""The processes that were there before a trace began."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

from snoopkit.render import WallClock

from .identity import path
from .model import GROUPS, ProcessEvent
from .processes import Command
from .procfs import TICK_NS, find, processes
from .records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from snoopkit import Snoop

    from .containers import Containers
    from .processes import Processes
    from .procfs import Process

__all__ = ["LIST", "Snapshot", "look"]

LIST = "list_processes"
"""The package's program that tells who lives."""

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_NO_AUDIT_ID = 0xFFFFFFFF
# How much later than a process's start its fork may be told: the kernel has to build it in between.
_BIRTH_NS = 1_000_000_000


def look(known: Processes) -> None:
    """Tell `known` what every process runs now, after all hooks are attached."""
    for process in processes():
        known.found(process.pid, process.start_ticks, _command(process.arguments()))
    known.looked(clock_gettime_ns(CLOCK_BOOTTIME))


class Snapshot:
    """The same, with an event for each of those processes, of the time `began_ns`: before the hooks were there.

    `snoop` is to run LIST; None: /proc tells everything, starts in its ticks. `groups` says which of the package's
    options are on; with control groups come `containers`.
    """

    def __init__(
        self,
        known: Processes,
        began_ns: int,
        groups: Mapping[str, bool],
        containers: Containers | None,
        snoop: Snoop | None,
    ) -> None:
        self._events: dict[tuple[int, int], ProcessEvent] = {}
        for event, process in _listed(snoop, began_ns) if snoop is not None else _read(began_ns):
            argv = _describe_more(event, process, groups, containers)
            key = _key(event.pid, event.start_boottime_ns)
            known.found(*key, _command(argv))
            self._events[key] = event
        self._looked_ns = clock_gettime_ns(CLOCK_BOOTTIME)
        known.looked(self._looked_ns)

    def older(self, records: list[Any]) -> list[ProcessEvent]:
        """The events of those whose forks are not among the first records."""
        for record in records:
            if _is_fork(record):
                self._events.pop(_child(record), None)
        return list(self._events.values())

    def unless_told(self, records: list[Any]) -> list[Any]:
        """The records after those, without the forks of processes that have their event: the kernel lists a process
        before it tells its fork."""
        if self._events and records and records[0]._time_ns > self._looked_ns + _BIRTH_NS:
            self._events.clear()
        if not self._events:
            return records
        return [record for record in records if not (_is_fork(record) and _child(record) in self._events)]


def _is_fork(record: Any) -> bool:
    return record._struct in ("fork_event", "child_event")


def _child(record: Any) -> tuple[int, int]:
    return _key(record.child_pid, record.child_start_boottime_ns)


def _key(pid: int | None, start_boottime_ns: int | None) -> tuple[int, int]:
    """An identity as exact as /proc has it."""
    return pid or 0, (start_boottime_ns or 0) // TICK_NS


def _command(argv: list[str] | None) -> Command:
    return Command(argv, sum(map(len, argv or ())), None if argv else "unreadable")


def _listed(snoop: Snoop, began_ns: int) -> Iterator[tuple[ProcessEvent, Process | None]]:
    """Each process that lives, as the kernel lists it, and as /proc has it; that is None where it is gone, or in no
    pid namespace of ours."""
    records = Records(sees_credentials=True, groups=())
    unix_ns = records.clock.wall_ns(began_ns)
    for record in snoop.iterate(LIST).events():
        event = records.event("existing", record)
        event.boottime_ns, event.unix_ns, event.cpu = began_ns, unix_ns, None
        process = find(record.own_pid, record.start_boottime_ns)
        try:
            yield event, process
        finally:
            if process is not None:
                process.close()


def _read(began_ns: int) -> Iterator[tuple[ProcessEvent, Process]]:
    """Each process, as /proc alone tells it."""
    unix_ns = WallClock().wall_ns(began_ns)
    for process in processes():
        event = ProcessEvent("existing", began_ns, unix_ns, None)
        _describe(event, process)
        yield event, process


def _describe(event: ProcessEvent, process: Process) -> None:
    event.pid = event.tid = process.pid
    event.ppid = process.ppid
    event.start_boottime_ns = process.start_ticks * TICK_NS
    event.mark("start_boottime_ns", "truncated")
    ids = process.ids()
    if ids is not None:
        event.uid, event.gid, event.euid, event.egid = ids
    else:
        for key in ("uid", "gid", "euid", "egid"):
            event.mark(key, "raced")
    for key in ("loginuid", "sessionid"):
        number = process.number(key)
        if number is not None and number != _NO_AUDIT_ID:
            setattr(event, key, number)
    event.tty = process.tty
    event.comm = process.comm


def _describe_more(
    event: ProcessEvent, process: Process | None, groups: Mapping[str, bool], containers: Containers | None
) -> list[str] | None:
    """What the kernel's list lacks; returns the arguments."""
    argv = event.argv = process.arguments() if process is not None else None
    if argv is None:
        event.mark("argv", "unreadable")
    if process is None:
        for name, is_on in groups.items():
            for key in GROUPS[name] if is_on else ():
                event.mark(key, "unreadable")
        return None
    if groups["with_paths"]:
        for key in ("exe", "cwd"):
            link = process.link(key)
            setattr(event, key, link.removesuffix(" (deleted)") if link else None)
            if link is None:
                event.mark(key, "unreadable")
    if containers is not None:
        version_2, memory = process.groups()
        event.cgroup = path(version_2 or memory)
        event.container = containers.of(version_2, memory)
    if groups["with_namespaces"]:
        links = {name: process.link(f"ns/{name}") for name in _NAMESPACES}
        event.namespaces = {name: int(link.partition("[")[2][:-1]) for name, link in links.items() if link}
        if len(event.namespaces) < len(_NAMESPACES):
            event.mark("namespaces", "unreadable")
    return argv
