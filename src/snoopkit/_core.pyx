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

`_rings.pxi`, included at the end, has the Reader and the UserRing: everything that looks into rings.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, EINVAL, ENOENT, errno
from libc.stdint cimport int16_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport FILE, fclose, ftell, stderr
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset
from posix.fcntl cimport F_DUPFD_CLOEXEC, fcntl
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.stdio cimport open_memstream
from posix.time cimport CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_gettime, itimerspec, timespec
from posix.unistd cimport _SC_PAGE_SIZE, close, read, sysconf

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
    LOG_LIMIT = 64 << 20

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


# ---- what libbpf says, and what it refuses

# libbpf has one print callback for the whole process. A call that wants to know what libbpf says during it
# puts its Log where only its own thread finds it, so calls of several threads go on side by side.
cdef struct Log:
    FILE *file
    char *text
    size_t size
    bint everything           # debug messages too

cdef Py_tss_t _log_of_thread
cdef bint _log_to_stderr = False


cdef int _print(libbpf_print_level level, const char *format, va_list arguments) noexcept nogil:
    cdef Log *log = <Log *>PyThread_tss_get(&_log_of_thread)
    cdef va_list again
    if _log_to_stderr:
        va_copy(again, arguments)
        vfprintf(stderr, format, again)
        va_end(again)
    if log != NULL and (log.everything or level != LIBBPF_DEBUG) and ftell(log.file) < LOG_LIMIT:
        vfprintf(log.file, format, arguments)
    return 0


if PyThread_tss_create(&_log_of_thread) != 0:
    raise MemoryError()
libbpf_set_print(_print)


def set_log_to_stderr(bint on) -> None:
    global _log_to_stderr
    _log_to_stderr = on


cdef void _listen(Log *log, bint everything) noexcept nogil:
    memset(log, 0, sizeof(Log))
    log.everything = everything
    log.file = open_memstream(&log.text, &log.size)
    if log.file != NULL:      # having no log is no reason to fail what it would tell about
        PyThread_tss_set(&_log_of_thread, log)


cdef str _heard(Log *log):
    """What libbpf said on this thread since _listen, which must have been called; `log` is used up."""
    if log.file == NULL:
        return ""
    PyThread_tss_set(&_log_of_thread, NULL)
    try:
        if fclose(log.file) != 0 or log.text == NULL:
            return ""
        return log.text[:log.size].decode("utf-8", "replace")
    finally:
        free(log.text)


cdef object _failure(type kind, int error_number, str what, str log=""):
    """The exception for one failed call; `what` is "stage: thing"."""
    cdef char text[256]
    libbpf_strerror(error_number, text, sizeof(text))
    message = f"{what}: {text.decode('utf-8', 'replace')}"
    if kind is PackageError:
        error = PackageError(message)
    else:     # from 4000 on are libbpf's own
        error = kind(message, errno=error_number if error_number < 4000 else None)
    error.log = log
    return error


cdef int _check(int result, type kind, str what) except -1:
    """The result of a call that says by a negative one that it failed."""
    if result < 0:
        raise _failure(kind, -result, what)
    return result


cdef str _text(const char *text):
    return text.decode("utf-8", "surrogateescape") if text != NULL else ""


# ---- several objects to one

def link_objects(list inputs, bytes output) -> None:
    cdef bpf_linker *linker
    cdef const char *path = PyBytes_AS_STRING(output)
    cdef int result = 0
    cdef Log log
    _listen(&log, False)
    linker = bpf_linker__new(path, NULL)
    if linker == NULL:
        result = -errno
    for item in inputs:
        path = PyBytes_AS_STRING(item)
        if result >= 0:
            result = bpf_linker__add_file(linker, path, NULL)
    if result >= 0:
        result = bpf_linker__finalize(linker)
    bpf_linker__free(linker)
    heard = _heard(&log)
    if result < 0:
        raise _failure(PackageError, -result, "link", heard)


