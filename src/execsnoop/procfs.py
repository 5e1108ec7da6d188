"""What /proc tells of processes, never of another one that has the same pid by now."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TICK_NS", "Numbers", "Process", "arguments", "find", "has_whole_groups", "processes", "title"]

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""The unit of start times in /proc."""

_INITIAL_CGROUPS = "cgroup:[4026531835]"  # the kernel's own number for its first cgroup namespace
_KTHREADD = 2  # the parent of the kernel's own threads
_PF_FORKNOEXEC = 0x00000040
_PF_KTHREAD = 0x00200000
_PTS_MAJORS = range(136, 144)
_TTY_MAJOR = 4


class Process:
    """A process by its open folder in /proc, which stays that process's: what is gone reads as None."""

    __slots__ = ("_flags", "_folder", "_threads", "comm", "pid", "ppid", "start_ticks", "state", "tty")

    def __init__(self, pid: int) -> None:
        """OSError if there is no such process."""
        self.pid = pid
        self._folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        text = self.read("stat")
        if text is None:
            self.close()
            raise ProcessLookupError(pid)
        # The name may have anything in it, brackets too; what follows the last of them are numbers.
        before, _, after = text.rpartition(b")")
        fields = after.split()
        self.comm = before.partition(b"(")[2].decode("utf-8", "surrogateescape")
        self.state = fields[0].decode()
        self.ppid = int(fields[1])
        self.tty = _tty_name(int(fields[4]))
        self._flags = int(fields[6])
        self._threads = int(fields[17])
        self.start_ticks = int(fields[19])

    @property
    def is_kernel_thread(self) -> bool:
        return bool(self._flags & _PF_KTHREAD)

    @property
    def is_program(self) -> bool:
        """Whether it runs one: kernel threads don't, nor does what has ended."""
        return not self.is_kernel_thread and (self.state not in "ZX" or self._threads > 1)

    @property
    def is_forked_only(self) -> bool:
        """Whether it runs what the process ran that made it."""
        return bool(self._flags & _PF_FORKNOEXEC)

    def arguments(self) -> list[str] | None:
        """What stands in its memory of arguments, which it may have written over."""
        data = self.read("cmdline")
        if not data and self._threads > 1:  # the first of them may have left before the others
            names = (f"task/{number}/cmdline" for number in self._list("task"))
            data = next(filter(None, map(self.read, names)), None)
        if not data:
            return None
        return title(data.removesuffix(b"\0").decode("utf-8", "surrogateescape").split("\0"))

    def inner_pid(self) -> int | None:
        """Its number in its own pid namespace."""
        lines = (self.read("status") or b"").splitlines()
        return next((int(line.split()[-1]) for line in lines if line.startswith(b"NSpid:")), None)

    def ids(self) -> tuple[int, int, int, int] | None:
        """uid, gid, euid, egid."""
        lines = (self.read("status") or b"").splitlines()
        found = {line.partition(b":")[0]: line.split()[1:] for line in lines if line[1:4] == b"id:"}
        if b"Uid" not in found or b"Gid" not in found:
            return None
        users, groups = found[b"Uid"], found[b"Gid"]
        return int(users[0]), int(groups[0]), int(users[1]), int(groups[1])

    def groups(self) -> tuple[list[str], list[str]]:
        """The names of its control groups, from the leaf to the root: on version 2, and in version 1's memory
        controller."""
        found: dict[str, list[str]] = {}
        for line in (self.read("cgroup") or b"").decode("utf-8", "surrogateescape").splitlines():
            _, controllers, text = line.split(":", 2)
            for controller in controllers.split(","):
                found[controller] = [name for name in reversed(text.split("/")) if name]
        return found.get("", []), found.get("memory", [])

    def number(self, name: str) -> int | None:
        """That file's content, where it is a number."""
        text = self.read(name)
        return int(text) if text and text.strip().isdigit() else None

    def link(self, name: str) -> str | None:
        """Where that link leads."""
        try:
            return os.readlink(name, dir_fd=self._folder)
        except OSError:
            return None

    def _list(self, name: str) -> list[str]:
        try:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return []
        try:
            return os.listdir(folder)
        finally:
            os.close(folder)

    def read(self, name: str) -> bytes | None:
        try:
            file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return None
        try:
            parts = []
            while part := os.read(file, 1 << 16):
                parts.append(part)
            return b"".join(parts)
        except OSError:
            return None
        finally:
            os.close(file)

    def close(self) -> None:
        os.close(self._folder)


def title(argv: list[str]) -> list[str]:
    """What stands where arguments were: who wrote a shorter title there leaves the rest empty."""
    if argv[-2:] == ["", ""]:
        while len(argv) > 1 and not argv[-1]:
            argv.pop()
    return argv


class Numbers:
    """Whose numbers /proc has: it may be that of another pid namespace than ours."""

    def __init__(self) -> None:
        self._are_ours = _levels() == 1
        self.are_the_kernels = _has_kernel_threads()

    def of(self, pid: int, own_pid: int) -> int | None:
        """What a process is called there that has the number `pid` for the kernel and `own_pid` for us."""
        if self._are_ours:
            return own_pid or None
        return pid if self.are_the_kernels else None


def has_whole_groups() -> bool:
    """Whether control groups' paths begin at their hierarchy's root: in a cgroup namespace they don't."""
    try:
        return os.readlink("/proc/self/ns/cgroup") == _INITIAL_CGROUPS
    except FileNotFoundError:
        return True  # a kernel without such namespaces
    except OSError:
        return False


def _has_kernel_threads() -> bool:
    """They are in the initial pid namespace and no other."""
    try:
        process = Process(_KTHREADD)
    except OSError:
        return False
    process.close()
    return process.is_kernel_thread


def _levels() -> int:
    """How many pid namespaces this process is in, from that of /proc inwards."""
    try:
        with open("/proc/self/status") as file:
            return next((len(line.split()) - 1 for line in file if line.startswith("NSpid:")), 0)
    except OSError:
        return 0


def processes() -> Iterator[Process]:
    """Every process that runs a program, as far as this one may see it; each is closed before the next."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            process = Process(int(name))
        except OSError:
            continue
        try:
            if process.is_program:
                yield process
        finally:
            process.close()


def find(pid: int, start_boottime_ns: int) -> Process | None:
    """That process, for the caller to close; None if it is gone."""
    try:
        process = Process(pid)
    except OSError:
        return None
    if process.start_ticks == start_boottime_ns // TICK_NS:
        return process
    process.close()
    return None


def arguments(pid: int, start_boottime_ns: int) -> bytes | None:
    """What stands in a process's memory of arguments, each with its NUL; None if that process is gone."""
    process = find(pid, start_boottime_ns)
    if process is None:
        return None
    try:
        return process.read("cmdline")
    finally:
        process.close()


def _tty_name(device: int) -> str | None:
    """The kernel's name for a terminal, of the kinds that people sit at."""
    major, minor = device >> 8 & 0xFFF, (device & 0xFF) | (device >> 12 & 0xFFF00)
    if major in _PTS_MAJORS:
        return f"pts{(major - _PTS_MAJORS.start << 8) + minor}"
    if major == _TTY_MAJOR:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return None
