# Whole batches: which record is of which type, and all of them as objects or text. _decode.pyx includes it.

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
