"""A package that has iterators and no events: what they write, once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..session import Snoop

__all__ = ["Dump"]


class Dump:
    """A live run's source: the records of each iterator that is switched on, then nothing more."""

    def __init__(self, snoop: Snoop) -> None:
        self._snoop = snoop
        self.is_done = False

    def poll(self, timeout: float | None = None) -> list[Any]:
        if self.is_done:
            return []
        self.is_done = True
        optional = {program.name for program in self._snoop.package.programs.values() if program.optional}
        names = [name for name in self._snoop.package.iterators if name not in optional]
        return [event for name in names for event in self._snoop.iterate(name).events()]

    def finish(self) -> Iterator[list[Any]]:
        return iter(())

    def close(self) -> None:
        self._snoop.close()

    @property
    def warnings(self) -> list[str]:
        return self._snoop.warnings

    @property
    def lost(self) -> int:
        return self._snoop.lost

    @property
    def losses(self) -> dict[str, int]:
        return self._snoop.losses
