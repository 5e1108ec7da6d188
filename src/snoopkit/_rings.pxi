# What a ring holds, moved into a store: of a perf event array, and of a BPF ring buffer. _core.pyx includes it.

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
                    at = (at + 20) & mask
                    first = min(ring.size - at, <uint64_t>size)
                    memcpy(store.data + store.used, ring.data + at, first)
                    if first < size:
                        memcpy(store.data + store.used + first, ring.data, size - first)
                    _add(store, ring, time_ns, size)
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
            memcpy(store.data + store.used, record + 8, size)
            _add(store, ring, ring.newest_ns, size)
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
