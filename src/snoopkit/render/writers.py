"""The writers for any package: an aligned table, JSON lines, CSV. Samples come from a part that is loaded when the
first of them does."""

from __future__ import annotations

from .._decode import base64, display, is_lossy, json
from ..errors import OptionError
from ..events import Lost
from ..layout import ArrayType, CType, EnumType, FloatType, IntType, PointerType, StructType
from ..messages import Message, Text
from ..samples import Histogram, Sample
from ..stacks import Stack, has_stacks, is_stack
from .cells import Aligner, Column, cell, shown
from .clock import WallClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    from .._decode import EventProgram
    from ..batch import Batch
    from ..layout import Member
    from ..package import Package
    from ..session import Snoop
    from .formats import Format, Formats
    from .samples import SampleRows
    from .screen import Screen

    class Writer(Protocol):
        def header(self) -> bytes: ...
        def row(self, event: Any) -> bytes: ...


# Of an integer, by its size: what most of its values take.
_USUAL = {1: 3, 2: 5, 4: 7, 8: 12}
_WIDEST_TEXT = 40

__all__ = ["Column", "Csv", "JsonLines", "Table", "csv_row", "writer"]


class Table:
    """TIME and the members of the event, a column each; for a package with several event types TIME, EVENT and
    `name=value` pairs instead. `formats` says how members are shown whose numbers mean more: see `formats`. Rows are
    laid out for `screen`, without one as for a file; stacks stand below theirs.

    In a file, a pipe or on a screen without end each column is as wide as its type's widest value (40 characters at
    most where that isn't a number), and nothing is cut: what is wider all the same takes the spaces of what follows,
    and moves that only where there are none left; the next row stands where it should.

    On a terminal where that is too wide columns begin narrower. What isn't a number is cut, with a mark, to the room
    that there is; a number that is too wide widens its column for good, under a new header. So every cell stands under
    its heading.
    """

    def __init__(
        self, package: Package, formats: Formats | None = None, screen: Screen | None = None
    ) -> None:
        self._screen = screen
        self._clock = WallClock()
        self._types = {spec.struct.name: spec.struct for spec in package.event_specs}
        self._formats = _with_pointers(self._types.values(), formats or {})
        self._is_single = len(package.event_specs) == 1 and package.event_specs[0].tail_member is None
        self._is_text = not self._types and all(
            spec.is_iterator for spec in package.programs.values() if not spec.optional
        )
        self._sampled = [name for name, spec in package.maps.items() if spec.sample]
        columns = [Column("TIME", 12)]
        if self._is_single:
            (struct,) = self._types.values()
            wanted = formats.get(struct.name, {}) if formats else {}
            columns += [
                _column(member, member.name in wanted)
                for member in struct.members
                if not is_stack(wanted.get(member.name))
            ]
        elif self._types or self._sampled:
            columns += [
                Column("EVENT", max([len(name) for name in self._types], default=0)),
                Column("MEMBERS"),
            ]
        else:  # all that may come is messages, or text
            columns += [Column("PROGRAM", max([len(name) for name in package.programs], default=0))]
            columns += [Column("MESSAGE")]
        self._aligner = Aligner(columns, screen)
        self._members: dict[str, list[tuple[str | None, Any]]] = {}
        self._samples: SampleRows | None = None

    def header(self) -> bytes:
        if self._sampled and not self._types:
            return self._sample_rows().header()
        if self._is_text:
            return b""
        return self._aligner.header()

    def _sample_rows(self) -> SampleRows:
        if self._samples is None:
            from .samples import SampleRows

            self._samples = SampleRows(self._sampled, self._formats, self._screen)
        return self._samples

    def row(self, event: Any) -> bytes:
        time = self._clock.local(event._time_ns)
        if isinstance(event, Lost):
            return f"{time} lost {_lost_text(event)}\n".encode()
        if isinstance(event, (Sample, Histogram)):
            return self._sample_rows().row(time, event)
        if isinstance(event, Message):
            return self._message(time, event)
        if isinstance(event, Text):
            return f"{display(event.line)}\n".encode("utf-8", "backslashreplace")
        if isinstance(event, Stack):
            from .stack import stack_lines

            lines = [f"    {line}\n" for line in stack_lines(event)]
            return self.row(event.event) + "".join(lines).encode("utf-8", "backslashreplace")
        members = self._members.get(event._struct)
        if members is None:
            members = self._members[event._struct] = self._members_of(event)
        cells = {
            name: str(value) if format is None and type(value) is int else self._cell(value, format)
            for (name, format), value in zip(members, event, strict=True)
            if name is not None
        }
        if self._is_single:
            return self._aligner.line([time, *cells.values()])
        pairs = " ".join([f"{name}={text}" for name, text in cells.items()])
        return self._aligner.line([time, event._struct, pairs])

    def _members_of(self, event: Any) -> list[tuple[str | None, Any]]:
        """Each member's name and, where it has one, its format; no name where it has no cell."""
        by_member = self._formats.get(event._struct, {})
        return [
            (None if is_stack(by_member.get(name)) else name, by_member.get(name)) for name in event._fields
        ]

    def _cell(self, value: Any, format: Any) -> str:
        return format(value) if format is not None else cell(shown(value, self._formats))

    def _message(self, time: str, found: Message) -> bytes:
        programs, text = "|".join(found.candidates), display(found.message)
        if not self._types and not self._sampled:
            return self._aligner.line([time, programs, text])
        return f"{time} printk {programs}: {text}\n".encode("utf-8", "backslashreplace")


