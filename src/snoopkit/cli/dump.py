"""What a package's iterators write, once, when a run begins."""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

from ..abi import HELPERS
from ..messages import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..session import Snoop

__all__ = ["Dump"]

_PRINTERS = {HELPERS.index("seq_printf"), HELPERS.index("seq_printf_btf")}
_OF_ONE_THING = ("iter/bpf_map_elem", "iter/bpf_sk_storage_map")  # which one, nobody says


class Dump:
    """The records, or else the lines of text, of each iterator that is switched on."""

    def __init__(self, snoop: Snoop) -> None:
        self.warnings: list[str] = []
        self.lost = 0  # what is undecodable the Snoop counts
        self._snoop = snoop
        package = snoop.package
        names = [spec.name for spec in package.programs.values() if spec.is_iterator and not spec.optional]
        self._records = [name for name in names if name in package.iterators]
        self._texts: list[str] = []
        if others := [name for name in names if name not in package.iterators]:
            self._choose(others)
        self.is_done = not self.is_needed

    def _choose(self, names: list[str]) -> None:
        from ..calls import helpers

        package = self._snoop.package
        called = helpers(package.elf)
        for name in names:
            if package.programs[name].section in _OF_ONE_THING:
                why = "it goes over what is in one map, and needs to be told which"
            elif not _PRINTERS.intersection(called[name]):
                why = "the package doesn't say what its records are"
            else:
                self._texts.append(name)
                continue
            self.warnings.append(f"iterator {name} isn't shown: {why}")

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to be read, or to be warned of."""
        return bool(self._records or self._texts or self.warnings)

    def read(self) -> list[Any]:
        if self.is_done:
            return []
        self.is_done = True
        found = [event for name in self._records for event in self._snoop.iterate(name).events()]
        for name in self._texts:
            now = clock_gettime_ns(CLOCK_BOOTTIME)
            text = self._snoop.read_iterator(name).decode("utf-8", "surrogateescape")
            found += [Text(now, name, line) for line in text.removesuffix("\n").split("\n") if text]
        return found

    def close(self) -> None:
        pass
