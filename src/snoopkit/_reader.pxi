# The Reader: rings opened, waited for, drained in one go and closed. _core.pyx includes it.

cdef bpf_perf_event_ret _unused(void *context, int cpu, perf_event_header *event) noexcept nogil:
    return LIBBPF_PERF_EVENT_CONT     # libbpf wants a callback; the rings are read by _consume


cdef int _set_timer(int fd, uint64_t first_ns, uint64_t interval_ns) noexcept nogil:
    cdef itimerspec timer
    timer.it_value.tv_sec = first_ns // SECOND_NS
    timer.it_value.tv_nsec = first_ns % SECOND_NS
    timer.it_interval.tv_sec = interval_ns // SECOND_NS
    timer.it_interval.tv_nsec = interval_ns % SECOND_NS
    return timerfd_settime(fd, 0, &timer, NULL)


cdef int _watch(int epoll_fd, int fd, uint32_t events) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = events
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)


cdef struct RingGroup:        # the rings of one map
    perf_buffer *buffer       # of a perf event array
    void *consumer_page       # of a BPF ring buffer: ours to write
    void *producer_pages      # the kernel's
    size_t producer_bytes
    int map_fd


cdef void _let_go_of_rings(perf_buffer *buffer) noexcept nogil:
    """Closes this process's references to its parent's rings.

    perf_buffer__free would take the rings out of the map, disable their events, and unmap addresses that mean something
    else here: a fork doesn't inherit the rings' memory. So libbpf's few hundred bytes leak.
    """
    cdef size_t number
    if buffer != NULL:
        for number in range(perf_buffer__buffer_cnt(buffer)):
            close(perf_buffer__buffer_fd(buffer, number))
        close(perf_buffer__epoll_fd(buffer))


