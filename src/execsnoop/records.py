"""A record of the package as an event: what it says of its process, what of that is not whole."""

from __future__ import annotations

import os

from snoopkit.render import WallClock

from .identity import path
from .model import ProcessEvent
from .processes import Command
from .procfs import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from .containers import Containers

__all__ = ["MAY_REPEAT", "UNSELECTED", "Records", "command", "set_account", "whole_argv"]

# header.flags of execsnoop.h
_ARGV_TRUNCATED = 0x01
_ARGV_UNREADABLE = 0x02
_FILENAME_TRUNCATED = 0x04
_FILENAME_UNREADABLE = 0x08
_AUDIT_UNSUPPORTED = 0x10
MAY_REPEAT = 0x20
_IO_UNSUPPORTED = 0x40
_INTERPRETER_TRUNCATED = 0x80
_CGROUP_TRUNCATED = 0x100
_EXE_TRUNCATED = 0x200
_CWD_TRUNCATED = 0x400
UNSELECTED = 0x800

# exec_event.how
_IS_SCRIPT = 0x01
_HAS_SETID = 0x20
_HOW_FLAGS = ((0x02, "memfd"), (0x04, "deleted"), (0x08, "upper_layer"))
_IS_SECURE = 0x10

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_CAPABILITY_SETS = ("inheritable", "permitted", "effective", "bounding", "ambient")
_AT_FDCWD = -100

_NO_AUDIT_ID = 0xFFFFFFFF  # loginuid or sessionid of what no login started
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Records:
    """Makes events of records. `sees_credentials` says that this kernel tells of changes of user and group before they
    happen, `groups` which of the package's options are on. `containers` are needed where control groups are among
    them."""

    def __init__(
        self, *, sees_credentials: bool, groups: Collection[str], containers: Containers | None = None
    ) -> None:
        self._sees_credentials = sees_credentials
        self._containers = containers
        self._has_namespaces = "with_namespaces" in groups
        self._has_paths = "with_paths" in groups
        self._has_capabilities = "with_capabilities" in groups
        self.clock = WallClock()

    def event(self, type: str, record: Any) -> ProcessEvent:
        """An event with what every record tells of its process."""
        event = ProcessEvent(type, record._time_ns, self.clock.wall_ns(record._time_ns), record._cpu)
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
        if self._containers is not None:
            _set_cgroup(event, record, self._containers)
        if self._has_namespaces:
            event.namespaces = dict(zip(_NAMESPACES, record.namespaces, strict=True))
            event.namespaces["inner_pid"] = record.inner_pid
        if record.header.flags & _AUDIT_UNSUPPORTED:
            event.mark("loginuid", "unsupported")
            event.mark("sessionid", "unsupported")
            return event
        if record.loginuid != _NO_AUDIT_ID:
            event.loginuid = record.loginuid
        if record.sessionid != _NO_AUDIT_ID:
            event.sessionid = record.sessionid
        return event

    def exec(self, record: Any) -> tuple[ProcessEvent, Command]:
        """Also the command that the process has from now on."""
        event = self.event("exec", record)
        flags = record.header.flags
        ran = command(record)
        event.argv = ran.argv
        if ran.reason:
            event.mark("argv", ran.reason)
        event.argv_size_bytes = record.argv_size_bytes
        if flags & _FILENAME_UNREADABLE:
            event.mark("filename", "unreadable")
        else:
            event.filename = record.filename
            if flags & _FILENAME_TRUNCATED:
                event.mark("filename", "truncated")
        if record.how:
            self._set_how(event, record)
        if self._has_paths:
            event.exe, event.cwd = path(record.exe), path(record.cwd)
            if flags & _EXE_TRUNCATED:
                event.mark("exe", "truncated")
            if flags & _CWD_TRUNCATED:
                event.mark("cwd", "truncated")
        if self._has_capabilities:
            sets = zip(_CAPABILITY_SETS, record.capabilities, strict=True)
            event.capabilities = {name: f"{bits:016x}" for name, bits in sets}
        if record.old_tid != record.pid:
            event.old_tid = record.old_tid
        return event, ran

    def fail(self, record: Any) -> ProcessEvent:
        from errno import errorcode

        event = self.event("exec_failed", record)
        flags = record.header.flags
        event.errno = record.error
        event.error = errorcode.get(record.error, f"E{record.error}")
        if record.dirfd != _AT_FDCWD or record.at_flags:
            event.dirfd = record.dirfd
            event.at_flags = record.at_flags
        if flags & _FILENAME_UNREADABLE:
            event.mark("filename", "unreadable")
        else:
            event.filename = record.filename
        if flags & _ARGV_UNREADABLE:
            event.argv = record.argv or None
            event.mark("argv", "unreadable")
        else:
            event.argv = record.argv
            if flags & _ARGV_TRUNCATED:
                event.mark("argv", "truncated")
        return event

    def _set_how(self, event: ProcessEvent, record: Any) -> None:
        how = record.how
        if how & _IS_SCRIPT:
            event.script = event.filename
            event.interpreter = record.interpreter
            if record.header.flags & _INTERPRETER_TRUNCATED:
                event.mark("interpreter", "truncated")
        flags = [name for bit, name in _HOW_FLAGS if how & bit]
        if how & _IS_SECURE:
            flags.append("secureexec")
        if flags:
            event.flags = flags
        if how & _HAS_SETID and not self._sees_credentials:
            event.mark("flags", "unsupported")


