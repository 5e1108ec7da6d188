# Maps: their sizes before the load, their keys and values after it. _core.pyx includes it.

@cython.final
cdef class Map:
    cdef _Handle handle
    cdef bpf_map *map
    cdef readonly str name
    cdef readonly int type
    cdef readonly uint32_t key_size, value_size
    cdef char *memory         # the handle's, so it is there while the object is
    cdef bint memory_writable

    def __init__(self):
        raise TypeError("maps come with their Object")

    @staticmethod
    cdef Map _of(_Handle handle, bpf_map *map):
        cdef Map self = Map.__new__(Map)
        self.handle = handle
        self.map = map
        self.name = _text(bpf_map__name(map))
        if bpf_map__is_internal(map):   # libbpf calls it OBJECT.rodata, its section is what others know
            self.name = self.name[self.name.find("."):]
        self.type = bpf_map__type(map)
        self.key_size = bpf_map__key_size(map)
        self.value_size = bpf_map__value_size(map)
        return self

    @property
    def max_entries(self):
        self.handle.get()
        return bpf_map__max_entries(self.map)

    @max_entries.setter
    def max_entries(self, uint32_t count):
        self.handle.get_open()
        _check(bpf_map__set_max_entries(self.map, count), MapError, f"size: map {self.name}")

    def redefine(self, int type, uint32_t key_size, uint32_t value_size, uint32_t max_entries):
        self.handle.get_open()
        where = f"redefine: map {self.name}"
        _check(bpf_map__set_type(self.map, type), MapError, where)
        _check(bpf_map__set_key_size(self.map, key_size), MapError, where)
        _check(bpf_map__set_value_size(self.map, value_size), MapError, where)
        self.type, self.key_size, self.value_size = type, key_size, value_size
        self.max_entries = max_entries

    @property
    def fd(self):
        self.handle.get_loaded()
        cdef int fd = bpf_map__fd(self.map)
        if fd < 0:
            raise ValueError(f"map {self.name} was not created")
        return fd

    @property
    def id(self):
        cdef bpf_map_info info
        cdef uint32_t size = sizeof(info)
        memset(&info, 0, sizeof(info))
        _check(bpf_obj_get_info_by_fd(self.fd, &info, &size), MapError, f"ask: map {self.name}")
        return info.id

    @property
    def flags(self):
        self.handle.get()
        return bpf_map__map_flags(self.map)

    cdef const void *initial(self, size_t *size) except NULL:
        cdef const void *value = bpf_map__initial_value(self.map, size)
        if value == NULL:
            raise ValueError(f"map {self.name} has no initial value")
        return value

    @property
    def initial_value(self):
        cdef size_t size = 0
        self.handle.get()
        cdef const void *value = self.initial(&size)
        return PyBytes_FromStringAndSize(<const char *>value, size)

    @initial_value.setter
    def initial_value(self, bytes value):
        cdef size_t size = 0
        self.handle.get_open()
        self.initial(&size)
        if <size_t>len(value) != size:
            raise ValueError(f"map {self.name} holds {size} bytes, not {len(value)}")
        _check(bpf_map__set_initial_value(self.map, PyBytes_AS_STRING(value), size),
               MapError, f"set: map {self.name}")

    cdef size_t value_room(self) except 0:
        """Bytes that one lookup fills."""
        if self.type in (BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
                         BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE):
            return (<size_t>self.value_size + 7) // 8 * 8 * <size_t>possible_cpus()
        return max(<size_t>self.value_size, <size_t>1)

    @property
    def value_room_bytes(self):
        return self.value_room()

    cdef const char *sized(self, str what, bytes value, size_t size) except NULL:
        """The first byte of `value`, which must have this size."""
        if <size_t>len(value) != size:
            raise ValueError(f"map {self.name}: a {what} has {size} bytes, not {len(value)}")
        return PyBytes_AS_STRING(value)

    cdef const char *keyed(self, bytes key) except? NULL:
        """The key's first byte; NULL for a map without keys, as the kernel wants it."""
        cdef const char *start = self.sized("key", key, self.key_size)
        return start if self.key_size else NULL

    cdef bint found(self, int result, str stage) except -1:
        """Whether there is such a key."""
        if result < 0 and result != -ENOENT:
            raise _failure(MapError, -result, f"{stage}: map {self.name}")
        return result == 0

    def lookup(self, bytes key, uint64_t flags=0):
        self.fd
        cdef size_t room = self.value_room()
        cdef bytes value = PyBytes_FromStringAndSize(NULL, room)
        cdef int result = bpf_map__lookup_elem(
            self.map, self.keyed(key), self.key_size, PyBytes_AS_STRING(value), room, flags)
        return value if self.found(result, "read") else None

    def take(self, bytes key, uint64_t flags=0):
        self.fd
        cdef size_t room = self.value_room()
        cdef bytes value = PyBytes_FromStringAndSize(NULL, room)
        cdef int result = bpf_map__lookup_and_delete_elem(
            self.map, self.keyed(key), self.key_size, PyBytes_AS_STRING(value), room, flags)
        return value if self.found(result, "take") else None

    def holds(self, bytes value):
        # The kernel reads the value here, and writes nothing: it is a bloom filter's question.
        cdef int result = bpf_map_lookup_elem(
            self.fd, NULL, <void *>self.sized("value", value, self.value_room()))
        return self.found(result, "read")

    def update(self, bytes key, bytes value, uint64_t flags=0):
        self.fd
        cdef size_t room = self.value_room()
        _check(bpf_map__update_elem(self.map, self.keyed(key), self.key_size,
                                    self.sized("value", value, room), room, flags),
               MapError, f"write: map {self.name}")

    def delete(self, bytes key):
        self.fd
        return self.found(
            bpf_map__delete_elem(self.map, self.keyed(key), self.key_size, 0), "delete")

    def next_key(self, bytes key=None):
        self.fd
        cdef bytes following = PyBytes_FromStringAndSize(NULL, self.key_size)
        cdef const char *before = self.sized("key", key, self.key_size) if key is not None else NULL
        cdef int result = bpf_map__get_next_key(self.map, before, PyBytes_AS_STRING(following), self.key_size)
        return following if self.found(result, "read") else None

    def read_batch(self, bytes cursor, uint32_t count, bint delete=False, uint64_t flags=0):
        cdef int fd = self.fd
        cdef size_t room = self.value_room(), cursor_size = max(<size_t>self.key_size, <size_t>4)
        cdef bytes keys = PyBytes_FromStringAndSize(NULL, count * <size_t>self.key_size)
        cdef bytes values = PyBytes_FromStringAndSize(NULL, count * room)
        cdef bytes following = PyBytes_FromStringAndSize(NULL, cursor_size)
        cdef void *before = <void *>self.sized("cursor", cursor, cursor_size) if cursor is not None else NULL
        cdef void *behind = PyBytes_AS_STRING(following)
        cdef void *keys_at = PyBytes_AS_STRING(keys)
        cdef void *values_at = PyBytes_AS_STRING(values)
        cdef bpf_map_batch_opts options
        cdef int result
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.elem_flags = flags
        self.handle.busy += 1
        with nogil:
            if delete:
                result = bpf_map_lookup_and_delete_batch(
                    fd, before, behind, keys_at, values_at, &count, &options)
            else:
                result = bpf_map_lookup_batch(fd, before, behind, keys_at, values_at, &count, &options)
        self.handle.busy -= 1
        more = self.found(result, "read")
        return keys[:count * <size_t>self.key_size], values[:count * room], following if more else None

    def write_batch(self, bytes keys, bytes values, uint64_t flags=0):
        return self._batch(keys, values, flags)

    def delete_batch(self, bytes keys):
        return self._batch(keys, None, 0)

    cdef _batch(self, bytes keys, bytes values, uint64_t flags):
        cdef int fd = self.fd
        cdef size_t total = <size_t>len(keys) // max(<size_t>self.key_size, <size_t>1)
        cdef uint32_t count = <uint32_t>total
        cdef const void *keys_at = self.sized("batch of keys", keys, <size_t>count * self.key_size)
        cdef const void *values_at = NULL
        cdef bpf_map_batch_opts options
        cdef int result
        if values is not None:
            values_at = self.sized("batch of values", values, <size_t>count * self.value_room())
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.elem_flags = flags
        self.handle.busy += 1
        with nogil:
            if values_at != NULL:
                result = bpf_map_update_batch(fd, keys_at, values_at, &count, &options)
            else:
                result = bpf_map_delete_batch(fd, keys_at, &count, &options)
        self.handle.busy -= 1
        # Where the kernel never came as far as counting, the count is still what we asked for.
        if result < 0 and count == total:
            count = 0
        return count, -result if result < 0 else 0

    cdef char *shared(self, size_t offset, size_t size) except NULL:
        """The byte at `offset` of an array's first value, in memory that the program sees too."""
        cdef int fd = self.fd, error_number = 0
        if offset + size > self.value_size or offset + size < offset:
            raise ValueError(f"map {self.name} has {self.value_size} bytes, not {offset + size}")
        if self.memory == NULL:
            self.memory = self.handle.share(fd, self.value_size, True, &error_number)
            self.memory_writable = self.memory != NULL
        if self.memory == NULL:
            self.memory = self.handle.share(fd, self.value_size, False, &error_number)
        if self.memory == NULL:
            raise _failure(MapError, error_number, f"share: map {self.name}")
        return self.memory + offset

    def read_shared(self, size_t offset, size_t size):
        cdef char *at = self.shared(offset, size)
        cdef uint64_t eight
        cdef uint32_t four
        cdef uint16_t two
        # What a program may be writing is taken in one piece, as far as the machine has pieces.
        if size == 8 and offset % 8 == 0:
            eight = __atomic_load_n(<uint64_t *>at, __ATOMIC_ACQUIRE)
            at = <char *>&eight
        elif size == 4 and offset % 4 == 0:
            four = <uint32_t>__atomic_load_n(<uint32_t *>at, __ATOMIC_ACQUIRE)
            at = <char *>&four
        elif size == 2 and offset % 2 == 0:
            two = <uint16_t>__atomic_load_n(<uint16_t *>at, __ATOMIC_ACQUIRE)
            at = <char *>&two
        return PyBytes_FromStringAndSize(at, size)

    def write_shared(self, size_t offset, bytes data):
        cdef size_t size = len(data)
        cdef char *at = self.shared(offset, size)
        cdef const char *source = PyBytes_AS_STRING(data)
        cdef uint64_t eight
        cdef uint32_t four
        cdef uint16_t two
        if not self.memory_writable:
            raise ValueError(f"map {self.name} is read-only")
        if size == 8 and offset % 8 == 0:
            memcpy(&eight, source, 8)
            __atomic_store_n(<uint64_t *>at, eight, __ATOMIC_RELEASE)
        elif size == 4 and offset % 4 == 0:
            memcpy(&four, source, 4)
            __atomic_store_n(<uint32_t *>at, four, __ATOMIC_RELEASE)
        elif size == 2 and offset % 2 == 0:
            memcpy(&two, source, 2)
            __atomic_store_n(<uint16_t *>at, two, __ATOMIC_RELEASE)
        else:
            memcpy(at, source, size)
