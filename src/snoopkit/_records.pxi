# Records that came out of rings: where they are kept, the order of time, and the memory of a batch. _core.pyx
# includes it.

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
    bint unsorted             # whether a record is older than the one before it


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


cdef inline void _add(Store *store, Ring *ring, uint64_t time_ns, uint32_t size) noexcept nogil:
    """Index a record, for which there is room, and whose bytes stand behind those of the others."""
    cdef RecordIndex *entry = store.index + store.count
    entry.time_ns = time_ns
    entry.offset_bytes = <uint32_t>store.used
    entry.size_bytes = size
    entry.sequence = store.sequence
    entry.cpu = ring.cpu
    entry.map = ring.map
    if store.count and time_ns < (entry - 1).time_ns:
        store.unsorted = True
    store.used += (size + 7) & ~<uint32_t>7
    store.count += 1
    store.sequence += 1
    ring.received += 1


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

    if not store.unsorted:
        return 0
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
    store.unsorted = False
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