# ---- objects, programs, links and maps

cdef struct Memory:           # a map's values, as this process sees them
    Memory *next
    char *start
    size_t size


cdef void _let_go(bpf_link *link) noexcept nogil:
    """Closes this process's reference to its parent's link.

    Detaching as libbpf does it would disable the perf event that both processes share, or remove the probe. That event's
    descriptor, which libbpf tells nobody, leaks: it goes when this process ends or executes another program.
    """
    cdef bpf_link_info info
    cdef uint32_t size = sizeof(info)
    cdef int fd = bpf_link__fd(link)
    memset(&info, 0, size)
    # Links made of several others have no descriptor of their own, and say 0: so the kernel is asked.
    if fd >= 0 and bpf_obj_get_info_by_fd(fd, &info, &size) == 0:
        close(fd)
    bpf_link__disconnect(link)
    bpf_link__destroy(link)


@cython.no_gc
@cython.final
cdef class _Handle:
    """A bpf_object and the links made from its programs: a link may point into its object, so they close first."""

    cdef bpf_object *object
    cdef bpf_link **links
    cdef size_t link_count
    cdef Memory *memories
    cdef list rings           # UserRings
    cdef int busy
    cdef bint loaded, tried
    cdef unsigned long owner

    def __cinit__(self):
        self.rings = []
        self.owner = _forks

    def __dealloc__(self):
        self.release()

    cdef bpf_object *get(self) except NULL:
        if self.object == NULL:
            raise ValueError("the object is closed")
        _check_owner(self.owner, "object")
        return self.object

    cdef bpf_object *get_loaded(self) except NULL:
        self.get()
        if not self.loaded:
            raise ValueError("the object is not loaded")
        return self.object

    cdef bpf_object *get_open(self) except NULL:
        self.get()
        if self.tried:
            raise ValueError("the object is loaded already")
        return self.object

    cdef int make_room(self) except -1:
        """For one more link."""
        cdef void *links = realloc(self.links, (self.link_count + 1) * sizeof(bpf_link *))
        if links == NULL:
            raise MemoryError()
        self.links = <bpf_link **>links
        return 0

    cdef char *share(self, int fd, size_t size, bint writable, int *error_number) except? NULL:
        """The values of a map, until the object is closed; NULL with the kernel's error where it refuses."""
        cdef Memory *memory = <Memory *>malloc(sizeof(Memory))
        cdef void *start
        if memory == NULL:
            raise MemoryError()
        memory.size = (size + _PAGE_SIZE - 1) // _PAGE_SIZE * _PAGE_SIZE
        start = mmap(NULL, memory.size, PROT_READ | PROT_WRITE if writable else PROT_READ, MAP_SHARED, fd, 0)
        if start == MAP_FAILED:
            error_number[0] = errno
            free(memory)
            return NULL
        memory.start = <char *>start
        memory.next = self.memories
        self.memories = memory
        return memory.start

    cdef void detach(self, bpf_link *link) noexcept:
        global _live
        cdef size_t number = self.link_count
        while number > 0:
            number -= 1
            if self.links[number] == link:
                self.link_count -= 1
                memmove(self.links + number, self.links + number + 1,
                        (self.link_count - number) * sizeof(bpf_link *))
                _live -= 1
                self.busy += 1
                with nogil:
                    if self.owner == _forks:
                        bpf_link__destroy(link)
                    else:
                        _let_go(link)
                self.busy -= 1
                return

    cdef void release(self) noexcept:
        global _live
        cdef bpf_object *object = self.object
        cdef Memory *memory
        if self.owner != _forks and self.busy:
            # What another thread was changing at the fork is left as it is: it can't be trusted, nor finished.
            _live -= self.link_count + (object != NULL)
            self.link_count = 0
            self.object = NULL
            return
        while self.link_count:
            self.detach(self.links[self.link_count - 1])
        free(self.links)
        self.links = NULL
        while self.rings:
            (<UserRing>self.rings.pop()).close()
        self.object = NULL
        while self.memories != NULL:
            memory = self.memories
            self.memories = memory.next
            munmap(memory.start, memory.size)
            free(memory)
        if object != NULL:
            _live -= 1
            with nogil:
                bpf_object__close(object)


