# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records to typed Python values, to rows of bytes and to JSON; and values to text. Knows neither libbpf nor a kernel.

`layout` plans, this module follows: a plan is compiled once into an array of C steps, checked against the size it
claims, and then followed for every record without looking anything up by name. A record is followed in one of two
ways: `values` makes Python objects, `write` makes JSON without making any.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_Resize
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
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
    ctypedef struct AllocatingType "PyTypeObject":
        object (*tp_alloc)(AllocatingType *, Py_ssize_t)
    int PyUnicode_KIND(object)
    void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    uint32_t PyUnicode_READ(int, void *, Py_ssize_t)
    void PyObject_GC_UnTrack(void *)
    double PyFloat_Unpack2(const char *, int) except? -1.0
    char *PyOS_double_to_string(double, char, int, int, int *) except NULL
    const int Py_DTSF_ADD_DOT_0

cdef extern from *:
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

cdef bint HOST_IS_BIG = sys.byteorder == "big"


cdef class Program:
    """One compiled plan: `plan` from layout, `cls` the tuple subclass that its values are put in.

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
        for i in range(self.count):
            step = &self.steps[i]
            op, _, offset, width, bit_offset, bit_size, count, detail = steps[i]
            step.op, step.offset, step.size, step.count = op, offset, width, count
            step.bit_offset, step.bit_size = bit_offset, bit_size
            step.as_bytes = detail is bytes
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

    # To Python objects

    cdef object values(self, const uint8_t *record, Py_ssize_t size, Py_ssize_t extra):
        """The tuple for one struct, with room for `extra` more items; `size` bounds the tail."""
        cdef object result = (<AllocatingType *> <void *> self.cls).tp_alloc(
            <AllocatingType *> <void *> self.cls, self.count + extra)
        cdef Py_ssize_t i, tail = -1
        cdef object value
        cdef Step *step
        if self.is_flat:  # the collector need never look at it
            PyObject_GC_UnTrack(<void *> result)
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
            out.write(PyBytes_AS_STRING(self.keys) + step.key, step.key_size)
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
            out.write(PyBytes_AS_STRING(self.keys) + self.steps[i].key, self.steps[i].key_size)
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
    part of a tail, which stand last, "text", "strings", "octets" or "array"; `columns` is theirs to keep what they
    made of it.
    """

    cdef readonly object struct, forms
    cdef readonly tuple tail_forms
    cdef public object columns
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


@cython.final
cdef class Kind:
    """An event type as it comes through one map, and what its JSON lines have around the time, the CPU and the data."""

    cdef EventProgram program
    cdef bytes before_cpu, before_data

    def __init__(self, str map_name, EventProgram program):
        self.program = program
        self.before_cpu = b'","map":' + json(map_name) + b',"cpu":'
        self.before_data = b',"struct":' + json(program.cls._struct) + b',"data":'


@cython.final
cdef class Source:
    """A map, the event types that come through it, and where a record tells which it is."""

    cdef str name
    cdef bint is_single
    cdef uint32_t offset, width
    cdef dict kinds     # from the number, or from None where there is only one
    cdef Kind only

    def __init__(self, str name, where, dict programs):
        self.name = name
        self.is_single = where is None
        self.offset, self.width = where if where is not None else (0, 0)
        self.kinds = {number: Kind(name, program) for number, program in programs.items()}
        self.only = self.kinds.get(None)

    cdef Kind find(self, const uint8_t *record, Py_ssize_t size, bint big):
        cdef object found = self.only, number
        if not self.is_single:
            if self.offset + self.width > size:
                raise DecodeError(f"a record of {size} bytes, too short for its header")
            number = unsigned(record + self.offset, self.width, big)
            found = self.kinds.get(number)
            if found is None:
                raise DecodeError(f"an unknown event type {number}")
        elif found is None:
            raise DecodeError("no event type is known for it")
        return <Kind> found


