"""Which command each running process has: its own, or the one of the process that made it.

A process is (pid, start_boottime_ns), never the pid alone.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Identity = tuple[int, int]

__all__ = ["Command", "Processes", "Running"]

# How many processes are remembered, and with how many bytes of arguments in all. A Python string takes so much more
# than its text.
_MAX_RUNNING = 65_536
_MAX_ARGV_BYTES = 16 << 20
_STRING_BYTES = 64
# How much later than the new program's memory an exec may be told.
_EXEC_NS = 1_000_000_000


class Command:
    """What was asked to run: its arguments, or None and a `reason`; with both, `argv` is not whole. A process and those
    that inherit from it share it."""

    __slots__ = ("argv", "reason", "size_bytes", "users")

    def __init__(self, argv: list[str] | None, captured_bytes: int = 0, reason: str | None = None) -> None:
        self.argv = argv
        self.reason = reason
        self.size_bytes = captured_bytes + _STRING_BYTES * len(argv or ())
        self.users = 0


class Running:
    """A process that still runs: its last command (None: not known), since when, and whether it is `inherited`, or
    was found running."""

    __slots__ = ("command", "inherited", "is_found", "since_ns")

    def __init__(
        self, command: Command | None, since_ns: int, inherited: bool, is_found: bool = False
    ) -> None:
        self.command = command
        self.since_ns = since_ns
        self.inherited = inherited
        self.is_found = is_found


class Processes:
    """The commands of running processes, within bounds: beyond `max_running` processes or `max_argv_bytes` of their
    arguments those that were set first are forgotten and counted in `evicted`. So are those that were found last,
    beyond as much again.
    """

    def __init__(self, *, max_running: int = _MAX_RUNNING, max_argv_bytes: int = _MAX_ARGV_BYTES) -> None:
        self.evicted = 0
        self._max_running = max_running
        self._max_argv_bytes = max_argv_bytes
        self._running: dict[Identity, Running] = {}
        self._argv_bytes = 0
        self._uncertain_ns = 0
        # Those that were there before: by pid, when they began, as exactly as that is known, and what they ran.
        self._older: dict[int, tuple[int, Running]] = {}
        self._older_bytes = 0
        self._older_unit_ns = 1
        self._looked_ns = 0

    def found(self, process: Identity, command: Command, inherited: bool) -> None:
        """A process was there before anything of it was seen, and ran this, or its parent did."""
        self._older_bytes += command.size_bytes
        if len(self._older) >= self._max_running or self._older_bytes > self._max_argv_bytes:
            self.evicted += 1
            return
        self._older[process[0]] = (process[1], Running(command, process[1], inherited, True))

    def looked(self, boottime_ns: int, unit_ns: int = 1) -> None:
        """That was all that were found, and it took until then; they began within `unit_ns` from the times given."""
        self._looked_ns = boottime_ns
        self._older_unit_ns = unit_ns

    def execed(self, process: Identity, command: Command, boottime_ns: int) -> None:
        """A process runs this command from now on."""
        before = self._known(process)
        if before is not None and before.is_found and before.command:
            ahead_ns = boottime_ns - self._looked_ns
            if ahead_ns <= 0 or (ahead_ns < _EXEC_NS and before.command.argv == command.argv):
                # What was found may be what it ran only afterwards; who inherited from it did so before.
                before.command.argv, before.command.reason = None, "raced"
        self._set(process, Running(self._bounded(command), boottime_ns, False))

    def forked(self, parent: Identity, child: Identity) -> Command | None:
        """A process began; returns the command that it has from its parent, if that is known."""
        command = self.command(parent)
        self._set(child, Running(command, child[1], True))
        return command

    def ended(self, process: Identity) -> Running | None:
        """What is known of a process that is gone, for the last time."""
        running = self._known(process)
        if running is None:
            return None
        self._forget(process)
        if self._is_uncertain(process, running):
            running.command = None
        return running

    def command(self, process: Identity) -> Command | None:
        """The command of a running process, None if it isn't known."""
        running = self._known(process)
        return None if running is None or self._is_uncertain(process, running) else running.command

    def doubt(self, until_ns: int) -> None:
        """Execs were missed: what was there by then may run another command than its parent's."""
        self._uncertain_ns = max(self._uncertain_ns, until_ns)

    def _bounded(self, command: Command) -> Command:
        """The command, or only its beginning where it alone would make all others be forgotten."""
        limit = self._max_argv_bytes // 2
        if command.size_bytes <= limit or command.argv is None:
            return command
        kept: list[str] = []
        size_bytes = 0
        for argument in command.argv:
            if size_bytes + (len(kept) + 1) * _STRING_BYTES + len(argument) > limit // 8:
                break
            kept.append(argument)
            size_bytes += len(argument)
        return Command(kept, size_bytes, "truncated")

    def _known(self, process: Identity) -> Running | None:
        running = self._running.get(process)
        if running is None and self._older:
            start_ns, found = self._older.pop(process[0], (-1, None))
            if found is not None and start_ns == process[1] - process[1] % self._older_unit_ns:
                running = found
                running.since_ns = process[1]
                self._set(process, running)
        return running

    def _is_uncertain(self, process: Identity, running: Running) -> bool:
        return running.inherited and process[1] <= self._uncertain_ns

    def _set(self, process: Identity, running: Running) -> None:
        command = running.command
        if command is not None:
            command.users += 1
            if command.users == 1:
                self._argv_bytes += command.size_bytes
        if process in self._running:
            self._forget(process)
        self._running[process] = running
        while len(self._running) > self._max_running or self._argv_bytes > self._max_argv_bytes:
            self._forget(next(iter(self._running)))
            self.evicted += 1

    def _forget(self, process: Identity) -> None:
        command = self._running.pop(process).command
        if command is not None:
            command.users -= 1
            if command.users == 0:
                self._argv_bytes -= command.size_bytes