def _with_pointers(structs: Iterable[StructType], formats: Formats) -> dict[str, dict[str, Format]]:
    """The formats, and one for each pointer that has none, however deep."""
    found: dict[str, dict[str, Format]] = {name: dict(by_member) for name, by_member in formats.items()}
    waiting = list(structs)
    seen = set()
    while waiting:
        struct = waiting.pop()
        if struct.type_id in seen:
            continue
        seen.add(struct.type_id)
        for member in struct.members:
            inner = member.type
            while isinstance(inner, ArrayType):
                inner = inner.element
            if isinstance(inner, PointerType):
                found.setdefault(struct.name, {}).setdefault(member.name, _hex)
            elif isinstance(inner, StructType):
                waiting.append(inner)
    return found


def _hex(pointer: Any) -> str:
    return cell([_hex(one) for one in pointer]) if isinstance(pointer, list) else f"{pointer:#x}"


def _column(member: Member, has_format: bool) -> Column:
    heading, ctype = display(member.name).upper(), member.type
    if has_format:
        return Column(heading, 15, usual=8)
    widest = _widest(ctype, member.bit_size)
    if isinstance(ctype, (IntType, FloatType, PointerType)):
        is_bool = isinstance(ctype, IntType) and ctype.is_bool
        usual = 10 if isinstance(ctype, FloatType) else _USUAL.get(ctype.size_bytes, 12)
        if is_bool or isinstance(ctype, PointerType):
            usual = widest
        return Column(heading, widest, usual=usual, is_right=not is_bool)
    if isinstance(ctype, EnumType):
        return Column(heading, widest, usual=_widest_name(ctype))
    return Column(heading, min(widest, _WIDEST_TEXT), usual=8, may_be_cut=True)


def _widest(ctype: CType, bits: int = 0) -> int:
    """How many characters a value of that type takes at most, its text being plain."""
    if isinstance(ctype, PointerType):
        return len("0xffffffffffffffff")
    if isinstance(ctype, FloatType):
        return len("-2.2250738585072014e-308")
    if isinstance(ctype, (IntType, EnumType)):
        if isinstance(ctype, IntType) and ctype.is_bool:
            return len("false")
        bits = bits or 8 * ctype.size_bytes
        number = len(str(-(1 << bits - 1) if ctype.signed else (1 << bits) - 1))
        return max(number, _widest_name(ctype)) if isinstance(ctype, EnumType) else number
    if isinstance(ctype, ArrayType):
        if ctype.is_text:
            return ctype.count
        return 2 + ctype.count * (1 + _widest(ctype.element))
    if isinstance(ctype, StructType):
        return 2 + sum([len(member.name) + 4 + _widest(member.type) for member in ctype.members])
    return 0


def _widest_name(enum: EnumType) -> int:
    return min(max([len(name) for name, _ in enum.values], default=0), _WIDEST_TEXT)


def _lost_text(lost: Lost) -> str:
    where = f" on CPU {lost._cpu}" if lost._cpu >= 0 else ""
    why = f": {display(lost.detail)}" if lost.detail else ""
    return f"{lost.count} of {display(lost._map)}{where}, {lost.cause}{why}"