@cython.auto_pickle(False)
@cython.final
cdef class Object:
    cdef _Handle handle
    cdef readonly str name, log
    cdef readonly dict programs, maps
    cdef bint kernel_log

    def __init__(self):
        raise TypeError("use Object.open")

    @staticmethod
    def open(bytes data, str name, bint kernel_log=False, bytes btf_path=None):
        global _live
        cdef Object self = Object.__new__(Object)
        cdef bpf_object_open_opts options
        cdef bpf_object *object
        cdef const char *start = PyBytes_AS_STRING(data)
        cdef size_t size = len(data)
        cdef int error_number
        cdef Log log
        cdef bpf_program *program
        cdef bpf_map *map
        # libbpf puts the name before those of .rodata and .bss, so it must hold neither a dot nor odd bytes.
        plain = "".join([c if c.isascii() and c.isalnum() else "_" for c in name])[:64] or "object"
        encoded = plain.encode()
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.object_name = PyBytes_AS_STRING(encoded)
        options.kernel_log_level = 1 if kernel_log else 0
        if btf_path is not None:
            options.btf_custom_path = PyBytes_AS_STRING(btf_path)
        self.handle = _Handle.__new__(_Handle)
        self.name = name
        self.kernel_log = kernel_log
        self.programs = {}
        self.maps = {}
        with nogil:
            _listen(&log, kernel_log)
            object = bpf_object__open_mem(start, size, &options)
            error_number = errno
        self.handle.object = object
        _live += object != NULL
        self.log = _heard(&log)
        if object == NULL:
            raise _failure(PackageError, error_number, f"open: {name}: libbpf refuses the object", self.log)
        program = bpf_object__next_program(object, NULL)
        while program != NULL:
            handle = Program._of(self.handle, program)
            self.programs[handle.name] = handle
            program = bpf_object__next_program(object, program)
        map = bpf_object__next_map(object, NULL)
        while map != NULL:
            # A package could ask to be pinned in the BPF file system or to take over what is pinned there.
            bpf_map__set_pin_path(map, NULL)
            map_handle = Map._of(self.handle, map)
            self.maps[map_handle.name] = map_handle
            map = bpf_object__next_map(object, map)
        return self

    def load(self):
        cdef bpf_object *object = self.handle.get_open()
        cdef bint everything = self.kernel_log
        cdef int result
        cdef Log log
        if self.handle.busy:
            raise RuntimeError("the object is in use by another thread")
        self.handle.tried = True
        self.handle.busy += 1
        with nogil:
            _listen(&log, everything)
            result = bpf_object__load(object)
        self.handle.busy -= 1
        heard = _heard(&log)
        self.log += heard
        if result < 0:
            raise _failure(LoadError, -result, f"load: {self.name}", heard)
        self.handle.loaded = True

    @property
    def loaded(self):
        return self.handle.loaded and self.handle.object != NULL

    @property
    def closed(self):
        return self.handle.object == NULL

    def close(self):
        if self.handle.busy and self.handle.owner == _forks:
            raise RuntimeError("the object is in use by another thread")
        self.handle.release()

    def __enter__(self):
        self.handle.get()
        return self

    def __exit__(self, *error):
        self.close()


cdef enum:                    # where a program can be sent
    BY_SECTION
    TRACEPOINT
    RAW_TRACEPOINT
    KPROBE
    UPROBE
    USDT
    PERF_EVENT
    CGROUP
    INTERFACE

cdef struct Target:
    int kind
    const char *file          # of a uprobe or USDT probe
    const char *group         # a tracepoint's category, a USDT probe's provider
    const char *name
    size_t offset
    int number                # a pid (-1 for all), descriptor or interface
    bint at_return


