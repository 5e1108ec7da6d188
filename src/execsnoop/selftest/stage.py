"""Where the cases play: children that are watched while they run, and what the trace told of them."""

from __future__ import annotations

import os
import signal
import zlib
from bisect import bisect_right
from select import select
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic

from snoopkit.render import quote

from . import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from resource import struct_rusage
    from typing import Any, Protocol

    from ..model import ProcessEvent

    class Source(Protocol):
        """What is tested: a `Trace`, or something like one."""

        @property
        def lost(self) -> int: ...
        def poll(self, timeout: float | None = None) -> list[ProcessEvent]: ...
        def finish(self) -> Iterator[list[ProcessEvent]]: ...
        def fileno(self) -> int: ...

    Identity = tuple[int | None, int | None]
    # Of a case: has its processes run, gives what a witness expects, is sent what was seen, returns it in the same
    # terms.
    Play = Generator[str, "Seen", str]
    Case = Callable[["Stage"], Play]


__all__ = [
    "CannotRun",
    "Child",
    "Mismatch",
    "Ran",
    "Seen",
    "Stage",
    "arguments_text",
    "encoded",
    "life_text",
    "need_machine_pids",
    "plain",
    "status_text",
]

_STARTING_SECONDS = 5.0
_LONGEST_TEXT = 60
_FAILED, _REFUSED = 126, 125
_CANNOT = b"\0cannot: "
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
_ENVIRONMENT = (b"SELFTEST=1",)


class CannotRun(Exception):
    """This machine doesn't have what the case needs."""


class Mismatch(Exception):
    """What was seen is so different from what was expected that it can't be told in the same terms."""


class Child:
    """A child of the self-test that runs: its pid, and where its report comes from."""

    def __init__(self, pid: int, report: int, pidfd: int) -> None:
        self.pid = pid
        self.report = report
        self.pidfd = pidfd


class Ran:
    """What became of a child, as wait4() and the child itself tell."""

    def __init__(self, pid: int, status: int, usage: struct_rusage, report: bytes) -> None:
        self.pid = pid
        self.status = status
        self.usage = usage
        self.report = report

    @property
    def words(self) -> list[bytes]:
        """What it reported, where that is text with a NUL behind each piece."""
        return self.report.split(b"\0")[:-1]


class Seen:
    """What the trace told of the processes of one case."""

    def __init__(self, events: Sequence[ProcessEvent]) -> None:
        self.events = events

    def of(self, type: str, pid: int | None = None) -> list[ProcessEvent]:
        """Those of one type; of the process that has this pid in its own pid namespace, if one is given."""
        found = [event for event in self.events if event.type == type]
        if pid is not None:
            found = [event for event in found if (event.namespaces or {}).get("inner_pid") == pid]
        return found

    def one(self, type: str, pid: int | None = None) -> ProcessEvent:
        found = self.of(type, pid)
        if len(found) != 1:
            raise Mismatch(f"{len(found)} events of type {type}")
        return found[0]


_FLAGS = (
    "memfd",
    "deleted",
    "upper_layer",
    "setuid",
    "setgid",
    "secureexec",
)  # in the order that events have


