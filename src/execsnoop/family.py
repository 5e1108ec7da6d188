"""A process and all that comes from it, known by who made whom.

A process belongs to the family if one of the family made it, whoever its parent is now: double forks and daemons
belong to it, and so does a child that CLONE_PARENT made another's. What is remembered are the living, so memory is
bounded by their number.

Two things are decided by the list of living processes: who belonged to it before the trace began, and,
where forks or exits were lost, who does now. For an event from before such a list, of a process that may have been
made unseen and is not on the list any more, the parent decides. A process that was made unseen and orphaned before the
list was made is missed: that is what the notice of loss in the stream stands for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .model import ProcessEvent
    from .processes import Identity

__all__ = ["Family"]

_FOREVER_NS = 1 << 63
# An exit that happened before the list was made is out of the stream by then, unless it was lost.
_GRACE_NS = 1_000_000_000


class Family:
    """The family of `root`. `unsure_ns`: who began by then may have been made unseen (CLOCK_BOOTTIME).

    The root of a command is held before its exec: `is_held` says that its end is nobody's concern without one.
    """

    def __init__(self, root: Identity, unsure_ns: int, *, is_held: bool = False) -> None:
        self.root = root
        self._members = {root[0]: root[1]}  # start_boottime_ns by pid
        self._is_held = is_held
        self._unsure_ns = unsure_ns
        self._listed_ns = _FOREVER_NS
        # Who was on the last list, as long as older events may come; and the members that were not.
        self._living: set[Identity] = set()
        self._missing: set[Identity] = set()
        self.needs_list = True
        """Whether to call `set_list`: at the beginning, and after a loss."""

    def __contains__(self, process: Identity) -> bool:
        return self._members.get(process[0]) == process[1]

    def __len__(self) -> int:
        return len(self._members)

    def set_list(self, processes: Iterable[Any], boottime_ns: int) -> None:
        """Take up who lives now: records of listed_process, the list of which was begun at `boottime_ns`."""
        children: dict[Identity, list[Identity]] = {}
        living = set()
        for one in processes:
            process = one.pid, one.start_boottime_ns
            living.add(process)
            children.setdefault((one.ppid, one.parent_start_boottime_ns), []).append(process)
        found = [process for process in self._members.items() if process in living]
        self._missing = {process for process in self._members.items() if process not in living}
        while found:
            process = found.pop()
            self._members[process[0]] = process[1]
            found += [child for child in children.get(process, ()) if child not in self]
        self._living = living
        self._listed_ns = boottime_ns
        self.needs_list = False

    def select(self, events: Iterable[ProcessEvent], now_ns: int) -> list[ProcessEvent]:
        """The events of the family, and all notices of loss; `now_ns` is the stream's time."""
        chosen = [event for event in events if self._takes(event)]
        if self._living and now_ns > self._listed_ns + _GRACE_NS:
            for process in self._missing:
                self._remove(process)
            self._missing.clear()
            self._living.clear()
        return chosen

    def _takes(self, event: ProcessEvent) -> bool:
        if event.type == "lost":
            if event.events != "exec" and event.cause != "output_full":
                self._unsure_ns = max(self._unsure_ns, event.boottime_ns)
                self._listed_ns = _FOREVER_NS
                self.needs_list = True
            return True
        assert event.pid is not None and event.start_boottime_ns is not None
        process = event.pid, event.start_boottime_ns
        if process not in self and not self._takes_in(event, process):
            return False
        if event.type == "fork":
            assert event.child_pid is not None and event.child_start_boottime_ns is not None
            self._add((event.child_pid, event.child_start_boottime_ns), event.boottime_ns)
        elif event.type == "exec" and process == self.root:
            self._is_held = False
        elif event.type == "exit":
            self._remove(process)
            return not (self._is_held and process == self.root)
        return True

    def _takes_in(self, event: ProcessEvent, process: Identity) -> bool:
        """Whether a process that nobody was seen to make belongs here for its parent's sake."""
        if (
            process[1] > self._unsure_ns
            or event.boottime_ns > self._listed_ns
            or event.ppid not in self._members
        ):
            return False
        self._add(process, event.boottime_ns)
        return True

    def _add(self, process: Identity, boottime_ns: int) -> None:
        """A member, by an event of that time; of one older than the list, the end may be among what was lost."""
        self._members[process[0]] = process[1]
        if self._living and boottime_ns <= self._listed_ns and process not in self._living:
            self._missing.add(process)

    def _remove(self, process: Identity) -> None:
        if process in self:
            del self._members[process[0]]
