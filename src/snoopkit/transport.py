"""Records out of the kernel: how large the rings are, when they are drained, and what was lost on the way.

Three witnesses count the same losses of a ring, and none of them sees all of it at any time: the LOST records that
the kernel writes only together with a later record; its own counter (6.0 and later), which has to be asked; and the
program's count of outputs that failed, if it keeps one. What is declared is the largest of the three. A program that
counts its attempts too settles it: at the end, what was attempted and not received is lost.

A BPF ring buffer, one for all CPUs, has the last witness only. Where the program doesn't count, nobody knows.
"""

from __future__ import annotations

import errno as errnos
from struct import iter_unpack
from sys import byteorder
from time import monotonic

from . import _core, features
from .errors import MapError, PackageError, UnsupportedError
from .loader import explained

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .loader import Object
    from .package import Package

__all__ = ["Batch", "LossNote", "Transport", "open", "prepare"]

MAP_TYPE_PERF_EVENT_ARRAY, MAP_TYPE_RINGBUF = 4, 27
TYPES = {"perf": MAP_TYPE_PERF_EVENT_ARRAY, "ring": MAP_TYPE_RINGBUF}
TIME_MEMBER = "header.boottime_ns"  # where a record says when it was output

DEFAULT_BYTES = 2 << 20  # of the events' ring, per CPU
TOTAL_BYTES = 64 << 20  # of all rings, unless told otherwise
SMALL_BYTES = 64 << 10
FURTHER_MAP_SHARE = 4  # a second map gets a quarter: its records are small
ASK_SECONDS = 1.0  # how often the kernel's and the program's counters are read while nothing seems lost

RECORD_OVERHEAD_BYTES = 28  # of a ring: a record's header, time and size, and what must stay free
LARGEST_RECORD_BYTES = 65508  # its size field has 16 bits; one that doesn't fit is lost without a witness
BUFFER_OVERHEAD_BYTES = 8  # of a ring buffer: a record's header
LARGEST_BUFFER_BYTES = 1 << 31


class LossNote:
    """`count` records of a map were lost on a CPU since its last note, for `cause` "buffer_full" or "undecodable"
    (the ring held bytes that are no record). `boottime_ns` is the time up to which the stream was complete when it
    became known: no event that is still to come is older."""

    __slots__ = ("boottime_ns", "cause", "count", "cpu", "map_name")

    def __init__(self, map_name: str, cpu: int, count: int, cause: str, boottime_ns: int) -> None:
        self.map_name = map_name
        self.cpu = cpu
        self.count = count
        self.cause = cause
        self.boottime_ns = boottime_ns

    def __repr__(self) -> str:
        return f"<LossNote {self.count} of {self.map_name} on CPU {self.cpu}: {self.cause}>"


class Batch:
    """The records of one drain: `data` has their bytes, `index` packed RecordIndex entries in the order of time,
    `lost` what became known to be missing. `len()` counts the records."""

    __slots__ = ("data", "index", "lost")

    def __init__(self, data: memoryview, index: memoryview, lost: list[LossNote]) -> None:
        self.data = data
        self.index = index
        self.lost = lost

    def __len__(self) -> int:
        return len(self.index) // 24


def prepare(
    object: Object, package: Package, buffer_bytes: int | None = None, transport: str | None = None
) -> None:
    """Before load: make the maps of `object` that the package's events come from what `transport` wants.

    That is "perf", "ring", or None for what the source has (else ValueError). A program has to be able to: it has
    tagged a variable "snoopkit.ring", or its maps are of that kind already; else UnsupportedError. A ring buffer is as
    large as its maker said, unless `buffer_bytes` is given or another kind was made to be one: then it has as many
    bytes as the rings of all CPUs would have together, see `open`.
    """
    if transport is not None and transport not in TYPES:
        raise ValueError(f"transport is 'perf', 'ring' or None, not {transport!r}")
    maps = [object.maps[name] for name in _event_maps(package)]
    size = _wanted(package, buffer_bytes, len(maps))
    type = TYPES.get(transport or "")
    if package.ring_switches and maps:
        type = type or maps[0].type
        for switch in package.ring_switches:
            object.set(switch, type == MAP_TYPE_RINGBUF)
        for map in maps:
            if map.type != type:
                width = 0 if type == MAP_TYPE_RINGBUF else 4
                map.redefine(type, width, width, 0)
    cpus = len(_core.online_cpus())
    for map, share in zip(maps, _shares(size, len(maps)), strict=True):
        if type is not None and map.type != type:
            raise UnsupportedError(
                f"load: map {map.name}: its program outputs to a {_kind(map.type)} and can't do otherwise",
                feature=f"transport {transport}",
                hint="a source that includes <snoopkit.bpf.h> can serve both",
            )
        if map.type == MAP_TYPE_RINGBUF and (buffer_bytes is not None or not map.max_entries):
            total = share * cpus
            # A power of two, within the budget unless told otherwise.
            bits = total.bit_length() - (buffer_bytes is None or not total & (total - 1))
            map.max_entries = min(1 << bits, LARGEST_BUFFER_BYTES)


