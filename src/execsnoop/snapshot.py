"""The processes that were there before a trace began."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

import snoopkit
from snoopkit.render import WallClock

from .identity import path
from .model import GROUPS, LISTS, ProcessEvent
from .processes import Command
from .procfs import TICK_NS, Numbers, find, has_whole_groups, processes, title
from .records import Records, whole_argv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from snoopkit import Snoop

    from .containers import Containers
    from .processes import Identity, Processes
    from .procfs import Process

__all__ = ["Listing", "Snapshot", "look"]

# header.flags of execsnoop.h
_ARGV_TRUNCATED = 0x01
_ARGV_UNREADABLE = 0x02
_ARGV_RACED = 0x1000
_ARGV_IS_TITLE = 0x2000
_FORKED_ONLY = 0x4000
_SHORT_BYTES = 256  # to which arguments are cut where the list is too large
_PATHS_RACED = 0x8000
_PATHS = (("exe", 0x200), ("cwd", 0x400))  # and the flags for those that are truncated

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_NO_AUDIT_ID = 0xFFFFFFFF
# How much later than a process's start its fork may be told: the kernel has to build it in between.
_BIRTH_NS = 1_000_000_000


class Listing:
    """Who lives, as the kernel tells it: by one of LISTS, which `snoop` is to run."""

    def __init__(self, snoop: Snoop, program: str) -> None:
        self._snoop = snoop
        self._program = program
        self._numbers: Numbers | None = None

    @property
    def has_more(self) -> bool:
        """Whether the records have what the package's options ask for."""
        return self._program == LISTS[0][0]

    def read(self) -> list[Any]:
        """A record of listed_process for each."""
        records: dict[Identity, Any] = {}
        for record in self._snoop.iterate(self._program).events():
            process = record.pid, record.start_boottime_ns
            # One whose first thread has left is told once more by each of the others.
            if process not in records or not record.header.flags & _ARGV_UNREADABLE:
                records[process] = record
        return list(records.values())

    def find(self, record: Any) -> Process | None:
        """What /proc has of it, for the caller to close; None if it is gone, or /proc has other numbers."""
        pid = self._number(record)
        return find(pid, record.start_boottime_ns) if pid is not None else None

    def _number(self, record: Any) -> int | None:
        if self._numbers is None:
            self._numbers = Numbers()
        return self._numbers.of(record.pid, record.own_pid)

    def command(self, record: Any) -> Command:
        """What it runs, as the record has it; what is missing there, /proc may have."""
        flags, argv, size_bytes = record.header.flags, record.argv, record.argv_captured_bytes
        if flags & _ARGV_RACED:
            return Command(None, 0, "raced")
        if flags & _ARGV_UNREADABLE:
            return _command(self._arguments(record))
        if flags & _ARGV_TRUNCATED:
            # Of many large ones the record of each has but little, and no more is looked for.
            pid = self._number(record) if size_bytes > _SHORT_BYTES else None
            whole = whole_argv(record, pid) if pid is not None else None
            return Command(whole or argv, size_bytes, None if whole else "truncated")
        if flags & _ARGV_IS_TITLE:
            if len(argv) > 1:
                return Command(argv[:1], size_bytes)
            # It goes on behind the arguments' end.
            whole = self._arguments(record)
            return Command(whole or argv, size_bytes, None if whole else "truncated")
        return Command(argv if len(argv) == record.argc else title(argv), size_bytes)

    def _arguments(self, record: Any) -> list[str] | None:
        process = self.find(record)
        if process is None:
            return None
        try:
            return process.arguments()
        finally:
            process.close()


def look(known: Processes, listing: Listing | None) -> None:
    """Tell `known` what every process runs now, after all hooks are attached; without a `listing` by /proc alone."""
    if listing is not None:
        for record in listing.read():
            process = record.pid, record.start_boottime_ns
            known.found(process, listing.command(record), bool(record.header.flags & _FORKED_ONLY))
        known.looked(clock_gettime_ns(CLOCK_BOOTTIME))
    elif Numbers().are_the_kernels:
        for one in processes():
            start_ns = one.start_ticks * TICK_NS
            known.found((one.pid, start_ns), _command(one.arguments()), one.is_forked_only)
        known.looked(clock_gettime_ns(CLOCK_BOOTTIME), TICK_NS)


