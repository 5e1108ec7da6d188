"""The functions of processes: from the files that they have mapped, and from what they tell of code made meanwhile."""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from time import CLOCK_BOOTTIME, clock_gettime_ns

from ..errors import PackageError
from ..stacks import Frame
from .files import FileSymbols
from .perf_map import PerfMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["UserSymbols"]

_CACHE_BYTES = 256 << 20
_MOST_FILES = 1000
_MOST_PROCESSES = 1000
_LARGEST_MAPS_BYTES = 16 << 20
_FRESH_NS = 50_000_000  # for how long what was read about a process is taken for true
_VDSO = "[vdso]"
_X = ord("x")

Key = tuple[int, ...]  # what tells a file, and what is in it: device, inode, size, time of its last change


class UserSymbols:
    """Frames of processes. What was seen of one, of its image before its last exec too, is kept when it has ended; the
    files' tables are read when they are needed, and kept while there is room."""

    def __init__(self) -> None:
        self._processes: dict[int, _Process] = {}
        self._files: dict[Key, FileSymbols | None] = {}  # in the order of their last use
        self._files_bytes = 0

    def frames(self, pid: int, addresses: Sequence[int], time_ns: int) -> list[Frame]:
        """The frames at `addresses`, the innermost first, of a stack taken at `time_ns` (CLOCK_BOOTTIME)."""
        process = self._processes.pop(pid, None) or _Process(pid)
        self._processes[pid] = process
        if len(self._processes) > _MOST_PROCESSES:
            del self._processes[next(iter(self._processes))]
        process.look(time_ns)
        # All but the first are where a call returns to, which may be behind its function's end.
        return [
            self._frame(process, address, address - (index > 0), time_ns)
            for index, address in enumerate(addresses)
        ]

    def _frame(self, process: _Process, address: int, lookup: int, time_ns: int) -> Frame:
        for image in process.images_at(time_ns):
            mapping = image.mapping(lookup)
            if mapping is None:
                continue
            offset = lookup - mapping.start + mapping.offset
            found = self._in_file(process, image, mapping, offset)
            if found is not None:
                name, behind = found
                return Frame(
                    address, name, behind + address - lookup, mapping.name, offset + address - lookup
                )
            if (found := image.perf_map.find(lookup)) is not None:
                name, start = found
                return Frame(address, name, address - start, mapping.name or None)
            if mapping.name:
                return Frame(address, None, None, mapping.name, offset + address - lookup)
        return Frame(address)

    def _in_file(
        self, process: _Process, image: _Image, mapping: _Mapping, offset: int
    ) -> tuple[str, int] | None:
        """The name of the function at an offset in a mapping's file, and how far behind its start that is."""
        file = self._file(process, image, mapping)
        address = file.address(offset) if file is not None else None
        if file is None or address is None or (found := file.find(address)) is None:
            return None
        return found[0], address - found[1]

    def _file(self, process: _Process, image: _Image, mapping: _Mapping) -> FileSymbols | None:
        if mapping.key in self._files:
            found = self._files[mapping.key] = self._files.pop(mapping.key)
            return found
        if mapping.name == _VDSO:
            mapping.key = (0,)
            self._keep(mapping.key, _own_vdso())
        elif mapping.key is None or mapping.key:
            mapping.key = ()
            for path, is_certain in process.paths(image, mapping):
                if (fd := _open(path, None if is_certain else mapping)) is not None:
                    try:
                        mapping.key = self._read(fd)
                    finally:
                        os.close(fd)
                    break
        return self._files.get(mapping.key)

    def _read(self, fd: int) -> Key:
        about = os.fstat(fd)
        key = about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
        if key not in self._files:
            try:
                found = FileSymbols(lambda offset, size: _pread(fd, offset, size), about.st_size)
            except (PackageError, OSError):
                self._keep(key, None)
            else:
                self._keep(key, found)
        return key

    def _keep(self, key: Key, file: FileSymbols | None) -> None:
        self._files[key] = file
        self._files_bytes += file.size_bytes if file is not None else 0
        while len(self._files) > 1 and (self._files_bytes > _CACHE_BYTES or len(self._files) > _MOST_FILES):
            gone = self._files.pop(next(iter(self._files)))
            self._files_bytes -= gone.size_bytes if gone is not None else 0


def _pread(fd: int, offset: int, size: int) -> bytes:
    if offset + size >= 1 << 63:
        return b""
    return os.pread(fd, size, offset)


