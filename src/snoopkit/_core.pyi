"""Native handles: the only code that touches libbpf. Its header comment says who owns what.

Errors that come from libbpf or the kernel have a `log`: what libbpf and the verifier said during that call.
Using a handle after it is closed raises ValueError, and so does what its phase doesn't allow (before or after load).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self, final

PAGE_SIZE: int
"""Bytes of a memory page on this machine."""

def live_handles() -> int:
    """How many kernel-side things are held: objects, links and readers. For tests."""

def forks() -> int:
    """How many forks lie between the process that imported this and the one that asks. What was opened at another
    count is the parent's: its use raises RuntimeError, closing it leaves the parent's own as it is."""

def set_log_to_stderr(on: bool) -> None:
    """Print everything libbpf says, on stderr, as it says it. For the whole process."""

def boottime_ns() -> int:
    """CLOCK_BOOTTIME now, the clock of every record."""

def possible_cpus() -> int:
    """CPUs that this machine could ever have: the slots of a per-CPU map's value."""

def has_map_type(type: int) -> bool:
    """Whether this kernel makes maps of this type. It tries; without CAP_BPF the answer is no. MapError."""

def online_cpus() -> list[int]: ...
def link_objects(inputs: list[bytes], output: bytes) -> None:
    """Link object files, by their paths, to one, as libbpf does. PackageError, with its words in `log`."""

@final
class KernelBtf:
    """The kernel's own BTF in the file `path`, which is trusted not to change; mapped where the kernel lets it be, else
    read. OSError, or PackageError for what isn't BTF."""

    def __init__(self, path: str) -> None: ...
    def has_name(self, name: bytes) -> bool:
        """Whether anything in it is called so."""

    def extract(
        self, names: list[bytes], exact: list[bytes] = ...
    ) -> tuple[bytes, list[tuple[bytes, int, int]], list[tuple[bytes, int, int]]]:
        """A BTF of the structs, unions and enums that have these names, flavours (`NAME___any`) among them, and of all
        that they hold by value; behind a pointer is void. Also (name, the kernel's id, kind) of each that was found;
        and of the functions and typedefs that have a name in `exact`. PackageError if it isn't sound."""

