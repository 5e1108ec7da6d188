# Memory that is used again: a page that the kernel has just given costs as much as filling it ten times. _decode.pyx
# includes it.

cdef enum:
    SPARE_BLOCKS = 3
    LARGEST_SPARE = 4 << 20

cdef struct Spare:
    char *data
    Py_ssize_t room

cdef Spare spare[SPARE_BLOCKS]      # guarded by the interpreter's lock, as all here is
cdef int spares = 0


@cython.no_gc
@cython.final
cdef class Block:
    """`size` bytes that belong to whoever has it; their memory is kept for the next when it goes."""

    cdef char *data
    cdef Py_ssize_t size, room

    def __cinit__(self, Py_ssize_t size):
        global spares
        cdef int i
        for i in range(spares):
            if 0 < size <= spare[i].room <= 4 * size + 65536:    # else a small one would hold a large one's memory
                self.data, self.room = spare[i].data, spare[i].room
                spares -= 1
                spare[i] = spare[spares]
                break
        else:
            self.data = <char *> PyMem_RawMalloc(size + size // 4)
            if self.data == NULL:
                raise MemoryError
            self.room = size + size // 4
        self.size = size

    def __dealloc__(self):
        global spares
        cdef int i
        if self.room <= LARGEST_SPARE and self.room > 0:
            if spares < SPARE_BLOCKS:
                spare[spares].room = 0
                spares += 1
            for i in range(spares):     # the smaller one goes
                if spare[i].room < self.room:
                    spare[i].data, self.data = self.data, spare[i].data
                    spare[i].room, self.room = self.room, spare[i].room
            if self.room == 0:
                return
        PyMem_RawFree(self.data)

    def __len__(self):
        return self.size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, False, flags)
