"""A running trace: the package's programs in the kernel, and what they tell as ordered, joined events."""

from __future__ import annotations

import os
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic, sleep

import snoopkit

from .model import GROUPS, LISTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Future
    from collections import deque
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Any, Self

    from .command import Command
    from .containers import Containers
    from .filters import Filter
    from .following import Following
    from .model import ProcessEvent
    from .redact.redactor import Redactor
    from .snapshot import Snapshot
else:
    from _collections import deque  # collections imports seven more modules

__all__ = ["SETTLE_SECONDS", "Trace", "package_path", "trace"]

SETTLE_SECONDS = 0.15
"""For how long most parents need at most to reap, and the kernel to settle the account."""

# How old a record is that no poll holds back any more, for others' sake.
_HELD_BACK_SECONDS = 0.005

# Records looked at between two drains, and how many may wait for that; more stay in the rings, where the kernel counts
# what it has no room for.
_LOT = 64
# header.type of the records with accounts, as execsnoop.h has it
_FREE = 4
_MAX_BACKLOG = 200_000
_PATIENCE_SECONDS = 0.1
_ATTEND_SECONDS = (
    0.1  # how soon the end of a command without an event is noticed, and its signals are passed on
)


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


def _run(package: snoopkit.Package, hooks: list[str], options: dict[str, Any], **how: Any) -> snoopkit.Snoop:
    how["options"] = options
    try:
        if any(options.values()):
            more = [f"{name}_more" for name in _ALWAYS]
            return snoopkit.run(package, enable=[*more, *hooks], disable=_ALWAYS, **how)
        return snoopkit.run(package, enable=hooks, **how)
    except snoopkit.UnsupportedError as error:
        if not error.feature.removeprefix("?").startswith("tp_btf/"):
            raise
    twins = [_TWINS.get(name, name) for name in (*_ALWAYS, *hooks)]
    return snoopkit.run(package, enable=twins, disable=_ALWAYS, **how)


def _run_with_list(
    package: snoopkit.Package,
    hooks: list[str],
    options: dict[str, Any],
    *,
    more: bool,
    must: bool,
    **how: Any,
) -> tuple[snoopkit.Snoop, str | None]:
    """Also which of LISTS it has, unless this kernel refuses to list processes; `must` makes that refusal an error.
    `more`: with what the options ask for."""
    refusal: snoopkit.LoadError | snoopkit.UnsupportedError | None = None
    for program, section in LISTS if more else LISTS[1:]:
        if snoopkit.supports(section):
            try:
                snoop = _run(package, [*hooks, program], options, **how)
            except (snoopkit.LoadError, snoopkit.UnsupportedError) as error:
                if error.program != program:
                    raise
                refusal = error
            else:
                return snoop, program
    if must:
        raise refusal or snoopkit.UnsupportedError(
            "follow: this kernel has no iterators over processes", feature="iter/task"
        )
    return _run(package, hooks, options, **how), None


def _command(command: Command | Sequence[str] | None) -> Command | None:
    if command is None:
        return None
    from .command import Command

    if isinstance(command, str):
        raise TypeError("a command is a sequence: its name and its arguments")
    return command if isinstance(command, Command) else Command(command)


def _filter(where: str | None) -> Filter | None:
    if where is None:
        return None
    from .filters import Filter

    return Filter(where)


def _containers(groups: dict[str, bool]) -> Containers | None:
    if not groups["with_cgroups"]:
        return None
    from .containers import Containers

    return Containers()


def _missing(where: Filter, containers: Containers) -> list[str]:
    """What a filter asks for that isn't there yet."""
    from .identity import missing_groups

    return [
        *missing_groups(where.cgroups),
        *(containers.missing(where.containers) if where.containers else ()),
    ]


def _redactor(rules: Iterable[str]) -> Redactor:
    from .redact.redactor import Redactor

    return Redactor(rules)


