# The text half of _decode: JSON, times, and text made harmless. _decode.pyx includes it; it knows nothing of records.

cdef enum:
    SLACK = 32

@cython.final
cdef class Writer:
    """JSON into one growing buffer, as UTF-8 that is safe on a terminal."""

    cdef char *buffer
    cdef Py_ssize_t size, room

    def __cinit__(self):
        self.room = 256
        self.buffer = <char *> PyMem_Malloc(self.room)
        if self.buffer == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.buffer)

    cdef bytes take(self):
        return PyBytes_FromStringAndSize(self.buffer, self.size)

    cdef inline int need(self, Py_ssize_t more) except -1:
        return self.grow(more) if self.size + more > self.room else 0

    cdef int grow(self, Py_ssize_t more) except -1:
        cdef char *grown
        cdef Py_ssize_t room = self.room
        while self.size + more > room:
            room *= 2
        grown = <char *> PyMem_Realloc(self.buffer, room)
        if grown == NULL:
            raise MemoryError
        self.buffer, self.room = grown, room
        return 0

    cdef inline int byte(self, char byte) except -1:
        self.need(1)
        self.buffer[self.size] = byte
        self.size += 1
        return 0

    cdef inline int write(self, const char *data, Py_ssize_t size) except -1:
        self.need(size)
        memcpy(self.buffer + self.size, data, size)
        self.size += size
        return 0

    cdef int put(self, bytes data) except -1:
        return self.write(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int ascii(self, str plain) except -1:
        return self.put(plain.encode("ascii"))

    cdef inline int key(self, const char *data, Py_ssize_t size) except -1:
        """Like `write`, for what has SLACK bytes behind it: moving a fixed number is quicker than asking how many."""
        self.need(size + SLACK)
        if size <= SLACK:
            memcpy(self.buffer + self.size, data, SLACK)
        else:
            memcpy(self.buffer + self.size, data, size)
        self.size += size
        return 0

    cdef int decimal(self, uint64_t number) except -1:
        cdef Py_ssize_t count = digits(number)
        self.need(count)
        put_digits(self.buffer + self.size, number, count)
        self.size += count
        return 0

    cdef int signed(self, int64_t number) except -1:
        if number >= 0:
            return self.decimal(<uint64_t> number)
        self.byte(b"-")
        return self.decimal(-<uint64_t> number)

    cdef int hexadecimal(self, uint64_t number) except -1:
        cdef char digits[18]
        cdef Py_ssize_t at = 18
        while True:
            at -= 1
            digits[at] = HEX[number & 15]
            number >>= 4
            if not number:
                break
        self.write(b'"0x', 3)
        self.write(digits + at, 18 - at)
        return self.byte(b'"')

    cdef int real(self, double number) except -1:
        """As repr() writes it; what JSON has no number for is null."""
        cdef char *digits
        if not isfinite(number):
            return self.write(b"null", 4)
        digits = PyOS_double_to_string(number, c"r", 0, Py_DTSF_ADD_DOT_0, NULL)
        try:
            return self.write(digits, strlen(digits))
        finally:
            PyMem_Free(digits)

    cdef int octets(self, const uint8_t *at, Py_ssize_t size) except -1:
        cdef Py_ssize_t i
        self.byte(b"[")
        for i in range(size):
            if i:
                self.byte(b",")
            self.decimal(at[i])
        return self.byte(b"]")

    cdef int raw_text(self, const uint8_t *at, Py_ssize_t size) except -1:
        """A text as `string` writes it: 1, or 0 if it is not UTF-8."""
        cdef Py_ssize_t i
        cdef const void *end = memchr(at, 0, size)
        cdef str decoded
        if end != NULL:
            size = <const uint8_t *> end - at
        for i in range(size):
            if not 0x20 <= at[i] < 0x7F or at[i] == c'"' or at[i] == c"\\":
                decoded = text(at, size, False)
                self.string(decoded)
                return not is_lossy(decoded)
        self.need(size + 2)
        self.byte(b'"')
        self.write(<const char *> at, size)
        self.byte(b'"')
        return 1

    cdef int raw_strings(self, const uint8_t *at, Py_ssize_t size) except -1:
        """A list of texts, each up to its NUL or to the end: 1, or 0 if one is not UTF-8."""
        cdef Py_ssize_t start = 0
        cdef const void *end
        self.byte(b"[")
        while start < size:
            if start:
                self.byte(b",")
            if not self.raw_text(at + start, size - start):
                return 0
            end = memchr(at + start, 0, size - start)
            start = <const uint8_t *> end - at + 1 if end != NULL else size
        self.byte(b"]")
        return 1

    cdef int value(self, object value, int depth) except -1:
        cdef bint first = True
        if depth > 64:
            raise ValueError("a value nested more than 64 deep")
        if isinstance(value, str):
            self.string(value)
        elif value is None:
            self.ascii("null")
        elif value is True:
            self.ascii("true")
        elif value is False:
            self.ascii("false")
        elif isinstance(value, int):
            if -0x8000000000000000 <= value <= 0xFFFFFFFFFFFFFFFF:
                self.ascii(int.__repr__(value))
            else:
                self.ascii(f'"{value}"')
        elif isinstance(value, float):
            self.real(value)
        elif isinstance(value, dict):
            self.byte(b"{")
            for key, item in value.items():
                if not first:
                    self.byte(b",")
                first = False
                self.string(key)
                self.byte(b":")
                self.value(item, depth + 1)
            self.byte(b"}")
        elif isinstance(value, (list, tuple)):
            self.byte(b"[")
            for item in value:
                if not first:
                    self.byte(b",")
                first = False
                self.value(item, depth + 1)
            self.byte(b"]")
        else:
            raise TypeError(f"no JSON for {type(value).__name__}")
        return 0

    cdef int string(self, str text) except -1:
        cdef Py_ssize_t i, length = PyUnicode_GET_LENGTH(text)
        cdef int kind = PyUnicode_KIND(text)
        cdef void *data = PyUnicode_DATA(text)
        cdef uint32_t c
        cdef char *out
        self.need(12 * length + 2)  # the longest: a pair of \\uXXXX
        out = self.buffer + self.size
        out[0] = b'"'
        out += 1
        for i in range(length):
            c = PyUnicode_READ(kind, data, i)
            if c == c'"' or c == c"\\":
                out[0] = b"\\"
                out[1] = <char> c
                out += 2
            elif 0x20 <= c < 0x7F:
                out[0] = <char> c
                out += 1
            elif c == c"\n" or c == c"\t" or c == c"\r":
                out[0] = b"\\"
                out[1] = b"n" if c == c"\n" else b"t" if c == c"\t" else b"r"
                out += 2
            elif 0xD800 <= c < 0xE000:
                out = utf8(out, 0xFFFD)
            elif is_unsafe(c):
                if c > 0xFFFF:
                    out = escape(out, 0xD7C0 + (c >> 10))
                    out = escape(out, 0xDC00 + (c & 0x3FF))
                else:
                    out = escape(out, c)
            else:
                out = utf8(out, c)
        out[0] = b'"'
        self.size = out + 1 - self.buffer
        return 0


@cython.final
cdef class Clock:
    """Times as RFC 3339 has them; the second is kept, for the next time is likely to be in it."""

    cdef uint64_t second
    cdef char buffer[30]

    def __init__(self):
        self.second = 0
        memcpy(self.buffer, b"1970-01-01T00:00:00.", 20)

    cdef char *text(self, uint64_t wall_ns) noexcept:
        """Thirty bytes such as `2026-01-31T23:59:59.123456789Z`, for years up to 9999."""
        cdef uint64_t second = wall_ns // 1000000000
        if second != self.second:
            self.second = second
            self.date(second // 86400)
            put_digits(self.buffer + 11, second // 3600 % 24, 2)
            put_digits(self.buffer + 14, second // 60 % 60, 2)
            put_digits(self.buffer + 17, second % 60, 2)
        put_digits(self.buffer + 20, wall_ns - second * 1000000000, 9)
        self.buffer[29] = b"Z"
        return self.buffer

    cdef void date(self, uint64_t days) noexcept:
        """The Gregorian date of a day since 1970. Years begin in March here, so that a leap day is their last."""
        cdef uint64_t day, year, month
        days += 719468  # from the first of March of the year 0
        day = days % 146097  # within 400 years
        year = (day - day // 1460 + day // 36524 - day // 146096) // 365
        day -= 365 * year + year // 4 - year // 100
        year += days // 146097 * 400
        month = (5 * day + 2) // 153
        day -= (153 * month + 2) // 5
        month = month + 3 if month < 10 else month - 9
        put_digits(self.buffer, year + (month <= 2), 4)
        put_digits(self.buffer + 5, month, 2)
        put_digits(self.buffer + 8, day + 1, 2)


cdef inline Py_ssize_t digits(uint64_t number) noexcept:
    """How many a number has."""
    cdef Py_ssize_t count = 1
    while number >= 10000:
        number //= 10000
        count += 4
    return count + (number >= 10) + (number >= 100) + (number >= 1000)


cdef inline void put_digits(char *out, uint64_t number, Py_ssize_t count) noexcept:
    while count > 1:
        count -= 2
        memcpy(out + count, PAIRS + 2 * (number % 100), 2)
        number //= 100
    if count:
        out[0] = <char> (c"0" + number % 10)


cdef char *utf8(char *out, uint32_t c) noexcept:
    if c < 0x800:
        out[0] = <char> (0xC0 | c >> 6)
        out[1] = <char> (0x80 | c & 0x3F)
        return out + 2
    if c < 0x10000:
        out[0] = <char> (0xE0 | c >> 12)
        out[1] = <char> (0x80 | c >> 6 & 0x3F)
        out[2] = <char> (0x80 | c & 0x3F)
        return out + 3
    out[0] = <char> (0xF0 | c >> 18)
    out[1] = <char> (0x80 | c >> 12 & 0x3F)
    out[2] = <char> (0x80 | c >> 6 & 0x3F)
    out[3] = <char> (0x80 | c & 0x3F)
    return out + 4


cdef char *escape(char *out, uint32_t c) noexcept:
    cdef int i
    out[0] = b"\\"
    out[1] = b"u"
    for i in range(4):
        out[2 + i] = HEX[c >> (12 - 4 * i) & 15]
    return out + 6


cdef const char *HEX = b"0123456789abcdef"
cdef bytes _pairs = b"".join([b"%02d" % number for number in range(100)])
cdef const char *PAIRS = _pairs


cdef inline bint is_unsafe(uint32_t c) noexcept:
    """Whether a terminal might act on it, or show the text around it in another order or on another line."""
    if c < 0x7F:
        return c < 0x20
    if c <= 0x9F:
        return True
    return (c == 0x61C or c == 0x200E or c == 0x200F or 0x2028 <= c <= 0x202E or 0x2066 <= c <= 0x2069
            or c == 0xFEFF or 0xFFF9 <= c <= 0xFFFB or 0xE0000 <= c <= 0xE007F or 0xD800 <= c < 0xE000)


cpdef bint is_lossy(str value):
    """Whether `value` holds bytes that are not UTF-8 (as surrogateescape keeps them)."""
    cdef Py_ssize_t i, length = PyUnicode_GET_LENGTH(value)
    cdef int kind = PyUnicode_KIND(value)
    cdef void *data = PyUnicode_DATA(value)
    if kind == 1:
        return False
    for i in range(length):
        if 0xD800 <= PyUnicode_READ(kind, data, i) < 0xE000:
            return True
    return False


def text_column(data, Py_ssize_t width):
    """(ends, texts): texts of `width` bytes each, up to their first NUL, as one text in UTF-8 and, as 32-bit integers
    in the machine's order, where each begins and the last ends. Bytes that are not UTF-8 become U+FFFD.
    """
    cdef Py_buffer buffer
    cdef Writer texts = Writer(), ends = Writer()
    cdef Py_ssize_t k, i, size
    cdef const uint8_t *at
    cdef const void *end
    cdef uint32_t place = 0
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        ends.write(<const char *> &place, 4)
        for k in range(buffer.len // width if width else 0):
            at = <const uint8_t *> buffer.buf + k * width
            end = memchr(at, 0, width)
            size = <const uint8_t *> end - at if end != NULL else width
            for i in range(size):
                if at[i] >= 0x80:
                    texts.put(replaced(text(at, size, False)))
                    break
            else:
                texts.write(<const char *> at, size)
            if texts.size > 0x7FFFFFFF:
                raise OverflowError("more than 2 GB of text in one column")
            place = <uint32_t> texts.size
            ends.write(<const char *> &place, 4)
    finally:
        PyBuffer_Release(&buffer)
    return ends.take(), texts.take()


def replaced(str value):
    """`value` in UTF-8, with U+FFFD for each byte that is not UTF-8."""
    if is_lossy(value):
        value = "".join(["\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in value])
    return value.encode()


cpdef str base64(str value):
    """The exact bytes behind `value`, as base64."""
    return binascii.b2a_base64(value.encode("utf-8", "surrogateescape"), newline=False).decode("ascii")


def json(value):
    """One JSON text in UTF-8 for None, bool, int, float, str, list, tuple and dict, nested.

    Bytes that are not UTF-8 become U+FFFD, integers beyond 64 bits strings, NaN and infinities null; control and
    bidi characters are escaped, so that the text is one line and harmless to a terminal.
    """
    cdef Writer out = Writer()
    out.value(value, 0)
    return out.take()


cpdef str display(str value):
    """`value` with whatever a terminal might act on spelled out: `\\xNN` for a byte, `\\u{NNNN}` for a character."""
    cdef Py_ssize_t i, start = 0, length = PyUnicode_GET_LENGTH(value)
    cdef int kind = PyUnicode_KIND(value)
    cdef void *data = PyUnicode_DATA(value)
    cdef uint32_t c
    cdef list parts = None
    for i in range(length):
        c = PyUnicode_READ(kind, data, i)
        if is_unsafe(c):
            if parts is None:
                parts = []
            if i > start:
                parts.append(value[start:i])
            if c < 0x80:
                parts.append(f"\\x{c:02x}")
            elif 0xDC80 <= c <= 0xDCFF:
                parts.append(f"\\x{c - 0xDC00:02x}")
            else:
                parts.append(f"\\u{{{c:x}}}")
            start = i + 1
    if parts is None:
        return value
    if start < length:
        parts.append(value[start:])
    return "".join(parts)


cdef bint is_plain(str argument):
    """Whether a shell reads it as one word, unchanged."""
    cdef Py_ssize_t i, length = PyUnicode_GET_LENGTH(argument)
    cdef int kind = PyUnicode_KIND(argument)
    cdef void *data = PyUnicode_DATA(argument)
    cdef uint32_t c
    for i in range(length):
        c = PyUnicode_READ(kind, data, i)
        if not (c"a" <= c <= c"z" or c"A" <= c <= c"Z" or c"0" <= c <= c"9" or c == c"-" or c == c"_" or c == c"/"
                or c == c"." or c == c"=" or c == c"," or c == c":" or c == c"@" or c == c"%" or c == c"+"):
            return False
    return length > 0


def quote(argv):
    """Arguments as one line that a shell would split into the same arguments, unsafe characters spelled out."""
    cdef list words = []
    cdef str argument
    for argument in argv:
        if not is_plain(argument):
            argument = "'" + display(argument).replace("'", "'\\''") + "'"
        words.append(argument)
    return " ".join(words)
