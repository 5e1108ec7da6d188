# What a ring holds, moved into a store: of a perf event array, and of a BPF ring buffer. _core.pyx includes it.

cdef inline void _look(Ring *ring) noexcept nogil:
    """Up to where the kernel has written."""
    ring.head = __atomic_load_n(&ring.page.data_head if ring.page != NULL else ring.producer, __ATOMIC_ACQUIRE)


cdef inline uint64_t _waiting(Ring *ring) noexcept nogil:
    """How many bytes of what was seen are still in the ring."""
    return min(ring.head - (ring.page.data_tail if ring.page != NULL else ring.consumer[0]), ring.size)


cdef int _consume(Ring *ring, Store *store) noexcept nogil:
    """Moves a ring's records, as far as was looked, into the store, which has room for their bytes; 1 as soon as its
    index is full.

    The kernel's size field has 16 bits and wraps for records that are too large; such a record may also have
    overwritten others. So nothing in the ring is believed that its bounds don't bear out: a record that is too
    short for what it says is left out, and where no next record can be found, the rest is given up.
    """
    cdef uint64_t tail = ring.page.data_tail
    cdef uint64_t waiting = ring.head - tail
    # Headers and all are copied in large pieces, so that what follows a record's size stands at a multiple of eight.
    cdef size_t start = store.used + 4
    cdef char *copy = store.data + start
    cdef uint64_t copied = 0, done = 0, latest, time_ns
    cdef uint32_t length, size
    cdef perf_event_header *header
    cdef int result = 0

    if waiting == 0:
        return 0
    if waiting > ring.size or (ring.head | tail) & 7:
        ring.malformed += 1
        __atomic_store_n(&ring.page.data_tail, ring.head, __ATOMIC_RELEASE)
        return 0
    latest = _boottime_ns() + SECOND_NS
    while done != waiting:
        if copied - done < LARGEST_RECORD and copied != waiting:
            size = <uint32_t>min(waiting - copied, <uint64_t>LARGEST_RECORD)
            _copy_out(ring, tail + copied, copy + copied, size)
            copied += size
        header = <perf_event_header *>(copy + done)
        length = header.size
        if length < sizeof(perf_event_header) or length & 7 or length > waiting - done:
            ring.malformed += 1
            done = waiting
            break
        if header.type == PERF_RECORD_SAMPLE:
            if length < 24:
                ring.malformed += 1
            else:
                # header, u64 time, u32 size, then the bytes of bpf_perf_event_output
                memcpy(&time_ns, copy + done + 8, 8)
                memcpy(&size, copy + done + 16, 4)
                if size > length - 20 or time_ns > latest:
                    ring.malformed += 1
                elif store.count == store.index_room:
                    result = 1
                    break
                else:
                    _add(store, ring, time_ns, start + done + 20, size)
        elif header.type == PERF_RECORD_LOST:
            if length >= 24:
                # header, u64 id, u64 how many
                memcpy(&time_ns, copy + done + 16, 8)
                ring.lost_records += time_ns
        done += length
    store.used = (start + done + 7) & ~<size_t>7
    __atomic_store_n(&ring.page.data_tail, tail + done, __ATOMIC_RELEASE)
    return result


cdef inline void _copy_out(Ring *ring, uint64_t position, char *target, uint32_t size) noexcept nogil:
    cdef uint64_t at = position & (ring.size - 1)
    cdef uint64_t first = min(ring.size - at, <uint64_t>size)
    memcpy(target, ring.data + at, first)
    if first < size:
        memcpy(target + first, ring.data, size - first)


cdef int _consume_buffer(Ring *ring, Store *store, uint64_t begun_ns) noexcept nogil:
    """The same for a BPF ring buffer, up to the first record that is still being written.

    Its order is the kernel's: a record's time is its own, or that of the drain, but never before the one in front.
    """
    cdef uint64_t tail = ring.consumer[0]
    cdef uint64_t waiting = ring.head - tail
    cdef uint64_t length, latest, time_ns
    cdef uint32_t size
    cdef char *record
    cdef int result = 0

    if waiting == 0:
        return 0
    if waiting > ring.size or (ring.head | tail) & 7:
        ring.malformed += 1
        __atomic_store_n(ring.consumer, ring.head, __ATOMIC_RELEASE)
        return 0
    latest = _boottime_ns()
    while tail != ring.head:
        # u32 size and flags, u32 unused, then the bytes of bpf_ringbuf_output
        record = ring.data + (tail & (ring.size - 1))
        size = <uint32_t>__atomic_load_n(<uint32_t *>record, __ATOMIC_ACQUIRE)
        if size & BPF_RINGBUF_BUSY_BIT:
            break
        length = ((size & ~<uint32_t>BPF_RINGBUF_DISCARD_BIT) + <uint64_t>15) & ~<uint64_t>7
        if length > ring.head - tail:
            ring.malformed += 1
            tail = ring.head
            break
        if not size & BPF_RINGBUF_DISCARD_BIT:
            if store.count == store.index_room:
                result = 1
                break
            time_ns = begun_ns
            if ring.time_offset >= 0 and ring.time_offset + 8 <= size:
                memcpy(&time_ns, record + 8 + ring.time_offset, 8)
            ring.newest_ns = max(ring.newest_ns, min(time_ns, latest))
            memcpy(store.data + store.used, record + 8, size)
            _add(store, ring, ring.newest_ns, store.used, size)
            store.used += (size + 7) & ~<uint32_t>7
        tail += length
    __atomic_store_n(ring.consumer, tail, __ATOMIC_RELEASE)
    return result


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
    _look(&ring)
    if _allocate(&store, _waiting(&ring) + RING_ROOM, size // 8) < 0:
        raise MemoryError()
    try:
        result = _consume_buffer(&ring, &store, begun_ns) if is_buffer else _consume(&ring, &store)
        if result or _sort(&store, &spare, &spare_room) < 0:
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