cdef bpf_link *_attach_to(bpf_program *program, const Target *target) noexcept nogil:
    cdef bpf_kprobe_opts kprobe
    cdef bpf_uprobe_opts uprobe
    if target.kind == TRACEPOINT:
        return bpf_program__attach_tracepoint(program, target.group, target.name)
    if target.kind == RAW_TRACEPOINT:
        return bpf_program__attach_raw_tracepoint(program, target.name)
    if target.kind == KPROBE:
        memset(&kprobe, 0, sizeof(kprobe))
        kprobe.sz = sizeof(kprobe)
        kprobe.offset = target.offset
        kprobe.retprobe = target.at_return
        return bpf_program__attach_kprobe_opts(program, target.name, &kprobe)
    if target.kind == UPROBE:
        memset(&uprobe, 0, sizeof(uprobe))
        uprobe.sz = sizeof(uprobe)
        uprobe.func_name = target.name
        uprobe.retprobe = target.at_return
        return bpf_program__attach_uprobe_opts(program, target.number, target.file, target.offset, &uprobe)
    if target.kind == USDT:
        return bpf_program__attach_usdt(program, target.number, target.file, target.group, target.name, NULL)
    if target.kind == PERF_EVENT:
        return bpf_program__attach_perf_event(program, target.number)
    if target.kind == CGROUP:
        return bpf_program__attach_cgroup(program, target.number)
    if target.kind == INTERFACE:
        return bpf_program__attach_xdp(program, target.number)
    return bpf_program__attach(program)


