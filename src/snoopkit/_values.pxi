# Numbers and text out of a record's bytes. _decode.pyx includes it.

cdef inline void set_item(object result, Py_ssize_t i, object value) noexcept:
    Py_INCREF(value)
    PyTuple_SET_ITEM(result, i, value)


cdef inline int set_number(object result, Py_ssize_t i, Step *step, uint64_t number) except -1:
    """The object that the step made last, if it was of the same number."""
    cdef PyObject *made
    if step.last == NULL or step.number != number:
        made = PyLong_FromLongLong(<int64_t> number) if step.op == SIGNED else PyLong_FromUnsignedLongLong(number)
        Py_XDECREF(step.last)
        step.last, step.number = made, number
    set_item(result, i, <object> step.last)
    return 0


cdef inline uint64_t unsigned(const uint8_t *at, uint32_t size, bint big) noexcept:
    """An integer of 1, 2, 4 or 8 bytes, wherever it stands and in whichever byte order."""
    cdef uint16_t two
    cdef uint32_t four
    cdef uint64_t eight
    if size == 4:
        memcpy(&four, at, 4)
        return four if big == HOST_IS_BIG else swap32(four)
    if size == 8:
        memcpy(&eight, at, 8)
        return eight if big == HOST_IS_BIG else swap64(eight)
    if size == 2:
        memcpy(&two, at, 2)
        return two if big == HOST_IS_BIG else swap16(two)
    return at[0]


cdef inline uint64_t scalar(const Step *step, const uint8_t *at, bint big) noexcept:
    """An integer of up to 64 bits, bit-field or not; a signed one with its sign in every bit above."""
    cdef uint32_t unused
    cdef uint64_t number
    if step.bit_size:
        number = bits(at, step.bit_offset, step.bit_size, big)
        unused = 64 - step.bit_size
    else:
        number = unsigned(at, step.size, big)
        unused = 64 - 8 * step.size
    if step.op == SIGNED or step.op == ENUM_SIGNED:
        return <uint64_t> (<int64_t> (number << unused) >> unused)
    return number


cdef inline uint64_t bits(const uint8_t *at, uint32_t offset, uint32_t size, bint big) noexcept:
    """A bit-field of up to 64 bits that starts `offset` bits into its first byte: from the low end of it where bytes
    are little endian, from the high end where they are big."""
    cdef uint32_t count = (offset + size + 7) // 8, i, over = offset + size - 64  # used only if there is a ninth byte
    cdef uint64_t result = 0
    for i in range(count if count < 8 else 8):
        result = result << 8 | at[i] if big else result | <uint64_t> at[i] << 8 * i
    if not big:
        result >>= offset
        if count > 8:
            result |= <uint64_t> at[8] << (64 - offset)
    elif count > 8:
        result = result << over | at[8] >> (8 - over)
    else:
        result >>= 8 * count - offset - size
    return result if size == 64 else result & ((<uint64_t> 1 << size) - 1)


cdef inline double real(const uint8_t *at, uint32_t size, bint big):
    cdef uint64_t number
    cdef uint32_t half
    cdef double full
    cdef float single
    if size == 2:
        return PyFloat_Unpack2(<const char *> at, not big)
    number = unsigned(at, size, big)
    if size == 4:
        half = <uint32_t> number
        memcpy(&single, &half, 4)
        return single
    memcpy(&full, &number, 8)
    return full


# Short texts come again and again (comm is one of a few hundred): the last of them are kept, by hash, whole.

cdef enum:
    SHORT = 16

cdef struct Kept:
    uint64_t low
    uint64_t high
    PyObject *text  # or NULL; a reference of its own

cdef Kept kept[512]


cdef object short_text(const uint8_t *at, Py_ssize_t size):
    cdef uint64_t words[2]
    cdef Kept *place
    cdef object text
    words[0] = words[1] = 0  # no NUL is in the text: so zeros tell its length
    memcpy(words, at, size)
    place = &kept[(words[0] * <uint64_t> 0x1E3779B97F4A7C15 ^ words[1] * <uint64_t> 0x42B2AE3D27D4EB4F) >> 55]
    if place.text != NULL and place.low == words[0] and place.high == words[1]:
        return <object> place.text
    text = PyUnicode_DecodeUTF8(<const char *> at, size, "surrogateescape")
    Py_INCREF(text)
    if place.text != NULL:
        Py_DECREF(<object> place.text)
    place.text, place.low, place.high = <PyObject *> text, words[0], words[1]
    return text


cdef inline object text(const uint8_t *at, Py_ssize_t size, bint as_bytes):
    """Up to the first NUL, or all of it; surrogateescape keeps every byte."""
    cdef const void *end = memchr(at, 0, size)
    if end != NULL:
        size = <const uint8_t *> end - at
    if as_bytes:
        return PyBytes_FromStringAndSize(<const char *> at, size)
    if size <= SHORT:
        return short_text(at, size)
    return PyUnicode_DecodeUTF8(<const char *> at, size, "surrogateescape")


cdef inline void end_text(char *at, Py_ssize_t size) noexcept:
    """Zero behind the first NUL, eight bytes at a time."""
    cdef uint64_t word, zeros
    cdef void *end
    while size >= 8 and not HOST_IS_BIG:
        memcpy(&word, at, 8)
        # The lowest of these bits, if any, is the highest of the first zero byte's.
        zeros = (word - <uint64_t> 0x0101010101010101) & ~word & <uint64_t> 0x8080808080808080
        if zeros:
            word &= ((zeros & -zeros) >> 7) - 1
            memcpy(at, &word, 8)
            word = 0
            if size == 16:      # a comm: without a call a row costs a sixth less
                memcpy(at + 8, &word, 8)
            else:
                memset(at + 8, 0, size - 8)
            return
        at += 8
        size -= 8
    end = memchr(at, 0, size)
    if end != NULL:
        memset(end, 0, at + size - <char *> end)


cdef list strings(const uint8_t *at, Py_ssize_t size, bint as_bytes):
    """Strings that each end in NUL; what follows the last NUL is a string that was cut."""
    cdef list result = []
    cdef Py_ssize_t start = 0, length
    cdef const void *end
    while start < size:
        end = memchr(at + start, 0, size - start)
        length = <const uint8_t *> end - (at + start) if end != NULL else size - start
        result.append(text(at + start, length, as_bytes))
        start += length + 1
    return result


cdef str as_text(value):
    """A text that Python has as bytes, as it has it by default."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
