# The kernel's own BTF: five megabytes, gone through once for the few types that a package's programs touch.
# _core.pyx includes it.

cdef enum:
    KIND_INT = 1
    KIND_PTR = 2
    KIND_ARRAY = 3
    KIND_STRUCT = 4
    KIND_UNION = 5
    KIND_ENUM = 6
    KIND_FWD = 7
    KIND_TYPEDEF = 8
    KIND_VOLATILE = 9
    KIND_CONST = 10
    KIND_RESTRICT = 11
    KIND_FUNC = 12
    KIND_FUNC_PROTO = 13
    KIND_VAR = 14
    KIND_DATASEC = 15
    KIND_FLOAT = 16
    KIND_DECL_TAG = 17
    KIND_TYPE_TAG = 18
    KIND_ENUM64 = 19

    BTF_HEADER_BYTES = 24
    BTF_MAGIC = 0xEB9F
    NO_MEMORY = -1
    NOT_SOUND = -2            # the BTF, or not of a kind that an extract can have
    NOTED_BITS = 4            # of every sixteenth type it is noted where it is: fresh memory costs more than the search

cdef struct Wanted:
    const char *name
    size_t length

cdef struct Found:
    uint32_t name             # which one of those that were wanted
    uint32_t type_id

cdef struct Words:
    uint32_t *words
    size_t count
    size_t room

cdef struct Types:
    const uint32_t *words     # the section of types
    size_t word_count
    const char *strings
    size_t strings_size
    uint32_t *places          # of every sixteenth type's record, in words
    uint32_t type_count


# Words of a record by kind, 0 for one that isn't known; and those that each of its parts has.
cdef uint8_t _FIXED[32], _EACH[32]
for _kind, (_fixed, _each) in enumerate(zip((0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3),
                                            (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3))):
    _FIXED[_kind], _EACH[_kind] = _fixed, _each


cdef inline size_t _record_words(uint32_t info) noexcept nogil:
    """How long a type's record is; 0 for a kind that isn't known."""
    cdef uint32_t kind = info >> 24 & 31
    return _FIXED[kind] + <size_t>_EACH[kind] * (info & 0xffff)


cdef const uint32_t *_record(const Types *types, uint32_t type_id) noexcept nogil:
    cdef const uint32_t *record = types.words
    if type_id >> NOTED_BITS:
        record += types.places[type_id >> NOTED_BITS]
        type_id &= (1 << NOTED_BITS) - 1
    else:
        type_id -= 1              # void has no record
    while type_id:
        record += _record_words(record[1])
        type_id -= 1
    return record


cdef int _append(Words *to, uint32_t word) noexcept nogil:
    cdef void *memory
    if to.count == to.room:
        to.room = 2 * to.room + 1024
        memory = realloc(to.words, to.room * sizeof(uint32_t))
        if memory == NULL:
            return NO_MEMORY
        to.words = <uint32_t *>memory
    to.words[to.count] = word
    to.count += 1
    return 0


cdef size_t _essential_length(const char *name, size_t length) noexcept nogil:
    """Of a name without its flavour: `task_struct___old` is another view of task_struct."""
    cdef size_t at = length - 4 if length > 4 else 0
    while at > 0:
        at -= 1
        if (name[at] != b'_' and name[at + 1] == b'_' and name[at + 2] == b'_' and name[at + 3] == b'_'
                and name[at + 4] != b'_'):
            return at + 1
    return length


cdef inline uint8_t _first_two(const char *name) noexcept nogil:
    return <uint8_t>(<uint8_t>name[0] * 31 + <uint8_t>name[1])


cdef int _find_types(
        Types *types, const Wanted *wanted, uint32_t first_exact, uint32_t wanted_count, Words *found,
        Words *found_exact) noexcept nogil:
    """Notes where each type is, and (name, id) of each struct, union and enum that is called as one of those wanted; of
    the last of these, from `first_exact` on, of functions and typedefs."""
    cdef uint8_t begins[256]    # by the first two bytes, not all of them
    cdef size_t at = 0, words, length
    cdef uint32_t number = 1, info, kind, offset, one
    cdef const char *name
    memset(begins, 0, sizeof(begins))
    for one in range(wanted_count):
        begins[_first_two(wanted[one].name)] = 1
        if one < first_exact and wanted[one].length == 1:     # then a flavour's second byte is another
            memset(begins, 1, sizeof(begins))
    while at + 3 <= types.word_count:
        info = types.words[at + 1]
        words = _record_words(info)
        if words == 0 or at + words > types.word_count or number == types.type_count:
            return NOT_SOUND
        if number & ((1 << NOTED_BITS) - 1) == 0:
            types.places[number >> NOTED_BITS] = <uint32_t>at
        offset = types.words[at]
        if offset >= types.strings_size:
            return NOT_SOUND
        name = types.strings + offset
        # An empty name has no second byte that is its own.
        if offset and begins[_first_two(name)] and name[0]:
            kind = info >> 24 & 31
            if kind in (KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_ENUM64):
                length = _essential_length(name, strlen(name))
                for one in range(first_exact):
                    if length == wanted[one].length and memcmp(name, wanted[one].name, length) == 0:
                        if _append(found, one) < 0 or _append(found, number) < 0:
                            return NO_MEMORY
            elif kind in (KIND_FUNC, KIND_TYPEDEF):
                for one in range(first_exact, wanted_count):
                    if strcmp(name, wanted[one].name) == 0:
                        if _append(found_exact, one) < 0 or _append(found_exact, number) < 0:
                            return NO_MEMORY
        number += 1
        at += words
    types.type_count = number
    return 0 if at == types.word_count else NOT_SOUND


