# The rings that lead into a program. _core.pyx includes it.

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
