"""Batches as columns: NumPy structured arrays, and Arrow record batches. Neither is imported before it is asked for.

The records of one event type are copied, whole structs one behind the other, into one buffer; columns are views of
that. Only what NumPy has no form for is computed: bit-fields, and for Arrow text, enumerations and lists.
"""

from __future__ import annotations

from ._decode import replaced, text_column
from .layout import ArrayType, EnumType, FloatType, IntType, StructType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._decode import Block, Decoder, EventProgram
    from .layout import CType, Member
    from .plans import Forms

    Places = tuple[int, tuple[tuple[int, int], ...]]  # first offset; count and stride of each array around

__all__ = ["arrow_batch", "numpy_array", "numpy_dtype"]

STAMPS = (
    ("_time_ns", "u8", 0),
    ("_cpu", "i2", 20),
    ("_map", "u2", 22),
)  # name, type, place in an index entry
INDEX_BYTES = 24


def numpy_dtype(struct: StructType, byteorder: str = "little") -> Any:
    """The NumPy dtype of a struct: C's offsets, C's itemsize.

    Char arrays are `S`, pointers unsigned, enumerations their numbers, integers of 128 bits a pair `low`, `high`.
    Bit-fields, and members of no size, have no place in it: see `numpy_array` for the first. Raises ImportError
    without NumPy.
    """
    return _Numpy(byteorder).struct(struct)


def numpy_array(
    decoder: Decoder, data: Any, index: Any, struct: str | None = None, *, stamps: bool = False
) -> Any:
    """The records of one event type as a structured array that can be written to.

    `struct` names the type; it may be left out where there is only one. The dtype is `numpy_dtype`'s. Each bit-field
    has a field of its own behind the struct's bytes, one in a struct inside under a dotted name; and so have, with
    `stamps`, the event's `_time_ns`, `_cpu` and `_map`, the map's number. A tail has no columns here: see
    `arrow_batch`. Text ends at its first NUL, except where it shares its bytes with others in a union.

    Records that fit no event type are counted by the decoder. Raises ValueError for a type that isn't there,
    ImportError without NumPy.
    """
    known = decoder.columns.get(struct)
    if known is None:
        programs = _choose(decoder, struct)
        layout, forms = _fixed(programs[0]), _Numpy(decoder.byteorder)
        known = programs, forms, forms.struct(layout), _texts(layout), [*_bit_fields(layout)]
        decoder.columns[struct] = known
    programs, forms, dtype, texts, bit_fields = known
    np = forms.np
    if dtype.itemsize and not bit_fields and not stamps:
        return np.frombuffer(decoder.rows(data, index, programs, texts, stamps=False)[0], dtype)
    rows, entries, _ = decoder.rows(data, index, programs, texts)
    count = len(entries) // INDEX_BYTES
    found = np.frombuffer(rows, np.uint8).reshape(count, dtype.itemsize)
    more = [(name, forms.bit_field(member, found, where)) for name, member, where in bit_fields]
    if stamps:
        more += forms.stamps(entries)
    if not more:
        return np.zeros(count, dtype)
    names = [*dtype.names]
    formats = [dtype[name] for name in names]
    offsets = [dtype.fields[name][1] for name in names]
    end = dtype.itemsize
    for name, column in more:
        form = np.dtype((column.dtype, column.shape[1:]))
        names.append(name)
        formats.append(form)
        offsets.append(end)
        end += form.itemsize
    whole = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": end})
    result = np.zeros(count, whole)
    result.view(np.uint8).reshape(count, end)[:, : dtype.itemsize] = found
    for name, column in more:
        result[name] = column
    return result