cdef struct Extract:
    uint32_t *numbers         # by the kernel's ids; 0 for what isn't in it
    Words chosen              # the kernel's ids, by number - 1
    Words records
    char *strings
    size_t strings_size
    size_t strings_room


cdef int64_t _name_in(Extract *extract, Types *types, uint32_t offset) noexcept nogil:
    """Where a name is in the extract's strings; negative where it fails."""
    cdef size_t length, room
    cdef void *memory
    if offset == 0:
        return 0
    if offset >= types.strings_size:
        return NOT_SOUND
    length = strlen(types.strings + offset) + 1
    if extract.strings_size + length > extract.strings_room:
        room = 2 * extract.strings_room + length + 4096
        memory = realloc(extract.strings, room)
        if memory == NULL:
            return NO_MEMORY
        extract.strings = <char *>memory
        extract.strings_room = room
    if extract.strings_size == 0:
        extract.strings[0] = 0
        extract.strings_size = 1
        return _name_in(extract, types, offset)
    memcpy(extract.strings + extract.strings_size, types.strings + offset, length)
    extract.strings_size += length
    return <int64_t>(extract.strings_size - length)


cdef int64_t _number_in(Extract *extract, Types *types, uint32_t type_id) noexcept nogil:
    """The number of a type in the extract, which it becomes part of; negative where it fails."""
    if type_id == 0:
        return 0
    if type_id >= types.type_count:
        return NOT_SOUND
    if extract.numbers[type_id] == 0:
        if _append(&extract.chosen, type_id) < 0:
            return NO_MEMORY
        extract.numbers[type_id] = <uint32_t>extract.chosen.count
    return extract.numbers[type_id]


cdef int _copy_type(Extract *extract, Types *types, uint32_t type_id) noexcept nogil:
    """One record with its names and types as the extract has them. What a pointer points to isn't in it."""
    cdef const uint32_t *record = _record(types, type_id)
    cdef uint32_t info = record[1], kind = info >> 24 & 31
    cdef size_t at, words = _record_words(info), each = 0
    cdef int64_t name = _name_in(extract, types, record[0]), third = record[2], value
    if kind in (KIND_FUNC, KIND_FUNC_PROTO, KIND_VAR, KIND_DATASEC, KIND_DECL_TAG):
        return NOT_SOUND
    if kind == KIND_PTR:
        third = 0
    elif KIND_TYPEDEF <= kind <= KIND_RESTRICT or kind == KIND_TYPE_TAG:
        third = _number_in(extract, types, record[2])
    if name < 0 or third < 0:
        return <int>min(name, third)
    if (_append(&extract.records, <uint32_t>name) < 0 or _append(&extract.records, info) < 0
            or _append(&extract.records, <uint32_t>third) < 0):
        return NO_MEMORY
    if kind in (KIND_STRUCT, KIND_UNION, KIND_ENUM64):
        each = 3
    elif kind == KIND_ENUM:
        each = 2
    for at in range(3, words):
        value = record[at]
        if each and (at - 3) % each == 0:
            value = _name_in(extract, types, record[at])
        elif (kind in (KIND_STRUCT, KIND_UNION) and at % 3 == 1) or (kind == KIND_ARRAY and at < 5):
            value = _number_in(extract, types, record[at])
        if value < 0:
            return <int>value
        if _append(&extract.records, <uint32_t>value) < 0:
            return NO_MEMORY
    return 0


cdef int _extract_types(Extract *extract, Types *types, const Words *found) noexcept nogil:
    """The records of what was found, and of all that these hold by value."""
    cdef size_t at
    cdef int64_t result
    cdef uint32_t header[6]
    for at in range(1, found.count, 2):
        result = _number_in(extract, types, found.words[at])
        if result < 0:
            return <int>result
    at = 0
    while at < extract.chosen.count:
        result = _copy_type(extract, types, extract.chosen.words[at])
        if result < 0:
            return <int>result
        at += 1
    return 0