def command(record: Any) -> Command:
    """What an exec runs."""
    if record.header.flags & _ARGV_UNREADABLE:
        return Command(None, 0, "unreadable")
    if record.header.flags & _ARGV_TRUNCATED:
        whole = whole_argv(record, record.pid)
        if whole is not None:
            return Command(whole, record.argv_size_bytes)
        return Command(record.argv, record.argv_captured_bytes, "truncated")
    return Command(record.argv, record.argv_captured_bytes)


def set_account(event: ProcessEvent, record: Any, is_exact: bool) -> None:
    """Split what the scheduler measured as the clock's ticks were split, which is how wait4() does it."""
    event.cpu_ns = record.cpu_ns
    event.cpu_exact = is_exact
    ticks_ns = record.user_ns + record.system_ns
    event.system_cpu_ns = record.cpu_ns * record.system_ns // ticks_ns if ticks_ns else 0
    event.user_cpu_ns = record.cpu_ns - event.system_cpu_ns
    event.max_rss_bytes = record.max_rss_pages * _PAGE_BYTES
    event.minor_faults = record.minor_faults
    event.major_faults = record.major_faults
    event.voluntary_switches = record.voluntary_switches
    event.involuntary_switches = record.involuntary_switches
    if record.header.flags & _IO_UNSUPPORTED:
        event.mark("read_bytes", "unsupported")
        event.mark("write_bytes", "unsupported")
    else:
        event.read_bytes = record.read_bytes
        event.write_bytes = record.write_bytes


def whole_argv(record: Any, pid: int) -> list[str] | None:
    """The arguments of which a record has only the beginning, if the process, `pid` in /proc, still has them in its
    memory."""
    data = arguments(pid, record.start_boottime_ns)
    # It may run something else by now, or have written its own title there.
    start = "\0".join(record.argv).encode("utf-8", "surrogateescape")
    if (
        data is None
        or len(data) != record.argv_size_bytes
        or not data.startswith(start)
        or data[-1:] != b"\0"
    ):
        return None
    return data[:-1].decode("utf-8", "surrogateescape").split("\0")


def _set_cgroup(event: ProcessEvent, record: Any, containers: Containers) -> None:
    # On a host with both versions one of them has nearly all processes in its root.
    event.cgroup = path(record.cgroup or record.cgroup_v1)
    event.container = containers.of(record.cgroup, record.cgroup_v1)
    if record.header.flags & _CGROUP_TRUNCATED:
        event.mark("cgroup", "truncated")
