# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records to typed Python values, to rows of bytes and to JSON; and values to text. Knows neither libbpf nor a kernel.

`plans` plans, this module follows: a plan is compiled once into an array of C steps, checked against the size it
claims, and then followed for every record without looking anything up by name. A record is followed in one of two
ways: `values` makes Python objects, `write` makes JSON without making any.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset, strlen

from .record cimport RecordIndex

import binascii
import sys

from .errors import DecodeError

cdef extern from "Python.h":
    int PyUnicode_KIND(object)
    void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    uint32_t PyUnicode_READ(int, void *, Py_ssize_t)
    void PyObject_GC_Track(PyObject *)
    PyObject *PyLong_FromUnsignedLongLong(uint64_t) except NULL
    PyObject *PyLong_FromLongLong(int64_t) except NULL
    PyObject *PyBool_FromLong(long)
    void Py_XDECREF(PyObject *)
    double PyFloat_Unpack2(const char *, int) except? -1.0
    char *PyOS_double_to_string(double, char, int, int, int *) except NULL
    const int Py_DTSF_ADD_DOT_0

cdef extern from *:
    """
    /* A tuple subclass's object that the collector doesn't look at yet, its items NULL. */
    static PyObject *new_record(PyObject *cls, Py_ssize_t count) {
        PyTupleObject *made = PyObject_GC_NewVar(PyTupleObject, (PyTypeObject *)cls, count);
        if (made) {
            memset((char *)made + sizeof(PyVarObject), 0,
                   Py_TYPE(made)->tp_basicsize - sizeof(PyVarObject) + count * sizeof(PyObject *));
    #if PY_VERSION_HEX >= 0x030e0000
            made->ob_hash = -1;
    #endif
        }
        return (PyObject *)made;
    }
    """
    object new_record(object, Py_ssize_t)
    uint16_t swap16 "__builtin_bswap16"(uint16_t) noexcept
    uint32_t swap32 "__builtin_bswap32"(uint32_t) noexcept
    uint64_t swap64 "__builtin_bswap64"(uint64_t) noexcept

# The operations of layout.py, in its order.
cdef enum:
    UNSIGNED
    SIGNED
    BOOL
    FLOAT
    POINTER
    ENUM
    ENUM_SIGNED
    ENUM_CUT
    TEXT
    OCTETS
    ARRAY
    STRUCT
    TAIL_TEXT
    TAIL_STRINGS
    TAIL_OCTETS
    TAIL_ARRAY

cdef struct Step:
    uint32_t op
    uint32_t offset
    uint32_t size       # of the value, of one element of an array, or (tail) 0
    uint32_t count      # elements of an array; (tail) offset of the part's length
    uint16_t bit_offset
    uint16_t bit_size   # 0 unless a bit-field; (tail) width of the part's length in bytes
    uint32_t key        # where what stands before its value in JSON begins in the program's `keys`
    uint32_t key_size
    bint as_bytes       # a text that Python gets as bytes
    bint is_number      # an integer of at most 64 bits, or a pointer
    uint64_t number     # the last one read,
    PyObject *last      # and its object, for the next is often the same: a reference of its own, or NULL

cdef bint HOST_IS_BIG = sys.byteorder == "big"