class Stage:
    """One trace, one folder, and the children of this process, each of which belongs to the case it was made in."""

    def __init__(self, source: Source, folder: str) -> None:
        self.folder = folder
        self.marker = f"selftest-{os.urandom(6).hex()}".encode()
        self.children = 0
        self.children_seen = 0
        self.disordered = 0
        self._source = source
        self._latest_ns = 0
        self._own: Identity | None = None
        self._began_ns: list[int] = []
        self._cases: list[list[ProcessEvent]] = []
        self._members: dict[Identity, list[ProcessEvent]] = {}

    # Programs

    def flags(self, *names: str) -> str:
        """The flags that a program in this folder has, with these: on an overlay, as in a container, one more."""
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = [line.split() for line in file]
        device = os.stat(self.folder).st_dev
        here = f"{os.major(device)}:{os.minor(device)}"
        if any(fields[2] == here and fields[fields.index("-") + 1] == "overlay" for fields in mounts):
            names = tuple(sorted({*names, "upper_layer"}, key=_FLAGS.index))
        return ",".join(names) or "-"

    def program(self, name: str, content: bytes, mode: int = 0o755) -> bytes:
        """The path of a program in the stage's folder, made unless it is there."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, mode)
        return os.fsencode(path)

    def start(self, body: Callable[[], int | None], until_exec: bool = False) -> Child:
        """A child that does `body`, its report being what it writes to descriptor 1, its exit code what it returns.

        OSError in it means that the machine refuses. With `until_exec` it is running another program on return.
        """
        report, write = os.pipe()
        is_running, ends_by_exec = os.pipe()
        pid = calls.fork()
        if pid == 0:
            self._play(body, write)
        self._made_one()
        os.close(write)
        os.close(ends_by_exec)
        if until_exec:
            os.read(is_running, 1)
        os.close(is_running)
        return Child(pid, report, os.pidfd_open(pid))

    def _play(self, body: Callable[[], int | None], write: int) -> None:
        code: int | None = _FAILED
        try:
            os.dup2(write, 1)
            code = body() or 0
        except OSError as error:
            os.write(1, _CANNOT + (error.strerror or str(error)).encode())
            code = _REFUSED
        finally:
            calls.end_process(code if code is not None else _FAILED)

    def finish(self, child: Child) -> Ran:
        """Wait until the child and all that can add to its report are gone, the trace being read meanwhile."""
        deadline = monotonic() + calls.MAX_CHILD_SECONDS
        parts: list[bytes] = []
        waiting = {child.report, child.pidfd}
        try:
            while waiting:
                left = deadline - monotonic()
                if left <= 0:
                    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
                    os.wait4(child.pid, 0)
                    raise Mismatch(f"it still ran after {calls.MAX_CHILD_SECONDS} seconds")
                ready, _, _ = select([*waiting, self._source.fileno()], [], [], left)
                if child.report in ready:
                    part = os.read(child.report, 1 << 16)
                    parts.append(part)
                    if not part:
                        waiting.discard(child.report)
                if child.pidfd in ready:
                    waiting.discard(child.pidfd)
                self.look()
            _, status, usage = os.wait4(child.pid, 0)
        finally:
            os.close(child.report)
            os.close(child.pidfd)
        ran = Ran(child.pid, status, usage, b"".join(parts))
        if _CANNOT in ran.report and os.waitstatus_to_exitcode(status) == _REFUSED:
            raise CannotRun(ran.report.partition(_CANNOT)[2].decode())
        return ran

    def perform(self, body: Callable[[], int | None]) -> Ran:
        return self.finish(self.start(body))

    def run(
        self,
        path: bytes,
        argv: Sequence[bytes],
        environment: Sequence[bytes] = _ENVIRONMENT,
        before: Callable[[], object] | None = None,
    ) -> Ran:
        """Run a program, and in the child `before` that."""
        return self.perform(running(path, argv, environment, before))

    def spawn(self, path: bytes, argv: Sequence[bytes]) -> int:
        """The pid of a child that runs a program at once; whoever calls this reaps it."""
        pid = os.posix_spawn(path, list(argv), {})
        self._made_one()
        return pid

    def _made_one(self) -> None:
        self.children += bool(self._cases)

    # The trace

    def find_itself(self) -> bool:
        """Learn which process this is to the trace, in whose pid namespace it may have another pid."""
        from . import programs

        path = self.program("first", programs.exits(0))
        child = self.start(running(path, [b"first", self.marker], (), None))
        events: list[ProcessEvent] = []
        deadline = monotonic() + _STARTING_SECONDS
        own: set[Identity] = set()
        while not own and (left := deadline - monotonic()) > 0:
            events += self._source.poll(left)
            of_child = {
                _identity(event)
                for event in events
                if event.type == "exec" and event.argv and self.marker.decode() in event.argv
            }
            own = {_identity(e) for e in events if e.type == "fork" and _child(e) in of_child}
        os.wait4(child.pid, 0)
        os.close(child.report)
        os.close(child.pidfd)
        self._own = next(iter(own), None)
        return self._own is not None

    def begin(self) -> int:
        """A new case: the children made from now on are its own. Returns its number."""
        self._began_ns.append(clock_gettime_ns(CLOCK_BOOTTIME))
        self._cases.append([])
        return len(self._cases) - 1

    def look(self, timeout: float = 0.0) -> None:
        """Take in what the trace has to tell."""
        self._take(self._source.poll(timeout))

    def watch(self, seconds: float, until: Callable[[Seen], object] | None = None) -> None:
        """Read the trace for that long, or until it has told of this case what was waited for."""
        deadline = monotonic() + seconds
        while (left := deadline - monotonic()) > 0:
            if until is not None and until(Seen(self._cases[-1])):
                return
            self.look(left)

    def end(self) -> None:
        """Take in the rest; the trace is over."""
        for events in self._source.finish():
            self._take(events)

    @property
    def lost(self) -> int:
        return self._source.lost

    @property
    def all(self) -> Seen:
        """What the trace told of all cases."""
        return Seen([event for events in self._cases for event in events])

    def seen(self, case: int) -> Seen:
        return Seen(self._cases[case])

    def _take(self, events: Iterable[ProcessEvent]) -> None:
        for event in events:
            self.disordered += event.boottime_ns < self._latest_ns
            self._latest_ns = event.boottime_ns
            identity = _identity(event)
            case = self._members.get(identity)
            if event.type == "fork":
                if identity == self._own:
                    number = bisect_right(self._began_ns, event.boottime_ns) - 1
                    case = self._cases[number] if number >= 0 else None
                    self.children_seen += case is not None
                if case is not None:
                    self._members[_child(event)] = case
            if case is not None:
                case.append(event)


def running(
    path: bytes, argv: Sequence[bytes], environment: Sequence[bytes], before: Callable[[], object] | None
) -> Callable[[], int]:
    """A child's body that runs a program."""

    def body() -> int:
        if before is not None:
            before()
        number = calls.execute(path, argv, environment)
        raise OSError(number, f"{os.fsdecode(os.path.basename(path))}: {os.strerror(number)}")

    return body


