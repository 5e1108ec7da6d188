"""Records out of the kernel: how large the rings are, when they are drained, and what was lost on the way.

Three witnesses count the same losses of a ring, and none of them sees all of it at any time: the LOST records that
the kernel writes only together with a later record; its own counter (6.0 and later), which has to be asked; and the
program's count of outputs that failed, if it keeps one. What is declared is the largest of the three. A program that
counts its attempts too settles it: at the end, what was attempted and not received is lost.
"""

from __future__ import annotations

import errno as errnos
from struct import iter_unpack
from sys import byteorder
from time import monotonic

from . import _core, features
from .errors import MapError, UnsupportedError
from .loader import explained

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .loader import Object
    from .package import Package

__all__ = ["Batch", "LossNote", "Transport", "open"]

MAP_TYPE_PERF_EVENT_ARRAY, MAP_TYPE_RINGBUF = 4, 27

DEFAULT_BYTES = 2 << 20  # of the events' ring, per CPU
TOTAL_BYTES = 64 << 20  # of all rings, unless told otherwise
SMALL_BYTES = 64 << 10
FURTHER_MAP_SHARE = 4  # a second map gets a quarter: its records are small
ASK_SECONDS = 1.0  # how often the kernel's and the program's counters are read while nothing seems lost

RECORD_OVERHEAD_BYTES = 28  # of a ring: a record's header, time and size, and what must stay free
LARGEST_RECORD_BYTES = 65508  # its size field has 16 bits; one that doesn't fit is lost without a witness


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


