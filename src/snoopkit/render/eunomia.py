"""Rows and JSON as eunomia-bpf's runner prints them, for people and scripts that expect `ecli`.

Differences on purpose: TIME is the event's, not the printer's; anonymous members are shown; a text without NUL or
not UTF-8 is text, with its unsafe bytes spelled out; a pointer, an enumeration of 8 bytes and a bit-field have
values. Keys of JSON objects are sorted, there is no time in them.
"""

from __future__ import annotations

from .._decode import display, json
from ..events import Lost
from ..layout import ArrayType, CType, EnumType, StructType
from .clock import WallClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..package import Package

__all__ = ["EunomiaJson", "EunomiaText"]


class EunomiaText:
    """A header, then a row an event: each value starts where its heading does, or one space on where it can't."""

    def __init__(self, package: Package) -> None:
        self._clock = WallClock()
        self._types = {spec.struct.name: spec.struct for spec in package.event_specs}
        self._headings: dict[str, tuple[str, list[int]]] = {}
        self._shown = next(iter(self._types), "")

    def header(self) -> bytes:
        return self._heading(self._shown)[0].encode() + b"\n" if self._shown else b""

    def row(self, event: Any) -> bytes:
        if isinstance(event, Lost):
            return b""  # stdout has their rows only; the summary tells of losses, the status too
        again = b""
        if event._struct != self._shown:  # their runner prints one type only; ours says which columns follow
            self._shown = event._struct
            again = self.header()
        _, starts = self._heading(event._struct, event._fields)
        line = self._clock.local(event._time_ns)[:8] + " "
        values = tree(self._types[event._struct], event)
        for start, value in zip(starts, values.values(), strict=True):
            line = line.ljust(start) if start > len(line) else line + " "
            line += display(value) if isinstance(value, str) else json(value).decode()
        return again + line.encode("utf-8", "backslashreplace") + b"\n"

    def _heading(self, name: str, fields: tuple[str, ...] | None = None) -> tuple[str, list[int]]:
        known = self._headings.get(name)
        if known is None or (fields is not None and len(known[1]) != len(fields)):
            line, starts = "TIME     ", []
            for field in fields or [member.name for member in self._types[name].members]:
                starts.append(len(line))
                line += display(field).upper().ljust(6) + " "
            known = self._headings[name] = (line, starts)
        return known


class EunomiaJson:
    """One compact object an event, keys sorted, the members only."""

    def __init__(self, package: Package) -> None:
        self._types = {spec.struct.name: spec.struct for spec in package.event_specs}

    def header(self) -> bytes:
        return b""

    def row(self, event: Any) -> bytes:
        if isinstance(event, Lost):
            return b""
        return json(_sorted(tree(self._types[event._struct], event))) + b"\n"


def tree(struct: StructType, values: Any) -> dict[str, Any]:
    """The members by name, as their JSON has them."""
    types = {member.name: member.type for member in struct.members}
    return {name: _value(types.get(name), value) for name, value in zip(values._fields, values, strict=True)}


def _value(ctype: CType | None, value: Any) -> Any:
    if isinstance(ctype, StructType):
        return {
            "__EUNOMIA_TYPE": "union" if ctype.is_union else "struct",
            "__EUNOMIA_TYPE_NAME": ctype.name,
            **tree(ctype, value),
        }
    if isinstance(ctype, EnumType):
        if not isinstance(value, str):
            return f"<UNKNOWN_VARIANT>({value})"
        return f"{value}({next(number for name, number in ctype.values if name == value)})"
    if isinstance(ctype, ArrayType) and isinstance(value, list):
        return [_value(ctype.element, item) for item in value]
    return value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
