"""Events and samples that have stack traces, with the names of the functions in these."""

from __future__ import annotations

import sys
from array import array
from itertools import takewhile

from .events import Record
from .samples import Sample
from .stacks import Frame, Stack, StackFormat
from .symbols import Symbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .cli.live import Source
    from .render.formats import Formats
    from .session import Snoop


__all__ = ["Stacked", "stack_formats"]


def stack_formats(formats: Formats) -> dict[str, dict[str, StackFormat]]:
    """Those of stack traces, by struct (or sampled map) and member."""
    found = {
        struct: {name: how for name, how in members.items() if isinstance(how, StackFormat)}
        for struct, members in formats.items()
    }
    return {struct: members for struct, members in found.items() if members}


class Stacked:
    """A source whose events and samples come as `Stack`s where they have some; `snoop` is where these are kept."""

    def __init__(self, source: Source, snoop: Snoop, formats: Formats) -> None:
        self._source = source
        self._snoop = snoop
        self._formats = stack_formats(formats)
        self._symbols = Symbols()

    def poll(self, timeout: float | None = None) -> list[Any]:
        return [self._with_stacks(item) for item in self._source.poll(timeout)]

    def finish(self) -> Iterator[list[Any]]:
        for lot in self._source.finish():
            yield [self._with_stacks(item) for item in lot]

    def close(self) -> None:
        self._source.close()

    @property
    def is_done(self) -> bool:
        return bool(getattr(self._source, "is_done", False))

    @property
    def warnings(self) -> list[str]:
        return self._source.warnings + self._symbols.warnings

    @property
    def lost(self) -> int:
        return self._source.lost

    @property
    def losses(self) -> dict[str, int]:
        return self._source.losses

    @property
    def loss_unknown(self) -> tuple[str, ...]:
        return getattr(self._source, "loss_unknown", ())

    def _with_stacks(self, item: Any) -> Any:
        """The same, or a `Stack` of it."""
        if isinstance(item, Sample):
            records = [part for part in (item.key, item.value) if isinstance(part, Record)]
        else:
            records = [item] if isinstance(item, Record) else []
        found: list[tuple[str, StackFormat, Any]] = []
        for record in records:
            members = self._formats.get(record._struct, {})
            found += [(name, how, _member(records, name)) for name, how in members.items()]
        if isinstance(item, Sample) and not item.is_empty:
            roles = self._formats.get(item._map, {})
            found += [(role, how, getattr(item, role)) for role, how in roles.items()]
        if not found:
            return item
        pid = next((pid for name in found[0][1].pid if isinstance(pid := _member(records, name), int)), None)
        comm = _member(records, found[0][1].comm)
        stack = Stack(item, {}, pid=pid, comm=comm if isinstance(comm, str) else None)
        if isinstance(item, Sample):
            stack.count = _count(item.value)
        for name, how, value in found:
            size = None if how.size_member is None else _member(records, how.size_member)
            addresses = self._addresses(how, value, size, stack.errors, name)
            stack.stacks[name] = self._frames(how, addresses, stack)
        return stack

    def _frames(self, how: StackFormat, addresses: list[int] | None, stack: Stack) -> list[Frame] | None:
        if addresses is None:
            return None
        if not how.has_symbols:
            return [Frame(address) for address in addresses]
        return self._symbols.frames(addresses, stack.pid, stack._time_ns)

    def _addresses(
        self, how: StackFormat, value: Any, size: Any, errors: dict[str, int], name: str
    ) -> list[int] | None:
        """None where there is no stack."""
        if isinstance(value, list | tuple):
            if isinstance(size, int):
                if size < 0:
                    errors[name] = -size
                value = value[: max(size, 0) // 8]
            return list(takewhile(bool, value)) or None
        if how.map is None or not isinstance(value, int):
            return None
        number = value & 0xFFFFFFFF
        if number >> 31:  # a negative errno, whatever the member's type
            errors[name] = (1 << 32) - number
            return None
        data = self._snoop.maps[how.map].raw.lookup(number.to_bytes(4, sys.byteorder))
        return None if data is None else list(takewhile(bool, array("Q", data))) or None


def _member(records: list[Any], name: str) -> Any:
    """The first one of that name."""
    for record in records:
        if name in record._fields:
            return tuple.__getitem__(record, record._fields.index(name))
    return None


def _count(value: Any) -> int:
    """How often, by a sampled map's value: a number, or a struct with a member `count`."""
    if isinstance(value, Record):
        value = _member([value], "count")
    return value if isinstance(value, int) and not isinstance(value, bool) else 1
