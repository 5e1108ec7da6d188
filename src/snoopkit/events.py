"""Events as people meet them: classes made from a package's event types, and the decoder that fills them."""

from __future__ import annotations

from ._decode import Decoder, EventProgram
from .errors import PackageError
from .layout import locate
from .plans import DEFAULT_FORMS, Forms, event_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from .package import EventSpec, Package

    Values = tuple[Any, ...]
else:
    Values = tuple

__all__ = ["Event", "Lost", "decoder"]

HIDDEN = ("_map", "_time_ns", "_cpu")


class Record(Values):
    """A struct inside an event: its members by name, in the order of the source.

    Two are equal if they are of the same struct and their members are equal. Records can be hashed, copied and
    pickled; where they are unpickled needs neither the package nor a kernel, only snoopkit.
    """

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _struct = ""
    _size_bytes = 0

    def _asdict(self) -> dict[str, Any]:
        """The members by name; structs inside become dicts as well."""
        return {name: _plain(value) for name, value in zip(self._fields, tuple.__iter__(self), strict=False)}

    def __repr__(self) -> str:
        members = zip(self._fields, tuple.__iter__(self), strict=False)
        return f"{self._struct or 'struct'}({', '.join([f'{name}={value!r}' for name, value in members])})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Record) and (self._struct, self._fields) != (other._struct, other._fields):
            return False
        return tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(tuple([_hashable(value) for value in tuple.__iter__(self)]))

    def __reduce__(self) -> tuple[Any, ...]:
        values = tuple(tuple.__iter__(self))
        return _restore, (isinstance(self, Event), self._struct, self._fields, self._size_bytes, values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Event(Record):
    """One event: the struct's members as attributes, in the order of the source.

    `_map` is the name of the map it came through, `_time_ns` when the kernel put it there (CLOCK_BOOTTIME, in
    nanoseconds), `_cpu` on which CPU (-1 out of a ring buffer, which doesn't tell), `_struct` the name of its type,
    `_size_bytes` what sizeof() gives for that, `_fields` the members' names and `_asdict()` the members as a dict.
    As a sequence it has the members' values.

    A member whose name is a keyword of Python is reached by getattr(); one that is called as one of the above, or
    `__like_this__`, by `_asdict()`. Equal events have the same members, map, time and CPU.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple.__getitem__(self, slice(len(self._fields))))

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __contains__(self, value: object) -> bool:
        return value in tuple(self)

    if TYPE_CHECKING:
        _map: str
        _time_ns: int
        _cpu: int


class Lost:
    """A notice in the stream that `count` events are missing from it.

    `cause` is `buffer_full` (the kernel had no room for them), `output_full` (what we write to took too little) or
    `undecodable` (they came, and fit no event type: `detail` says why). `_time_ns` is when it was noticed
    (CLOCK_BOOTTIME, in nanoseconds), `_cpu` where, -1 if on no one CPU in particular.
    """

    __slots__ = ("_cpu", "_map", "_time_ns", "cause", "count", "detail")
    _struct = "lost"

    def __init__(
        self, time_ns: int, cpu: int, map: str, count: int, cause: str, detail: str | None = None
    ) -> None:
        self._time_ns = time_ns
        self._cpu = cpu
        self._map = map
        self.count = count
        self.cause = cause
        self.detail = detail

    def __repr__(self) -> str:
        return f"Lost({self.count}, {self.cause!r}, map={self._map!r}, cpu={self._cpu})"

    def _json(self, time: str) -> dict[str, object]:
        """What its JSON line says, `time` being its time as text."""
        found: dict[str, object] = {"type": "lost", "time": time, "map": self._map}
        if self._cpu >= 0:
            found["cpu"] = self._cpu
        found.update(count=self.count, cause=self.cause)
        if self.detail:
            found["detail"] = self.detail
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value._asdict()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _hashable(value: Any) -> Any:
    return tuple([_hashable(item) for item in value]) if isinstance(value, list) else value


# Classes by all that makes them, so that an event that was pickled comes back as one of the class that it had.
_classes: dict[tuple[type, str, tuple[str, ...], int], type] = {}
_RESERVED = {*HIDDEN, "_fields", "_struct", "_size_bytes", "_asdict"}


def _field(index: int, name: str) -> property:
    return property(lambda self: tuple.__getitem__(self, index), doc=f"{name}, as the record had it")


def _make_class(
    base: type[Record], name: str, fields: tuple[str, ...], hidden: tuple[str, ...] = (), size_bytes: int = 0
) -> type:
    key = (base, name, fields, size_bytes)
    if key in _classes:
        return _classes[key]
    try:
        from _collections import _tuplegetter as getter  # type: ignore[import-not-found]
    except ImportError:  # another Python than CPython
        getter = _field
    body: dict[str, object] = {
        field: getter(index, field)
        for index, field in enumerate(fields)
        if field not in _RESERVED and not (field.startswith("__") and field.endswith("__"))
    }
    body.update({field: getter(len(fields) + index, field) for index, field in enumerate(hidden)})
    doc = f"{name or 'A struct without a name'}, {size_bytes} bytes: {', '.join(fields)}.\n\n{base.__doc__}"
    body.update(__slots__=(), _fields=fields, _struct=name, _size_bytes=size_bytes, __doc__=doc)
    made = _classes[key] = type(name or "anonymous", (base,), body)
    return made


def _restore(
    is_event: bool, name: str, fields: tuple[str, ...], size_bytes: int, values: tuple[Any, ...]
) -> Any:
    """The record that was pickled."""
    cls = (
        _make_class(Event, name, fields, HIDDEN, size_bytes)
        if is_event
        else nested_class(name, fields, size_bytes)
    )
    return tuple.__new__(cls, values)


def nested_class(name: str, fields: tuple[str, ...], size_bytes: int = 0) -> type:
    """The class for a struct inside an event."""
    return _make_class(Record, name, fields, (), size_bytes)


def size_member(spec: EventSpec) -> str | None:
    """Where a record says how large it is: in `size_bytes` beside its kind, if it does."""
    if spec.kind_member is None:
        return None
    beside = spec.kind_member.rpartition(".")[0]
    name = f"{beside}.size_bytes" if beside else "size_bytes"
    try:
        locate(spec.struct, name)
    except PackageError:
        return None
    return name


def event_program(spec: EventSpec, byteorder: str, forms: Forms = DEFAULT_FORMS) -> EventProgram:
    """The compiled plan of one event type of a package. PackageError if it can't be read."""
    struct = spec.struct
    plan = event_plan(
        struct,
        tail_member=spec.tail_member,
        tail_parts=tuple(spec.tail_parts),
        size_member=size_member(spec),
        forms=forms,
    )
    fields = tuple(step[1] for step in plan[3])
    cls = _make_class(Event, struct.name, fields, HIDDEN, struct.size_bytes)
    return EventProgram(plan, byteorder == "big", cls, nested_class, struct, forms)


def decoder(
    package: Package, map_names: Sequence[str], *, text: str = "str", u8: str = "list"
) -> tuple[Decoder, dict[tuple[str, str], EventProgram]]:
    """The decoder for batches whose map numbers follow `map_names`, and its programs by (map, struct).

    Char arrays become `text`: "str" or "bytes", up to the first NUL; arrays of unsigned char become `u8`: "list",
    of numbers, or "bytes", all of them. Raises ValueError for any other, PackageError for types that can't be read.
    """
    forms = Forms(text, u8)
    byteorder = package.btf.byteorder
    programs: dict[tuple[str, str], EventProgram] = {}
    maps: list[tuple[str, tuple[int, int] | None, dict[int | None, EventProgram]]] = []
    for map_name in map_names:
        kind: tuple[int, int] | None = None
        by_number: dict[int | None, EventProgram] = {}
        for spec in package.event_specs:
            if spec.map != map_name:
                continue
            program = event_program(spec, byteorder, forms)
            programs[map_name, spec.struct.name] = program
            if spec.kind_member is not None:
                where = locate(spec.struct, spec.kind_member)
                here = (where.offset_bytes, where.type.size_bytes)
                if kind is not None and kind != here:
                    raise PackageError(
                        f"map {map_name!r}: its event types tell their kind in different places"
                    )
                kind = here
            if spec.kind_value in by_number or (by_number and kind is None):
                raise PackageError(f"map {map_name!r}: two event types of the same kind")
            by_number[spec.kind_value] = program
        maps.append((map_name, kind, by_number))
    return Decoder(maps, byteorder == "big", Lost), programs
