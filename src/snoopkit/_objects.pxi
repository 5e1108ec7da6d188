# Objects and the handles that own what is made from them; several objects made one. _core.pyx includes it.

cdef struct Memory:           # a map's values, as this process sees them
    Memory *next
    char *start
    size_t size


cdef struct Attachment:       # what a program is for, found by us: the kernel's id of that
    bpf_program *program
    uint32_t type_id


# Of the object that a thread loads.
cdef Py_tss_t _attachments_of_thread
if PyThread_tss_create(&_attachments_of_thread) != 0:
    raise MemoryError()


cdef int _prepare_load(bpf_program *program, bpf_prog_load_opts *options, long how) noexcept nogil:
    """Gives a program its kind and what it is for. Until now it had another kind, for which libbpf doesn't read all of
    the kernel's types."""
    cdef Attachment *each = <Attachment *>PyThread_tss_get(&_attachments_of_thread)
    while each != NULL and each.program != NULL:
        if each.program == program:
            options.attach_btf_id = each.type_id
            if how & BPF_F_SLEEPABLE:
                options.prog_flags |= BPF_F_SLEEPABLE
            return bpf_program__set_type(program, BPF_PROG_TYPE_TRACING)
        each += 1
    return -EINVAL


# Sections of programs that come with what they are for; libbpf's own names but for a capital letter.
cdef dict _OWN_SECTIONS = {b"Tp_btf": TRACE, b"Iter": ITERATOR, b"Iter.s": ITERATOR}
cdef libbpf_prog_handler_opts _own_section
memset(&_own_section, 0, sizeof(_own_section))
_own_section.sz = sizeof(_own_section)
_own_section.prog_prepare_load_fn = _prepare_load
_check(libbpf_register_prog_handler("Tp_btf+", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_RAW_TP, &_own_section),
       LoadError, "register sections")
_check(libbpf_register_prog_handler("Iter+", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_ITER, &_own_section),
       LoadError, "register sections")
_own_section.cookie = BPF_F_SLEEPABLE
_check(libbpf_register_prog_handler("Iter.s+", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_ITER, &_own_section),
       LoadError, "register sections")


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
    cdef Filter *filters
    cdef Memory *memories
    cdef list rings           # UserRings
    cdef int busy
    cdef bint loaded, tried
    cdef int types_fd         # a BTF that libbpf reads when it loads; -1 for none
    cdef Attachment *attachments     # up to one without a program; NULL where libbpf finds them
    cdef unsigned long owner

    def __cinit__(self):
        self.types_fd = -1
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

    cdef int keep_types(self, bytes types) except -1:
        """Puts a BTF where libbpf can read it by its path."""
        cdef const char *start = PyBytes_AS_STRING(types)
        cdef ssize_t size = len(types)
        self.types_fd = memfd_create("btf", MFD_CLOEXEC)
        if self.types_fd < 0 or write(self.types_fd, start, size) != size:
            raise _failure(PackageError, errno, "open: an extract of the kernel's types")
        return 0

    cdef void forget_types(self) noexcept:
        cdef int fd = self.types_fd
        self.types_fd = -1
        if fd >= 0:
            close(fd)

    cdef int attach_to(self, dict ids) except -1:
        """Says what programs are for, by their names."""
        cdef bpf_program *program = bpf_object__next_program(self.object, NULL)
        cdef size_t count = 0
        self.attachments = <Attachment *>calloc(len(ids) + 1, sizeof(Attachment))
        if self.attachments == NULL:
            raise MemoryError()
        while program != NULL and count < <size_t>len(ids):
            type_id = ids.get(_text(bpf_program__name(program)))
            if type_id is not None:
                self.attachments[count].program = program
                self.attachments[count].type_id = type_id
                count += 1
            program = bpf_object__next_program(self.object, program)
        return 0

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

    cdef void unfilter(self, Filter *filter) noexcept:
        global _live
        cdef Filter **place = &self.filters
        while place[0] != NULL and place[0] != filter:
            place = &place[0].next
        if place[0] == NULL:
            return
        place[0] = filter.next
        _live -= 1
        cdef Filter *other = self.filters
        while other != NULL and filter.made_qdisc:
            if other.hook.ifindex == filter.hook.ifindex:
                other.made_qdisc = True         # the last one drops it
                filter.made_qdisc = False
            other = other.next
        if self.owner != _forks:
            if filter.link_fd >= 0:
                close(filter.link_fd)
            free(filter)                # it is the parent's
            return
        cdef Log log
        self.busy += 1
        with nogil:
            _listen(&log, False)
            _remove_filter(filter)
        self.busy -= 1
        _heard(&log)

    cdef void release(self) noexcept:
        global _live
        cdef bpf_object *object = self.object
        cdef Memory *memory
        self.forget_types()
        free(self.attachments)
        self.attachments = NULL
        if self.owner != _forks and self.busy:
            # What another thread was changing at the fork is left as it is: it can't be trusted, nor finished.
            _live -= self.link_count + (object != NULL)
            self.link_count = 0
            while self.filters != NULL:
                self.filters = self.filters.next
                _live -= 1
            self.object = NULL
            return
        while self.link_count:
            self.detach(self.links[self.link_count - 1])
        while self.filters != NULL:
            self.unfilter(self.filters)
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
    def open(bytes data, str name, bint kernel_log=False, bytes btf_path=None,
             bytes kernel_config=None, bytes types=None, dict ids=None):
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
        if kernel_config is not None:
            options.kconfig = PyBytes_AS_STRING(kernel_config)
        self.handle = _Handle.__new__(_Handle)
        if types is not None:
            self.handle.keep_types(types)
            btf_path = b"/proc/self/fd/%d" % self.handle.types_fd
            options.btf_custom_path = PyBytes_AS_STRING(btf_path)
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
        if ids is not None:
            self.handle.attach_to(ids)
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

    def load(self, bint modules=True):
        cdef bpf_object *object = self.handle.get_open()
        cdef bint everything = self.kernel_log
        cdef int result
        cdef bpf_program *program
        cdef Log log
        if self.handle.busy:
            raise RuntimeError("the object is in use by another thread")
        self.handle.tried = True
        self.handle.busy += 1
        with nogil:
            if not modules:
                # libbpf before 1.3 gives up where it may not list the modules; but it lists them once an object, and
                # looking for a target that no kernel has does that. The program stays as it is.
                program = bpf_object__next_program(object, NULL)
                if program != NULL:
                    bpf_program__set_attach_target(program, 0, "no function's name")
            _listen(&log, everything)
            PyThread_tss_set(&_attachments_of_thread, self.handle.attachments)
            result = bpf_object__load(object)
            PyThread_tss_set(&_attachments_of_thread, NULL)
        self.handle.busy -= 1
        self.handle.forget_types()
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