@cython.final
cdef class Program:
    cdef _Handle handle
    cdef bpf_program *program
    cdef readonly str name, section

    def __init__(self):
        raise TypeError("programs come with their Object")

    @staticmethod
    cdef Program _of(_Handle handle, bpf_program *program):
        cdef Program self = Program.__new__(Program)
        self.handle = handle
        self.program = program
        self.name = _text(bpf_program__name(program))
        self.section = _text(bpf_program__section_name(program))
        return self

    @property
    def autoload(self):
        self.handle.get()
        return bpf_program__autoload(self.program)

    @autoload.setter
    def autoload(self, bint on):
        self.handle.get_open()
        _check(bpf_program__set_autoload(self.program, on), LoadError, f"switch: program {self.name}")

    @property
    def fd(self):
        self.handle.get_loaded()
        cdef int fd = bpf_program__fd(self.program)
        if fd < 0:
            raise ValueError(f"program {self.name} is switched off")
        return fd

    @property
    def id(self):
        cdef bpf_prog_info info
        cdef uint32_t size = sizeof(info)
        memset(&info, 0, sizeof(info))
        _check(bpf_obj_get_info_by_fd(self.fd, &info, &size), LoadError, f"ask: program {self.name}")
        return info.id

    def expect_attach_type(self, int type):
        self.handle.get_open()
        _check(bpf_program__set_expected_attach_type(self.program, type), LoadError, f"set: program {self.name}")

    def attach(self):
        cdef Target target
        memset(&target, 0, sizeof(target))
        return self._attach(&target)

    def attach_tracepoint(self, bytes category, bytes name):
        cdef Target target
        memset(&target, 0, sizeof(target))
        target.kind = TRACEPOINT
        target.group = PyBytes_AS_STRING(category)
        target.name = PyBytes_AS_STRING(name)
        return self._attach(&target)

    def attach_raw_tracepoint(self, bytes name):
        cdef Target target
        memset(&target, 0, sizeof(target))
        target.kind = RAW_TRACEPOINT
        target.name = PyBytes_AS_STRING(name)
        return self._attach(&target)

    def attach_kprobe(self, bytes function, size_t offset=0, bint at_return=False):
        cdef Target target
        memset(&target, 0, sizeof(target))
        target.kind = KPROBE
        target.name = PyBytes_AS_STRING(function)
        target.offset = offset
        target.at_return = at_return
        return self._attach(&target)

    def attach_uprobe(self, bytes binary, bytes function, size_t offset=0, int pid=-1, bint at_return=False):
        cdef Target target
        memset(&target, 0, sizeof(target))
        target.kind = UPROBE
        target.file = PyBytes_AS_STRING(binary)
        target.name = PyBytes_AS_STRING(function) if function else NULL
        target.offset = offset
        target.number = pid
        target.at_return = at_return
        return self._attach(&target)

    def attach_usdt(self, bytes binary, bytes provider, bytes name, int pid=-1):
        cdef Target target
        memset(&target, 0, sizeof(target))
        target.kind = USDT
        target.file = PyBytes_AS_STRING(binary)
        target.group = PyBytes_AS_STRING(provider)
        target.name = PyBytes_AS_STRING(name)
        target.number = pid
        return self._attach(&target)

    def attach_clock(self, uint64_t frequency_hz, int cpu, int pid=-1):
        cdef perf_event_attr attributes
        cdef Target target
        cdef int fd
        memset(&attributes, 0, sizeof(attributes))
        attributes.size = sizeof(attributes)
        attributes.type = PERF_TYPE_SOFTWARE
        attributes.config = PERF_COUNT_SW_CPU_CLOCK
        attributes.freq = 1
        attributes.sample_freq = frequency_hz
        fd = syscall(SYS_perf_event_open, &attributes, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC)
        if fd < 0:
            raise _failure(AttachError, errno, f"attach: program {self.name}")
        memset(&target, 0, sizeof(target))
        target.kind = PERF_EVENT
        target.number = fd
        try:
            return self._attach(&target)     # from then on the descriptor is the link's
        except BaseException:
            close(fd)
            raise

    def attach_cgroup(self, int fd):
        cdef Target target
        memset(&target, 0, sizeof(target))
        target.kind = CGROUP
        target.number = fd
        return self._attach(&target)

    def attach_interface(self, int index):
        cdef Target target
        memset(&target, 0, sizeof(target))
        target.kind = INTERFACE
        target.number = index
        return self._attach(&target)

    cdef Link _attach(self, const Target *target):
        global _live
        cdef Link made = Link.__new__(Link)
        cdef bpf_program *program = self.program
        cdef bpf_link *link
        cdef int error_number
        cdef Log log
        self.fd
        self.handle.make_room()
        if self.handle.busy:
            raise RuntimeError("the object is in use by another thread")
        self.handle.busy += 1
        with nogil:
            _listen(&log, False)
            link = _attach_to(program, target)
            error_number = errno
        self.handle.busy -= 1
        if link != NULL:
            self.handle.links[self.handle.link_count] = link
            self.handle.link_count += 1
            _live += 1
            made.handle = self.handle
            made.link = link
            made.program = self.name
        heard = _heard(&log)
        if link == NULL:
            raise _failure(AttachError, error_number, f"attach: program {self.name}", heard)
        return made


@cython.no_gc_clear
@cython.final
cdef class Link:
    cdef _Handle handle
    cdef bpf_link *link
    cdef int iterator_fd      # -1 until it is read
    cdef readonly str program

    def __cinit__(self):
        self.iterator_fd = -1

    def __init__(self):
        raise TypeError("links come from Program.attach")

    def __dealloc__(self):
        self.close()

    def read(self, size_t size):
        self.handle.get_loaded()
        if self.link == NULL:
            raise ValueError("the link is closed")
        if self.iterator_fd < 0:
            self.iterator_fd = _check(
                bpf_iter_create(bpf_link__fd(self.link)), AttachError, f"iterate: program {self.program}")
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        cdef char *start = PyBytes_AS_STRING(data)
        cdef ssize_t count
        cdef int error_number
        self.handle.busy += 1
        with nogil:
            count = read(self.iterator_fd, start, size)
            error_number = errno
        self.handle.busy -= 1
        if count < 0:
            raise _failure(AttachError, error_number, f"iterate: program {self.program}")
        return data[:count]

    @property
    def closed(self):
        return self.link == NULL or self.handle.object == NULL

    def close(self):
        cdef bpf_link *link = self.link
        cdef int fd = self.iterator_fd
        self.link = NULL
        self.iterator_fd = -1
        if fd >= 0:
            close(fd)
        if link != NULL:
            self.handle.detach(link)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


