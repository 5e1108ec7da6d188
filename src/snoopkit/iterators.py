"""What BPF iterators write: read whenever somebody asks, and cut into records."""

from __future__ import annotations

from struct import pack

from .attach import attach_iterator
from .errors import DecodeError, PackageError
from .events import size_member
from .layout import locate
from .package import is_iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from .loader import Object
    from .package import EventSpec, Package

__all__ = ["index", "read"]

READ_BYTES = 64 << 10  # the kernel's own buffer has half of that: no more comes in one go


def read(object: Object, name: str) -> bytes:
    """All that the iterator `name` of a loaded object writes. ValueError if it is none, AttachError."""
    program = object.programs.get(name)
    if program is None or not is_iterator(program.section):
        raise ValueError(f"the package has no iterator {name!r}")
    with attach_iterator(program) as link:
        return b"".join(iter(lambda: link.read(READ_BYTES), b""))


def index(package: Package, name: str, data: bytes, boottime_ns: int, number: int) -> bytes:
    """A batch's index of the records in `data`, which iterator `name` wrote: they have the map number `number`.

    Raises DecodeError for a size that can't be true, PackageError where nothing tells the size.
    """
    size_at = _sizes([spec for spec in package.event_specs if spec.map == name], package.btf.byteorder)
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        size = size_at(data, at)
        if not 0 < size <= len(data) - at:
            raise DecodeError(
                f"iterator {name}: a record of {size} bytes where there are {len(data) - at}",
            )
        entries.append(pack("=QIIIhH", boottime_ns, at, size, len(entries), -1, number))
        at += size
    return b"".join(entries)


def _sizes(specs: list[EventSpec], byteorder: str) -> Callable[[bytes, int], int]:
    """What tells how large the record is that begins at an offset: it does so itself, or all are as large as their
    struct."""
    member = size_member(specs[0])
    if member is not None:
        where = locate(specs[0].struct, member)
        start, stop = where.offset_bytes, where.offset_bytes + where.type.size_bytes
        order: Literal["little", "big"] = "big" if byteorder == "big" else "little"
        return lambda data, at: int.from_bytes(data[at + start : at + stop], order)
    if len(specs) > 1 or specs[0].tail_member is not None:
        raise PackageError(
            f"iterator {specs[0].map}: its records aren't all of one size, and don't say theirs",
            hint="begin them with a struct snoopkit_header, or with a size_bytes beside their kind",
        )
    size = specs[0].struct.size_bytes
    return lambda data, at: size