class Snapshot:
    """The same, with an event for each of those processes, of the time `began_ns`: before the hooks were there.

    `groups` says which of the package's options are on; with control groups come `containers`. Raises UnsupportedError
    where neither the kernel nor /proc tells the processes' numbers.
    """

    def __init__(
        self,
        known: Processes,
        began_ns: int,
        groups: Mapping[str, bool],
        containers: Containers | None,
        listing: Listing | None,
    ) -> None:
        self._unit_ns = TICK_NS if listing is None else 1
        self._events: dict[Identity, ProcessEvent] = {}
        described = (
            _listed(listing, began_ns, groups, containers)
            if listing is not None
            else _read(began_ns, groups, containers)
        )
        for event, command in described:
            event.argv = command.argv
            if command.reason:
                event.mark("argv", command.reason)
            assert event.pid is not None and event.start_boottime_ns is not None
            process = event.pid, event.start_boottime_ns
            known.found(process, command, bool(event.inherited))
            self._events[process] = event
        self._looked_ns = clock_gettime_ns(CLOCK_BOOTTIME)
        known.looked(self._looked_ns, self._unit_ns)

    def older(self, records: list[Any]) -> list[ProcessEvent]:
        """The events of those whose forks are not among the first records."""
        for record in records:
            if _is_fork(record):
                self._events.pop(self._child(record), None)
        return list(self._events.values())

    def unless_told(self, records: list[Any]) -> list[Any]:
        """The records after those, without the forks of processes that have their event: the kernel lists a process
        before it tells its fork."""
        if self._events and records and records[0]._time_ns > self._looked_ns + _BIRTH_NS:
            self._events.clear()
        if not self._events:
            return records
        return [
            record for record in records if not (_is_fork(record) and self._child(record) in self._events)
        ]

    def _child(self, record: Any) -> Identity:
        start_ns = record.child_start_boottime_ns
        return record.child_pid, start_ns - start_ns % self._unit_ns


def _is_fork(record: Any) -> bool:
    return record._struct in ("fork_event", "child_event")


def _command(argv: list[str] | None) -> Command:
    return Command(argv, sum(map(len, argv or ())), None if argv else "unreadable")


def _listed(
    listing: Listing, began_ns: int, groups: Mapping[str, bool], containers: Containers | None
) -> Iterator[tuple[ProcessEvent, Command]]:
    """Each process that lives, as the kernel lists it; what its list lacks, /proc has, unless the process is gone, or
    in no pid namespace of ours."""
    has_more = listing.has_more
    records = Records(
        sees_credentials=True,
        groups=[name for name, is_on in groups.items() if is_on and has_more],
        containers=containers if has_more else None,
    )
    unix_ns = records.clock.wall_ns(began_ns)
    for record in listing.read():
        event = records.event("existing", record)
        event.boottime_ns, event.unix_ns, event.cpu = began_ns, unix_ns, None
        event.inherited = True if record.header.flags & _FORKED_ONLY else None
        if has_more and groups["with_paths"]:
            _set_paths(event, record)
        elif not has_more and any(groups.values()):
            process = listing.find(record)
            try:
                _describe_more(event, process, groups, containers)
            finally:
                if process is not None:
                    process.close()
        yield event, listing.command(record)


def _set_paths(event: ProcessEvent, record: Any) -> None:
    for key, truncated in _PATHS:
        if record.header.flags & _PATHS_RACED:
            event.mark(key, "raced")
            continue
        setattr(event, key, path(getattr(record, key)))
        if record.header.flags & truncated:
            event.mark(key, "truncated")


def _read(
    began_ns: int, groups: Mapping[str, bool], containers: Containers | None
) -> Iterator[tuple[ProcessEvent, Command]]:
    """Each process, as /proc alone tells it."""
    if not Numbers().are_the_kernels:
        raise snoopkit.UnsupportedError(
            "existing: this kernel refuses iterators, and /proc has the numbers of another pid namespace than events",
            feature="iter/task",
            hint="run it outside the container",
        )
    unix_ns = WallClock().wall_ns(began_ns)
    for process in processes():
        event = ProcessEvent("existing", began_ns, unix_ns, None)
        _describe(event, process)
        _describe_more(event, process, groups, containers)
        yield event, _command(process.arguments())


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
    event.inherited = True if process.is_forked_only else None


def _describe_more(
    event: ProcessEvent, process: Process | None, groups: Mapping[str, bool], containers: Containers | None
) -> None:
    """What the kernel's list lacks."""
    if process is None:
        for name, is_on in groups.items():
            for key in GROUPS[name] if is_on else ():
                event.mark(key, "unreadable")
        return
    if groups["with_paths"]:
        for key in ("exe", "cwd"):
            link = process.link(key)
            setattr(event, key, link.removesuffix(" (deleted)") if link else None)
            if link is None:
                event.mark(key, "unreadable")
    if containers is not None and not has_whole_groups():
        for key in GROUPS["with_cgroups"]:
            event.mark(key, "unreadable")
    elif containers is not None:
        version_2, memory = process.groups()
        event.cgroup = path(version_2 or memory)
        event.container = containers.of(version_2, memory)
    if groups["with_namespaces"]:
        links = {name: process.link(f"ns/{name}") for name in _NAMESPACES}
        event.namespaces = {name: int(link.partition("[")[2][:-1]) for name, link in links.items() if link}
        inner_pid = process.inner_pid()
        if inner_pid is not None:
            event.namespaces["inner_pid"] = inner_pid
        if len(event.namespaces) <= len(_NAMESPACES):
            event.mark("namespaces", "unreadable")