def open(object: Object, package: Package, buffer_bytes: int | None = None) -> Transport:
    """Rings for every map of the loaded `object` that the package's events come from.

    `buffer_bytes` is the size of the first map's ring on each CPU, a power of two of pages (else ValueError); rings
    of further maps get a quarter of it. Where the kernel refuses that much locked memory they become smaller, and
    `warnings` says so. Ring buffers have the size that they were created with. Raises MapError, and UnsupportedError
    where our boot clock isn't the kernel's.
    """
    names = _event_maps(package)
    if names:
        _check_clock()
    pages = _wanted(package, buffer_bytes, len(names)) // _core.PAGE_SIZE
    warnings: list[str] = []
    reader, pages = _open_reader(object, package, names, pages, warnings)
    try:
        largest = max((spec.size_bytes for spec in package.event_specs if spec.map in names), default=0)
        if any(object.maps[name].type == MAP_TYPE_PERF_EVENT_ARRAY for name in names):
            size = pages * _core.PAGE_SIZE
            fits = min(size - RECORD_OVERHEAD_BYTES, LARGEST_RECORD_BYTES)
            _warn_of_size(f"rings of {_size(size)} per CPU", size, fits, largest, warnings)
        for name in names:
            if object.maps[name].type == MAP_TYPE_RINGBUF:
                size = object.maps[name].max_entries
                fits = size - BUFFER_OVERHEAD_BYTES
                _warn_of_size(f"map {name}: a ring buffer of {_size(size)}", size, fits, largest, warnings)
        return Transport(reader, object, package, names, warnings)
    except BaseException:
        reader.close()
        raise


def _event_maps(package: Package) -> list[str]:
    """As `package.events`, whose structs nobody needs before the programs run."""
    return list(dict.fromkeys([spec.map for spec in package.event_specs if spec.map in package.maps]))


def _kind(type: int) -> str:
    return "ring buffer" if type == MAP_TYPE_RINGBUF else "perf event array"


def _wanted(package: Package, buffer_bytes: int | None, maps: int) -> int:
    """Bytes per CPU of the first map's ring: by default what is good, or more where the package asks for that."""
    page = _core.PAGE_SIZE
    if buffer_bytes is None:
        pages: int = package.meta.get("perf_buffer_pages", 1)
        asked = 1 << (page * pages - 1).bit_length()
        return max(_affordable(maps, len(_core.online_cpus())), min(asked, LARGEST_BUFFER_BYTES))
    if buffer_bytes < page or buffer_bytes % page or buffer_bytes & (buffer_bytes - 1):
        raise ValueError(f"buffer_bytes is a power of two of pages of {page} bytes, not {buffer_bytes}")
    return buffer_bytes


def _affordable(maps: int, cpus: int) -> int:
    """Bytes per CPU of the first map's ring, so that all rings of all CPUs stay within the budget."""
    size = DEFAULT_BYTES
    while size > _core.PAGE_SIZE and cpus * sum(_shares(size, maps)) > TOTAL_BYTES:
        size //= 2
    return size