@cython.final
cdef class Map:
    cdef _Handle handle
    cdef bpf_map *map
    cdef readonly str name
    cdef readonly int type
    cdef readonly uint32_t key_size, value_size
    cdef char *memory         # the handle's, so it is there while the object is
    cdef bint memory_writable

    def __init__(self):
        raise TypeError("maps come with their Object")

    @staticmethod
    cdef Map _of(_Handle handle, bpf_map *map):
        cdef Map self = Map.__new__(Map)
        self.handle = handle
        self.map = map
        self.name = _text(bpf_map__name(map))
        if bpf_map__is_internal(map):   # libbpf calls it OBJECT.rodata, its section is what others know
            self.name = self.name[self.name.find("."):]
        self.type = bpf_map__type(map)
        self.key_size = bpf_map__key_size(map)
        self.value_size = bpf_map__value_size(map)
        return self

    @property
    def max_entries(self):
        self.handle.get()
        return bpf_map__max_entries(self.map)

    @max_entries.setter
    def max_entries(self, uint32_t count):
        self.handle.get_open()
        _check(bpf_map__set_max_entries(self.map, count), MapError, f"size: map {self.name}")

    def redefine(self, int type, uint32_t key_size, uint32_t value_size, uint32_t max_entries):
        self.handle.get_open()
        where = f"redefine: map {self.name}"
        _check(bpf_map__set_type(self.map, type), MapError, where)
        _check(bpf_map__set_key_size(self.map, key_size), MapError, where)
        _check(bpf_map__set_value_size(self.map, value_size), MapError, where)
        self.type, self.key_size, self.value_size = type, key_size, value_size
        self.max_entries = max_entries

    @property
    def fd(self):
        self.handle.get_loaded()
        cdef int fd = bpf_map__fd(self.map)
        if fd < 0:
            raise ValueError(f"map {self.name} was not created")
        return fd

    @property
    def id(self):
        cdef bpf_map_info info
        cdef uint32_t size = sizeof(info)
        memset(&info, 0, sizeof(info))
        _check(bpf_obj_get_info_by_fd(self.fd, &info, &size), MapError, f"ask: map {self.name}")
        return info.id

    @property
    def flags(self):
        self.handle.get()
        return bpf_map__map_flags(self.map)

    cdef const void *initial(self, size_t *size) except NULL:
        cdef const void *value = bpf_map__initial_value(self.map, size)
        if value == NULL:
            raise ValueError(f"map {self.name} has no initial value")
        return value

    @property
    def initial_value(self):
        cdef size_t size = 0
        self.handle.get()
        cdef const void *value = self.initial(&size)
        return PyBytes_FromStringAndSize(<const char *>value, size)

    @initial_value.setter
    def initial_value(self, bytes value):
        cdef size_t size = 0
        self.handle.get_open()
        self.initial(&size)
        if <size_t>len(value) != size:
            raise ValueError(f"map {self.name} holds {size} bytes, not {len(value)}")
        _check(bpf_map__set_initial_value(self.map, PyBytes_AS_STRING(value), size),
               MapError, f"set: map {self.name}")

    cdef size_t value_room(self) except 0:
        """Bytes that one lookup fills."""
        if self.type in (BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
                         BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE):
            return (<size_t>self.value_size + 7) // 8 * 8 * <size_t>possible_cpus()
        return max(<size_t>self.value_size, <size_t>1)

    @property
    def value_room_bytes(self):
        return self.value_room()

    cdef const char *sized(self, str what, bytes value, size_t size) except NULL:
        """The first byte of `value`, which must have this size."""
        if <size_t>len(value) != size:
            raise ValueError(f"map {self.name}: a {what} has {size} bytes, not {len(value)}")
        return PyBytes_AS_STRING(value)

    cdef const char *keyed(self, bytes key) except? NULL:
        """The key's first byte; NULL for a map without keys, as the kernel wants it."""
        cdef const char *start = self.sized("key", key, self.key_size)
        return start if self.key_size else NULL

    cdef bint found(self, int result, str stage) except -1:
        """Whether there is such a key."""
        if result < 0 and result != -ENOENT:
            raise _failure(MapError, -result, f"{stage}: map {self.name}")
        return result == 0

    def lookup(self, bytes key, uint64_t flags=0):
        self.fd
        cdef size_t room = self.value_room()
        cdef bytes value = PyBytes_FromStringAndSize(NULL, room)
        cdef int result = bpf_map__lookup_elem(
            self.map, self.keyed(key), self.key_size, PyBytes_AS_STRING(value), room, flags)
        return value if self.found(result, "read") else None

    def take(self, bytes key, uint64_t flags=0):
        self.fd
        cdef size_t room = self.value_room()
        cdef bytes value = PyBytes_FromStringAndSize(NULL, room)
        cdef int result = bpf_map__lookup_and_delete_elem(
            self.map, self.keyed(key), self.key_size, PyBytes_AS_STRING(value), room, flags)
        return value if self.found(result, "take") else None

    def holds(self, bytes value):
        # The kernel reads the value here, and writes nothing: it is a bloom filter's question.
        cdef int result = bpf_map_lookup_elem(
            self.fd, NULL, <void *>self.sized("value", value, self.value_room()))
        return self.found(result, "read")

    def update(self, bytes key, bytes value, uint64_t flags=0):
        self.fd
        cdef size_t room = self.value_room()
        _check(bpf_map__update_elem(self.map, self.keyed(key), self.key_size,
                                    self.sized("value", value, room), room, flags),
               MapError, f"write: map {self.name}")

    def delete(self, bytes key):
        self.fd
        return self.found(
            bpf_map__delete_elem(self.map, self.keyed(key), self.key_size, 0), "delete")

    def next_key(self, bytes key=None):
        self.fd
        cdef bytes following = PyBytes_FromStringAndSize(NULL, self.key_size)
        cdef const char *before = self.sized("key", key, self.key_size) if key is not None else NULL
        cdef int result = bpf_map__get_next_key(self.map, before, PyBytes_AS_STRING(following), self.key_size)
        return following if self.found(result, "read") else None

    def read_batch(self, bytes cursor, uint32_t count, bint delete=False, uint64_t flags=0):
        cdef int fd = self.fd
        cdef size_t room = self.value_room(), cursor_size = max(<size_t>self.key_size, <size_t>4)
        cdef bytes keys = PyBytes_FromStringAndSize(NULL, count * <size_t>self.key_size)
        cdef bytes values = PyBytes_FromStringAndSize(NULL, count * room)
        cdef bytes following = PyBytes_FromStringAndSize(NULL, cursor_size)
        cdef void *before = <void *>self.sized("cursor", cursor, cursor_size) if cursor is not None else NULL
        cdef void *behind = PyBytes_AS_STRING(following)
        cdef void *keys_at = PyBytes_AS_STRING(keys)
        cdef void *values_at = PyBytes_AS_STRING(values)
        cdef bpf_map_batch_opts options
        cdef int result
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.elem_flags = flags
        self.handle.busy += 1
        with nogil:
            if delete:
                result = bpf_map_lookup_and_delete_batch(
                    fd, before, behind, keys_at, values_at, &count, &options)
            else:
                result = bpf_map_lookup_batch(fd, before, behind, keys_at, values_at, &count, &options)
        self.handle.busy -= 1
        more = self.found(result, "read")
        return keys[:count * <size_t>self.key_size], values[:count * room], following if more else None

    def write_batch(self, bytes keys, bytes values, uint64_t flags=0):
        return self._batch(keys, values, flags)

    def delete_batch(self, bytes keys):
        return self._batch(keys, None, 0)

    cdef _batch(self, bytes keys, bytes values, uint64_t flags):
        cdef int fd = self.fd
        cdef size_t total = <size_t>len(keys) // max(<size_t>self.key_size, <size_t>1)
        cdef uint32_t count = <uint32_t>total
        cdef const void *keys_at = self.sized("batch of keys", keys, <size_t>count * self.key_size)
        cdef const void *values_at = NULL
        cdef bpf_map_batch_opts options
        cdef int result
        if values is not None:
            values_at = self.sized("batch of values", values, <size_t>count * self.value_room())
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.elem_flags = flags
        self.handle.busy += 1
        with nogil:
            if values_at != NULL:
                result = bpf_map_update_batch(fd, keys_at, values_at, &count, &options)
            else:
                result = bpf_map_delete_batch(fd, keys_at, &count, &options)
        self.handle.busy -= 1
        # Where the kernel never came as far as counting, the count is still what we asked for.
        if result < 0 and count == total:
            count = 0
        return count, -result if result < 0 else 0

    cdef char *shared(self, size_t offset, size_t size) except NULL:
        """The byte at `offset` of an array's first value, in memory that the program sees too."""
        cdef int fd = self.fd, error_number = 0
        if offset + size > self.value_size or offset + size < offset:
            raise ValueError(f"map {self.name} has {self.value_size} bytes, not {offset + size}")
        if self.memory == NULL:
            self.memory = self.handle.share(fd, self.value_size, True, &error_number)
            self.memory_writable = self.memory != NULL
        if self.memory == NULL:
            self.memory = self.handle.share(fd, self.value_size, False, &error_number)
        if self.memory == NULL:
            raise _failure(MapError, error_number, f"share: map {self.name}")
        return self.memory + offset

    def read_shared(self, size_t offset, size_t size):
        cdef char *at = self.shared(offset, size)
        cdef uint64_t eight
        cdef uint32_t four
        cdef uint16_t two
        # What a program may be writing is taken in one piece, as far as the machine has pieces.
        if size == 8 and offset % 8 == 0:
            eight = __atomic_load_n(<uint64_t *>at, __ATOMIC_ACQUIRE)
            at = <char *>&eight
        elif size == 4 and offset % 4 == 0:
            four = <uint32_t>__atomic_load_n(<uint32_t *>at, __ATOMIC_ACQUIRE)
            at = <char *>&four
        elif size == 2 and offset % 2 == 0:
            two = <uint16_t>__atomic_load_n(<uint16_t *>at, __ATOMIC_ACQUIRE)
            at = <char *>&two
        return PyBytes_FromStringAndSize(at, size)

    def write_shared(self, size_t offset, bytes data):
        cdef size_t size = len(data)
        cdef char *at = self.shared(offset, size)
        cdef const char *source = PyBytes_AS_STRING(data)
        cdef uint64_t eight
        cdef uint32_t four
        cdef uint16_t two
        if not self.memory_writable:
            raise ValueError(f"map {self.name} is read-only")
        if size == 8 and offset % 8 == 0:
            memcpy(&eight, source, 8)
            __atomic_store_n(<uint64_t *>at, eight, __ATOMIC_RELEASE)
        elif size == 4 and offset % 4 == 0:
            memcpy(&four, source, 4)
            __atomic_store_n(<uint32_t *>at, four, __ATOMIC_RELEASE)
        elif size == 2 and offset % 2 == 0:
            memcpy(&two, source, 2)
            __atomic_store_n(<uint16_t *>at, two, __ATOMIC_RELEASE)
        else:
            memcpy(at, source, size)


include "_rings.pxi"