@cython.final
cdef class Records:
    """The records `start` to `stop` of a batch, held and checked while they are read."""

    cdef Py_buffer data, entries
    cdef bint has_data, has_entries
    cdef const RecordIndex *index
    cdef Py_ssize_t start, stop

    def __init__(self, data, index, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t maps):
        cdef Py_ssize_t i, count
        PyObject_GetBuffer(data, &self.data, PyBUF_SIMPLE)
        self.has_data = True
        PyObject_GetBuffer(index, &self.entries, PyBUF_SIMPLE)
        self.has_entries = True
        count = self.entries.len // <Py_ssize_t> sizeof(RecordIndex)
        self.index = <const RecordIndex *> self.entries.buf
        self.start = max(0, start)
        self.stop = count if stop < 0 or stop > count else stop
        for i in range(self.start, self.stop):
            if <uint64_t> self.index[i].offset_bytes + self.index[i].size_bytes > <uint64_t> self.data.len:
                raise ValueError("an index that leads outside its data")
            if self.index[i].map >= maps:
                raise ValueError("an index that names a map that isn't there")

    def __dealloc__(self):
        if self.has_data:
            PyBuffer_Release(&self.data)
        if self.has_entries:
            PyBuffer_Release(&self.entries)

    cdef inline const uint8_t *record(self, Py_ssize_t i) noexcept:
        return <const uint8_t *> self.data.buf + self.index[i].offset_bytes


