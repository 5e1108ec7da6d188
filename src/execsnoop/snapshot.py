"""The processes that were there before a trace began."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

from snoopkit.render import WallClock

from .identity import container, path
from .model import ProcessEvent
from .processes import Command
from .procfs import TICK_NS, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .processes import Processes
    from .procfs import Process

__all__ = ["look"]

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_NO_AUDIT_ID = 0xFFFFFFFF


def look(
    known: Processes, began_ns: int, groups: Mapping[str, bool] | None
) -> list[tuple[ProcessEvent, int]]:
    """Tell `known` what every process runs now, after all hooks are attached.

    With `groups`, which of the package's options are on, also returns an event for each that began before now, with
    the ticks of its start; they have the time `began_ns`, before the hooks were there.
    """
    attached_ns = clock_gettime_ns(CLOCK_BOOTTIME)
    unix_ns = WallClock().wall_ns(began_ns)
    found = []
    for process in processes():
        argv = process.arguments()
        size_bytes = sum(map(len, argv)) if argv else 0
        known.found(
            process.pid, process.start_ticks, Command(argv, size_bytes, None if argv else "unreadable")
        )
        if groups is not None and process.start_ticks * TICK_NS <= attached_ns:
            event = ProcessEvent("existing", began_ns, unix_ns, None)
            _describe(event, process, argv)
            _describe_more(event, process, groups)
            found.append((event, process.start_ticks))
    known.looked(clock_gettime_ns(CLOCK_BOOTTIME))
    return found


def _describe(event: ProcessEvent, process: Process, argv: list[str] | None) -> None:
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
    event.argv = argv
    if argv is None:
        event.mark("argv", "unreadable")


def _describe_more(event: ProcessEvent, process: Process, groups: Mapping[str, bool]) -> None:
    if groups["with_paths"]:
        for key in ("exe", "cwd"):
            link = process.link(key)
            setattr(event, key, link.removesuffix(" (deleted)") if link else None)
            if link is None:
                event.mark(key, "unreadable")
    if groups["with_cgroups"]:
        version_2, memory = _groups(process)
        event.cgroup = path(version_2 or memory)
        event.container = container(version_2, memory)
    if groups["with_namespaces"]:
        links = {name: process.link(f"ns/{name}") for name in _NAMESPACES}
        event.namespaces = {name: int(link.partition("[")[2][:-1]) for name, link in links.items() if link}
        if len(event.namespaces) < len(_NAMESPACES):
            event.mark("namespaces", "unreadable")


def _groups(process: Process) -> tuple[list[str], list[str]]:
    """The names from the leaf to the root, on version 2 and in version 1's memory controller."""
    found: dict[str, list[str]] = {}
    for line in (process.read("cgroup") or b"").decode("utf-8", "surrogateescape").splitlines():
        _, controllers, text = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = [name for name in reversed(text.split("/")) if name]
    return found.get("", []), found.get("memory", [])
