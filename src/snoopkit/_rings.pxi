# The rings' half of _core: records out of the rings, into one batch, in the order of time; and the rings that lead into
# a program. _core.pyx includes it.

cdef struct Ring:             # a CPU's ring of a perf event array, or a BPF ring buffer
    perf_event_mmap_page *page    # NULL for a BPF ring buffer
    uint64_t *consumer        # a BPF ring buffer's positions: ours,
    uint64_t *producer        # and the kernel's
    char *data                # there mapped twice in a row: no record goes round the end
    uint64_t size             # of data, a power of two
    int fd
    int16_t cpu
    uint16_t map
    int64_t time_offset       # in a BPF ring buffer's records, of their boot time; -1 where they have none
    uint64_t newest_ns        # of what came out of a BPF ring buffer
    uint64_t received
    uint64_t lost_records     # sum of the PERF_RECORD_LOST seen
    uint64_t malformed        # records that can't be what the kernel meant to write

cdef struct Store:
    char *data
    size_t used
    size_t room
    RecordIndex *index
    size_t count
    size_t index_room         # in records
    uint32_t sequence


cdef int _grow(Store *store, size_t more_bytes, size_t more_records) noexcept nogil:
    """-1 when there is no memory; what the store holds stays as it is."""
    cdef void *memory
    cdef size_t room
    if store.used + more_bytes > store.room:
        room = max(store.used + more_bytes, store.room + store.room // 2)
        memory = realloc(store.data, room)
        if memory == NULL:
            return -1
        store.data = <char *>memory
        store.room = room
    if store.count + more_records > store.index_room:
        room = max(store.count + more_records, store.index_room + store.index_room // 2)
        memory = realloc(store.index, room * sizeof(RecordIndex))
        if memory == NULL:
            return -1
        store.index = <RecordIndex *>memory
        store.index_room = room
    return 0


cdef int _consume(Ring *ring, Store *store) noexcept nogil:
    """Moves a ring's records into the store; -1 when there is no memory.

    The kernel's size field has 16 bits and wraps for records that are too large; such a record may also have
    overwritten others. So nothing in the ring is believed that its bounds don't bear out: a record that is too
    short for what it says is left out, and where no next record can be found, the rest is given up.
    """
    cdef uint64_t head = __atomic_load_n(&ring.page.data_head, __ATOMIC_ACQUIRE)
    cdef uint64_t tail = ring.page.data_tail
    cdef uint64_t waiting = head - tail
    cdef uint64_t mask = ring.size - 1
    cdef uint64_t at, first, latest, time_ns
    cdef uint32_t length, size
    cdef perf_event_header *header
    cdef RecordIndex *entry

    if waiting == 0:
        return 0
    if waiting > ring.size or (head | tail) & 7:
        ring.malformed += 1
        __atomic_store_n(&ring.page.data_tail, head, __ATOMIC_RELEASE)
        return 0
    if store.used + waiting > <uint64_t>0xffffffff:
        return 0      # the offsets of a batch have 32 bits: the next one takes these
    if _grow(store, waiting, waiting // 24 + 1) < 0:
        return -1
    latest = _boottime_ns() + SECOND_NS
    while tail != head:
        at = tail & mask
        header = <perf_event_header *>(ring.data + at)
        length = header.size
        if length < sizeof(perf_event_header) or length & 7 or length > head - tail:
            ring.malformed += 1
            break
        if header.type == PERF_RECORD_SAMPLE:
            if length < 24:
                ring.malformed += 1
            else:
                # header, u64 time, u32 size, then the bytes of bpf_perf_event_output
                time_ns = (<uint64_t *>(ring.data + ((at + 8) & mask)))[0]
                size = (<uint32_t *>(ring.data + ((at + 16) & mask)))[0]
                if size > length - 20 or time_ns > latest:
                    ring.malformed += 1
                else:
                    entry = store.index + store.count
                    entry.time_ns = time_ns
                    entry.offset_bytes = <uint32_t>store.used
                    entry.size_bytes = size
                    entry.sequence = store.sequence
                    entry.cpu = ring.cpu
                    entry.map = ring.map
                    at = (at + 20) & mask
                    first = min(ring.size - at, <uint64_t>size)
                    memcpy(store.data + store.used, ring.data + at, first)
                    if first < size:
                        memcpy(store.data + store.used + first, ring.data, size - first)
                    store.used += (size + 7) & ~<uint32_t>7
                    store.count += 1
                    store.sequence += 1
                    ring.received += 1
        elif header.type == PERF_RECORD_LOST:
            if length >= 24:
                # header, u64 id, u64 how many
                ring.lost_records += (<uint64_t *>(ring.data + ((at + 16) & mask)))[0]
        tail += length
    __atomic_store_n(&ring.page.data_tail, head, __ATOMIC_RELEASE)
    return 0


cdef int _consume_buffer(Ring *ring, Store *store, uint64_t begun_ns) noexcept nogil:
    """The same for a BPF ring buffer, up to the first record that is still being written.

    Its order is the kernel's: a record's time is its own, or that of the drain, but never before the one in front.
    """
    cdef uint64_t head = __atomic_load_n(ring.producer, __ATOMIC_ACQUIRE)
    cdef uint64_t tail = ring.consumer[0]
    cdef uint64_t waiting = head - tail
    cdef uint64_t length, latest, time_ns
    cdef uint32_t size
    cdef char *record
    cdef RecordIndex *entry
    cdef int result = 0

    if waiting == 0:
        return 0
    if waiting > ring.size or (head | tail) & 7:
        ring.malformed += 1
        __atomic_store_n(ring.consumer, head, __ATOMIC_RELEASE)
        return 0
    if store.used + waiting > <uint64_t>0xffffffff:
        return 0
    if _grow(store, waiting, 0) < 0:
        return -1
    latest = _boottime_ns()
    while tail != head:
        # u32 size and flags, u32 unused, then the bytes of bpf_ringbuf_output
        record = ring.data + (tail & (ring.size - 1))
        size = <uint32_t>__atomic_load_n(<uint32_t *>record, __ATOMIC_ACQUIRE)
        if size & BPF_RINGBUF_BUSY_BIT:
            break
        length = ((size & ~<uint32_t>BPF_RINGBUF_DISCARD_BIT) + <uint64_t>15) & ~<uint64_t>7
        if length > head - tail:
            ring.malformed += 1
            tail = head
            break
        if not size & BPF_RINGBUF_DISCARD_BIT:
            if store.count == store.index_room and _grow(store, 0, 2048) < 0:
                result = -1
                break
            time_ns = begun_ns
            if ring.time_offset >= 0 and ring.time_offset + 8 <= size:
                memcpy(&time_ns, record + 8 + ring.time_offset, 8)
            ring.newest_ns = max(ring.newest_ns, min(time_ns, latest))
            entry = store.index + store.count
            entry.time_ns = ring.newest_ns
            entry.offset_bytes = <uint32_t>store.used
            entry.size_bytes = size
            entry.sequence = store.sequence
            entry.cpu = ring.cpu
            entry.map = ring.map
            memcpy(store.data + store.used, record + 8, size)
            store.used += (size + 7) & ~<uint32_t>7
            store.count += 1
            store.sequence += 1
            ring.received += 1
        tail += length
    __atomic_store_n(ring.consumer, tail, __ATOMIC_RELEASE)
    return result


cdef int _sort(Store *store, RecordIndex **spare, size_t *spare_room) noexcept nogil:
    """Sorts the index by time, arrival breaking ties; -1 when there is no memory.

    Each ring's part is all but sorted, so this is a merge sort of the runs found: few passes, whatever comes.
    The sorted index may end up in the spare memory, which then changes places with the store's.
    """
    cdef RecordIndex *source = store.index
    cdef RecordIndex *target
    cdef size_t count = store.count
    cdef size_t runs = 0, room = 0, number, first, left, left_end, right, right_end
    cdef size_t *starts = NULL
    cdef void *memory

    first = 0
    for number in range(1, count):
        if source[number].time_ns < source[number - 1].time_ns:
            if runs + 2 >= room:
                room = 2 * room + 64
                memory = realloc(starts, room * sizeof(size_t))
                if memory == NULL:
                    free(starts)
                    return -1
                starts = <size_t *>memory
            starts[runs] = first
            runs += 1
            first = number
    if runs == 0:
        return 0
    starts[runs] = first
    runs += 1
    starts[runs] = count
    if spare_room[0] < count:
        memory = realloc(spare[0], store.index_room * sizeof(RecordIndex))
        if memory == NULL:
            free(starts)
            return -1
        spare[0] = <RecordIndex *>memory
        spare_room[0] = store.index_room
    target = spare[0]
    while runs > 1:
        number = 0
        while number < runs:
            first = left = starts[number]
            left_end = right = starts[number + 1]
            right_end = starts[min(number + 2, runs)]
            while left != left_end and right != right_end:
                if source[right].time_ns < source[left].time_ns:
                    target[first] = source[right]
                    right += 1
                else:
                    target[first] = source[left]
                    left += 1
                first += 1
            memcpy(target + first, source + left, (left_end - left) * sizeof(RecordIndex))
            memcpy(target + first, source + right, (right_end - right) * sizeof(RecordIndex))
            starts[number // 2] = starts[number]
            number += 2
        runs = (runs + 1) // 2
        starts[runs] = count
        source, target = target, source
    free(starts)
    if source != store.index:
        spare[0] = store.index
        store.index = source
        spare_room[0], store.index_room = store.index_room, spare_room[0]
    return 0


cdef size_t _count_until(RecordIndex *index, size_t count, uint64_t time_ns) noexcept nogil:
    """How many of the sorted records are not newer than `time_ns`."""
    cdef size_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) // 2
        if index[middle].time_ns <= time_ns:
            low = middle + 1
        else:
            high = middle
    return low


cdef void _free(Store *store) noexcept nogil:
    free(store.data)
    free(store.index)
    memset(store, 0, sizeof(Store))


@cython.no_gc
@cython.final
cdef class _Pool:
    """Memory of batches that nobody looks at any more: fresh pages would cost more than filling them."""

    cdef Store spare[2]
    cdef int count

    def __dealloc__(self):
        while self.count:
            self.count -= 1
            _free(self.spare + self.count)

    cdef int take(self, Store *store, size_t bytes, size_t records) except -1:
        """An empty store with room for this much."""
        memset(store, 0, sizeof(Store))
        if self.count:
            self.count -= 1
            store[0] = self.spare[self.count]
            store.used = store.count = 0
        if _grow(store, max(bytes, <size_t>65536), max(records, <size_t>2048)) < 0:
            _free(store)
            raise MemoryError()
        return 0

    cdef void give(self, Store *store) noexcept:
        if self.count < 2:
            self.spare[self.count] = store[0]
            self.count += 1
        else:
            _free(store)


@cython.no_gc
@cython.final
cdef class _Batch:
    cdef _Pool pool
    cdef Store store

    def __dealloc__(self):
        if self.pool is not None:
            self.pool.give(&self.store)


@cython.no_gc
@cython.final
cdef class _Bytes:
    """Bytes of one batch, read-only through the buffer protocol."""

    cdef _Batch batch
    cdef void *first
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.first, self.size, 1, flags)


cdef object _view(_Batch batch, void *first, size_t size):
    cdef _Bytes bytes = _Bytes.__new__(_Bytes)
    bytes.batch = batch
    bytes.first = first
    bytes.size = size
    return memoryview(bytes)


cdef object _EMPTY = memoryview(b"")


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
    cdef int group_count, ring_count, buffer_count, epoll_fd, timer_fd
    cdef bint busy, closing
    cdef uint64_t interval_ns, drained_ns, barrier_ns
    cdef Store store
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
        if (self.timer_fd < 0 or _set_timer(self.timer_fd, self.interval_ns, self.interval_ns) < 0
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
            memset(&self.store, 0, sizeof(Store))     # another thread was filling it at the fork
            self.spare = NULL
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
        _free(&self.store)

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
        cdef int number, result = 0
        cdef size_t ready = 0
        cdef Ring *ring
        self._enter()
        try:
            with nogil:
                begun_ns = _boottime_ns()
                if self.buffer_count:
                    epoll_wait(self.epoll_fd, woken, 16, 0)     # takes the edges
                for number in range(self.ring_count):
                    ring = self.rings + number
                    if ring.page != NULL:
                        result = _consume(ring, &self.store)
                    else:
                        result = _consume_buffer(ring, &self.store, begun_ns)
                    if result < 0:
                        break
                if result >= 0:
                    result = _sort(&self.store, &self.spare, &self.spare_room)
                if result >= 0:
                    # What was there before the last drain began has by now arrived in its ring.
                    self.barrier_ns = max(self.barrier_ns, min(self.drained_ns, begun_ns - BARRIER_NS))
                    self.drained_ns = begun_ns
                    if self.buffer_count == 1 == self.ring_count:
                        final = True     # it is in order, and nothing else is to be merged into it
                    if final:
                        self.barrier_ns = begun_ns
                    ready = _count_until(
                        self.store.index, self.store.count, NEVER if final else self.barrier_ns)
                self._set_pace(ready)
            if result < 0:
                raise MemoryError("a batch of records")   # it stays in the rings and the store
            if not ready:
                return _EMPTY, _EMPTY
            return self._hand_out(ready)
        finally:
            self._leave()

    cdef void _set_pace(self, size_t ready) noexcept nogil:
        """When the next drain is due: soon where all of what there is, after a quiet time, is held back."""
        cdef uint64_t next_ns = self.interval_ns
        if self.store.count and not ready:
            next_ns = min(next_ns, BARRIER_NS)
        _set_timer(self.timer_fd, next_ns, self.interval_ns)

    cdef tuple _hand_out(self, size_t ready):
        """The first `ready` records as a batch of their own; the others begin the next store."""
        cdef Store held
        cdef _Batch batch = _Batch.__new__(_Batch)
        cdef RecordIndex *entry
        cdef size_t number, bytes_held = 0
        for number in range(ready, self.store.count):
            bytes_held += (self.store.index[number].size_bytes + 7) & ~<uint32_t>7
        self.pool.take(&held, bytes_held, self.store.count - ready)
        held.sequence = self.store.sequence
        for number in range(ready, self.store.count):
            entry = held.index + held.count
            entry[0] = self.store.index[number]
            memcpy(held.data + held.used, self.store.data + entry.offset_bytes, entry.size_bytes)
            entry.offset_bytes = <uint32_t>held.used
            held.used += (entry.size_bytes + 7) & ~<uint32_t>7
            held.count += 1
        batch.pool = self.pool
        batch.store = self.store
        self.store = held
        return (_view(batch, batch.store.data, batch.store.used),
                _view(batch, batch.store.index, ready * sizeof(RecordIndex)))

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


@cython.final
cdef class UserRing:
    cdef user_ring_buffer *ring
    cdef str name
    cdef unsigned long owner

    def __init__(self, Map map):
        global _live
        cdef int error_number
        cdef Log log
        if self.ring != NULL:
            raise ValueError("the ring is open already")
        where = f"open ring: map {map.name}"
        if map.type != BPF_MAP_TYPE_USER_RINGBUF:
            raise ValueError(f"map {map.name} is no user ring buffer")
        fd = map.fd
        _listen(&log, False)
        self.ring = user_ring_buffer__new(fd, NULL)
        error_number = errno
        heard = _heard(&log)
        if self.ring == NULL:
            raise _failure(MapError, error_number, where, heard)
        _live += 1
        self.owner = _forks
        self.name = map.name
        map.handle.rings.append(self)

    def __dealloc__(self):
        self.close()

    def submit(self, bytes data):
        cdef void *place
        if self.ring == NULL:
            raise ValueError("the ring is closed")
        _check_owner(self.owner, "ring")
        place = user_ring_buffer__reserve(self.ring, len(data))
        if place == NULL:
            raise _failure(MapError, errno, f"submit: {len(data)} bytes to map {self.name}")
        memcpy(place, PyBytes_AS_STRING(data), len(data))
        user_ring_buffer__submit(self.ring, place)

    def close(self):
        global _live
        if self.ring != NULL:
            _live -= 1
            user_ring_buffer__free(self.ring)
        self.ring = NULL

    @property
    def closed(self):
        return self.ring == NULL

    def __enter__(self):
        if self.ring == NULL:
            raise ValueError("the ring is closed")
        return self

    def __exit__(self, *error):
        self.close()


def _read_bytes(bytes ring_data, uint64_t tail, uint64_t head, bint is_buffer=False, int64_t time_offset=-1) -> tuple:
    """A drain of one ring whose data are these bytes, for tests: data, sorted index, malformed, lost, and where it
    stands then."""
    cdef Store store
    cdef Ring ring
    cdef perf_event_mmap_page page
    cdef RecordIndex *spare = NULL
    cdef size_t spare_room = 0, size = len(ring_data)
    cdef int result
    cdef uint64_t begun_ns = _boottime_ns()
    if size < 8 or size & (size - 1):
        raise ValueError("a ring's size is a power of two")
    memset(&store, 0, sizeof(store))
    memset(&ring, 0, sizeof(ring))
    memset(&page, 0, sizeof(page))
    page.data_head = head
    page.data_tail = tail
    ring.size = size
    ring.cpu = -1 if is_buffer else 0
    ring.time_offset = time_offset
    if is_buffer:
        ring_data *= 2
        ring.consumer, ring.producer = &tail, &head
    else:
        ring.page = &page
    ring.data = PyBytes_AS_STRING(ring_data)
    try:
        result = _consume_buffer(&ring, &store, begun_ns) if is_buffer else _consume(&ring, &store)
        if result < 0 or _sort(&store, &spare, &spare_room) < 0:
            raise MemoryError()
        return (
            PyBytes_FromStringAndSize(store.data, store.used),
            PyBytes_FromStringAndSize(<char *>store.index, store.count * sizeof(RecordIndex)),
            ring.malformed,
            ring.lost_records,
            tail if is_buffer else page.data_tail,
        )
    finally:
        free(spare)
        _free(&store)