def arrow_batch(decoder: Decoder, data: Any, index: Any, struct: str | None = None) -> Any:
    """The records of one event type as a pyarrow.RecordBatch: the members, then `_map`, `_time_ns` and `_cpu`.

    Char arrays are strings up to their first NUL, with U+FFFD for each byte that isn't UTF-8 (or binary and exact,
    where the decoder makes bytes of text); enumerations are dictionaries of names, structs are nested, arrays lists,
    those of unsigned char binary where the decoder makes bytes of them, integers of 128 bits decimal256; the parts of
    a tail are strings and lists.

    `struct` and errors are as for `numpy_array`; without pyarrow it is ImportError too.
    """
    programs = _choose(decoder, struct)
    program = programs[0]
    layout = _fixed(program)
    forms = _Arrow(decoder.byteorder, program.forms)
    np, pa = forms.np, forms.pa
    rows, entries, tails = decoder.rows(data, index, programs)
    found = np.frombuffer(rows, np.uint8).reshape(len(entries) // INDEX_BYTES, program.size_bytes)
    columns = {member.name: forms.member(member, found) for member in layout.members}
    names = program.names[len(program.names) - len(tails) :]
    for name, form, parts in zip(names, program.tail_forms, tails, strict=True):
        columns[name] = forms.tail(form, parts, _struct(program).members[-1].type)
    stamps = dict(forms.stamps(entries))
    maps = pa.array(decoder.map_names, pa.string())
    columns["_map"] = pa.DictionaryArray.from_arrays(stamps["_map"].astype(np.int32), maps)
    columns["_time_ns"] = pa.array(stamps["_time_ns"])
    columns["_cpu"] = pa.array(stamps["_cpu"])
    return pa.RecordBatch.from_arrays([*columns.values()], names=[*columns])


def _choose(decoder: Decoder, name: str | None) -> tuple[EventProgram, ...]:
    """The programs of one event type, one for each map that it comes through."""
    names = sorted({struct for _, struct in decoder.programs})
    if name is None and len(names) == 1:
        name = names[0]
    found = tuple([program for (_, struct), program in decoder.programs.items() if struct == name])
    if not found:
        which = "there are several event types" if name is None else f"there is no event type {name!r}"
        raise ValueError(f"{which}: name one of {', '.join(names)}")
    return found


def _struct(program: EventProgram) -> StructType:
    if program.struct is None:
        raise ValueError("an event type without a struct has no columns")
    return program.struct


def _fixed(program: EventProgram) -> StructType:
    """The struct without the tail, which is its last member."""
    struct = _struct(program)
    if not program.tail_forms:
        return struct
    return StructType(struct.name, struct.size_bytes, struct.members[:-1], is_union=struct.is_union)


def _leaves(ctype: CType, start: int) -> Iterator[tuple[int, int, bool]]:
    """Where values stand: (start, end, whether it is text)."""
    if isinstance(ctype, StructType):
        for member in ctype.members:
            if member.bit_size:
                first = start + member.offset_bytes
                yield (first, first + (member.bit_offset + member.bit_size + 7) // 8, False)
            else:
                yield from _leaves(member.type, start + member.offset_bytes)
    elif isinstance(ctype, ArrayType) and not ctype.is_text:
        if isinstance(ctype.element, (StructType, ArrayType)):
            for number in range(ctype.count):
                yield from _leaves(ctype.element, start + number * ctype.element.size_bytes)
        else:
            yield (start, start + ctype.size_bytes, False)
    else:
        yield (start, start + ctype.size_bytes, isinstance(ctype, ArrayType))


def _texts(struct: StructType) -> tuple[tuple[int, int], ...]:
    """(offset, size) of the texts that share their bytes with nothing else."""
    leaves = sorted([leaf for leaf in _leaves(struct, 0) if leaf[0] < leaf[1]])
    found = []
    reached = 0
    for number, (start, end, is_text) in enumerate(leaves):
        is_alone = start >= reached and (number + 1 == len(leaves) or leaves[number + 1][0] >= end)
        if is_text and is_alone:
            found.append((start, end - start))
        reached = max(reached, end)
    return tuple(found)


def _bit_fields(
    struct: StructType, path: str = "", start: int = 0, around: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[str, Member, Places]]:
    """Every bit-field, those in structs inside too: its dotted name, itself, and where it stands."""
    for member in struct.members:
        if member.bit_size:
            yield path + member.name, member, (start + member.offset_bytes, around)
            continue
        inner, arrays = member.type, around
        while isinstance(inner, ArrayType):
            arrays += ((inner.count, inner.element.size_bytes),)
            inner = inner.element
        if isinstance(inner, StructType):
            yield from _bit_fields(inner, f"{path}{member.name}.", start + member.offset_bytes, arrays)


class _Numpy:
    """C types to NumPy's."""

    def __init__(self, byteorder: str) -> None:
        try:
            import numpy
        except ImportError:
            raise ImportError("NumPy is not installed: pip install 'snoopkit[numpy]'") from None
        self.np: Any = numpy
        self.byteorder = byteorder
        self.order = "<" if byteorder == "little" else ">"

    def struct(self, struct: StructType) -> Any:
        members = [m for m in struct.members if m.type.size_bytes and not m.bit_size]
        return self.np.dtype(
            {
                "names": [member.name for member in members],
                "formats": [self.type(member.type) for member in members],
                "offsets": [member.offset_bytes for member in members],
                "itemsize": struct.size_bytes,
            }
        )

    def type(self, ctype: CType) -> Any:
        if isinstance(ctype, StructType):
            return self.struct(ctype)
        if isinstance(ctype, ArrayType):
            if ctype.is_text:
                return self.np.dtype(f"S{ctype.count}")
            return self.np.dtype((self.type(ctype.element), (ctype.count,)))
        return self.scalar(ctype)

    def scalar(self, ctype: CType) -> Any:
        size = ctype.size_bytes
        if isinstance(ctype, FloatType):
            return self.np.dtype(f"{self.order}f{size}")
        if isinstance(ctype, IntType) and ctype.is_bool:
            return self.np.dtype("?")
        is_signed = isinstance(ctype, (IntType, EnumType)) and ctype.signed
        sign = "i" if is_signed else "u"
        if size == 16:
            pair = [("low", f"{self.order}u8"), ("high", f"{self.order}{sign}8")]
            return self.np.dtype(pair if self.byteorder == "little" else pair[::-1])
        return self.np.dtype(f"{self.order}{sign}{size}")

    def stamps(self, entries: Block) -> list[tuple[str, Any]]:
        """What the index says of each record."""
        np = self.np
        table = np.frombuffer(entries, np.uint8).reshape(-1, INDEX_BYTES)
        found = []
        for name, code, place in STAMPS:
            column = table[:, place : place + np.dtype(code).itemsize]
            found.append((name, np.ascontiguousarray(column).view(code).reshape(-1)))
        return found

    def bit_field(self, member: Member, rows: Any, where: Places) -> Any:
        """A bit-field's values: one for each row, and within it one for each element of the arrays around."""
        np = self.np
        start, around = where
        places = np.array(start)
        for count, stride in around:
            places = places[..., None] + np.arange(count) * stride
        bits, offset = member.bit_size, member.bit_offset
        target = self.scalar(member.type).newbyteorder("=")
        if member.type.size_bytes < 16:
            return self.signed(self.bits(rows, places, offset, bits), bits, member).astype(target)
        result = np.zeros((len(rows), *places.shape), target)
        if bits <= 64:
            low = self.signed(self.bits(rows, places, offset, bits), bits, member)
            result["low"] = low.astype(np.uint64)
            result["high"] = np.where(low < 0, -1, 0)
            return result
        low_at, high_at = (
            (offset, offset + 64) if self.byteorder == "little" else (offset + bits - 64, offset)
        )
        result["low"] = self.bits(rows, places + low_at // 8, low_at % 8, 64)
        high = self.bits(rows, places + high_at // 8, high_at % 8, bits - 64)
        result["high"] = self.signed(high, bits - 64, member)
        return result

    def bits(self, rows: Any, places: Any, offset: int, size: int) -> Any:
        """`size` bits, up to 64, from `offset` into the bytes at `places`, as the byte order counts them."""
        np = self.np
        count = (offset + size + 7) // 8
        window = [rows[:, places + k].astype(np.uint64) for k in range(count)]
        if self.byteorder == "big":
            window.reverse()
        low = window[0]
        for k in range(1, min(count, 8)):
            low = low | window[k] << np.uint64(8 * k)
        skipped = offset if self.byteorder == "little" else 8 * count - offset - size
        found = low >> np.uint64(skipped)
        if count == 9:
            found = found | window[8] << np.uint64(64 - skipped)
        return found & np.uint64((1 << size) - 1)

    def signed(self, values: Any, bits: int, member: Member) -> Any:
        ctype = member.type
        if isinstance(ctype, (IntType, EnumType)) and ctype.signed:
            unused = self.np.int64(64 - bits)
            return values.astype(self.np.int64) << unused >> unused
        return values


class _Arrow(_Numpy):
    """Rows of bytes to Arrow's arrays."""

    def __init__(self, byteorder: str, forms: Forms | None) -> None:
        try:
            import pyarrow  # type: ignore[import-untyped]
        except ImportError:
            raise ImportError("pyarrow is not installed: pip install 'snoopkit[arrow]'") from None
        super().__init__(byteorder)
        self.pa: Any = pyarrow
        self.text_as_bytes = forms is not None and forms.text is not None
        self.octets = forms is not None and forms.u8
        self.string_type = pyarrow.binary() if self.text_as_bytes else pyarrow.string()

    def member(self, member: Member, rows: Any) -> Any:
        if member.bit_size:
            return self.values(
                member.type, self.bit_field(member, rows, (member.offset_bytes, ())), member.bit_size
            )
        start = member.offset_bytes
        return self.column(member.type, rows[:, start : start + member.type.size_bytes])

    def column(self, ctype: CType, rows: Any) -> Any:
        """`rows` has the bytes of one value in each row."""
        np, pa = self.np, self.pa
        count = len(rows)
        if isinstance(ctype, StructType):
            children = [self.member(member, rows) for member in ctype.members]
            fields = [pa.field(m.name, child.type) for m, child in zip(ctype.members, children, strict=True)]
            if not children:
                return pa.array([{}] * count, pa.struct([]))
            return pa.StructArray.from_arrays(children, fields=fields)
        if isinstance(ctype, ArrayType):
            if ctype.is_text:
                return self.text(rows, ctype.count)
            if ctype.is_octets and self.octets:
                return pa.array([row.tobytes() for row in rows], pa.binary())
            size = ctype.element.size_bytes
            items = self.column(ctype.element, np.ascontiguousarray(rows).reshape(count * ctype.count, size))
            return (
                pa.FixedSizeListArray.from_arrays(items, ctype.count)
                if ctype.count
                else pa.array([[]] * count, pa.list_(items.type))
            )
        if isinstance(ctype, IntType) and ctype.is_bool:
            return pa.array(rows.any(axis=1))
        return self.values(ctype, np.ascontiguousarray(rows).view(self.scalar(ctype)).reshape(count))

    def values(self, ctype: CType, values: Any, bits: int = 0) -> Any:
        """Scalars in NumPy's form to Arrow's."""
        np, pa = self.np, self.pa
        if ctype.size_bytes == 16:
            from decimal import Decimal

            pairs = zip(values["high"].tolist(), values["low"].tolist(), strict=True)
            return pa.array([Decimal((high << 64) + low) for high, low in pairs], pa.decimal256(39, 0))
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        if not isinstance(ctype, EnumType):
            return pa.array(values)
        names = ctype.names(bits)
        numbers, codes = np.unique(values, return_inverse=True)
        texts = [
            names.get(number & 0xFFFFFFFF if ctype.is_cut else number, str(number))
            for number in numbers.tolist()
        ]
        return pa.DictionaryArray.from_arrays(
            codes.reshape(-1).astype(np.int32), pa.array(texts, pa.string())
        )

    def text(self, rows: Any, width: int) -> Any:
        pa = self.pa
        if self.text_as_bytes or not width:
            return pa.array([row.tobytes().split(b"\0", 1)[0] for row in rows], self.string_type)
        ends, texts = text_column(self.np.ascontiguousarray(rows), width)
        return pa.StringArray.from_buffers(len(rows), pa.py_buffer(ends), pa.py_buffer(texts))

    def tail(self, form: str, parts: list[bytes], ctype: CType) -> Any:
        """One part of the tails, for each event its bytes. `ctype` is the tail's own, an array."""
        pa = self.pa
        if form == "octets":
            return pa.array(parts, pa.binary())
        if form == "text":
            return pa.array([self.string(part.split(b"\0", 1)[0]) for part in parts], self.string_type)
        if form == "strings":
            lists = [part.removesuffix(b"\0").split(b"\0") if part else [] for part in parts]
            return pa.array(
                [[self.string(one) for one in each] for each in lists], pa.list_(self.string_type)
            )
        assert isinstance(ctype, ArrayType)
        size = ctype.element.size_bytes
        counts = [len(part) // size for part in parts]
        whole = b"".join([part[: count * size] for part, count in zip(parts, counts, strict=True)])
        items = self.column(ctype.element, self.np.frombuffer(whole, self.np.uint8).reshape(-1, size))
        ends = self.np.cumsum([0, *counts], dtype=self.np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), items)

    def string(self, raw: bytes) -> bytes:
        return raw if self.text_as_bytes else replaced(raw.decode("utf-8", "surrogateescape"))
