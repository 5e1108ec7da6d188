"""What a trace gives when it follows a command or a process, and when that is over."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

import snoopkit

from .family import Family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .command import Command
    from .model import ProcessEvent
    from .snapshot import Listing

__all__ = ["Following"]

# How often who lives is looked up again where only a family is waited for: should an end ever come without a record
# and without a witness of its loss, nobody waits for it for ever.
_LOOK_NS = 2_000_000_000


class Following:
    """The family of a `command`, which is held and not released here, or of the process that has the pid `subtree` in
    our pid namespace. `listing` is that of a run which has all hooks attached by now.

    It ends with the last of the family; without `linger`, with the command itself.
    """

    def __init__(self, listing: Listing, command: Command | None, subtree: int | None, linger: bool) -> None:
        self.command = command
        self._listing = listing
        self._linger = linger
        attached_ns = clock_gettime_ns(CLOCK_BOOTTIME)
        pid = command.hold() if command is not None else subtree
        listed_ns, processes = self._list()
        root = next((one for one in processes if one.own_pid == pid), None)
        if root is None:
            raise snoopkit.SnoopkitError(f"follow: no process has the pid {pid}")
        self._family = Family((root.pid, root.start_boottime_ns), attached_ns, is_held=command is not None)
        self._family.set_list(processes, listed_ns)

    def _list(self) -> tuple[int, list[Any]]:
        self._listed_ns = clock_gettime_ns(CLOCK_BOOTTIME)
        return self._listed_ns, self._listing.read()

    def select(self, events: Iterable[ProcessEvent], now_ns: int) -> list[ProcessEvent]:
        """The family's events; `now_ns` is the stream's time."""
        return self._family.select(events, now_ns)

    def attend(self) -> None:
        """Now and then, while it lasts: to the command, and to who lives where forks or exits were lost."""
        if self.command is not None:
            self.command.attend()
        if self._family.needs_list or (
            self._lingers and clock_gettime_ns(CLOCK_BOOTTIME) > self._listed_ns + _LOOK_NS
        ):
            began_ns, processes = self._list()
            self._family.set_list(processes, began_ns)

    @property
    def _lingers(self) -> bool:
        return self.command is None or self.command.returncode is not None

    @property
    def is_done(self) -> bool:
        command = self.command
        if command is not None and (command.is_dismissed or not self._linger):
            return command.returncode is not None
        return not self._family

    def began_before(self, event: ProcessEvent) -> bool:
        """Whether an event of the snapshot is one of the family's."""
        return (event.pid or 0, event.start_boottime_ns or 0) in self._family
