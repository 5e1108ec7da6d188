"""What a stack trace is made of, and an event or a sample that has some."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeGuard

__all__ = ["Frame", "Stack", "StackFormat", "has_stacks", "is_kernel_address", "is_stack"]


def is_kernel_address(address: int) -> bool:
    """Whether it lies in the upper half of the 64-bit address space, which is the kernel's."""
    return address >> 63 == 1


class Frame:
    """One function of a stack, as far as it is known; what isn't is None.

    `address` is where it was, or goes on when what it called returns; `symbol` its name, `offset` how far behind its
    beginning that is in bytes. `module` is the file that holds it, a kernel module's name or "[vdso]", and
    `module_offset` where in that file.
    """

    __slots__ = ("address", "module", "module_offset", "offset", "symbol")

    def __init__(
        self,
        address: int,
        symbol: str | None = None,
        offset: int | None = None,
        module: str | None = None,
        module_offset: int | None = None,
    ) -> None:
        self.address = address
        self.symbol = symbol
        self.offset = offset
        self.module = module
        self.module_offset = module_offset

    @property
    def is_kernel(self) -> bool:
        """Whether it is the kernel's."""
        return is_kernel_address(self.address)

    def __str__(self) -> str:
        """`symbol+0xoff`, `module+0xoff` or `0xaddress`, whichever is the best that is known."""
        if self.symbol is not None:
            return f"{self.symbol}+{self.offset or 0:#x}"
        if self.module is not None and self.module_offset is not None:
            return f"{self.module.rpartition('/')[2]}+{self.module_offset:#x}"
        return f"{self.address:#x}"

    def __repr__(self) -> str:
        return f"<Frame {self}>"


class Stack:
    """An event or a sample, `event`, with its stacks.

    `stacks` has them by the member's name, each a list of `Frame`s, the innermost first; None where there was none,
    and `errors` then the kernel's errno if it gave one. `pid` and `comm` are of the process, None if nothing tells.
    `count` says how often it was seen. `_time_ns`, `_map` and `_cpu` are the event's.
    """

    __slots__ = ("comm", "count", "errors", "event", "pid", "stacks")
    _struct = "stack"

    def __init__(
        self,
        event: Any,
        stacks: dict[str, list[Frame] | None],
        *,
        pid: int | None = None,
        comm: str | None = None,
        count: int = 1,
        errors: dict[str, int] | None = None,
    ) -> None:
        self.event = event
        self.stacks = stacks
        self.pid = pid
        self.comm = comm
        self.count = count
        self.errors = errors or {}

    @property
    def _time_ns(self) -> int:
        return int(self.event._time_ns)

    @property
    def _map(self) -> str:
        return str(self.event._map)

    @property
    def _cpu(self) -> int:
        return int(self.event._cpu)

    @property
    def frames(self) -> Sequence[Frame]:
        """All of them, the innermost first: the kernel's, then those of the process."""
        found = [frame for frames in self.stacks.values() for frame in frames or ()]
        return sorted(found, key=lambda frame: not frame.is_kernel)  # stable: the order in each stays

    def __repr__(self) -> str:
        return f"Stack({self.event!r}, {self.stacks!r})"


class StackFormat:
    """Of a member that is a stack trace: addresses, or the number of one in the map `map`.

    `size_member` is the member with its size in bytes, if there is one; `pid` and `comm` those with the process's, and
    `cpu` that with the CPU. `is_eunomia` is whether the package says all this in eunomia-bpf's way.
    """

    __slots__ = ("comm", "cpu", "has_symbols", "is_eunomia", "map", "pid", "size_member")

    def __init__(self, map: str | None = None) -> None:
        self.map = map
        self.size_member: str | None = None
        self.pid: tuple[str, ...] = ("tgid", "pid")  # the first one that there is
        self.comm = "comm"
        self.cpu: str | None = None
        self.has_symbols = True
        self.is_eunomia = False

    def __call__(self, value: Any) -> str:
        return str(value)


def is_stack(format: object) -> TypeGuard[StackFormat]:
    """Whether a member that is shown so is a stack trace, which has a place of its own."""
    return isinstance(format, StackFormat)


def has_stacks(formats: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether one of them is a stack trace."""
    return any(is_stack(how) for members in formats.values() for how in members.values())