class Object:
    """A BPF object: `open` only reads its bytes, `load` is the first to touch the kernel."""

    name: str
    programs: dict[str, Program]
    maps: dict[str, Map]
    log: str
    """What libbpf, and with `kernel_log` the verifier, said while opening and loading."""
    @staticmethod
    def open(
        data: bytes,
        name: str,
        kernel_log: bool = False,
        btf_path: bytes | None = None,
        kernel_config: bytes | None = None,
        types: bytes | None = None,
        ids: dict[str, int] | None = None,
    ) -> Object:
        """PackageError if libbpf refuses the bytes. They must have passed `Elf.parse` and `Btf.parse` before: libbpf
        crashes on hostile ones. With `kernel_log` the verifier explains accepted programs too. `btf_path` is a file
        with the kernel's BTF, for one that doesn't tell its own, `kernel_config` lines of a configuration that go
        before the kernel's, `types` a BTF in place of that of `btf_path`, `ids` what programs
        in the sections "Tp_btf", "Iter" and "Iter.s" are for, by the kernel's ids. Requests to be pinned in the BPF
        file system are dropped."""

    def load(self, modules: bool = True) -> None:
        """Creates the maps and loads the programs that are switched on. LoadError; only one try. Without `modules` only
        the kernel's own BTF is searched for what the programs use, not that of its modules."""

    @property
    def loaded(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None:
        """Detaches all links, unloads, frees; again is fine. RuntimeError while another thread loads or attaches."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class Program:
    name: str
    section: str
    """As in the object, without the `?` of one that is switched off at first."""
    autoload: bool
    """Whether it will be loaded; settable before load."""
    def expect_attach_type(self, type: int) -> None:
        """The kernel's number for how it will be attached, in place of its section's; before load."""

    @property
    def fd(self) -> int:
        """ValueError where it is not loaded."""

    @property
    def instructions(self) -> bytes:
        """As they were loaded, eight bytes each. ValueError where it is not loaded."""

    @property
    def id(self) -> int:
        """The kernel's number for it, as bpftool shows."""

    def attach(self) -> Link:
        """Where its section says. AttachError; errno EOPNOTSUPP for a section that libbpf can't attach by itself."""

    def attach_tracepoint(self, category: bytes, name: bytes) -> Link: ...
    def attach_raw_tracepoint(self, name: bytes) -> Link: ...
    def attach_kprobe(self, function: bytes, offset: int = 0, at_return: bool = False) -> Link: ...
    def attach_uprobe(
        self, binary: bytes, function: bytes, offset: int = 0, pid: int = -1, at_return: bool = False
    ) -> Link:
        """`offset` counts from the function, or within the file where `function` is empty. `binary` without a slash
        is searched for, among libraries and on the PATH. All processes, unless `pid` names one."""

    def attach_usdt(self, binary: bytes, provider: bytes, name: bytes, pid: int = -1) -> Link: ...
    def attach_clock(self, frequency_hz: int, cpu: int, pid: int = -1) -> Link:
        """So often a second of CPU time, on one CPU (-1 with a pid: on all)."""

    def attach_cgroup(self, fd: int) -> Link:
        """To the cgroup whose folder is open as `fd`."""

    def attach_interface(self, index: int, xdp_mode: int = 0) -> Link:
        """To a network interface, as XDP or whatever attach type the program was given. EBUSY where another XDP program
        is. `xdp_mode` is XDP_FLAGS_SKB_MODE (2) or XDP_FLAGS_DRV_MODE (4), 0 what the interface can do best."""
    def attach_filter(self, interface: int, is_egress: bool, handle: int = 0, priority: int = 0) -> Link:
        """A tc program to a network interface as a filter of its clsact qdisc, which is made if it isn't there. The
        kernel chooses what is 0 of `handle` and `priority`, EEXIST where another filter has both; it doesn't remove
        the filter by itself where this process is killed."""

@final
class Link:
    """An attached program. Detached by `close`, by its object's close, and when nothing refers to it any more."""

    program: str
    """Name of the program."""
    def read(self, size: int) -> bytes:
        """At most so many of the next bytes that an iterator writes, beginning with its first; b"" at the end.
        AttachError, with errno EINVAL where the program is no iterator."""

    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class Map:
    """Keys and values are bytes of exactly `key_size` and `value_size`; a per-CPU map's value is one for each
    possible CPU, each rounded up to 8 bytes. MapError where the kernel refuses."""

    name: str
    """As in the object; for the ones that hold variables, their section: `.rodata`, `.bss`."""
    type: int
    """The kernel's number: 4 is a perf event array, 27 a ring buffer, 31 a user ring buffer."""
    key_size: int
    value_size: int
    max_entries: int
    """Settable before load."""
    initial_value: bytes
    """Of a map that holds variables; settable before load, whole. ValueError for any other map."""
    def redefine(self, type: int, key_size: int, value_size: int, max_entries: int) -> None:
        """Make it another kind of map, before load."""

    @property
    def fd(self) -> int: ...
    @property
    def id(self) -> int:
        """The kernel's number for it, as bpftool shows."""

    @property
    def flags(self) -> int:
        """As the map was declared: 0x80 can be read-only for programs, 0x400 shared as memory."""

    @property
    def value_room_bytes(self) -> int:
        """Bytes of a value as `lookup` gives it: for a per-CPU map, those of all possible CPUs."""

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """None if there is no such key. `key` is empty for a queue or stack: what would come next."""

    def take(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value, deleted in the same moment; None if there is no such key. MapError with errno 524 where this
        kind of map can't."""

    def holds(self, value: bytes) -> bool:
        """Whether a bloom filter may have it."""

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """`flags` is 1 for new keys only, 2 for known ones only (else MapError, EEXIST or ENOENT); 4 takes the lock."""

    def delete(self, key: bytes) -> bool:
        """Whether it was there."""

    def next_key(self, key: bytes | None = None) -> bytes | None:
        """The key behind this one, the first for None; None after the last."""

    def read_batch(
        self, cursor: bytes | None, count: int, delete: bool = False, flags: int = 0
    ) -> tuple[bytes, bytes, bytes | None]:
        """Up to `count` entries in one system call: their keys, their values, and the cursor for the next call, None
        after the last entry. With `delete` they are gone.

        MapError: ENOSPC where `count` is too small to go on, 524 or EINVAL where kernel or map can't do it.
        """

    def write_batch(self, keys: bytes, values: bytes, flags: int = 0) -> tuple[int, int]:
        """How many entries were written before the kernel stopped, and at which errno: 0 if it didn't."""

    def delete_batch(self, keys: bytes) -> tuple[int, int]:
        """How many keys were deleted before the kernel stopped, and at which errno: 0 if it didn't."""

    def read_shared(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Bytes of an array's first value out of the memory that programs use, without a system call; aligned ones of
        2, 4 or 8 bytes in one piece. MapError for a map that isn't shared memory."""

    def write_shared(self, offset_bytes: int, data: bytes) -> None:
        """The same, written; nothing beside them is touched. ValueError for a map that is read-only."""

@final
class Reader:
    """The rings of perf event arrays, one per map and online CPU, and BPF ring buffers, read together in the order of
    time.

    `maps` gives each perf event array with the pages of each of its rings, a power of two; each ring buffer with where
    its records have their time (u64, CLOCK_BOOTTIME: an offset in bytes), or None if they have none: then their time is
    that of the drain. Within one ring buffer the order is the kernel's, and a record's time is at least that of the one
    in front of it. Maps are numbered in this order.

    Without CAP_IPC_LOCK the kernel limits locked memory: MapError with errno EPERM means "smaller".
    It lives on when its object is closed. One thread at a time; another one may close it.
    """

    has_lost_counter: bool
    """Whether the kernel counts a ring's losses (6.0 and later); before, there are only LOST records."""
    def __init__(
        self, maps: Iterable[tuple[Map, int | None]], *, drain_interval_ns: int = 20_000_000
    ) -> None: ...
    def fileno(self) -> int:
        """Readable when a ring is a quarter full, when a ring buffer's program wakes its reader, `drain_interval_ns`
        after the last drain, and, after one that held back all it found, when the oldest of that is 5 ms old. For the
        first 50 drains a tenth of the interval takes its place, and that goes for one that held back any."""

    def wait(self, timeout: float | None = None) -> bool:
        """Until `fileno()` is readable, or `timeout` seconds. False after a signal too, once its handler has run."""

    def drain(self, final: bool = False) -> tuple[memoryview, memoryview]:
        """Takes all records out of all rings: their bytes, and packed `RecordIndex` entries (24 bytes each: u64 boot
        time, u32 offset, u32 size, u32 sequence, s16 CPU, u16 map) sorted by time. The CPU is -1 for a ring buffer's.

        Records newer than the moment before the previous drain are held back for the next, as an older one may still be
        on its way; `final` holds back nothing, and neither does a reader of nothing but one ring buffer. Never blocks.
        The two views keep their memory; drop them soon.
        """

    @property
    def received(self) -> tuple[int, ...]:
        """Records taken out so far, for each map."""

    @property
    def complete_until_ns(self) -> int:
        """Boot time up to which everything has been handed out by the last drain."""

    @property
    def lost_records(self) -> int:
        """Sum of all PERF_RECORD_LOST so far. Cheap; `ring_states` tells which ring."""

    def ring_states(self, ask_kernel: bool = False) -> list[tuple[int, int, int, int, int, int]]:
        """For each ring: map, CPU (-1 for a ring buffer), and totals since opening: received, lost by LOST records,
        lost by the kernel's counter (0 unless `ask_kernel`, one read a ring), malformed records."""

    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class UserRing:
    """The way into a program: a user ring buffer (kernel 6.1 and later). Closed by `close`, and with its object."""

    def __init__(self, map: Map) -> None: ...
    def submit(self, data: bytes) -> None:
        """Put a record where the program finds it the next time it looks (bpf_user_ringbuf_drain). Never waits:
        MapError with errno ENOSPC while the ring is full, E2BIG for a record that can't ever fit."""

    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

def _read_bytes(
    ring_data: bytes, tail: int, head: int, is_buffer: bool = False, time_offset: int = -1
) -> tuple[bytes, bytes, int, int, int]: ...
