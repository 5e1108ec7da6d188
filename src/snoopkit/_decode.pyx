# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records to typed Python values, and values to text. Knows neither libbpf nor a kernel.

`layout` plans, this module follows: a plan is compiled once into an array of C steps, checked against the size it
claims, and then followed for every record without looking anything up by name.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from .record cimport RecordIndex

import binascii
import sys

from .errors import DecodeError

cdef extern from "Python.h":
    ctypedef struct AllocatingType "PyTypeObject":
        object (*tp_alloc)(AllocatingType *, Py_ssize_t)
    int PyUnicode_KIND(object)
    void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    uint32_t PyUnicode_READ(int, void *, Py_ssize_t)

# The operations of layout.py, in its order.
cdef enum:
    UNSIGNED
    SIGNED
    BOOL
    FLOAT
    POINTER
    ENUM
    ENUM_SIGNED
    TEXT
    ARRAY
    STRUCT
    TAIL_TEXT
    TAIL_STRINGS
    TAIL_ARRAY

cdef struct Step:
    uint32_t op
    uint32_t offset
    uint32_t size       # of the value, of one element of an array, or (tail) 0
    uint32_t count      # elements of an array; (tail) offset of the part's length
    uint16_t bit_offset
    uint16_t bit_size   # 0 unless a bit-field; (tail) width of the part's length in bytes

cdef bint HOST_IS_BIG = sys.byteorder == "big"