class _Accounts:
    """The final accounts of processes that the kernel had no room for. They are no events: an exit that got none says
    so, and a notice of loss is to count what is missing from the stream."""

    def __init__(self, snoop: snoopkit.Snoop) -> None:
        self.lost = 0
        self._snoop = snoop
        self._left_out: dict[int, int] = {}  # by CPU

    def leave_out(self, notice: snoopkit.Lost) -> bool:
        """Take them out of a notice's count; whether it still has something to say."""
        if notice._map == "life" and notice.cause == "buffer_full":
            before = self._left_out.get(notice._cpu, 0)
            # Those that were counted since the notice was made are left out of a later one.
            failed = self._snoop.maps["outputs"][_FREE][notice._cpu].failed
            more = min(failed - before, notice.count)
            self._left_out[notice._cpu] = before + more
            self.lost += more
            notice.count -= more
        return notice.count > 0


class Trace:
    """Every exec, fork and exit on the machine, or of a command or a process and all that comes from it, while it is
    open: iterate (`for`, or `async for` in asyncio), or poll. A context manager.

    Nothing is read unless the caller iterates or polls: there is no thread.
    """

    def __init__(
        self,
        command: Command | Sequence[str] | None = None,
        *,
        subtree: int | None = None,
        linger: bool = True,
        where: str | None = None,
        redact: bool = False,
        redact_rules: Iterable[str] = (),
        failed: bool = False,
        existing: bool = False,
        columns: Iterable[str] = (),
        settle: float = SETTLE_SECONDS,
        buffer_bytes: int | None = None,
        transport: str | None = None,
    ) -> None:
        package = snoopkit.Package.read(package_path(), trusted=True)
        self._filter = _filter(where)
        self._redactor = _redactor(redact_rules) if redact else None
        wanted = {*columns, *(self._filter.columns if self._filter else ())}
        groups = {name: bool(wanted & keys) for name, keys in GROUPS.items()}
        hooks = _hooks(failed, settle > 0)
        to_follow = _command(command)
        if to_follow is not None and subtree is not None:
            raise ValueError("either a command is followed, or a subtree")
        follows = to_follow is not None or subtree is not None
        began_ns = clock_gettime_ns(CLOCK_BOOTTIME)
        # Whoever follows a family needs the forks of all.
        decided = self._filter.kernel_options if self._filter and not follows else {}
        options = {**groups, **decided}
        how = {"buffer_bytes": buffer_bytes, "transport": transport}
        more = existing and any(groups.values())
        self._snoop, list_program = _run_with_list(package, hooks, options, more=more, must=follows, **how)
        # Only now: until the first events are old enough to be given there is time for the rest.
        from .snapshot import Listing, Snapshot, look
        from .stream import Stream

        listing = Listing(self._snoop, list_program) if list_program is not None else None
        self._accounts = _Accounts(self._snoop)
        containers = _containers(groups)
        self._stream = Stream(
            settle=settle if "on_free" in hooks else 0.0,
            sees_credentials="on_prepare" in hooks,
            groups=[name for name, is_on in groups.items() if is_on],
            containers=containers,
        )
        self._backlog: deque[Any] = deque()  # records that are out of the rings, but not looked at
        self._pending: list[ProcessEvent] = []  # what an iteration hasn't given yet, the next one last
        self._is_open = True
        self._warnings: list[str] = []
        self._following: Following | None = None
        self._snapshot: Snapshot | None = None
        try:
            if follows and listing is not None:
                from .following import Following

                self._following = Following(listing, to_follow, subtree, linger)
            if not existing:
                look(self._stream.processes, listing)
            else:
                self._snapshot = Snapshot(self._stream.processes, began_ns, groups, containers, listing)
                # A poll gives all that is older than the poll before it, and old enough: after these two that is
                # whatever is older than the snapshot.
                records = self._snoop.poll(0)
                sleep(_HELD_BACK_SECONDS)
                records += self._snoop.poll(0)
                older = self._snapshot.older(records)
                if self._following is not None:
                    older = list(filter(self._following.began_before, older))
                self._pending = [*self._wanted(older), *self._feed(records)][::-1]
            if containers is not None and self._filter is not None:
                self._warnings = _missing(self._filter, containers)
            if to_follow is not None:
                to_follow.release()
        except BaseException:
            self.close()
            if to_follow is not None:
                to_follow.close()
            raise

    def poll(self, timeout: float | None = None) -> list[ProcessEvent]:
        """The events that are there, waiting up to `timeout` seconds (None: for ever) for the first of them.

        [] on timeout; `poll(0)` never waits. [] too once what is followed has ended.
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
            if self._following is not None:
                self._following.attend()
                wait = _ATTEND_SECONDS if wait is None else min(wait, _ATTEND_SECONDS)
            if self.is_done:
                return []
            events = self._feed(self._records(wait))
            if events or (left == 0.0 and not self._backlog):
                return events
            if deadline is not None and monotonic() > deadline + _PATIENCE_SECONDS:
                return events  # a storm in which nothing is wanted

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
        """Events for ever, until what is followed has ended, or until `close()`."""
        while self._is_open and not self.is_done:
            self._pending = self.poll()[::-1]
            while self._pending:
                yield self._pending.pop()
        if self._is_open:
            for lot in self.finish():
                yield from lot

    async def __aiter__(self) -> AsyncIterator[ProcessEvent]:
        """The same in a running asyncio loop, which gets its turn before each lot of events."""
        while self._is_open and not self.is_done:
            await self._readable()
            self._pending = self.poll(0)[::-1] if self._is_open else []
            while self._pending:
                yield self._pending.pop()
        if self._is_open:
            for lot in self.finish():
                for event in lot:
                    yield event

    async def _readable(self) -> None:
        """Until it is time to poll, which is soon."""
        from asyncio import get_running_loop, wait

        loop = get_running_loop()
        future: Future[None] = loop.create_future()
        # One of our own: the loop must be able to forget it after someone has closed the trace.
        fd = os.dup(self.fileno())
        try:
            loop.add_reader(fd, future.cancel)
            await wait([future], timeout=0 if self._backlog else _ATTEND_SECONDS)
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    @property
    def is_done(self) -> bool:
        """Whether what is followed has ended; what the rings still hold of it is in `finish()`."""
        return self._following is not None and self._following.is_done

    @property
    def returncode(self) -> int | None:
        """The command's exit code, -N if signal N killed it; None while it runs, and where none is followed."""
        command = self._following.command if self._following is not None else None
        return command.attend() if command is not None else None

    def finish(self) -> Iterator[list[ProcessEvent]]:
        """The rest, in lots, the programs being detached meanwhile; then `lost` is final."""
        if self._following is not None and self._following.command is not None:
            self._following.command.let_go()
        if self._pending:
            yield self.poll(0)
        for records in self._snoop.finish():
            # What the rings held is out of them before any of it is worked through.
            self._backlog.extend(records)
            while self._backlog:
                lot = [self._backlog.popleft() for _ in range(min(_LOT, len(self._backlog)))]
                yield self._feed(lot)
        yield self._chosen(self._stream.flush(), clock_gettime_ns(CLOCK_BOOTTIME))

    def _feed(self, records: list[Any]) -> list[ProcessEvent]:
        if self._snapshot is not None:
            records = self._snapshot.unless_told(records)
        if self._snoop.lost:
            records = [
                record for record in records if record._struct != "lost" or self._accounts.leave_out(record)
            ]
        # While more records wait, their time is the stream's: what an exit waits for may be among them.
        now_ns = self._backlog[0]._time_ns if self._backlog else clock_gettime_ns(CLOCK_BOOTTIME)
        return self._chosen(self._stream.feed(records, now_ns), now_ns)

    def _chosen(self, events: list[ProcessEvent], now_ns: int) -> list[ProcessEvent]:
        # Every fork and exit counts for the family, whatever the filter says.
        if self._following is not None:
            events = self._following.select(events, now_ns)
        return self._wanted(events)

    def _wanted(self, events: list[ProcessEvent]) -> list[ProcessEvent]:
        """Those that are wanted, as they shall be seen: only the filter knows the secrets."""
        if self._filter is not None:
            events = list(filter(self._filter.matches, events))
        if self._redactor is not None:
            for event in events:
                self._redactor.redact(event)
        return events

    def fileno(self) -> int:
        """A descriptor that becomes readable when it is time to call `poll(0)`, which may still return []."""
        return self._snoop.fileno()

    @property
    def lost(self) -> int:
        """How many events are known to be missing so far."""
        return self._snoop.lost - self._accounts.lost

    @property
    def losses(self) -> dict[str, int]:
        """The same by cause."""
        losses = self._snoop.losses
        if self._accounts.lost:
            losses["buffer_full"] -= self._accounts.lost
        return {cause: count for cause, count in losses.items() if count}

    @property
    def warnings(self) -> list[str]:
        """What the user should know about this run: smaller rings than asked for, say."""
        return [*self._snoop.warnings, *self._warnings]

    def lost_event(self, count: int, cause: str) -> ProcessEvent:
        """A notice for the stream that whoever puts these events out lost some of them."""
        return self._stream.lost_event(clock_gettime_ns(CLOCK_BOOTTIME), count, cause)

    def close(self) -> None:
        """Detach and unload; idempotent. What was not read is gone: see `finish()`. A command that runs goes on."""
        self._is_open = False
        self._pending.clear()
        self._snoop.close()
        if self._following is not None and self._following.command is not None:
            self._following.command.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def trace(
    command: Sequence[str] | None = None,
    *,
    subtree: int | None = None,
    linger: bool = True,
    where: str | None = None,
    redact: bool = False,
    redact_rules: Iterable[str] = (),
    failed: bool = False,
    existing: bool = False,
    columns: Iterable[str] = (),
    settle: float = SETTLE_SECONDS,
    buffer_bytes: int | None = None,
    transport: str | None = None,
) -> Trace:
    """Start watching the whole machine; the `Trace` gives `ProcessEvent`s until it is closed.

    With `command`, its name and arguments, run that and watch only it and all that it starts, double forks and daemons
    included, from its exec until the last of them has ended, or only until the command itself has if not `linger`;
    `Trace.returncode` is its status. CommandError, with the `errno`, if it can't begin. With `subtree`, a pid, watch
    only that process and all that comes from it.

    `where` is a filter, see docs/filters.md: only events that it selects are given, and notices of loss. What the
    kernel's side can decide of it, it does.
    `redact` hides passwords, tokens and keys in arguments, by built-in rules and `redact_rules`: a name each, of an
    option or variable whose value is secret, or a regular expression between slashes.
    `failed` asks for failed execs too, which makes every system call of the machine some 50 ns slower; `existing` for
    the processes that are there already, first. What costs more is collected only where `columns` or `where` names it:
    `cgroup`, `container`, `namespaces`, `exe`, `cwd`, `capabilities`.

    Exits, and what comes after them, are held back up to `settle` seconds for the kernel's exact account of the
    process, which is there once its parent has reaped it; 0 doesn't wait, and no `cpu_ns` is exact then.

    `buffer_bytes` is the size of the execs' ring per CPU, a power of two of pages; forks and exits have one of a
    quarter. `transport` is "perf" (the same as None) or "ring".
    Raises ValueError for a text that is no filter or rule; LoadError, AttachError or UnsupportedError where the kernel
    refuses.
    """
    return Trace(
        command,
        subtree=subtree,
        linger=linger,
        where=where,
        redact=redact,
        redact_rules=redact_rules,
        failed=failed,
        existing=existing,
        columns=columns,
        settle=settle,
        buffer_bytes=buffer_bytes,
        transport=transport,
    )