def _open(path: str, mapping: _Mapping | None) -> int | None:
    """A regular file, and the mapping's own where that is to be looked at."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            return None  # opening a device may do something
        if mapping is not None and (about.st_dev, about.st_ino) != (mapping.device, mapping.inode):
            return None
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None


def _own_vdso() -> FileSymbols | None:
    """The kernel's own code in every process: in this one it can be read."""
    try:
        with open("/proc/self/maps", "rb") as file:
            (mapping,) = (found for line in file if (found := _Mapping(line)).name == _VDSO)
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(mapping.start)
            data = memory.read(mapping.end - mapping.start)
        return FileSymbols(lambda offset, size: data[offset : offset + size], len(data))
    except (OSError, PackageError, ValueError):
        return None


class _Mapping:
    """A part of a process's memory. `name` is its file's path, or such as [vdso], or ""; `key` its file's, () if that
    can't be read, None before somebody tried."""

    __slots__ = ("device", "end", "inode", "key", "name", "offset", "start")

    def __init__(self, line: bytes) -> None:
        where, _, offset, device, inode, *name = line.rstrip(b"\n").split(None, 5)
        start, _, end = where.partition(b"-")
        major, _, minor = device.partition(b":")
        self.start, self.end, self.offset = int(start, 16), int(end, 16), int(offset, 16)
        self.device, self.inode = os.makedev(int(major, 16), int(minor, 16)), int(inode)
        self.name = os.fsdecode(name[0]).removesuffix(" (deleted)") if name else ""
        self.key: Key | None = None if self.inode or self.name == _VDSO else ()

    @property
    def same(self) -> tuple[int, ...]:
        """What two have in common where they are one."""
        return self.start, self.end, self.offset, self.device, self.inode


class _Image:
    """What a process runs from one exec to the next."""

    def __init__(self, identity: tuple[int, ...], pid: int, uid: int) -> None:
        self.identity = identity
        self.seen_ns = 0  # when it was the process's image for sure, the last time
        self.perf_map = PerfMap(pid, uid)
        self._text = b""
        self._mappings: list[_Mapping] = []
        self._starts: list[int] = []

    def set_mappings(self, data: bytes) -> None:
        """Those of code in the text of /proc/PID/maps."""
        if data == self._text:
            return
        self._text = data
        mappings = [_Mapping(line) for line in data.split(b"\n")[:-1] if line[line.index(b" ") + 3] == _X]
        known = {mapping.same: mapping for mapping in self._mappings}
        self._mappings = [known.get(mapping.same, mapping) for mapping in mappings]
        self._starts = [mapping.start for mapping in self._mappings]

    def mapping(self, address: int) -> _Mapping | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._mappings[index].end:
            return None
        return self._mappings[index]


class _Process:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._looked_ns = 0
        self._is_there = False
        self._images: list[_Image] = []  # the one that it has, and the one before

    def look(self, time_ns: int) -> None:
        """Look at the process, unless that was done behind a time, or a moment ago."""
        now = clock_gettime_ns(CLOCK_BOOTTIME)
        if time_ns < self._looked_ns or now - self._looked_ns < _FRESH_NS:
            return
        self._looked_ns = now
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open(f"/proc/{self.pid}/maps", "rb") as file:
                data = file.read(_LARGEST_MAPS_BYTES)
            uid = os.stat(f"/proc/{self.pid}").st_uid
        except OSError:
            self._is_there = False
            return
        self._is_there = bool(data)  # a zombie has none
        if not data:
            return
        # Its start; where its code and its stack begin is another place with each exec.
        identity = int(fields[19]), int(fields[23]), int(fields[25])
        if not self._images or self._images[0].identity != identity:
            self._images = [_Image(identity, self.pid, uid), *self._images[:1]]
        self._images[0].seen_ns = now
        self._images[0].set_mappings(data)

    def images_at(self, time_ns: int) -> list[_Image]:
        """The image that it had at a time, and the other one, which it may have been in doubt."""
        if len(self._images) > 1 and time_ns <= self._images[1].seen_ns:
            return self._images[::-1]
        return self._images

    def paths(self, image: _Image, mapping: _Mapping) -> Iterator[tuple[str, bool]]:
        """Where a mapping's file may be, and whether what is there is that for sure."""
        if self._is_there and image is self._images[0]:
            yield f"/proc/{self.pid}/map_files/{mapping.start:x}-{mapping.end:x}", True
        if mapping.name.startswith("/"):
            yield f"/proc/{self.pid}/root{mapping.name}", False
            yield mapping.name, False
