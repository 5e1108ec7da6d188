"""What a package's programs print by bpf_printk(), with their names, among the events.

All programs of the machine print into the same buffers, and nothing in a message tells whose it is. So those are taken
that fit one of the package's own formats; who else prints by the same format, a second run of the package say, is
seen too.
"""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

from .. import features
from ..errors import AttachError
from ..events import Lost
from ..messages import Message
from .formats import formats
from .tracing import Instance, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..package import Package
    from .formats import Format

__all__ = ["Printed"]

MAP = "printk"  # what stands in a map's place where messages are missing


class Printed:
    """The messages of a package's programs, from when this is made to `close()`.

    Make it before they are attached. Where that can't be there are none, and `warnings` says why.
    """

    def __init__(self, package: Package) -> None:
        self.warnings: list[str] = []
        self.lost = 0
        self.is_done = False
        self._formats, silent = formats(package)
        if silent:
            self.warnings.append(
                f"what {', '.join(silent)} prints isn't shown: its formats aren't among the object's constants"
            )
        self._instance = self._opened() if self._formats else None
        anything = dict.fromkeys(name for one in self._formats if one.fits_anything for name in one.programs)
        if anything and self._instance is not None:
            self.warnings.append(
                f"{', '.join(anything)} prints by a format that any program's message fits: others' may be shown too"
            )

    def _opened(self) -> Instance | None:
        path = features.tracefs()
        if path is None:
            self.warnings.append(
                "what the programs print isn't shown: no tracefs is mounted (mount -t tracefs tracefs "
                "/sys/kernel/tracing)"
            )
            return None
        try:
            return Instance(path, [one.prefix for one in self._formats])
        except AttachError as error:
            self.warnings.append(f"what the programs print isn't shown: {error}")
            return None

    def read(self) -> list[Message | Lost]:
        """The messages that came since the last time, in the order of time."""
        if self._instance is None:
            return []
        found: list[Message | Lost] = []
        for line in parse(self._instance.read()):
            if len(line) == 2:
                cpu, count = line
                self.lost += count
                what = "messages of whatever programs"
                found.append(Lost(clock_gettime_ns(CLOCK_BOOTTIME), cpu, MAP, count, "buffer_full", what))
                continue
            time_ns, cpu, tid, comm, data = line
            message = data.decode("utf-8", "surrogateescape").removesuffix("\n")
            programs = _programs(self._formats, message)
            if programs:
                found.append(Message(time_ns, cpu, programs, message, tid, _comm(tid, comm)))
        found.sort(key=lambda item: item._time_ns)
        return found

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to be read, or to be warned of."""
        return self._instance is not None or bool(self.warnings)

    def close(self) -> None:
        if self._instance is not None:
            self._instance.close()


def _comm(tid: int, told: bytes | None) -> str | None:
    """A thread's, if the kernel had it at hand; it notes it down some time after the message."""
    if told is None:
        try:
            with open(f"/proc/{tid}/comm", "rb") as file:
                told = file.read().removesuffix(b"\n")
        except OSError:
            return None
    return told.decode("utf-8", "surrogateescape")


def _programs(known: list[Format], message: str) -> list[str]:
    return list(dict.fromkeys(name for one in known if one.fits(message) for name in one.programs))