def open(
    object: Object, package: Package, buffer_bytes: int | None = None, transport: str | None = None
) -> Transport:
    """Rings for every map of the loaded `object` that the package's events come from.

    `buffer_bytes` is the size of the first map's ring on each CPU, a power of two of pages (else ValueError); rings
    of further maps get a quarter of it. Where the kernel refuses that much locked memory they become smaller, and
    `warnings` says so. Raises UnsupportedError for maps that are not perf event arrays, MapError.
    """
    names = list(package.events)
    for name in names:
        if object.maps[name].type != MAP_TYPE_PERF_EVENT_ARRAY:
            kind = (
                "a BPF ring buffer" if object.maps[name].type == MAP_TYPE_RINGBUF else "no perf event array"
            )
            raise UnsupportedError(
                f"read: map {name}: it is {kind}",
                feature="ring buffer transport",
                hint="events are read from perf event arrays (BPF_MAP_TYPE_PERF_EVENT_ARRAY)",
            )
    if transport not in (None, "perf"):
        raise UnsupportedError(
            f"read: the package's maps are perf event arrays, not made for transport {transport!r}",
            feature=f"transport {transport}",
        )
    page = _core.PAGE_SIZE
    if buffer_bytes is None:
        pages = _affordable(len(names), len(_core.online_cpus())) // page
    else:
        pages = buffer_bytes // page
        if pages < 1 or buffer_bytes % page or pages & (pages - 1):
            raise ValueError(f"buffer_bytes is a power of two of pages of {page} bytes, not {buffer_bytes}")
    warnings: list[str] = []
    reader, pages = _open_reader(object, names, pages, warnings)
    largest = max((spec.struct.size_bytes for spec in package.event_specs), default=0)
    _warn_of_size(pages * page, largest, warnings)
    return Transport(reader, object, package, names, warnings)


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
    object: Object, names: list[str], pages: int, warnings: list[str]
) -> tuple[_core.PerfReader, int]:
    page = _core.PAGE_SIZE
    wanted = pages
    while True:
        sizes = [share // page for share in _shares(pages * page, len(names))]
        try:
            reader = _core.PerfReader(
                [(object.maps[name], size) for name, size in zip(names, sizes, strict=True)]
            )
        except MapError as error:
            if error.errno in (errnos.EPERM, errnos.ENOMEM) and pages > 1:
                pages //= 2
                continue
            limit = features.perf_event_mlock_kb()
            cause, hint = explained("open rings", error.errno) or (
                error.message,
                f"raise RLIMIT_MEMLOCK or kernel.perf_event_mlock_kb, now {limit}"
                if error.errno == errnos.EPERM
                else None,
            )
            raise MapError(cause, errno=error.errno, hint=hint) from None
        if pages != wanted:
            warnings.append(
                f"rings have {_size(pages * page)} per CPU instead of {_size(wanted * page)}: the kernel grants no more"
                " locked memory (give CAP_IPC_LOCK, or raise RLIMIT_MEMLOCK or kernel.perf_event_mlock_kb)"
            )
        return reader, pages


def _warn_of_size(ring_bytes: int, largest: int, warnings: list[str]) -> None:
    fits = min(ring_bytes - RECORD_OVERHEAD_BYTES, LARGEST_RECORD_BYTES)
    if ring_bytes < SMALL_BYTES or largest > fits:
        warnings.append(
            f"rings of {_size(ring_bytes)} per CPU: a record of more than {fits} bytes can't fit and is always lost"
        )


def _size(count: int) -> str:
    return f"{count >> 20}M" if count % (1 << 20) == 0 else f"{count >> 10}K"


class Transport:
    """The rings of one loaded package. Nothing is read but by `drain`; there is no thread.

    `map_names` gives the names to the map numbers in an index. `losses` counts lost records by cause since opening;
    `warnings` are for the user.
    """

    def __init__(
        self,
        reader: _core.PerfReader,
        object: Object,
        package: Package,
        map_names: list[str],
        warnings: list[str],
    ) -> None:
        self.map_names = map_names
        self.warnings = warnings
        self.losses: dict[str, int] = {}
        self._reader = reader
        self._counter = object.maps[package.losses_map] if package.losses_map is not None else None
        self._kinds = _counter_keys(package, map_names)
        self._declared: dict[tuple[int, int, str], int] = {}
        self._lost_records = 0
        self._asked_at = monotonic()

    def fileno(self) -> int:
        """Readable when it is time to drain: a ring is a quarter full, or 20 ms have passed."""
        return self._reader.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is time to drain; False after `timeout` seconds, or after a signal whose handler has run."""
        return self._reader.wait(timeout)

    def drain(self, final: bool = False, detached: bool = False) -> Batch:
        """What the rings hold, without waiting. The newest few milliseconds are held back, for the sake of order,
        unless `final`. `detached` says that no program runs any more: then the losses are settled."""
        data, index = self._reader.drain(final or detached)
        lost: list[LossNote] = []
        now = monotonic()
        seen = self._reader.lost_records
        if final or detached or seen != self._lost_records or now - self._asked_at >= ASK_SECONDS:
            self._lost_records = seen
            self._asked_at = now
            lost = self._count_losses(detached)
        return Batch(data, index, lost)

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

    def _count_losses(self, detached: bool) -> list[LossNote]:
        counted = [self._counts_of(kinds) for kinds in self._kinds] if self._counter is not None else []
        until = self._reader.complete_until_ns
        notes: list[LossNote] = []
        rings = set()
        for map, cpu, received, by_record, by_kernel, malformed, _ in self._reader.ring_states(True):
            attempts, failed = counted[map][cpu] if counted else (0, 0)
            full = max(by_record, by_kernel, failed)
            if detached:
                full = max(full, attempts - received - malformed)
            rings.add((map, cpu))
            self._declare(map, cpu, "buffer_full", full, until, notes)
            self._declare(map, cpu, "undecodable", malformed, until, notes)
        # A CPU that came online later has no ring; only the program can know what it lost there.
        for map, counts in enumerate(counted):
            for cpu, (attempts, failed) in enumerate(counts):
                if (map, cpu) not in rings:
                    lost = max(failed, attempts) if detached else failed
                    self._declare(map, cpu, "buffer_full", lost, until, notes)
        return notes

    def _declare(
        self, map: int, cpu: int, cause: str, total: int, until_ns: int, notes: list[LossNote]
    ) -> None:
        more = total - self._declared.get((map, cpu, cause), 0)
        if more > 0:
            self._declared[map, cpu, cause] = total
            self.losses[cause] = self.losses.get(cause, 0) + more
            notes.append(LossNote(self.map_names[map], cpu, more, cause, until_ns))

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
