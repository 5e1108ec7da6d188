"""Whose child a process is, and in which groups and namespaces it lives."""

from __future__ import annotations

import os
import time
from functools import partial

from . import calls, programs
from .stage import CannotRun, Stage, arguments_text, encoded, need_machine_pids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .stage import Case, Play, Seen

__all__ = ["CASES"]

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_ORPHANED_SECONDS = 5.0


def _report_and_run(path: bytes, marker: bytes, *told: int) -> int:
    os.write(1, b"".join(b"%d\0" % number for number in told))
    calls.execute(path, [b"exits", marker])
    return 126


def _parents_text(seen: Seen, pid: int) -> str:
    event = seen.one("exec", pid)
    makers = [fork.pid for fork in seen.of("fork") if fork.child_pid == event.pid]
    return f"made by {','.join(map(str, makers))}, child of {event.ppid}"


def daemon(reaper: bool, stage: Stage) -> Play:
    """Forked twice, the one between gone before the exec."""
    need_machine_pids()
    path = stage.program("exits-0", programs.exits(0))

    def body() -> int:
        if reaper:
            calls.subreaper()
        middle = calls.fork()
        if middle == 0:
            between = os.getpid()
            if calls.fork() == 0:
                deadline = time.monotonic() + _ORPHANED_SECONDS
                while os.getppid() == between and time.monotonic() < deadline:
                    time.sleep(0.001)
                return _report_and_run(path, stage.marker, os.getpid(), between, os.getppid())
            return 0
        os.waitpid(middle, 0)
        if reaper:
            os.wait()
        return 0

    ran = stage.perform(body)
    pid, between, parent = map(int, ran.words)
    if reaper and parent != ran.pid:
        raise CannotRun("the kernel gave the orphan to another process")
    seen = yield f"made by {between}, child of {parent}"
    return _parents_text(seen, pid)


def sibling(stage: Stage) -> Play:
    """CLONE_PARENT: who makes it doesn't become its parent."""
    need_machine_pids()
    path = stage.program("exits-0", programs.exits(0))

    def body() -> int:
        maker = calls.fork()
        if maker == 0:
            made = os.getpid()
            if calls.clone(calls.CLONE_PARENT) == 0:
                return _report_and_run(path, stage.marker, os.getpid(), made, os.getppid())
            return 0
        os.wait()
        os.wait()
        return 0

    ran = stage.perform(body)
    pid, maker, parent = map(int, ran.words)
    seen = yield f"made by {maker}, child of {parent}"
    return _parents_text(seen, pid)


def inherited(stage: Stage) -> Play:
    """A process that runs no program of its own has its parent's command."""
    need_machine_pids()
    with open("/proc/self/cmdline", "rb") as file:
        own = file.read().split(b"\0")[:-1]
    ran = stage.perform(lambda: 0)
    seen = yield f"{arguments_text(own)}, inherited"
    event = seen.one("exit", ran.pid)
    return f"{arguments_text(encoded(event.argv))}, {'inherited' if event.inherited else 'its own'}"


def pid_namespace(stage: Stage) -> Play:
    path = stage.program("exits-0", programs.exits(0))

    def body() -> int:
        calls.unshare(calls.CLONE_NEWPID)
        pid = calls.fork()
        if pid == 0:
            space = os.stat("/proc/self/ns/pid").st_ino
            return _report_and_run(path, stage.marker, os.getpid(), space)
        os.wait()
        return 0

    ran = stage.perform(body)
    seen = yield "pid {} in namespace {}".format(*map(int, ran.words))
    namespaces = seen.one("exec").namespaces or {}
    return f"pid {namespaces.get('inner_pid')} in namespace {namespaces.get('pid')}"


def namespaces(stage: Stage) -> Play:
    """All of them, some new."""
    path = stage.program("exits-0", programs.exits(0))

    def body() -> int:
        calls.unshare(calls.CLONE_NEWUSER | calls.CLONE_NEWUTS)
        names = [name for name in _NAMESPACES if os.path.exists(f"/proc/self/ns/{name}")]
        told = "".join(f"{name} {os.stat(f'/proc/self/ns/{name}').st_ino}\0" for name in names)
        os.write(1, told.encode())
        calls.execute(path, [b"exits", stage.marker])
        return 126

    ran = stage.perform(body)
    told = dict(word.decode().split() for word in ran.words)
    seen = yield f"{len(told)} namespaces, user {told['user']}, uts {told['uts']}"
    found = {key: str(value) for key, value in (seen.one("exec", ran.pid).namespaces or {}).items()}
    same = sum(found.get(name) == number for name, number in told.items())
    return f"{same} namespaces, user {found.get('user')}, uts {found.get('uts')}"


def cgroup(stage: Stage) -> Play:
    """Moved to a new group just before the exec."""
    top = _unified()
    with open("/proc/self/cgroup") as file:
        own = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
    if own is None:
        raise CannotRun("this process is in no group of version 2")
    group = f"{top}{own.rstrip('/')}/{stage.marker.decode()}"
    try:
        os.mkdir(group)
    except OSError as error:
        raise CannotRun(f"a group can't be made: {error.strerror}") from None
    path = stage.program("exits-0", programs.exits(0))

    def body() -> int:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write("0")
        with open("/proc/self/cgroup") as file:
            told = next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))
        os.write(1, told.encode() + b"\0")
        calls.execute(path, [b"exits", stage.marker])
        return 126

    try:
        ran = stage.perform(body)
    finally:
        os.rmdir(group)
    seen = yield ran.words[0].decode()
    return seen.one("exec", ran.pid).cgroup or "-"


def _unified() -> str:
    """Where version 2 of control groups is mounted."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                return before.split()[4]
    raise CannotRun("control groups of version 2 are not mounted")


CASES: tuple[tuple[str, Case], ...] = (
    ("a daemon, forked twice", partial(daemon, False)),
    ("an orphan and its subreaper", partial(daemon, True)),
    ("a sibling by CLONE_PARENT", sibling),
    ("no program of its own", inherited),
    ("pid 1 of a pid namespace", pid_namespace),
    ("in new namespaces", namespaces),
    ("moved to a new control group", cgroup),
)
