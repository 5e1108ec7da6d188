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
    cdef EventProgram plain         # the only one, if a record of `plain_bytes` and more needs no further looking at
    cdef Py_ssize_t plain_bytes

    def __init__(self, str name, where, dict programs):
        self.name = name
        self.is_single = where is None
        self.offset, self.width = where if where is not None else (0, 0)
        self.kinds = {number: Kind(name, program) for number, program in programs.items()}
        self.only = self.kinds.get(None)
        if self.only is not None and self.is_single and self.only.program.is_plain():
            self.plain = self.only.program
            self.plain_bytes = self.plain.fixed_bytes

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
    """The records `start` to `stop` of a batch, held while they are read."""

    cdef Py_buffer data, entries
    cdef bint has_data, has_entries
    cdef const RecordIndex *index
    cdef Py_ssize_t start, stop, maps

    def __init__(self, data, index, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t maps):
        cdef Py_ssize_t count
        PyObject_GetBuffer(data, &self.data, PyBUF_SIMPLE)
        self.has_data = True
        PyObject_GetBuffer(index, &self.entries, PyBUF_SIMPLE)
        self.has_entries = True
        count = self.entries.len // <Py_ssize_t> sizeof(RecordIndex)
        self.index = <const RecordIndex *> self.entries.buf
        self.start = max(0, start)
        self.stop = count if stop < 0 or stop > count else stop
        self.maps = maps

    def __dealloc__(self):
        if self.has_data:
            PyBuffer_Release(&self.data)
        if self.has_entries:
            PyBuffer_Release(&self.entries)

    cdef inline const uint8_t *record(self, Py_ssize_t i) except NULL:
        """The bytes of one, after a look at whether its entry can be true."""
        cdef const RecordIndex *entry = &self.index[i]
        if <uint64_t> entry.offset_bytes + entry.size_bytes > <uint64_t> self.data.len:
            raise ValueError("an index that leads outside its data")
        if entry.map >= self.maps:
            raise ValueError("an index that names a map that isn't there")
        return <const uint8_t *> self.data.buf + entry.offset_bytes


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
    cdef readonly dict columns      # by struct, what columns.py keeps from batch to batch
    cdef readonly list map_names
    cdef readonly str byteorder
    cdef Clock clock
    cdef Writer writer      # the last one's, or None

    def __init__(self, list maps, bint big, lost):
        self.maps = [Source(*one) for one in maps]
        self.map_names = [one[0] for one in maps]
        self.programs = {(one[0], program.cls._struct): program for one in maps for program in one[2].values()}
        self.columns = {}
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
        cdef EventProgram program = source.plain
        cdef object result
        if program is not None and entry.size_bytes >= source.plain_bytes:
            result = program.values(record, entry.size_bytes, 3)
        else:
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
        cdef Writer out = self.writer if self.writer is not None else Writer()
        cdef Py_ssize_t i, line
        cdef const RecordIndex *entry
        cdef const uint8_t *record
        cdef Kind kind
        self.writer = None      # ours, until we are done
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
        lines = out.take()
        if out.room <= LARGEST_SPARE:
            out.size = 0
            self.writer = out
        return lines

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
        self, data, index, tuple programs, tuple texts=(), Py_ssize_t start=0, Py_ssize_t stop=-1, bint stamps=True
    ):
        """(rows, stamps, tails): of the records of one event type, each as the bytes of its whole struct, their entries
        of the index (nothing without `stamps`), and for each part of the tail a list of its bytes.

        `programs` are those of the type, one for each map. What lies behind the fixed part of a struct with a tail
        is zero, and so is what follows the first NUL in `texts`, a tuple of (offset, size).
        """
        cdef Records records = Records(data, index, start, stop, len(self.maps))
        cdef EventProgram program = <EventProgram?> programs[0]
        cdef Py_ssize_t i, used = 0, fixed = program.fixed_bytes, size = program.size
        cdef Py_ssize_t room = records.stop - records.start
        cdef const RecordIndex *entry
        cdef const uint8_t *record
        cdef Source source = None
        cdef Py_ssize_t map = -1, plain_bytes = 0     # of the last record
        cdef Block rows = Block(room * size), entries = Block(room * <Py_ssize_t> sizeof(RecordIndex) * stamps)
        cdef bytes ends = bytes(len(texts) * <Py_ssize_t> sizeof(Text))
        cdef list tails = [[] for _ in range(program.tail_parts)]
        cdef Text *text = <Text *> PyBytes_AS_STRING(ends)
        for offset, width in texts:
            if offset < 0 or width < 0 or offset + width > size:
                raise ValueError("a text outside its struct")
            text.offset, text.size = offset, width
            text += 1
        for i in range(records.start, records.stop):
            entry = &records.index[i]
            record = records.record(i)
            if entry.map != map:
                map = entry.map
                source = <Source> self.maps[map]
                plain_bytes = source.plain_bytes if source.plain in programs else <Py_ssize_t> 1 << 32
            if entry.size_bytes < plain_bytes and not self.is_row(source, programs, tails, entry, record):
                continue
            copy_row(rows.data + used * size, record, fixed, size, <Text *> PyBytes_AS_STRING(ends), text)
            if stamps:
                memcpy(entries.data + used * <Py_ssize_t> sizeof(RecordIndex), entry, sizeof(RecordIndex))
            used += 1
        rows.size = used * size
        entries.size = used * <Py_ssize_t> sizeof(RecordIndex) * stamps
        return rows, entries, tails

    cdef bint is_row(
        self, Source source, tuple programs, list tails, const RecordIndex *entry, const uint8_t *record
    ) except -1:
        """Whether a record is of one of these event types; its tail is put to the others then."""
        cdef EventProgram found
        try:
            found = source.find(record, entry.size_bytes, self.big).program
            if found not in programs:
                return False
            size = found.true_size(record, entry.size_bytes)
            if found.tail_parts:
                found.append_tails(tails, record, size)
        except DecodeError:
            self.undecodable += 1
            return False
        return True


cdef struct Text:             # where a row has one
    Py_ssize_t offset
    Py_ssize_t size


cdef inline void copy_row(
    char *row, const uint8_t *record, Py_ssize_t fixed, Py_ssize_t size, const Text *text, const Text *end
) noexcept:
    memcpy(row, record, fixed)
    if fixed < size:
        memset(row + fixed, 0, size - fixed)
    while text != end:
        end_text(row + text.offset, text.size)
        text += 1
