"""/tmp/perf-PID.map, where a process that compiles at run time tells what it put where: JVMs, Node.js, Python."""

from __future__ import annotations

import os
import stat
from time import monotonic

from .table import Table

__all__ = ["PerfMap"]

_LARGEST_BYTES = 64 << 20
_AGAIN_SECONDS = 1


class PerfMap:
    """That of a process, by its own number and in its own /tmp; read again where it has grown and something is missing.

    Whatever is in there concerns the process alone, whose owner, or root, must have written it.
    """

    def __init__(self, pid: int, uid: int) -> None:
        self._pid = pid
        self._uid = uid
        self._table = Table((), (), [], 0)
        self._key: tuple[int, ...] = ()
        self._looked_at = -float(_AGAIN_SECONDS)

    def find(self, address: int) -> tuple[str, int] | None:
        """The name and the start of what it has at an address."""
        found = self._table.find(address)
        if found is None and monotonic() - self._looked_at >= _AGAIN_SECONDS:
            self._looked_at = monotonic()
            if (data := self._read()) is not None:
                self._table = _table(data)
                found = self._table.find(address)
        return found

    def _read(self) -> bytes | None:
        """None where there is nothing new."""
        folder, number = f"/proc/{self._pid}/root/tmp", self._inner_pid()
        if number is None:  # it has ended; what it wrote may still be there
            folder, number = "/tmp", self._pid
        try:
            fd = os.open(
                f"{folder}/perf-{number}.map", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            return None
        try:
            about = os.fstat(fd)
            key = about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
            if not stat.S_ISREG(about.st_mode) or about.st_uid not in (self._uid, 0) or key == self._key:
                return None
            self._key = key
            with open(fd, "rb", closefd=False) as file:
                return file.read(_LARGEST_BYTES)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _inner_pid(self) -> int | None:
        """The process's number in its own namespace."""
        try:
            with open(f"/proc/{self._pid}/status", "rb") as file:
                for line in file:
                    if line.startswith(b"NSpid:"):
                        return int(line.split()[-1])
        except OSError:
            return None
        return self._pid


def _table(data: bytes) -> Table:
    """Lines of start and size in hex, and a name; the last one counts where two say the same start."""
    found: dict[int, tuple[int, str]] = {}
    for line in data.splitlines():
        try:
            start, size, name = line.split(None, 2)
            first, end = int(start, 16), int(start, 16) + int(size, 16)
        except ValueError:
            continue  # cut off, or not for us
        if 0 <= first < end < 1 << 64:
            found[first] = end, name.decode("utf-8", "replace")
    starts = sorted(found)
    names = [found[start][1] for start in starts]
    return Table(starts, [found[start][0] for start in starts], names, sum(map(len, names)))
