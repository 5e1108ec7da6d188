"""Addresses to functions: of the kernel, and of processes that run or ran."""

from __future__ import annotations

from array import array
from itertools import takewhile
from time import CLOCK_BOOTTIME, clock_gettime_ns

from ..stacks import Frame, is_kernel_address
from .kernel import KALLSYMS, KernelSymbols, are_hidden
from .user import UserSymbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Symbols"]


class Symbols:
    """Names for the addresses in stacks.

    The kernel's are those of /proc/kallsyms. A process's come from the files that it has mapped (.symtab, or .dynsym),
    found through /proc whatever its root, and from /tmp/perf-PID.map. Everything is read when it is first needed, and
    bounded. Processes that ended before anybody asked are only addresses.
    """

    def __init__(self) -> None:
        self._kernel = KernelSymbols()
        self._user = UserSymbols()

    def frames(
        self, addresses: Iterable[int], pid: int | None = None, time_ns: int | None = None
    ) -> list[Frame]:
        """The frames of one stack, the innermost first; without a `pid` only the kernel's get names.

        `addresses` end with the first 0, and may be the bytes of numbers of 64 bits, as a map of stacks has them.
        `time_ns` is when it was taken (CLOCK_BOOTTIME), None for now.
        """
        if isinstance(addresses, (bytes, bytearray)):
            addresses = array("Q", addresses)
        own = list(takewhile(bool, addresses))
        found: list[Frame] = []
        at = 0
        while at < len(own) and is_kernel_address(own[at]):
            found.append(self._kernel.frame(own[at], own[at] - (at > 0)))
            at += 1
        if pid is None:
            found += [Frame(address) for address in own[at:]]
        elif at < len(own):
            if time_ns is None:
                time_ns = clock_gettime_ns(CLOCK_BOOTTIME)
            found += self._user.frames(pid, own[at:], time_ns)
        return found

    @property
    def warnings(self) -> list[str]:
        """What the user should know: that the kernel tells no addresses, say."""
        if not are_hidden():
            return []
        return [
            f"the kernel hides its addresses ({KALLSYMS} has none): its frames have no names "
            "(CAP_SYSLOG shows them, unless sysctl kernel.kptr_restrict is 2)"
        ]