def _shares(size: int, maps: int) -> list[int]:
    return [
        size if number == 0 else max(size // FURTHER_MAP_SHARE, _core.PAGE_SIZE) for number in range(maps)
    ]


def _open_reader(
    object: Object, package: Package, names: list[str], pages: int, warnings: list[str]
) -> tuple[_core.Reader, int]:
    page = _core.PAGE_SIZE
    wanted = pages
    maps = [object.maps[name] for name in names]
    is_perf = [map.type == MAP_TYPE_PERF_EVENT_ARRAY for map in maps]
    times = [None if perf else _time_offset(package, name) for perf, name in zip(is_perf, names, strict=True)]
    while True:
        sizes = [share // page for share in _shares(pages * page, len(names))]
        details = [size if perf else time for perf, size, time in zip(is_perf, sizes, times, strict=True)]
        try:
            reader = _core.Reader(zip(maps, details, strict=True))
        except MapError as error:
            if error.errno in (errnos.EPERM, errnos.ENOMEM) and pages > 1 and any(is_perf):
                pages //= 2
                continue
            cause, hint = explained("open rings", error.errno) or (error.message, _cure(error.errno))
            raise MapError(cause, errno=error.errno, hint=hint) from None
        if pages != wanted:
            warnings.append(
                f"rings have {_size(pages * page)} per CPU instead of {_size(wanted * page)}: the kernel grants no more"
                " locked memory (give CAP_IPC_LOCK, or raise RLIMIT_MEMLOCK or kernel.perf_event_mlock_kb)"
            )
        return reader, pages


def _cure(error_number: int | None) -> str | None:
    """What lets a process with all the capabilities that we ask for open its rings."""
    if error_number == errnos.EPERM:
        return f"raise RLIMIT_MEMLOCK or kernel.perf_event_mlock_kb, now {features.perf_event_mlock_kb()}"
    if error_number == errnos.EACCES:
        return f"lower kernel.perf_event_paranoid to 2, now {features.perf_event_paranoid()}, or run as root"
    return None


def _time_offset(package: Package, name: str) -> int | None:
    """Where all records of a map have their boot time, if they do."""
    from .layout import IntType, locate

    offsets: set[int | None] = set()
    for spec in package.event_specs:
        if spec.map == name:
            try:
                member = locate(spec.struct, TIME_MEMBER)
            except PackageError:
                return None
            whole = isinstance(member.type, IntType) and member.type.size_bytes == 8 and not member.bit_size
            offsets.add(member.offset_bytes if whole else None)
    return offsets.pop() if len(offsets) == 1 else None


def _check_clock() -> None:
    """Records have the machine's time: by another clock they would be too new to be given, or put in no order."""
    offset = features.boot_clock_offset()
    if offset:
        raise UnsupportedError(
            f"the boot clock of this time namespace is {offset:+g} s off the kernel's, whose times events have",
            feature="the machine's time namespace",
            hint="run it in the machine's: nsenter --time=/proc/1/ns/time",
        )


def _warn_of_size(what: str, size: int, fits: int, largest: int, warnings: list[str]) -> None:
    if size < SMALL_BYTES or largest > fits:
        warnings.append(f"{what}: a record of more than {fits} bytes can't fit and is always lost")


def _size(count: int) -> str:
    return f"{count >> 20}M" if count % (1 << 20) == 0 else f"{count >> 10}K"


class Transport:
    """The rings of one loaded package. Nothing is read but by `drain`; there is no thread.

    `map_names` gives the names to the map numbers in an index. `losses` counts lost records by cause since opening;
    what `loss_unknown` names may lose more: ring buffers whose program doesn't count. `warnings` are for the user.
    """

    def __init__(
        self,
        reader: _core.Reader,
        object: Object,
        package: Package,
        map_names: list[str],
        warnings: list[str],
    ) -> None:
        self.map_names = map_names
        self.warnings = warnings
        self.losses: dict[str, int] = {}
        self._reader = reader
        self._taken: list[tuple[memoryview, memoryview]] = []
        self._notes: list[LossNote] = []
        self._counter = object.maps[package.losses_map] if package.losses_map is not None else None
        self._kinds = _counter_keys(package, map_names)
        self._is_buffer = [object.maps[name].type == MAP_TYPE_RINGBUF for name in map_names]
        self.loss_unknown = tuple(
            name
            for name, is_buffer, kinds in zip(map_names, self._is_buffer, self._kinds, strict=True)
            if is_buffer and (self._counter is None or not kinds)
        )
        warnings += [
            f"map {name}: a ring buffer, and its program doesn't count what it fails to output: that loss is unknown"
            for name in self.loss_unknown
        ]
        self._declared: dict[tuple[int, int, str], int] = {}
        self._lost_records = 0
        self._asked_at = monotonic()

    def fileno(self) -> int:
        """Readable when it is time to drain: a ring is a quarter full, a ring buffer's program wakes its reader, or
        20 ms have passed since the last time, 2 at first; or where that held back all it found, the oldest of it is
        5 ms old."""
        return self._reader.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is time to drain; False after `timeout` seconds, or after a signal whose handler has run."""
        return self._reader.wait(timeout)

    def drain(self, final: bool = False, detached: bool = False) -> Batch:
        """What the rings hold, without waiting. The newest few milliseconds are held back, for the sake of order,
        unless `final`. `detached` says that no program runs any more: then the losses are settled."""
        # Whatever a signal's handler raises between: what was taken out, or found to be lost, stays here until it is
        # given away. Python looks for signals behind a call, and a single one takes it out and puts it there.
        if not self._taken:
            self._taken.extend(map(self._reader.drain, (final or detached,)))
            now = monotonic()
            seen = self._reader.lost_records
            if final or detached or seen != self._lost_records or now - self._asked_at >= ASK_SECONDS:
                self._lost_records = seen
                self._asked_at = now
                self._count_losses(detached)
        batch = Batch(*self._taken[0], self._notes)
        self._notes = []
        del self._taken[0]
        return batch

    @property
    def is_behind(self) -> bool:
        """Whether a drain was interrupted: the next one gives what that took out, and takes out nothing itself."""
        return bool(self._taken)

    @property
    def complete_until_ns(self) -> int:
        """Records of later drains are of this time (CLOCK_BOOTTIME) or later."""
        return self._reader.complete_until_ns

    @property
    def lost(self) -> int:
        """Records known to be lost so far."""
        return sum(self.losses.values())

    @property
    def received(self) -> dict[str, int]:
        """Records taken out of the rings, by map."""
        return dict(zip(self.map_names, self._reader.received, strict=True))

    def close(self) -> None:
        """Frees the rings; what they hold is gone."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _count_losses(self, detached: bool) -> None:
        counted = [self._counts_of(kinds) for kinds in self._kinds] if self._counter is not None else []
        until = self._reader.complete_until_ns
        rings = set()
        for map, cpu, received, by_record, by_kernel, malformed in self._reader.ring_states(True):
            attempts, failed = (0, 0)
            if counted and not self._is_buffer[map]:
                attempts, failed = counted[map][cpu]
            elif counted:  # it is one for all CPUs, each of which has declared its failures below
                attempts = sum(attempts - failed for attempts, failed in counted[map])
            full = max(by_record, by_kernel, failed)
            if detached:
                full = max(full, attempts - received - malformed)
            rings.add((map, cpu))
            self._declare(map, cpu, "buffer_full", full, until)
            self._declare(map, cpu, "undecodable", malformed, until)
        # A CPU that came online later has no ring; only the program can know what it lost there. With a ring buffer
        # that goes for every CPU.
        for map, counts in enumerate(counted):
            for cpu, (attempts, failed) in enumerate(counts):
                if (map, cpu) not in rings:
                    lost = max(failed, attempts) if detached and not self._is_buffer[map] else failed
                    self._declare(map, cpu, "buffer_full", lost, until)

    def _declare(self, map: int, cpu: int, cause: str, total: int, until_ns: int) -> None:
        more = total - self._declared.get((map, cpu, cause), 0)
        if more > 0:
            count = self.losses.get(cause, 0) + more
            note = LossNote(self.map_names[map], cpu, more, cause, until_ns)
            # no call from here on: all of it, or nothing
            self._declared[map, cpu, cause] = total
            self.losses[cause] = count
            self._notes += [note]

    def _counts_of(self, kinds: list[bytes]) -> list[tuple[int, int]]:
        """For each possible CPU, what the program attempted and failed to output of these kinds."""
        assert self._counter is not None
        sums: list[tuple[int, int]] = [(0, 0)] * features.possible_cpus()
        for kind in kinds:
            value = self._counter.lookup(kind)
            if value is not None:
                pairs = zip(sums, iter_unpack("=QQ", value), strict=True)
                sums = [(a + attempts, b + failed) for (a, b), (attempts, failed) in pairs]
        return sums


def _counter_keys(package: Package, map_names: list[str]) -> list[list[bytes]]:
    """For each map, the keys under which the program counts its outputs to it. A key that several maps would share
    says nothing about any of them."""
    kinds = [{spec.kind_value or 0 for spec in package.event_specs if spec.map == name} for name in map_names]
    return [
        [kind.to_bytes(4, byteorder) for kind in sorted(own) if sum(kind in other for other in kinds) == 1]
        for own in kinds
    ]
