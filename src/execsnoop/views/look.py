"""What the views for people have in common: the screen, the clock, how words are quoted and users called."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns, gmtime, localtime, strftime

from snoopkit.render import DIM, Screen

from .cells import Words, number
from .grid import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import ProcessEvent

__all__ = ["Look"]


class Look:
    """Plain, or as the options say.

    `time` shows the time to the second, `timestamp` the seconds since `started_ns` (CLOCK_BOOTTIME; None: since now)
    instead or beside it; with neither it is to the millisecond. It is local, or UTC. `uid` keeps the column UID on a
    narrow screen, and adds it where it isn't there anyhow; `names` has names for numbers.
    """

    def __init__(
        self,
        screen: Screen | None = None,
        words: Words | None = None,
        *,
        time: bool = False,
        timestamp: bool = False,
        utc: bool = False,
        uid: bool = False,
        names: bool = False,
        started_ns: int | None = None,
    ) -> None:
        self.screen = screen if screen is not None else Screen()
        self.words = words if words is not None else Words()
        self.needs_uid = uid
        self.has_names = names
        self._time = time
        self._timestamp = timestamp
        self._started_ns = clock_gettime_ns(CLOCK_BOOTTIME) if started_ns is None else started_ns
        self._heading, self._broken_down = ("TIME(UTC)", gmtime) if utc else ("TIME", localtime)
        self._latest = (-1, "")

    def times(self, rank: int = 0, second_rank: int = 0) -> list[Column]:
        """The columns that tell when, and when a narrow screen does without milliseconds, and without any."""
        columns = []
        if self._time or not self._timestamp:
            second = Column(self._heading, 8, self._second, rank=0 if self._time else second_rank, style=_dim)
            exact = Column(self._heading, 12, self.time, rank=rank, narrow=second, style=_dim)
            columns.append(second if self._time else exact)
        if self._timestamp:
            columns.append(Column("TIME(s)", 8, self._since, is_right=True, style=_dim))
        return columns

    def uid(self, rank: int) -> Column:
        text = _user if self.has_names else _uid
        return Column("UID", 6, text, is_right=True, most=16, rank=0 if self.needs_uid else rank)

    def time(self, event: ProcessEvent) -> str:
        """`23:59:59.123`."""
        return f"{self._second(event)}.{event.unix_ns // 1_000_000 % 1000:03d}"

    def _second(self, event: ProcessEvent) -> str:
        second = event.unix_ns // 1_000_000_000
        if second != self._latest[0]:
            self._latest = (second, strftime("%H:%M:%S", self._broken_down(second)))
        return self._latest[1]

    def _since(self, event: ProcessEvent) -> str:
        return f"{(event.boottime_ns - self._started_ns) / 1e9:.3f}"


def _uid(event: ProcessEvent) -> str:
    return number(event.uid)


def _user(event: ProcessEvent) -> str:
    from .names import user

    return "" if event.uid is None else user(event.uid)


def _dim(event: object) -> str:
    return DIM
