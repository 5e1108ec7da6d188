# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=False
"""Native handles: the only code that touches libbpf.

Who owns what:

    Object ─▶ _Handle (bpf_object and every bpf_link made from it)
    Program, Map, Link ─▶ the same _Handle, so they never outlive what they point into
    UserRing ◀─ the _Handle of its map, which closes it
    Reader owns its rings and its own duplicates of the maps' descriptors; it needs no Object to live

Rules that every class here keeps:

* a method first asks its handle for the pointer, which raises ValueError once that is closed;
* closing is allowed at any time, twice, half-built, and happens by itself when the last reference goes;
* every result of libbpf goes through `_failure`, which makes it one of the exceptions of `errors`;
* after a fork all belongs to the parent: in the child a use raises RuntimeError, and closing lets go of references
  only, so that the parent's programs stay attached and its rings in their maps;
* what runs without the GIL never allocates Python objects and never raises: it returns a number.

Here is what all of it shares; the handles themselves are in the files included at the end.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EEXIST, EINTR, EINVAL, ENOENT, errno
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport FILE, fclose, ftell, stderr
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset, strcmp, strlen
from posix.fcntl cimport F_DUPFD_CLOEXEC, fcntl
from posix.mman cimport MAP_FAILED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.stdio cimport open_memstream
from posix.time cimport CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_gettime, itimerspec, timespec
from posix.unistd cimport _SC_PAGE_SIZE, close, read, sysconf, write

from snoopkit._libbpf cimport *
from snoopkit._system cimport *
from snoopkit.record cimport RecordIndex

from snoopkit.errors import AttachError, LoadError, MapError, PackageError

cdef enum:
    # In the kernel since 6.0; its header may be older than the kernel that runs.
    PERF_FORMAT_LOST = 1 << 4
    SECOND_NS = 1000000000
    # Drains that follow each other closely must not move the barrier up to where a record may still be on its
    # way into its ring: a program can be interrupted between the record's time and its becoming visible.
    BARRIER_NS = 5000000
    # Whoever starts a tool waits for its first event: so many drains come so many times sooner than usual.
    QUICK_DRAINS = 50
    QUICKER = 10
    LOG_LIMIT = 64 << 20
    LARGEST_RECORD = 1 << 16        # of a perf event ring: its size has 16 bits
    RING_ROOM = 16                  # what a store needs for a ring beside its bytes
    DRAIN_BYTES = 1 << 30           # of several rings at once: offsets in a store have 32 bits
    TYPICAL_BYTES = 40              # of a record, with all around it
    SMALLEST_SLAB = 1 << 16
    MORE_BYTES = 1 << 20            # what a slab has besides what it is taken for, where that is much

cdef uint64_t NEVER = <uint64_t>0xffffffffffffffff
cdef size_t _PAGE_SIZE = sysconf(_SC_PAGE_SIZE)
PAGE_SIZE = _PAGE_SIZE

cdef Py_ssize_t _live = 0

# How many forks lie between the process that imported this and the one it runs in. Unlike a pid this costs no system
# call, and no other process in the line of parents has the same.
cdef unsigned long _forks = 0


cdef void _count_fork() noexcept nogil:
    global _forks
    _forks += 1


if pthread_atfork(NULL, NULL, _count_fork) != 0:
    raise MemoryError()


def forks() -> int:
    return _forks


cdef int _check_owner(unsigned long owner, str what) except -1:
    if owner != _forks:
        raise RuntimeError(f"the {what} is the parent's, which opened it before the fork: only closing it is allowed")
    return 0


def live_handles() -> int:
    return _live


def possible_cpus() -> int:
    return _check(libbpf_num_possible_cpus(), LoadError, "count CPUs")


def has_map_type(int type) -> bool:
    return bool(_check(libbpf_probe_bpf_map_type(type, NULL), MapError, f"probe: maps of type {type}"))


def online_cpus() -> list:
    cpus = []
    # UTF-8 needs no import, which could fail by now: privileges may be gone, and with them the way to Python's files
    with open("/sys/devices/system/cpu/online", encoding="utf-8") as file:
        for part in file.read().strip().split(","):
            first, _, last = part.partition("-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def boottime_ns() -> int:
    return _boottime_ns()


cdef uint64_t _boottime_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_BOOTTIME, &now)
    return <uint64_t>now.tv_sec * SECOND_NS + <uint64_t>now.tv_nsec


include "_messages.pxi"
include "_kernel_types.pxi"
include "_filters.pxi"
include "_objects.pxi"
include "_programs.pxi"
include "_maps.pxi"
include "_records.pxi"
include "_rings.pxi"
include "_reader.pxi"
include "_user_ring.pxi"