cdef class Program:
    """One compiled plan: `plan` from layout, `cls` the tuple subclass that its values are put in.

    `nested(name, field_names)` makes the class for each nested struct.
    """

    cdef Step *steps
    cdef Py_ssize_t count
    cdef readonly tuple names
    cdef list details       # by step: None, a dict (enumerations) or a Program (arrays, structs)
    cdef object cls
    cdef bint big
    cdef Py_ssize_t size

    def __cinit__(self):
        self.steps = NULL

    def __init__(self, str name, size_t size, tuple steps, bint big, cls, nested):
        self.compile(steps, size, big, nested)
        self.size = size
        self.cls = cls if cls is not None else nested(name, self.names)

    def __dealloc__(self):
        PyMem_Free(self.steps)

    cdef compile(self, tuple steps, size_t size, bint big, nested):
        cdef Py_ssize_t i
        cdef Step *step
        cdef uint64_t end
        self.count = len(steps)
        self.big = big
        self.names = tuple([step_[1] for step_ in steps])
        self.details = []
        PyMem_Free(self.steps)
        self.steps = <Step *> PyMem_Malloc(max(1, self.count) * sizeof(Step))
        if self.steps == NULL:
            raise MemoryError
        for i in range(self.count):
            step = &self.steps[i]
            op, _, offset, width, bit_offset, bit_size, count, detail = steps[i]
            step.op, step.offset, step.size, step.count = op, offset, width, count
            step.bit_offset, step.bit_size = bit_offset, bit_size
            if op >= TAIL_TEXT:
                end = offset
                if op == TAIL_ARRAY and width == 0:
                    raise ValueError("a tail of elements of no size")
            elif bit_size:
                end = offset + (bit_offset + bit_size + 7) // 8
                if bit_size > 64 or bit_offset > 7:
                    raise ValueError("a bit-field wider than 64 bits")
            else:
                end = <uint64_t> offset + <uint64_t> width * <uint64_t> count
                if op in (UNSIGNED, SIGNED, BOOL, ENUM, ENUM_SIGNED, POINTER) and width not in (1, 2, 4, 8, 16):
                    raise ValueError(f"an integer of {width} bytes")
                if op == FLOAT and width not in (4, 8):
                    raise ValueError(f"a float of {width} bytes")
            if end > size:
                raise ValueError(f"member {steps[i][1]!r} ends at byte {end} of {size}")
            if op == ARRAY or op == TAIL_ARRAY:
                detail = Program("", width, (detail,), big, tuple, nested)
            elif op == STRUCT:
                detail = Program(detail[0], detail[1], detail[2], big, None, nested)
            self.details.append(detail)

    cdef object values(self, const uint8_t *record, Py_ssize_t size, Py_ssize_t extra):
        """The tuple for one struct, with room for `extra` more items; `size` bounds the tail."""
        cdef object result = (<AllocatingType *> <void *> self.cls).tp_alloc(
            <AllocatingType *> <void *> self.cls, self.count + extra)
        cdef Py_ssize_t i, tail = -1
        cdef object value
        cdef Step *step
        for i in range(self.count):
            step = &self.steps[i]
            if step.op < TAIL_TEXT:
                value = self.value(step, i, record)
            else:
                if tail < 0:
                    tail = step.offset
                value = self.tail(step, i, record, size, &tail)
            Py_INCREF(value)
            PyTuple_SET_ITEM(result, i, value)
        return result

    cdef object value(self, Step *step, Py_ssize_t i, const uint8_t *record):
        cdef const uint8_t *at = record + step.offset
        cdef uint64_t number
        cdef uint32_t op = step.op
        cdef Program inner
        cdef Py_ssize_t k
        cdef double real
        cdef float single
        cdef uint32_t half
        cdef list items
        if op == TEXT:
            return text(at, step.size)
        if op == STRUCT:
            inner = <Program> self.details[i]
            return inner.values(at, inner.size, 0)
        if op == ARRAY:
            inner = <Program> self.details[i]
            items = []
            for k in range(step.count):
                items.append(inner.value(inner.steps, 0, at + k * <Py_ssize_t> step.size))
            return items
        if step.bit_size:
            number = bits(at, step.bit_offset, step.bit_size, self.big)
            if op == SIGNED or op == ENUM_SIGNED:
                if step.bit_size < 64 and number >> (step.bit_size - 1):
                    number |= ~<uint64_t> 0 << step.bit_size
                return self.named(i, <int64_t> number) if op == ENUM_SIGNED else <int64_t> number
            if op == BOOL:
                return number != 0
            return self.named(i, number) if op == ENUM else number
        if step.size == 16:
            return int.from_bytes(PyBytes_FromStringAndSize(<const char *> at, 16),
                                  "big" if self.big else "little", signed=op == SIGNED)
        number = unsigned(at, step.size, self.big)
        if op == UNSIGNED or op == POINTER:
            return number
        if op == SIGNED:
            return extend(number, step.size)
        if op == BOOL:
            return number != 0
        if op == ENUM:
            return self.named(i, number)
        if op == ENUM_SIGNED:
            return self.named(i, extend(number, step.size))
        if step.size == 4:
            half = <uint32_t> number
            memcpy(&single, &half, 4)
            return <double> single
        memcpy(&real, &number, 8)
        return real

    cdef object named(self, Py_ssize_t i, object number):
        cdef dict names = <dict> self.details[i]
        return names.get(number, number)

    cdef object tail(self, Step *step, Py_ssize_t i, const uint8_t *record, Py_ssize_t size, Py_ssize_t *tail):
        cdef uint64_t length
        cdef Py_ssize_t start = tail[0], k
        cdef Program inner
        cdef list items
        if step.bit_size == 0:  # no declared parts: all that is left
            length = size - start
        else:
            length = unsigned(record + step.count, step.bit_size, self.big)
            if length > <uint64_t> (size - start):
                raise DecodeError(f"{self.names[i]} claims {length} bytes, the record has {size - start} left")
        tail[0] = start + <Py_ssize_t> length
        if step.op == TAIL_TEXT:
            return text(record + start, <Py_ssize_t> length)
        if step.op == TAIL_STRINGS:
            return strings(record + start, <Py_ssize_t> length)
        inner = <Program> self.details[i]
        items = []
        for k in range(<Py_ssize_t> length // <Py_ssize_t> step.size):
            items.append(inner.value(inner.steps, 0, record + start + k * <Py_ssize_t> step.size))
        return items

    def read(self, record):
        """The values of one whole struct in `record`, bytes of at least its size."""
        cdef Py_buffer buffer
        PyObject_GetBuffer(record, &buffer, PyBUF_SIMPLE)
        try:
            if buffer.len < self.size:
                raise DecodeError(f"{buffer.len} bytes where {self.size} are needed")
            return self.values(<const uint8_t *> buffer.buf, buffer.len, 0)
        finally:
            PyBuffer_Release(&buffer)

    def json(self, values):
        """(text, raw): the values as one JSON object in UTF-8, and, by path, the bytes of texts that are not UTF-8."""
        cdef Writer out = Writer()
        cdef dict raw = {}
        self.write_json(out, values, raw, "")
        return out.take(), raw

    cdef write_json(self, Writer out, values, dict raw, str path):
        cdef Py_ssize_t i
        out.byte(b"{")
        for i in range(self.count):
            if i:
                out.byte(b",")
            out.string(self.names[i])
            out.byte(b":")
            self.write_value(out, i, values[i], raw, path + self.names[i])
        out.byte(b"}")

    cdef write_value(self, Writer out, Py_ssize_t i, value, dict raw, str path):
        cdef uint32_t op = self.steps[i].op
        cdef Program inner
        if op == POINTER:
            out.ascii(f'"0x{value:x}"')
        elif self.steps[i].size == 16 and (op == UNSIGNED or op == SIGNED):
            out.ascii(f'"{value}"')
        elif op == STRUCT:
            inner = <Program> self.details[i]
            inner.write_json(out, value, raw, path + ".")
        elif op == ARRAY or op == TAIL_ARRAY:
            inner = <Program> self.details[i]
            out.byte(b"[")
            for k, item in enumerate(value):
                if k:
                    out.byte(b",")
                inner.write_value(out, 0, item, raw, f"{path}[{k}]")
            out.byte(b"]")
        elif op == TAIL_STRINGS:
            out.value(value, 0)
            if any([is_lossy(item) for item in value]):
                raw[path] = [base64(item) for item in value]
        else:
            out.value(value, 0)
            if isinstance(value, str) and is_lossy(value):
                raw[path] = base64(value)


cdef class EventProgram(Program):
    """A compiled event plan: a struct that a record holds, and where the record's true size and its tail stand."""

    cdef Py_ssize_t fixed
    cdef Py_ssize_t size_offset
    cdef uint32_t size_width

    def __init__(self, tuple event_plan, bint big, cls, nested):
        name, fixed, size, steps, where = event_plan
        if fixed > size:
            raise ValueError("a tail outside its struct")
        self.compile(steps, size, big, nested)
        self.cls = cls
        self.size = size
        self.fixed = fixed
        self.size_offset, self.size_width = where if where is not None else (0, 0)
        if self.size_offset + self.size_width > fixed:
            raise ValueError("a record's size outside its fixed part")

    cdef object event(self, const uint8_t *record, Py_ssize_t size):
        cdef uint64_t true_size
        if size < self.fixed:
            raise DecodeError(f"a record of {size} bytes where {self.fixed} are needed")
        if self.size_width:
            true_size = unsigned(record + self.size_offset, self.size_width, self.big)
            if true_size > <uint64_t> size or true_size < <uint64_t> self.fixed:
                raise DecodeError(f"a record of {size} bytes that claims {true_size}")
            size = <Py_ssize_t> true_size
        return self.values(record, size, 3)


cdef class Decoder:
    """Batches to events. `maps` has, by map number, (name, kind, programs): `kind` is None where one event type
    arrives, else the (offset, width) of the number that tells; `programs` goes from that number (or None) to its
    EventProgram. `lost(time_ns, cpu, map_name, count, cause, detail)` makes the notice for what can't be decoded.
    """

    cdef list maps
    cdef object lost
    cdef bint big
    cdef readonly uint64_t undecodable

    def __init__(self, list maps, bint big, lost):
        self.maps = maps
        self.big = big
        self.lost = lost

    def events(self, data, index, Py_ssize_t start=0, Py_ssize_t stop=-1):
        """The events of the records `start` to `stop` of a batch, in the batch's order.

        `data` and `index` are bytes-like, as record.pxd has them. A record that fits no event type becomes a
        notice of loss in its place, and is counted in `undecodable`.
        """
        cdef Py_buffer records, entries
        cdef Py_ssize_t i, count
        cdef const RecordIndex *entry
        cdef list result = []
        PyObject_GetBuffer(data, &records, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(index, &entries, PyBUF_SIMPLE)
            try:
                count = entries.len // <Py_ssize_t> sizeof(RecordIndex)
                if stop < 0 or stop > count:
                    stop = count
                for i in range(max(0, start), stop):
                    entry = &(<const RecordIndex *> entries.buf)[i]
                    if <uint64_t> entry.offset_bytes + entry.size_bytes > <uint64_t> records.len:
                        raise ValueError("an index that leads outside its data")
                    if entry.map >= len(self.maps):
                        raise ValueError("an index that names a map that isn't there")
                    result.append(self.event(entry, <const uint8_t *> records.buf + entry.offset_bytes))
            finally:
                PyBuffer_Release(&entries)
        finally:
            PyBuffer_Release(&records)
        return result

    cdef object event(self, const RecordIndex *entry, const uint8_t *record):
        cdef EventProgram program
        cdef uint32_t offset, width
        cdef object found, result
        name, kind, programs = self.maps[entry.map]
        try:
            if kind is None:
                number = None
            else:
                offset, width = kind
                if offset + width > entry.size_bytes:
                    raise DecodeError(f"a record of {entry.size_bytes} bytes, too short for its header")
                number = unsigned(record + offset, width, self.big)
            found = (<dict> programs).get(number)
            if found is None:
                raise DecodeError("no event type is known for it" if number is None else
                                  f"an unknown event type {number}")
            program = <EventProgram> found
            result = program.event(record, entry.size_bytes)
        except DecodeError as error:
            self.undecodable += 1
            return self.lost(entry.time_ns, entry.cpu, name, 1, "undecodable", str(error))
        set_item(result, program.count, name)
        set_item(result, program.count + 1, entry.time_ns)
        set_item(result, program.count + 2, entry.cpu)
        return result


cdef inline void set_item(object result, Py_ssize_t i, object value):
    Py_INCREF(value)
    PyTuple_SET_ITEM(result, i, value)


cdef inline uint64_t unsigned(const uint8_t *at, uint32_t size, bint big) noexcept:
    """An integer of up to 8 bytes, wherever it stands and in whichever byte order."""
    cdef uint64_t result = 0
    cdef uint32_t i
    if big == HOST_IS_BIG and not HOST_IS_BIG:
        memcpy(&result, at, size)
        return result
    for i in range(size):
        result |= <uint64_t> at[i] << (8 * (size - 1 - i if big else i))
    return result


cdef inline int64_t extend(uint64_t number, uint32_t size) noexcept:
    cdef uint32_t unused = 64 - 8 * size
    return <int64_t> (number << unused) >> unused


cdef uint64_t bits(const uint8_t *at, uint32_t offset, uint32_t size, bint big) noexcept:
    """A bit-field that starts `offset` bits into its first byte: from the low end of it where bytes are little
    endian, from the high end where they are big."""
    cdef uint64_t result = 0
    cdef uint32_t i, bit
    for i in range(size):
        bit = offset + i
        if big:
            result = result << 1 | (at[bit >> 3] >> (7 - (bit & 7)) & 1)
        else:
            result |= <uint64_t> (at[bit >> 3] >> (bit & 7) & 1) << i
    return result


cdef inline object text(const uint8_t *at, Py_ssize_t size):
    """Up to the first NUL, or all of it; surrogateescape keeps every byte."""
    cdef const void *end = memchr(at, 0, size)
    if end != NULL:
        size = <const uint8_t *> end - at
    return PyUnicode_DecodeUTF8(<const char *> at, size, "surrogateescape")


cdef list strings(const uint8_t *at, Py_ssize_t size):
    """Strings that each end in NUL; what follows the last NUL is a string that was cut."""
    cdef list result = []
    cdef Py_ssize_t start = 0, length
    cdef const void *end
    while start < size:
        end = memchr(at + start, 0, size - start)
        length = <const uint8_t *> end - (at + start) if end != NULL else size - start
        result.append(PyUnicode_DecodeUTF8(<const char *> at + start, length, "surrogateescape"))
        start += length + 1
    return result


# ---------------------------------------------------------------------------------------------------------------
# Text


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

    cdef int need(self, Py_ssize_t more) except -1:
        cdef char *grown
        cdef Py_ssize_t room = self.room
        if self.size + more > room:
            while self.size + more > room:
                room *= 2
            grown = <char *> PyMem_Realloc(self.buffer, room)
            if grown == NULL:
                raise MemoryError
            self.buffer, self.room = grown, room
        return 0

    cdef int byte(self, char byte) except -1:
        self.need(1)
        self.buffer[self.size] = byte
        self.size += 1
        return 0

    cdef int ascii(self, str plain) except -1:
        cdef bytes encoded = plain.encode("ascii")
        self.need(len(encoded))
        memcpy(self.buffer + self.size, <const char *> encoded, len(encoded))
        self.size += len(encoded)
        return 0

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
            self.ascii(float.__repr__(value) if isfinite(value) else "null")
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
