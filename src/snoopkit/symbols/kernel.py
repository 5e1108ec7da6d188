"""The kernel's functions, from /proc/kallsyms."""

from __future__ import annotations

import re
from itertools import pairwise
from time import monotonic

from ..stacks import Frame
from .table import Table

__all__ = ["KALLSYMS", "KernelSymbols", "are_hidden"]

KALLSYMS = "/proc/kallsyms"
_LARGEST_BYTES = 128 << 20
_MOST_BYTES_OF_ONE = 1 << 20  # its end isn't told; behind the last one of a module there may be anything
_CODE = (b"t", b"T", b"w", b"W")
_LINE = re.compile(
    rb"^([89a-f][0-9a-f]{15}) (.) (.+)$", re.MULTILINE
)  # of the upper half, which is the kernel's
_END = (1 << 64) - 1
_AGAIN_SECONDS = 5


def are_hidden(path: str = KALLSYMS) -> bool:
    """Whether the kernel tells this process no addresses: all of them are 0 then."""
    try:
        with open(path, "rb") as file:
            return all(not line.split(b" ", 1)[0].strip(b"0") for line in file.read(4096).splitlines()[:-1])
    except OSError:
        return True


class KernelSymbols:
    """Read when the first address is asked for, and now and then once more where one is asked for that is in none of
    it: a module, or a BPF program, may have come since."""

    def __init__(self, path: str = KALLSYMS) -> None:
        self._path = path
        self._table: Table | None = None
        self._read_at = 0.0

    def frame(self, address: int, lookup: int) -> Frame:
        """The frame at `address`, which belongs to what stands at `lookup`."""
        found = self._find(lookup)
        if found is None and monotonic() - self._read_at >= _AGAIN_SECONDS:
            self._table = None
            found = self._find(lookup)
        if found is None:
            return Frame(address)
        name, start = found
        symbol, _, module = name.partition("\t")
        return Frame(address, symbol, address - start, module.strip("[]") or None)

    def _find(self, address: int) -> tuple[str, int] | None:
        if self._table is None:
            self._table = self._read()
        found = self._table.find(address)
        return found if found is not None and found[0] else None

    def _read(self) -> Table:
        self._read_at = monotonic()
        try:
            with open(self._path, "rb") as file:
                data = file.read(_LARGEST_BYTES)
        except OSError:
            data = b""
        entries = [(int(start, 16), kind in _CODE, name) for start, kind, name in _LINE.findall(data)]
        # Stable, so that of several names for one place the first one stays, which the kernel itself prints too; what
        # isn't code only ends what is.
        entries.sort(key=lambda entry: (entry[0], not entry[1]))
        starts: list[int] = []
        names: list[bytes] = []
        last = -1
        for start, is_code, name in entries:
            if start != last:
                last = start
                starts.append(start)
                names.append(name if is_code else b"")
        ends = [min(start + _MOST_BYTES_OF_ONE, following) for start, following in pairwise([*starts, _END])]
        return Table(starts, ends, _Names(names), len(data))


class _Names:
    def __init__(self, names: list[bytes]) -> None:
        self._names = names

    def __getitem__(self, index: int) -> str:
        return self._names[index].decode("utf-8", "replace")
