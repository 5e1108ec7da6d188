"""Events as people meet them: classes made from a package's event types, and the decoder that fills them."""

from __future__ import annotations

from ._decode import Decoder, EventProgram
from .errors import PackageError
from .layout import event_plan, locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from .package import EventSpec, Package

    Values = tuple[Any, ...]
else:
    Values = tuple

__all__ = ["Event", "Lost", "decoder"]


class Record(Values):
    """A struct inside an event: its members by name, in the order of the source."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _struct = ""

    def _asdict(self) -> dict[str, Any]:
        """The members by name; structs inside become dicts as well."""
        return {name: _plain(value) for name, value in zip(self._fields, tuple.__iter__(self), strict=False)}

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{self._struct or 'struct'}({members})"

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Event(Record):
    """One event: the struct's members as attributes, in the order of the source.

    `_map` is the name of the map it came through, `_time_ns` when the kernel put it there (CLOCK_BOOTTIME, in
    nanoseconds), `_cpu` on which CPU, `_struct` the name of its type and `_asdict()` its members as a dict.
    Iterating gives the members' values.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self[: len(self._fields)])

    def __len__(self) -> int:
        return len(self._fields)

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


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value._asdict()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _field(index: int, name: str) -> property:
    return property(lambda self: tuple.__getitem__(self, index), doc=f"{name}, as the record had it")


def _make_class(base: type[Record], name: str, fields: tuple[str, ...], hidden: tuple[str, ...] = ()) -> type:
    try:
        from _collections import _tuplegetter as getter  # type: ignore[import-not-found]
    except ImportError:  # another Python than CPython
        getter = _field
    body: dict[str, object] = {
        field: getter(index, field) for index, field in enumerate(fields) if not field.startswith("_")
    }
    body.update({field: getter(len(fields) + index, field) for index, field in enumerate(hidden)})
    body.update(__slots__=(), _fields=fields, _struct=name)
    return type(name or "anonymous", (base,), body)


def nested_class(name: str, fields: tuple[str, ...]) -> type:
    """The class for a struct inside an event."""
    return _make_class(Record, name, fields)


def event_program(spec: EventSpec, byteorder: str) -> EventProgram:
    """The compiled plan of one event type of a package. PackageError if it can't be read."""
    struct = spec.struct
    size_member = None
    if spec.kind_member is not None:
        beside = spec.kind_member.rpartition(".")[0]
        size_member = f"{beside}.size_bytes" if beside else "size_bytes"
        try:
            locate(struct, size_member)
        except PackageError:
            size_member = None
    plan = event_plan(
        struct, tail_member=spec.tail_member, tail_parts=tuple(spec.tail_parts), size_member=size_member
    )
    fields = tuple(step[1] for step in plan[3])
    cls = _make_class(Event, struct.name, fields, ("_map", "_time_ns", "_cpu"))
    return EventProgram(plan, byteorder == "big", cls, nested_class)


def decoder(
    package: Package, map_names: Sequence[str]
) -> tuple[Decoder, dict[tuple[str, str], EventProgram]]:
    """The decoder for batches whose map numbers follow `map_names`, and its programs by (map, struct)."""
    byteorder = package.btf.byteorder
    programs: dict[tuple[str, str], EventProgram] = {}
    maps: list[tuple[str, tuple[int, int] | None, dict[int | None, EventProgram]]] = []
    for map_name in map_names:
        kind: tuple[int, int] | None = None
        by_number: dict[int | None, EventProgram] = {}
        for spec in package.event_specs:
            if spec.map != map_name:
                continue
            program = event_program(spec, byteorder)
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