@cython.final
cdef class Decoder:
    """Batches to events. `maps` has, by map number, (name, kind, programs): `kind` is None where one event type
    arrives, else the (offset, width) of the number that tells; `programs` goes from that number (or None) to its
    EventProgram. `lost(time_ns, cpu, map_name, count, cause, detail)` makes the notice for what can't be decoded,
    which has a method `_json(time)` for the object of its JSON line.

    `data` and `index` are always bytes-like, as record.pxd has them. A record that fits no event type is counted
    in `undecodable`, each time that it is read.
    """

    cdef list maps
    cdef object lost
    cdef bint big
    cdef readonly uint64_t undecodable
    cdef readonly dict programs     # by (map, struct)
    cdef readonly list map_names
    cdef readonly str byteorder
    cdef Clock clock

    def __init__(self, list maps, bint big, lost):
        self.maps = [Source(*one) for one in maps]
        self.map_names = [one[0] for one in maps]
        self.programs = {(one[0], program.cls._struct): program for one in maps for program in one[2].values()}
        self.big = big
        self.byteorder = "big" if big else "little"
        self.lost = lost
        self.clock = Clock()

    def events(self, data, index, Py_ssize_t start=0, Py_ssize_t stop=-1):
        """The events of the records `start` to `stop` of a batch, in the batch's order.

        In the place of a record that fits no event type stands a notice of loss.
        """
        cdef Records records = Records(data, index, start, stop, len(self.maps))
        cdef list result = []
        cdef Py_ssize_t i
        for i in range(records.start, records.stop):
            result.append(self.event(&records.index[i], records.record(i)))
        return result

    cdef object event(self, const RecordIndex *entry, const uint8_t *record):
        cdef Source source = <Source> self.maps[entry.map]
        cdef EventProgram program
        cdef object result
        try:
            program = source.find(record, entry.size_bytes, self.big).program
            result = program.values(record, program.true_size(record, entry.size_bytes), 3)
        except DecodeError as error:
            return self.notice(entry, error)
        set_item(result, program.count, source.name)
        set_item(result, program.count + 1, entry.time_ns)
        set_item(result, program.count + 2, entry.cpu)
        return result

    cdef object notice(self, const RecordIndex *entry, object error):
        self.undecodable += 1
        return self.lost(entry.time_ns, entry.cpu, (<Source> self.maps[entry.map]).name, 1, "undecodable", str(error))

    def json_lines(
        self, data, index, int64_t wall_offset_ns, Py_ssize_t start=0, Py_ssize_t stop=-1
    ):
        """The records `start` to `stop` of a batch as JSON lines, just as render.JsonLines prints their events.

        `wall_offset_ns` is what has to be added to the boot clock to have the time since 1970.
        """
        cdef Records records = Records(data, index, start, stop, len(self.maps))
        cdef Writer out = Writer()
        cdef Py_ssize_t i, line
        cdef const RecordIndex *entry
        cdef const uint8_t *record
        cdef Kind kind
        for i in range(records.start, records.stop):
            entry = &records.index[i]
            record = records.record(i)
            line = out.size
            try:
                kind = (<Source> self.maps[entry.map]).find(record, entry.size_bytes, self.big)
                self.line(out, kind, entry, record, entry.time_ns + wall_offset_ns)
            except DecodeError as error:
                out.size = line
                notice = self.notice(entry, error)
                out.value(notice._json(self.clock.text(entry.time_ns + wall_offset_ns)[:30].decode()), 0)
                out.byte(b"\n")
        return out.take()

    cdef int line(
        self, Writer out, Kind kind, const RecordIndex *entry, const uint8_t *record, uint64_t wall_ns
    ) except -1:
        cdef EventProgram program = kind.program
        cdef Py_ssize_t start, size = program.true_size(record, entry.size_bytes)
        out.put(b'{"type":"event","time":"')
        out.write(self.clock.text(wall_ns), 30)
        out.put(kind.before_cpu)
        if entry.cpu >= 0:
            out.decimal(entry.cpu)
        else:
            out.put(b"null")
        out.put(kind.before_data)
        start = out.size
        if not program.write(out, record, size):
            out.size = start
            raw = {}
            program.write_json(out, program.values(record, size, 0), raw, "")
            out.put(b',"raw":')
            out.value(raw, 0)
        out.put(b"}\n")
        return 0

    def rows(
        self, data, index, tuple programs, tuple texts=(), Py_ssize_t start=0, Py_ssize_t stop=-1
    ):
        """(rows, stamps, tails): of the records of one event type, each as the bytes of its whole struct, their entries
        of the index, and for each part of the tail a list of its bytes.

        `programs` are those of the type, one for each map. What lies behind the fixed part of a struct with a tail
        is zero, and so is what follows the first NUL in `texts`, a tuple of (offset, size).
        """
        cdef Records records = Records(data, index, start, stop, len(self.maps))
        cdef EventProgram program = <EventProgram?> programs[0], found
        cdef Py_ssize_t i, true_size, used = 0, fixed = program.fixed_bytes, size = program.size
        cdef Py_ssize_t offset, width
        cdef const RecordIndex *entry
        cdef const uint8_t *record
        cdef object rows = PyByteArray_FromStringAndSize(NULL, (records.stop - records.start) * size)
        cdef object stamps = PyByteArray_FromStringAndSize(
            NULL, (records.stop - records.start) * <Py_ssize_t> sizeof(RecordIndex))
        cdef list tails = [[] for _ in range(program.tail_parts)]
        cdef char *row
        cdef char *end
        for offset, width in texts:
            if offset < 0 or width < 0 or offset + width > size:
                raise ValueError("a text outside its struct")
        for i in range(records.start, records.stop):
            entry = &records.index[i]
            record = records.record(i)
            try:
                found = (<Source> self.maps[entry.map]).find(record, entry.size_bytes, self.big).program
                if found is not program and found not in programs:
                    continue
                true_size = program.true_size(record, entry.size_bytes)
                if program.tail_parts:
                    program.append_tails(tails, record, true_size)
            except DecodeError:
                self.undecodable += 1
                continue
            row = PyByteArray_AS_STRING(rows) + used * size
            memcpy(row, record, fixed)
            memset(row + fixed, 0, size - fixed)
            for offset, width in texts:
                end = <char *> memchr(row + offset, 0, width)
                if end != NULL:
                    memset(end, 0, row + offset + width - end)
            memcpy(PyByteArray_AS_STRING(stamps) + used * <Py_ssize_t> sizeof(RecordIndex), entry, sizeof(RecordIndex))
            used += 1
        PyByteArray_Resize(rows, used * size)
        PyByteArray_Resize(stamps, used * <Py_ssize_t> sizeof(RecordIndex))
        return rows, stamps, tails


cdef inline void set_item(object result, Py_ssize_t i, object value):
    Py_INCREF(value)
    PyTuple_SET_ITEM(result, i, value)


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


include "_text.pxi"
