# Programs, where they can be attached, and their links. _core.pyx includes it.

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
    TRACE                     # what it came with
    ITERATOR

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
    if target.kind == TRACE:
        return bpf_program__attach_trace(program)
    if target.kind == ITERATOR:
        return bpf_program__attach_iter(program, NULL)
    return bpf_program__attach(program)


@cython.final
cdef class Program:
    cdef _Handle handle
    cdef bpf_program *program
    cdef int own_target
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
        kind, slash, rest = self.section.partition("/")
        self.own_target = _OWN_SECTIONS.get(kind.encode("utf-8", "surrogateescape"), BY_SECTION)
        if self.own_target != BY_SECTION:
            self.section = kind.lower() + slash + rest
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
    def instructions(self):
        self.fd
        return PyBytes_FromStringAndSize(
            <const char *>bpf_program__insns(self.program), 8 * bpf_program__insn_cnt(self.program))

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
        target.kind = self.own_target
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

    def attach_interface(self, int index, uint32_t xdp_mode=0):
        cdef Target target
        if xdp_mode:
            return self._attach_unlinked(index, xdp_mode, False, False, 0, 0)
        memset(&target, 0, sizeof(target))
        target.kind = INTERFACE
        target.number = index
        return self._attach(&target)

    def attach_filter(self, int interface, bint is_egress, uint32_t handle=0, uint32_t priority=0):
        return self._attach_unlinked(interface, 0, True, is_egress, handle, priority)

    cdef Link _attach_unlinked(
            self, int interface, uint32_t xdp_mode, bint is_tc, bint is_egress, uint32_t handle, uint32_t priority):
        global _live
        cdef Link made = Link.__new__(Link)
        cdef int fd = self.fd
        cdef Filter *filter
        cdef int error_number
        cdef Log log
        if self.handle.busy:
            raise RuntimeError("the object is in use by another thread")
        self.handle.busy += 1
        with nogil:
            _listen(&log, False)
            if is_tc:
                filter = _add_filter(fd, interface, is_egress, handle, priority)
            else:
                filter = _add_xdp(fd, interface, xdp_mode)
            error_number = errno
        self.handle.busy -= 1
        if filter != NULL:
            filter.next = self.handle.filters
            self.handle.filters = filter
            _live += 1
            made.handle = self.handle
            made.filter = filter
            made.program = self.name
        heard = _heard(&log)
        if filter == NULL:
            raise _failure(AttachError, error_number, f"attach: program {self.name}", heard)
        return made

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
    cdef Filter *filter       # instead of that
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
        return (self.link == NULL and self.filter == NULL) or self.handle.object == NULL

    def close(self):
        cdef bpf_link *link = self.link
        cdef Filter *filter = self.filter
        cdef int fd = self.iterator_fd
        self.link = NULL
        self.filter = NULL
        self.iterator_fd = -1
        if fd >= 0:
            close(fd)
        if link != NULL:
            self.handle.detach(link)
        if filter != NULL:
            self.handle.unfilter(filter)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