@cython.final
cdef class Reader:
    cdef RingGroup *groups
    cdef Ring *rings
    cdef int group_count, ring_count, buffer_count, epoll_fd, timer_fd, quick_drains
    cdef bint busy, closing
    cdef uint64_t interval_ns, drained_ns, barrier_ns
    cdef _Slab slab
    cdef RecordIndex *spare
    cdef size_t spare_room
    cdef _Pool pool
    cdef readonly bint has_lost_counter
    cdef unsigned long owner

    def __cinit__(self):
        self.owner = _forks
        self.epoll_fd = -1
        self.timer_fd = -1
        self.pool = _Pool.__new__(_Pool)

    def __init__(self, maps, *, uint64_t drain_interval_ns=20_000_000):
        global _live
        if self.epoll_fd != -1:
            raise ValueError("the reader is open already")
        if not drain_interval_ns:
            raise ValueError("drain_interval_ns must not be 0")
        maps = list(maps)
        if len(maps) > 65535:
            raise ValueError("a reader has room for 65535 maps")
        self.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll_fd < 0:
            raise _failure(MapError, errno, "open rings")
        _live += 1
        self.closing = False
        try:
            self.interval_ns = drain_interval_ns
            self._open(maps)
        except BaseException:
            self._release()
            raise

    cdef int _open(self, list maps) except -1:
        cdef list cpus = online_cpus()
        self.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        self.quick_drains = QUICK_DRAINS
        if (self.timer_fd < 0 or _set_timer(self.timer_fd, self.interval_ns // QUICKER + 1, self.interval_ns) < 0
                or _watch(self.epoll_fd, self.timer_fd, EPOLLIN) < 0):
            raise _failure(MapError, errno, "open rings")
        self.has_lost_counter = True
        # Of no map too: then it is a clock that ticks.
        self.groups = <RingGroup *>calloc(len(maps) or 1, sizeof(RingGroup))
        self.rings = <Ring *>calloc((len(maps) or 1) * len(cpus), sizeof(Ring))
        if self.groups == NULL or self.rings == NULL:
            raise MemoryError()
        for map, detail in maps:
            self._open_map(map, detail, cpus)
        self.slab = self.pool.take(0, 0)
        self.barrier_ns = self.drained_ns = _boottime_ns()
        return 0

    cdef int _open_map(self, Map map, detail, list cpus) except -1:
        cdef RingGroup *group = self.groups + self.group_count
        where = f"open rings: map {map.name}"
        if map.type not in (BPF_MAP_TYPE_PERF_EVENT_ARRAY, BPF_MAP_TYPE_RINGBUF):
            raise ValueError(f"map {map.name} is neither a perf event array nor a ring buffer")
        # The reader must be able to take its rings out of the map after the object is closed.
        group.map_fd = _duplicate(map, where)
        self.group_count += 1
        if map.type == BPF_MAP_TYPE_RINGBUF:
            return self._open_buffer(map, -1 if detail is None else detail, where)
        return self._open_rings(map, detail, cpus, where)

    cdef int _open_buffer(self, Map map, int64_t time_offset, str where) except -1:
        cdef RingGroup *group = self.groups + self.group_count - 1
        cdef Ring *ring = self.rings + self.ring_count
        cdef void *memory
        ring.size = map.max_entries
        # A consumer's position and page of its own, the producer's behind it, then the data twice.
        memory = mmap(NULL, _PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, group.map_fd, 0)
        if memory == MAP_FAILED:
            raise _failure(MapError, errno, where)
        group.consumer_page = memory
        group.producer_bytes = _PAGE_SIZE + 2 * ring.size
        memory = mmap(NULL, group.producer_bytes, PROT_READ, MAP_SHARED, group.map_fd, _PAGE_SIZE)
        if memory == MAP_FAILED:
            raise _failure(MapError, errno, where)
        group.producer_pages = memory
        ring.consumer = <uint64_t *>group.consumer_page
        ring.producer = <uint64_t *>memory
        ring.data = <char *>memory + _PAGE_SIZE
        ring.fd = ring.cpu = -1
        ring.map = self.group_count - 1
        ring.time_offset = time_offset
        self.ring_count += 1
        self.buffer_count += 1
        # By edge: a buffer is readable as long as anything is in it, but only its program knows when to wake.
        if _watch(self.epoll_fd, group.map_fd, EPOLLIN | EPOLLET) < 0:
            raise _failure(MapError, errno, where)
        return 0

    cdef int _open_rings(self, Map map, size_t pages, list cpus, str where) except -1:
        cdef perf_event_attr attributes
        cdef perf_buffer_raw_opts options
        cdef RingGroup *group = self.groups + self.group_count - 1
        cdef Ring *ring
        cdef int *keys
        cdef int fd = group.map_fd, error_number, count = 0, index
        cdef void *memory = NULL
        cdef size_t size = 0
        cdef Log log
        if pages == 0 or pages & (pages - 1):
            raise ValueError(f"map {map.name}: {pages} pages are no power of two")
        memset(&attributes, 0, sizeof(attributes))
        attributes.size = sizeof(attributes)
        attributes.type = PERF_TYPE_SOFTWARE
        attributes.config = PERF_COUNT_SW_BPF_OUTPUT
        attributes.sample_period = 1
        attributes.sample_type = PERF_SAMPLE_RAW | PERF_SAMPLE_TIME
        attributes.sample_id_all = 1       # LOST records have a time too
        attributes.use_clockid = 1
        attributes.clockid = CLOCK_BOOTTIME
        attributes.watermark = 1
        attributes.wakeup_watermark = <uint32_t>min(pages * _PAGE_SIZE // 4, <size_t>0x7fffffff)
        keys = <int *>malloc(len(cpus) * sizeof(int))
        if keys == NULL:
            raise MemoryError()
        try:
            for cpu in cpus:
                if cpu < map.max_entries:
                    keys[count] = cpu
                    count += 1
            memset(&options, 0, sizeof(options))
            options.sz = sizeof(options)
            options.cpu_cnt = count
            options.cpus = keys
            options.map_keys = keys
            while True:
                attributes.read_format = PERF_FORMAT_LOST if self.has_lost_counter else 0
                with nogil:
                    _listen(&log, False)
                    group.buffer = perf_buffer__new_raw(fd, pages, &attributes, _unused, NULL, &options)
                    error_number = errno
                heard = _heard(&log)
                if group.buffer != NULL or error_number != EINVAL or not self.has_lost_counter:
                    break
                self.has_lost_counter = False     # before 6.0 the kernel knows no such format
            if group.buffer == NULL:
                raise _failure(MapError, error_number, where, heard)
            for index in range(count):
                _check(perf_buffer__buffer(group.buffer, index, &memory, &size), MapError, where)
                ring = self.rings + self.ring_count
                ring.page = <perf_event_mmap_page *>memory
                ring.data = <char *>memory + ring.page.data_offset
                ring.size = ring.page.data_size
                ring.fd = perf_buffer__buffer_fd(group.buffer, index)
                ring.cpu = keys[index]
                ring.map = self.group_count - 1
                self.ring_count += 1
        finally:
            free(keys)
        if _watch(self.epoll_fd, perf_buffer__epoll_fd(group.buffer), EPOLLIN) < 0:
            raise _failure(MapError, errno, where)
        return 0

    def __dealloc__(self):
        self._release()

    cdef void _release(self) noexcept:
        global _live
        cdef RingGroup *groups = self.groups
        cdef int number, count = self.group_count
        if self.epoll_fd >= 0:
            _live -= 1
            close(self.epoll_fd)
        self.epoll_fd = -2
        if self.timer_fd >= 0:
            close(self.timer_fd)
        self.timer_fd = -1
        # Another thread may close while this one unmaps.
        self.groups = NULL
        self.group_count = self.ring_count = self.buffer_count = 0
        if self.owner != _forks and self.busy:
            self.spare = NULL     # another thread may have been sorting at the fork
        for number in range(count):
            with nogil:
                if self.owner == _forks:
                    perf_buffer__free(groups[number].buffer)
                else:
                    _let_go_of_rings(groups[number].buffer)
                if groups[number].consumer_page != NULL:
                    munmap(groups[number].consumer_page, _PAGE_SIZE)
                if groups[number].producer_pages != NULL:
                    munmap(groups[number].producer_pages, groups[number].producer_bytes)
            close(groups[number].map_fd)
        free(groups)
        free(self.rings)
        free(self.spare)
        self.rings = NULL
        self.spare = NULL
        self.spare_room = 0
        self.slab = None

    cdef int _enter(self) except -1:
        if self.epoll_fd < 0 or self.closing:
            raise ValueError("the reader is closed")
        _check_owner(self.owner, "reader")
        if self.busy:
            raise RuntimeError("the reader is in use by another thread")
        self.busy = True
        return 0

    cdef void _leave(self) noexcept:
        self.busy = False
        if self.closing:
            self._release()

    def fileno(self):
        if self.epoll_fd < 0 or self.closing:
            raise ValueError("the reader is closed")
        _check_owner(self.owner, "reader")
        return self.epoll_fd

    def wait(self, timeout=None):
        cdef int timeout_ms = -1
        cdef int result, error_number
        cdef pollfd item
        if timeout is not None:
            timeout_ms = <int>min(max(timeout, 0.0) * 1000.0 + 0.999, 2e9)
        self._enter()
        item.fd = self.epoll_fd
        item.events = POLLIN
        try:
            with nogil:
                result = poll(&item, 1, timeout_ms)
                error_number = errno
            if result < 0:
                if error_number != EINTR:
                    raise _failure(MapError, error_number, "wait")
                PyErr_CheckSignals()
            return result > 0
        finally:
            self._leave()

    def drain(self, bint final=False):
        cdef uint64_t begun_ns
        cdef epoll_event woken[16]
        cdef Store *store
        cdef int number, result
        cdef size_t ready
        self._enter()
        try:
            begun_ns = _boottime_ns()
            if self.buffer_count:
                epoll_wait(self.epoll_fd, woken, 16, 0)     # takes the edges
            for number in range(self.ring_count):
                _look(self.rings + number)
            number = 0
            while number < self.ring_count:
                number = self._consume(number, begun_ns)
            store = &self.slab.store
            with nogil:
                result = _sort(store, &self.spare, &self.spare_room)
                if result >= 0:
                    # What was there before the last drain began has by now arrived in its ring.
                    self.barrier_ns = max(self.barrier_ns, min(self.drained_ns, begun_ns - BARRIER_NS))
                    self.drained_ns = begun_ns
                    if self.buffer_count == 1 == self.ring_count:
                        final = True     # it is in order, and nothing else is to be merged into it
                    if final:
                        self.barrier_ns = begun_ns
                    ready = _count_until(
                        store.index + store.given, store.count - store.given, NEVER if final else self.barrier_ns)
                    self._set_pace(store, ready)
            if result < 0:
                raise MemoryError("a batch of records")   # it stays in the store
            if not ready:
                return _EMPTY, _EMPTY
            store.given += ready
            return (_view(self.slab, store.data, store.used),
                    _view(self.slab, store.index + store.given - ready, ready * sizeof(RecordIndex)))
        finally:
            self._leave()

    cdef int _consume(self, int first, uint64_t begun_ns) except -1:
        """Moves what was seen in rings from the `first` on into the slab, of as many as can be at once; returns the first
        of the others. What there is no memory for stays where it is."""
        cdef int number = first, end = first, result = 0
        cdef size_t needed = 0, waiting
        cdef Ring *ring
        cdef Store *store
        while end < self.ring_count:
            waiting = _waiting(self.rings + end)
            if end > first and needed + waiting > DRAIN_BYTES:
                break
            needed += waiting + RING_ROOM * (waiting > 0)
            end += 1
        if not needed:
            return end
        self.slab = self.slab.followed(needed, 1)
        store = &self.slab.store
        with nogil:
            while number < end:
                ring = self.rings + number
                if ring.page != NULL:
                    result = _consume(ring, store)
                else:
                    result = _consume_buffer(ring, store, begun_ns)
                if result:
                    break
                number += 1
        if result:
            # Small ones: none has less than eight bytes.
            self.slab = self.slab.followed(needed, needed // 8)
        return number

    cdef void _set_pace(self, Store *store, size_t ready) noexcept nogil:
        """When the next drain is due: sooner at first. Where what there is, after a quiet time, is held back, as soon as
        the oldest of it need not be any more; at first, whenever something is."""
        cdef uint64_t next_ns = self.interval_ns, age_ns
        if store.given + ready < store.count and (self.quick_drains or not ready):
            age_ns = self.drained_ns - min(self.drained_ns, store.index[store.given + ready].time_ns)
            next_ns = min(next_ns, BARRIER_NS - min(age_ns, <uint64_t>BARRIER_NS * 9 // 10))
        elif self.quick_drains:
            next_ns = next_ns // QUICKER + 1
        self.quick_drains -= self.quick_drains > 0
        _set_timer(self.timer_fd, next_ns, self.interval_ns)

    @property
    def received(self):
        cdef int number
        counts = [0] * self.group_count
        for number in range(self.ring_count):
            counts[self.rings[number].map] += self.rings[number].received
        return tuple(counts)

    @property
    def complete_until_ns(self):
        return self.barrier_ns

    @property
    def lost_records(self):
        cdef int number
        cdef uint64_t total = 0
        for number in range(self.ring_count):
            total += self.rings[number].lost_records
        return total

    def ring_states(self, bint ask_kernel=False):
        cdef int number
        cdef uint64_t answer[2]
        cdef Ring *ring
        cdef list states = []
        self._enter()
        try:
            for number in range(self.ring_count):
                ring = self.rings + number
                answer[1] = 0
                if ask_kernel and self.has_lost_counter and ring.fd >= 0:
                    if read(ring.fd, answer, sizeof(answer)) != sizeof(answer):
                        answer[1] = 0
                states.append((ring.map, ring.cpu, ring.received, ring.lost_records, answer[1], ring.malformed))
            return states
        finally:
            self._leave()

    def close(self):
        if self.busy and self.owner == _forks:
            # Another thread waits or drains: it closes the rings itself when it comes back, which is now.
            self.closing = True
            _set_timer(self.timer_fd, 1, self.interval_ns)
        else:
            self._release()

    @property
    def closed(self):
        return self.epoll_fd < 0 or self.closing

    def __enter__(self):
        if self.closed:
            raise ValueError("the reader is closed")
        return self

    def __exit__(self, *error):
        self.close()


cdef int _duplicate(Map map, str where) except -1:
    """A descriptor of our own for a map."""
    cdef int fd = fcntl(map.fd, F_DUPFD_CLOEXEC, 3)
    if fd < 0:
        raise _failure(MapError, errno, where)
    return fd
