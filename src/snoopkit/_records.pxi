# Records that came out of rings: where they are kept, the order of time, and the memory of a batch. _core.pyx
# includes it.

cdef struct Ring:             # a CPU's ring of a perf event array, or a BPF ring buffer
    perf_event_mmap_page *page    # NULL for a BPF ring buffer
    uint64_t *consumer        # a BPF ring buffer's positions: ours,
    uint64_t *producer        # and the kernel's
    char *data                # there mapped twice in a row: no record goes round the end
    uint64_t size             # of data, a power of two
    uint64_t head             # up to where this drain reads
    int fd
    int16_t cpu
    uint16_t map
    int64_t time_offset       # in a BPF ring buffer's records, of their boot time; -1 where they have none
    uint64_t newest_ns        # of what came out of a BPF ring buffer
    uint64_t received
    uint64_t lost_records     # sum of the PERF_RECORD_LOST seen
    uint64_t malformed        # records that can't be what the kernel meant to write

cdef struct Store:            # records behind each other, in memory that is never moved: batches are parts of it
    char *data
    size_t used
    size_t room
    RecordIndex *index
    size_t given              # of `count` records, the first, which were handed out
    size_t count
    size_t index_room         # in records
    uint32_t sequence
    bint unsorted             # whether a record that was not given is older than the one before it


cdef int _allocate(Store *store, size_t bytes, size_t records) noexcept nogil:
    """Makes an empty store with this much room; -1 when there is no memory."""
    memset(store, 0, sizeof(Store))
    store.data = <char *>malloc(bytes)
    store.index = <RecordIndex *>malloc(records * sizeof(RecordIndex))
    if store.data == NULL or store.index == NULL:
        _free(store)
        return -1
    store.room = bytes
    store.index_room = records
    return 0


cdef inline void _add(Store *store, Ring *ring, uint64_t time_ns, size_t offset, uint32_t size) noexcept nogil:
    """Index a record, for which there is room, and whose bytes stand there in the store's data."""
    cdef RecordIndex *entry = store.index + store.count
    entry.time_ns = time_ns
    entry.offset_bytes = <uint32_t>offset
    entry.size_bytes = size
    entry.sequence = store.sequence
    entry.cpu = ring.cpu
    entry.map = ring.map
    if store.count > store.given and time_ns < (entry - 1).time_ns:
        store.unsorted = True
    store.count += 1
    store.sequence += 1
    ring.received += 1


cdef int _sort(Store *store, RecordIndex **spare, size_t *spare_room) noexcept nogil:
    """Sorts what is not given yet by time, arrival breaking ties; -1 when there is no memory.

    Each ring's part is all but sorted, so this is a merge sort of the runs found: few passes, whatever comes.
    """
    cdef RecordIndex *index = store.index + store.given
    cdef RecordIndex *source = index
    cdef RecordIndex *target
    cdef size_t count = store.count - store.given
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
        memory = realloc(spare[0], (count + count // 2) * sizeof(RecordIndex))
        if memory == NULL:
            free(starts)
            return -1
        spare[0] = <RecordIndex *>memory
        spare_room[0] = count + count // 2
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
    if source != index:
        memcpy(index, source, count * sizeof(RecordIndex))
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
    """Memory of a slab that nobody looks at any more: fresh pages would cost more than filling them."""

    cdef Store spare
    cdef bint has_spare

    def __dealloc__(self):
        if self.has_spare:
            _free(&self.spare)

    cdef _Slab take(self, size_t bytes, size_t records):
        """An empty slab with room for this much, and some more: what is held back is to move seldom."""
        cdef _Slab slab = _Slab.__new__(_Slab)
        cdef size_t more = min(bytes, <size_t>MORE_BYTES)
        if self.has_spare:
            self.has_spare = False
            if self.spare.room >= bytes + more // 2 and self.spare.index_room >= records + more // 2 // TYPICAL_BYTES:
                slab.store = self.spare
                slab.pool = self
                return slab
            _free(&self.spare)
        more += SMALLEST_SLAB
        if _allocate(&slab.store, bytes + more, records + more // TYPICAL_BYTES) < 0:
            raise MemoryError("a batch of records")
        slab.pool = self
        return slab

    cdef void give(self, Store *store) noexcept:
        if self.has_spare:
            _free(store)
            return
        store.used = store.given = store.count = 0
        store.unsorted = False
        self.spare = store[0]
        self.has_spare = True


@cython.no_gc
@cython.final
cdef class _Slab:
    """A store that many batches share, one after the other. It is filled behind them, and never changed where they are."""

    cdef _Pool pool
    cdef Store store

    def __dealloc__(self):
        if self.pool is not None:
            self.pool.give(&self.store)

    cdef _Slab followed(self, size_t bytes, size_t records):
        """Itself if it has room for this much, else another, to which all has moved that was not given."""
        cdef Store *store = &self.store
        cdef Store *next
        cdef _Slab slab
        cdef RecordIndex *entry
        cdef size_t number, held_bytes = 0, held = store.count - store.given
        if store.used + bytes <= store.room and store.count + records <= store.index_room:
            return self
        for number in range(store.given, store.count):
            held_bytes += (store.index[number].size_bytes + 7) & ~<uint32_t>7
        bytes += held_bytes
        slab = self.pool.take(bytes, held + max(records, bytes // TYPICAL_BYTES))
        next = &slab.store
        next.sequence = store.sequence
        next.unsorted = store.unsorted
        for number in range(store.given, store.count):
            entry = next.index + next.count
            entry[0] = store.index[number]
            memcpy(next.data + next.used, store.data + entry.offset_bytes, entry.size_bytes)
            entry.offset_bytes = <uint32_t>next.used
            next.used += (entry.size_bytes + 7) & ~<uint32_t>7
            next.count += 1
        return slab


@cython.no_gc
@cython.final
cdef class _Bytes:
    """Bytes of one slab, read-only through the buffer protocol."""

    cdef _Slab slab
    cdef void *first
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.first, self.size, 1, flags)


cdef object _view(_Slab slab, void *first, size_t size):
    cdef _Bytes bytes = _Bytes.__new__(_Bytes)
    bytes.slab = slab
    bytes.first = first
    bytes.size = size
    return memoryview(bytes)


cdef object _EMPTY = memoryview(b"")