def need_machine_pids() -> None:
    """For cases about pids that the trace tells as those of the machine, or finds again in /proc."""
    if os.stat("/proc/self/ns/pid").st_ino != _INITIAL_PID_NAMESPACE:
        raise CannotRun("processes have other pids in this pid namespace")


def _identity(event: ProcessEvent) -> Identity:
    return event.pid, event.start_boottime_ns


def _child(event: ProcessEvent) -> Identity:
    return event.child_pid, event.child_start_boottime_ns


def encoded(texts: Iterable[str] | None) -> list[bytes] | None:
    """The exact bytes of an event's texts."""
    return None if texts is None else [text.encode("utf-8", "surrogateescape") for text in texts]


def arguments_text(argv: Sequence[bytes] | None) -> str:
    """Arguments for people: as a shell reads them, or how many, of what size and with what check sum."""
    if argv is None:
        return "no arguments known"
    text = quote([argument.decode("utf-8", "surrogateescape") for argument in argv])
    if len(text) <= _LONGEST_TEXT:
        return text
    data = b"".join(argument + b"\0" for argument in argv)
    return f"{len(argv)} arguments, {len(data)} bytes, crc32 {zlib.crc32(data):08x}"


def status_text(status: int) -> str:
    """What wait4() gave, for people."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"SIGRTMIN+{number - signal.SIGRTMIN}"
        return f"{status:#06x} {name}{' core' if os.WCOREDUMP(status) else ''}"
    return f"{status:#06x} exit {os.WEXITSTATUS(status)}"


def life_text(seen: Seen, pid: int) -> str:
    """The end of a process in the words of `status_text`."""
    event = seen.one("exit", pid)
    if event.signal is None:
        return f"{event.status:#06x} exit {event.exit_code}"
    return f"{event.status:#06x} {event.signal}{' core' if event.core_dumped else ''}"


def plain(value: Any) -> str:
    """A value of an event for people."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "-" if value is None else str(value)
