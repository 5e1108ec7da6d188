"""A Python module that tells a type checker what a package's events, maps and options are."""

from __future__ import annotations

from keyword import iskeyword

from .layout import ArrayType, EnumType, FloatType, IntType, PointerType, StructType, c_type
from .package import EVENT_MAP_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layout import CType
    from .options import OptionSpec
    from .package import EventSpec, MapSpec, Package

__all__ = ["module"]

_HASHES, _ARRAYS = (1, 9), (2,)  # those map types whose values are one thing a key
_FORMS = {"int": "int", "bool": "bool", "float": "float", "text": "str | bytes"}
_HEAD = '''\
"""The types of {name}, made by `snoopkit stubs`. Use its `run` in place of snoopkit's to have them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypedDict, cast

import snoopkit


class Lost(Protocol):
    _struct: Literal["lost"]
    _map: str
    _time_ns: int
    _cpu: int
    count: int
    cause: str
    detail: str | None
'''
_EVENT = """\
    _struct: Literal[{name!r}]
    _map: Literal[{map!r}]
    _time_ns: int
    _cpu: int

    def _asdict(self) -> dict[str, Any]: ...

"""
_TAIL = """\
class Snoop(Protocol):
    package: snoopkit.Package

    @property
    def maps(self) -> Maps: ...
    @property
    def lost(self) -> int: ...
    @property
    def losses(self) -> dict[str, int]: ...
    def poll(self, timeout: float | None = None) -> list[Event]: ...
    def finish(self) -> Iterator[list[Event]]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[Event]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def run(
    package: snoopkit.Package | str | PathLike[str], *, options: Options | None = None, **more: Any
) -> Snoop:
    \"\"\"`snoopkit.run`, with the types of this package.\"\"\"
    return cast(Snoop, snoopkit.run(package, options=cast(Any, options), **more))
"""


def module(package: Package) -> str:
    """The module's text. Structs inside of events, and the values of maps, have classes of their own.

    A member whose name Python can't have as an attribute is left out; what has no static type is Any.
    """
    structs = _Structs()
    events = [structs.event(spec) for spec in package.event_specs]
    maps = [f"    {spec.name}: {_map(spec, package, structs)}" for spec in package.maps.values()]
    options = [f"    {spec.name}: {_option(spec)}" for spec in package.options.values()]
    parts = [
        _HEAD.format(name=package.name),
        *structs.texts,
        f"Event = {' | '.join([*dict.fromkeys(events), 'Lost'])}\n",
        "\n".join(["class Maps(TypedDict):", *(maps or ["    pass"]), ""]),
        "\n".join(["class Options(TypedDict, total=False):", *(options or ["    pass"]), ""]),
        _TAIL,
    ]
    return "\n\n".join(parts)


class _Structs:
    """The classes that have been written, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._names: dict[object, str] = {}

    def event(self, spec: EventSpec) -> str:
        members = [
            (member.name, self.type(member.type))
            for member in spec.struct.members
            if not (spec.tail_parts and member.name == spec.tail_member)
        ]
        members += [(part.name, "str" if part.form == "text" else "list[str]") for part in spec.tail_parts]
        return self._write(
            (spec.map, spec.type_id),
            spec.struct.name,
            members,
            _EVENT.format(name=spec.struct.name, map=spec.map),
        )

    def type(self, type: CType) -> str:
        """What Python makes of a C type."""
        if isinstance(type, IntType):
            return "bool" if type.is_bool else "int"
        if isinstance(type, FloatType):
            return "float"
        if isinstance(type, PointerType):
            return "int"
        if isinstance(type, EnumType):
            return (
                f"Literal[{', '.join(repr(name) for name, _ in type.values)}] | int" if type.values else "int"
            )
        if isinstance(type, ArrayType):
            if type.is_text:
                return "str"
            return f"list[{self.type(type.element)}]"
        if isinstance(type, StructType):
            members = [(member.name, self.type(member.type)) for member in type.members]
            return self._write(str(type), type.name or "anonymous", members, "")
        return "Any"

    def _write(self, key: object, name: str, members: list[tuple[str, str]], head: str) -> str:
        if key in self._names:
            return self._names[key]
        base = chosen = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
        number = 1
        while chosen in (
            *self._names.values(),
            "Lost",
            "Maps",
            "Options",
            "Snoop",
            "Event",
            "Any",
            "Self",
            "",
        ):
            number += 1
            chosen = f"{base or 'Struct'}{number}"
        self._names[key] = chosen
        lines = [f"    {name}: {type}" for name, type in members if name and not iskeyword(name)]
        self.texts.append(
            "\n".join([f"class {chosen}(Protocol):", head + ("\n".join(lines) or "    pass"), ""])
        )
        return chosen


def _map(spec: MapSpec, package: Package, structs: _Structs) -> str:
    if spec.type in EVENT_MAP_TYPES or spec.type not in _HASHES + _ARRAYS or not spec.value_type_id:
        return "Any"
    value = structs.type(c_type(package.btf, spec.value_type_id))
    if spec.type in _ARRAYS:
        return f"MutableMapping[int, {value}]"
    key = structs.type(c_type(package.btf, spec.key_type_id)) if spec.key_type_id else "Any"
    return f"MutableMapping[{key if key in ('int', 'str', 'bool') else 'Any'}, {value}]"


def _option(spec: OptionSpec) -> str:
    if spec.choices:
        return f"Literal[{', '.join(map(repr, spec.choices))}] | int"
    return _FORMS.get(spec.form, "Any")