cdef class Program:
    """One compiled plan: `plan` from plans, `cls` the tuple subclass that its values are put in.

    `nested(name, field_names, size_bytes)` makes the class for each nested struct.
    """

    cdef Step *steps
    cdef Py_ssize_t count
    cdef readonly tuple names
    cdef readonly object cls
    cdef list details       # by step: None, a dict (enumerations) or a Program (arrays, structs)
    cdef bytes keys         # what stands before each value in JSON, one behind the other
    cdef bint big
    cdef bint is_flat       # no value holds others, so that no cycle can go through one
    cdef Py_ssize_t size

    def __cinit__(self):
        self.steps = NULL

    def __init__(self, str name, size_t size, tuple steps, bint big, cls, nested):
        self.compile(steps, size, big, nested)
        self.size = size
        self.cls = cls if cls is not None else nested(name, self.names, size)

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.steps != NULL:
            for i in range(self.count):
                Py_XDECREF(self.steps[i].last)
        PyMem_Free(self.steps)

    cdef compile(self, tuple steps, size_t size, bint big, nested):
        cdef Py_ssize_t i
        cdef Step *step
        cdef uint64_t end
        self.count = len(steps)
        self.big = big
        self.names = tuple([step_[1] for step_ in steps])
        self.details = []
        self.keys = b""
        self.is_flat = True
        PyMem_Free(self.steps)
        self.steps = <Step *> PyMem_Malloc(max(1, self.count) * sizeof(Step))
        if self.steps == NULL:
            raise MemoryError
        memset(self.steps, 0, max(1, self.count) * sizeof(Step))
        for i in range(self.count):
            step = &self.steps[i]
            op, _, offset, width, bit_offset, bit_size, count, detail = steps[i]
            step.op, step.offset, step.size, step.count = op, offset, width, count
            step.bit_offset, step.bit_size = bit_offset, bit_size
            step.as_bytes = detail is bytes
            step.is_number = (op == UNSIGNED or op == SIGNED or op == POINTER) and width <= 8
            if op >= TAIL_TEXT:
                end = offset
                if op == TAIL_ARRAY and width == 0:
                    raise ValueError("a tail of elements of no size")
            elif bit_size:
                end = offset + (bit_offset + bit_size + 7) // 8
                if bit_size > 8 * width or width > 16 or bit_offset > 7:
                    raise ValueError(f"a bit-field of {bit_size} bits in {width} bytes")
            else:
                end = <uint64_t> offset + <uint64_t> width * <uint64_t> count
                if op <= ENUM_CUT and op != FLOAT and width not in (1, 2, 4, 8, 16):
                    raise ValueError(f"an integer of {width} bytes")
                if op == FLOAT and width not in (2, 4, 8):
                    raise ValueError(f"a float of {width} bytes")
            if end > size:
                raise ValueError(f"member {steps[i][1]!r} ends at byte {end} of {size}")
            if op == ARRAY or op == TAIL_ARRAY:
                detail = Program("", width, (detail,), big, tuple, nested)
            elif op == STRUCT:
                detail = Program(detail[0], detail[1], detail[2], big, None, nested)
            if op in (ARRAY, TAIL_STRINGS, TAIL_ARRAY) or (op == STRUCT and not (<Program> detail).is_flat):
                self.is_flat = False
            self.details.append(detail)
            key = (b"," if i else b"") + json(self.names[i]) + b":"
            step.key, step.key_size = len(self.keys), len(key)
            self.keys += key
        self.keys += bytes(SLACK)

    # To Python objects

    cdef object values(self, const uint8_t *record, Py_ssize_t size, Py_ssize_t extra):
        """The tuple for one struct, with room for `extra` more items; `size` bounds the tail."""
        cdef object result = new_record(self.cls, self.count + extra)
        cdef Py_ssize_t i, tail = -1
        cdef object value
        cdef Step *step
        for i in range(self.count):
            step = &self.steps[i]
            if step.is_number:
                set_number(result, i, step, scalar(step, record + step.offset, self.big))
                continue
            if step.op < TAIL_TEXT:
                value = self.value(step, i, record)
            else:
                if tail < 0:
                    tail = step.offset
                value = self.tail(step, i, record, size, &tail)
            set_item(result, i, value)
        if not self.is_flat:  # else the collector need never look at it
            PyObject_GC_Track(<PyObject *> result)
        return result

    cdef object value(self, Step *step, Py_ssize_t i, const uint8_t *record):
        cdef const uint8_t *at = record + step.offset
        cdef uint64_t number
        cdef uint32_t op = step.op
        cdef Program inner
        cdef Py_ssize_t k
        cdef list items
        if op <= ENUM_CUT:
            if step.size == 16:
                return self.wide(step, at)
            if op == FLOAT:
                return real(at, step.size, self.big)
            number = scalar(step, at, self.big)
            if op == UNSIGNED or op == POINTER:
                return number
            if op == SIGNED:
                return <int64_t> number
            if op == BOOL:
                return number != 0
            return self.named(op, i, number)
        if op == TEXT:
            return text(at, step.size, step.as_bytes)
        if op == OCTETS:
            return PyBytes_FromStringAndSize(<const char *> at, step.size)
        inner = <Program> self.details[i]
        if op == STRUCT:
            return inner.values(at, inner.size, 0)
        items = []
        for k in range(step.count):
            items.append(inner.value(inner.steps, 0, at + k * <Py_ssize_t> step.size))
        return items

    cdef object wide(self, Step *step, const uint8_t *at):
        """An integer of 128 bits, or a bit-field in one."""
        cdef uint32_t width = (step.bit_offset + step.bit_size + 7) // 8 if step.bit_size else 16
        cdef uint32_t bits = step.bit_size if step.bit_size else 128
        cdef object one = 1, number = int.from_bytes(
            PyBytes_FromStringAndSize(<const char *> at, width), "big" if self.big else "little")
        if step.bit_size:
            number = number >> (8 * width - step.bit_offset - bits if self.big else step.bit_offset)
            number = number & ((one << bits) - 1)
        if step.op == SIGNED and number >> (bits - 1):
            number = number - (one << bits)
        return number

    cdef object named(self, uint32_t op, Py_ssize_t i, uint64_t number):
        """An enumeration's name, or its number."""
        cdef object plain = <int64_t> number if op == ENUM_SIGNED else number
        return (<dict> self.details[i]).get(number & 0xFFFFFFFF if op == ENUM_CUT else plain, plain)

    cdef object tail(self, Step *step, Py_ssize_t i, const uint8_t *record, Py_ssize_t size, Py_ssize_t *tail):
        cdef Py_ssize_t start = tail[0], k, length = self.tail_size(step, i, record, size, tail)
        cdef Program inner
        cdef list items
        if step.op == TAIL_TEXT:
            return text(record + start, length, step.as_bytes)
        if step.op == TAIL_STRINGS:
            return strings(record + start, length, step.as_bytes)
        if step.op == TAIL_OCTETS:
            return PyBytes_FromStringAndSize(<const char *> record + start, length)
        inner = <Program> self.details[i]
        items = []
        for k in range(length // <Py_ssize_t> step.size):
            items.append(inner.value(inner.steps, 0, record + start + k * <Py_ssize_t> step.size))
        return items

    cdef Py_ssize_t tail_size(
        self, Step *step, Py_ssize_t i, const uint8_t *record, Py_ssize_t size, Py_ssize_t *tail
    ) except -1:
        """How many bytes this part of the tail has; `tail`, where it starts, goes on behind it."""
        cdef uint64_t length
        if step.bit_size == 0:  # no declared parts: all that is left
            length = size - tail[0]
        else:
            length = unsigned(record + step.count, step.bit_size, self.big)
            if length > <uint64_t> (size - tail[0]):
                raise DecodeError(f"{self.names[i]} claims {length} bytes, the record has {size - tail[0]} left")
        tail[0] += <Py_ssize_t> length
        return <Py_ssize_t> length

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

    # To JSON, from the record

    cdef int write(self, Writer out, const uint8_t *record, Py_ssize_t size) except -1:
        """The JSON object for one struct: 1, or 0 as soon as a text is not UTF-8, which takes more than this."""
        cdef Py_ssize_t i, tail = -1
        cdef int done = 1
        cdef Step *step
        out.byte(b"{")
        for i in range(self.count):
            step = &self.steps[i]
            out.key(PyBytes_AS_STRING(self.keys) + step.key, step.key_size)
            if step.op < TAIL_TEXT:
                done = self.write_step(out, step, i, record + step.offset)
            else:
                if tail < 0:
                    tail = step.offset
                done = self.write_tail(out, step, i, record, size, &tail)
            if not done:
                return 0
        out.byte(b"}")
        return 1

    cdef int write_step(self, Writer out, Step *step, Py_ssize_t i, const uint8_t *at) except -1:
        cdef uint32_t op = step.op
        cdef uint64_t number
        if op <= ENUM_CUT:
            if step.size == 16:
                out.ascii(f'"{self.wide(step, at)}"')
                return 1
            if op == FLOAT:
                out.real(real(at, step.size, self.big))
                return 1
            number = scalar(step, at, self.big)
            if op == UNSIGNED:
                out.decimal(number)
            elif op == SIGNED:
                out.signed(<int64_t> number)
            elif op == BOOL:
                out.put(b"true" if number else b"false")
            elif op == POINTER:
                out.hexadecimal(number)
            else:
                out.value(self.named(op, i, number), 0)
            return 1
        if op == TEXT:
            return out.raw_text(at, step.size)
        if op == OCTETS:
            out.octets(at, step.size)
            return 1
        if op == STRUCT:
            return (<Program> self.details[i]).write(out, at, step.size)
        return (<Program> self.details[i]).write_items(out, at, step.count)

    cdef int write_items(self, Writer out, const uint8_t *at, Py_ssize_t count) except -1:
        """So many elements of an array, for this program reads one."""
        cdef Py_ssize_t k
        out.byte(b"[")
        for k in range(count):
            if k:
                out.byte(b",")
            if not self.write_step(out, self.steps, 0, at + k * self.size):
                return 0
        out.byte(b"]")
        return 1

    cdef int write_tail(
        self, Writer out, Step *step, Py_ssize_t i, const uint8_t *record, Py_ssize_t size, Py_ssize_t *tail
    ) except -1:
        cdef const uint8_t *at = record + tail[0]
        cdef Py_ssize_t length = self.tail_size(step, i, record, size, tail)
        if step.op == TAIL_TEXT:
            return out.raw_text(at, length)
        if step.op == TAIL_STRINGS:
            return out.raw_strings(at, length)
        if step.op == TAIL_OCTETS:
            out.octets(at, length)
            return 1
        return (<Program> self.details[i]).write_items(out, at, length // <Py_ssize_t> step.size)

    # To JSON, from the objects

    def json(self, values):
        """(text, raw): the values as one JSON object in UTF-8, and, by path, the bytes of texts that are not UTF-8."""
        cdef Writer out = Writer()
        cdef dict raw = {}
        self.write_json(out, values, raw, "")
        return out.take(), raw

    cdef write_json(self, Writer out, values, dict raw, str path):
        cdef Py_ssize_t i
        cdef tuple items = tuple(values)
        if len(items) < self.count:
            raise ValueError(f"{len(items)} values for {self.count} members")
        out.byte(b"{")
        for i in range(self.count):
            out.key(PyBytes_AS_STRING(self.keys) + self.steps[i].key, self.steps[i].key_size)
            self.write_value(out, i, items[i], raw, path + self.names[i])
        out.byte(b"}")

    cdef write_value(self, Writer out, Py_ssize_t i, value, dict raw, str path):
        cdef uint32_t op = self.steps[i].op
        cdef Program inner
        if op == POINTER:
            out.ascii(f'"0x{value:x}"')
        elif op <= ENUM_CUT and self.steps[i].size == 16:
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
            value = [as_text(item) for item in value]
            out.value(value, 0)
            if any([is_lossy(item) for item in value]):
                raw[path] = [base64(item) for item in value]
        elif op == TEXT or op == TAIL_TEXT:
            value = as_text(value)
            out.string(value)
            if is_lossy(value):
                raw[path] = base64(value)
        elif op == OCTETS or op == TAIL_OCTETS:
            out.value(list(value), 0)
        else:
            out.value(value, 0)


cdef class EventProgram(Program):
    """A compiled event plan: a struct that a record holds, and where the record's true size and its tail stand.

    `struct` and `forms` are what the plan was made from, kept for whoever wants columns; `tail_forms` has, for each
    part of a tail, which stand last, "text", "strings", "octets" or "array".
    """

    cdef readonly object struct, forms
    cdef readonly tuple tail_forms
    cdef Py_ssize_t tail_parts
    cdef readonly Py_ssize_t fixed_bytes
    cdef readonly Py_ssize_t size_bytes
    cdef Py_ssize_t size_offset
    cdef uint32_t size_width

    def __init__(self, tuple event_plan, bint big, cls, nested, struct=None, forms=None):
        name, fixed, size, steps, where = event_plan
        if fixed > size:
            raise ValueError("a tail outside its struct")
        self.compile(steps, size, big, nested)
        self.cls = cls
        self.struct, self.forms = struct, forms
        self.tail_forms = tuple([
            ("text", "strings", "octets", "array")[step[0] - TAIL_TEXT] for step in steps if step[0] >= TAIL_TEXT])
        self.tail_parts = len(self.tail_forms)
        self.size = self.size_bytes = size
        self.fixed_bytes = fixed
        self.size_offset, self.size_width = where if where is not None else (0, 0)
        if self.size_offset + self.size_width > fixed:
            raise ValueError("a record's size outside its fixed part")

    cdef Py_ssize_t true_size(self, const uint8_t *record, Py_ssize_t size) except -1:
        """How much of a record is its event; DecodeError if that can't be."""
        cdef uint64_t claimed
        if size < self.fixed_bytes:
            raise DecodeError(f"a record of {size} bytes where {self.fixed_bytes} are needed")
        if not self.size_width:
            return size
        claimed = unsigned(record + self.size_offset, self.size_width, self.big)
        if claimed > <uint64_t> size or claimed < <uint64_t> self.fixed_bytes:
            raise DecodeError(f"a record of {size} bytes that claims {claimed}")
        return <Py_ssize_t> claimed

    cdef bint is_plain(self):
        """Whether every record that has the fixed part is one event, of that size."""
        return not self.tail_parts and not self.size_width

    cdef int append_tails(self, list tails, const uint8_t *record, Py_ssize_t size) except -1:
        """Each part of the record's tail to its list: all of them, or none."""
        cdef Py_ssize_t i, start, tail = self.fixed_bytes
        cdef Py_ssize_t first = self.count - self.tail_parts
        cdef list parts = []
        for i in range(first, self.count):
            start = tail
            self.tail_size(&self.steps[i], i, record, size, &tail)
            parts.append(PyBytes_FromStringAndSize(<const char *> record + start, tail - start))
        for i in range(self.tail_parts):
            (<list> tails[i]).append(parts[i])
        return 0


include "_blocks.pxi"
include "_decoder.pxi"
include "_values.pxi"
include "_text.pxi"