cdef bytes _written(const Extract *extract):
    """As a BTF file."""
    cdef uint32_t header[6]
    cdef size_t types_size = extract.records.count * sizeof(uint32_t)
    header[0] = BTF_MAGIC | 1 << 16
    header[1] = BTF_HEADER_BYTES
    header[2] = 0
    header[3] = header[4] = <uint32_t>types_size
    header[5] = <uint32_t>extract.strings_size
    return (PyBytes_FromStringAndSize(<char *>header, sizeof(header))
            + PyBytes_FromStringAndSize(<char *>extract.records.words, types_size)
            + PyBytes_FromStringAndSize(extract.strings, extract.strings_size))


cdef list _named(const Types *types, const Words *found, list names):
    """(name, id, kind) of what was found."""
    return [
        (names[found.words[at]], found.words[at + 1],
         _record(types, found.words[at + 1])[1] >> 24 & 31)
        for at in range(0, found.count, 2)
    ]


@cython.no_gc
@cython.final
cdef class KernelBtf:
    cdef char *data
    cdef size_t size
    cdef bint is_mapped
    cdef Types types

    def __init__(self, str path):
        cdef int fd = -1, result = 0
        cdef size_t size, done = 0
        cdef ssize_t count
        cdef void *memory
        cdef const uint32_t *header
        if self.data != NULL:
            raise ValueError("it is read already")
        import os
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size < BTF_HEADER_BYTES:
                raise PackageError(f"{path}: not BTF")
            # Since 6.16 the kernel's is there to be mapped; read, it comes page by page.
            memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)
            self.is_mapped = memory != MAP_FAILED
            if not self.is_mapped:
                memory = malloc(size)
                if memory == NULL:
                    raise MemoryError()
            self.data = <char *>memory
            self.size = size
            if not self.is_mapped:
                with nogil:
                    while done < size:
                        count = read(fd, self.data + done, size - done)
                        if count <= 0:
                            break
                        done += count
                if done < size:
                    raise PackageError(f"{path}: cut short")
        finally:
            os.close(fd)
        header = <const uint32_t *>self.data
        if (header[0] != (BTF_MAGIC | 1 << 16) or header[1] < BTF_HEADER_BYTES or header[2] % 4 or header[3] % 4
                or <uint64_t>header[1] + header[2] + header[3] > size
                or <uint64_t>header[1] + header[4] + header[5] > size or header[1] % 4 or header[5] == 0
                or self.data[header[1] + header[4] + header[5] - 1] != 0):
            raise PackageError(f"{path}: not BTF")
        self.types.words = <const uint32_t *>(self.data + header[1] + header[2])
        self.types.word_count = header[3] // 4
        self.types.strings = self.data + header[1] + header[4]
        self.types.strings_size = header[5]

    def __dealloc__(self):
        if self.is_mapped:
            munmap(self.data, self.size)
        else:
            free(self.data)

    def has_name(self, bytes name):
        cdef bytes text = b"\0" + name + b"\0"
        cdef const char *start = PyBytes_AS_STRING(text)
        cdef size_t length = len(text)
        cdef void *found
        with nogil:
            found = memmem(self.types.strings, self.types.strings_size, start, length)
        return found != NULL

    def extract(self, list names, list exact=[]):
        cdef uint32_t number, first_exact = len(names), count = len(names) + len(exact)
        cdef size_t at
        cdef int result
        cdef Types types = self.types
        cdef Words found, found_exact
        cdef Extract extract
        cdef Wanted *wanted = <Wanted *>calloc(count + 1, sizeof(Wanted))
        names = [*names, *exact]
        memset(&found, 0, sizeof(found))
        memset(&found_exact, 0, sizeof(found_exact))
        memset(&extract, 0, sizeof(extract))
        types.type_count = <uint32_t>(types.word_count // 3) + 1
        types.places = <uint32_t *>malloc(((types.type_count >> NOTED_BITS) + 1) * sizeof(uint32_t))
        extract.numbers = <uint32_t *>calloc(types.type_count, sizeof(uint32_t))
        try:
            if wanted == NULL or types.places == NULL or extract.numbers == NULL:
                raise MemoryError()
            for number in range(count):
                wanted[number].name = PyBytes_AS_STRING(names[number])
                wanted[number].length = len(names[number])
            with nogil:
                result = _find_types(&types, wanted, first_exact, count, &found, &found_exact)
                if result == 0:
                    result = _extract_types(&extract, &types, &found)
            if result == NO_MEMORY:
                raise MemoryError()
            if result < 0:
                raise PackageError("the kernel's BTF can't be read")
            return _written(&extract), _named(&types, &found, names), _named(&types, &found_exact, names)
        finally:
            free(wanted)
            free(types.places)
            free(found.words)
            free(found_exact.words)
            free(extract.numbers)
            free(extract.chosen.words)
            free(extract.records.words)
            free(extract.strings)