class JsonLines:
    """One JSON object a line: type, time, map, cpu, struct and data, and raw where a text was not UTF-8."""

    def __init__(self, snoop: Snoop) -> None:
        self._clock = WallClock()
        self._types = snoop.event_types

    def header(self) -> bytes:
        return b""

    def row(self, event: Any) -> bytes:
        time = self._clock.rfc3339(event._time_ns)
        if isinstance(event, Lost):
            return json(event._json(time)) + b"\n"
        if isinstance(event, (Sample, Histogram)):
            from .samples import sample_json

            return sample_json(time, event)
        if isinstance(event, Stack):
            return self._stack(time, event)
        if isinstance(event, (Message, Text)):
            data, raw = message_data(event)
            where = {"cpu": event._cpu} if isinstance(event, Message) else {}
            found = {"type": event._struct, "time": time, **where, "data": data}
            return json({**found, "raw": raw} if raw else found) + b"\n"
        return self._event(time, event, "event")

    def _event(self, time: str, event: Any, kind: str) -> bytes:
        program: EventProgram = self._types[event._map, event._struct]
        data, raw = program.json(event)
        head = json(
            {"type": kind, "time": time, "map": event._map, "cpu": _cpu(event), "struct": event._struct}
        )
        tail = b',"raw":' + json(raw) if raw else b""
        return b'%s,"data":%s%s}\n' % (head[:-1], data, tail)

    def _stack(self, time: str, found: Stack) -> bytes:
        """The line of the event or sample, with its stacks behind."""
        from .samples import sample_json
        from .stack import stack_data

        kind, inner = found._struct, found.event
        line = sample_json(time, inner, kind) if isinstance(inner, Sample) else self._event(time, inner, kind)
        return b'%s,"stacks":%s}\n' % (line.removesuffix(b"}\n"), json(stack_data(found)))

    def lines(self, batch: Batch) -> tuple[bytes, int]:
        """The rows of a whole batch and of its notices of loss, written without making an event; and how many of
        them are events."""
        return batch.json(), len(batch) - batch._undecodable


def _cpu(event: Any) -> int | None:
    """None out of a ring buffer, which doesn't tell."""
    return event._cpu if event._cpu >= 0 else None


def message_data(found: Message | Text) -> tuple[dict[str, object], dict[str, str]]:
    """What JSON has as `data`, and as `raw`, for a message or a line."""
    data: dict[str, object] = {"program": found.program}
    if isinstance(found, Text):
        data["line"] = found.line
        texts = {"line": found.line}
    else:
        if found.program is None:
            data["candidates"] = found.candidates
        data.update(tid=found.tid, comm=found.comm, message=found.message)
        texts = {"comm": found.comm or "", "message": found.message}
    return data, {name: base64(text) for name, text in texts.items() if is_lossy(text)}


class Csv:
    """The keys of the JSON lines as columns, an event's data as JSON text. `stacks` is one of them only where there are
    members that `formats` has as stacks."""

    KEYS: tuple[str, ...] = (
        "type",
        "time",
        "map",
        "cpu",
        "struct",
        "data",
        "count",
        "cause",
        "detail",
        "raw",
    )

    def __init__(self, snoop: Snoop, formats: Formats | None = None) -> None:
        self._clock = WallClock()
        self._types = snoop.event_types
        if has_stacks(formats or {}):
            self.KEYS = (*self.KEYS, "stacks")

    def header(self) -> bytes:
        return csv_row(self.KEYS)

    def row(self, event: Any) -> bytes:
        found = self._cells(self._clock.rfc3339(event._time_ns), event)
        return csv_row([found.get(key) for key in self.KEYS]) if found else b""

    def _cells(self, time: str, event: Any) -> dict[str, object]:
        if isinstance(event, Lost):
            return event._json(time)
        if isinstance(event, Stack):
            from .stack import stack_data

            return {**self._cells(time, event.event), "type": event._struct, "stacks": stack_data(event)}
        found: dict[str, object] = {"time": time, "map": event._map or None, "cpu": _cpu(event)}
        if isinstance(event, (Message, Text)):
            told, lossy = message_data(event)
            return {**found, "type": event._struct, "data": json(told).decode(), "raw": lossy or None}
        if isinstance(event, (Sample, Histogram)):
            from .samples import sample_data

            if isinstance(event, Sample) and event.is_empty:
                return {}
            return {**found, "type": event._struct, "data": json(sample_data(event)).decode()}
        data, raw = self._types[event._map, event._struct].json(event)
        return {**found, "type": "event", "struct": event._struct, "data": data.decode(), "raw": raw or None}


def csv_row(cells: Iterable[object]) -> bytes:
    """One line of CSV: text made harmless, None empty, lists and dicts as JSON text."""
    return (",".join([_csv_cell(value) for value in cells]) + "\n").encode("utf-8", "backslashreplace")


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        text = display(value)
    elif isinstance(value, (list, tuple, dict)):
        text = json(value).decode()
    else:
        text = str(value)
    if any(c in text for c in ',"') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def writer(format: str, snoop: Snoop, formats: Formats | None = None, screen: Screen | None = None) -> Writer:
    """The writer that `--format` asks for: table, json or csv. `formats` and `screen` are for a table; CSV has a column
    for stacks where `formats` has some."""
    if format == "table":
        return Table(snoop.package, formats, screen)
    if format == "json":
        return JsonLines(snoop)
    if format == "csv":
        return Csv(snoop, formats)
    raise OptionError(f"no format {format!r}", hint="one of table, json, csv")
