"""Rows and JSON as eunomia-bpf's runner prints them, for people and scripts that expect `ecli`.

Differences on purpose: TIME is the event's, not the printer's; anonymous members are shown; a text without NUL or
not UTF-8 is text, with its unsafe bytes spelled out; an enumeration of 8 bytes and a bit-field have values. Keys of
JSON objects are sorted, there is no time in them. What a source or `--as` says of a number's meaning counts in text,
also in structs inside and in sampled maps; JSON keeps the numbers.
"""

from __future__ import annotations

from .._decode import display, json
from ..events import Lost
from ..layout import ArrayType, CType, EnumType, IntType, StructType, c_type
from ..messages import Message, Text
from ..samples import Histogram, Sample
from ..stacks import Stack, is_stack
from .clock import WallClock
from .histogram import linear_bars, log2_bars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..package import Package
    from .formats import Formats

__all__ = ["EunomiaJson", "EunomiaText"]


class EunomiaText:
    """A header, then a row an event: each value starts where its heading does, or one space on where it can't."""

    def __init__(self, package: Package, formats: Formats | None = None) -> None:
        self._formats = formats or {}
        self._clock = WallClock()
        self._types = {spec.struct.name: spec.struct for spec in package.event_specs}
        self._headings: dict[str, tuple[str, list[int]]] = {}
        self._sampled = _SampledTypes(package, self._formats)
        self._shown = next(iter(self._types), "")

    def header(self) -> bytes:
        if any(is_stack(how) and how.is_eunomia for how in self._formats.get(self._shown, {}).values()):
            self._shown = ""  # their stacks have no columns
            return b""
        if self._shown:
            return self._heading(self._shown)[0].encode() + b"\n"
        return self._sampled.header()

    def row(self, event: Any) -> bytes:
        if isinstance(event, Lost):
            return b""  # stdout has their rows only; the summary tells of losses, the status too
        if isinstance(event, Sample):
            return self._sample(event)
        if isinstance(event, Histogram):
            return self._histogram(event)
        if isinstance(event, Stack):
            return self._stack(event)
        if isinstance(event, Text):
            return f"{display(event.line)}\n".encode("utf-8", "backslashreplace")
        if isinstance(event, Message):
            text = f"{self._clock.local(event._time_ns)[:8]} {'|'.join(event.candidates)}: {display(event.message)}\n"
            return text.encode("utf-8", "backslashreplace")
        again = b""
        if event._struct != self._shown:  # their runner prints one type only; ours says which columns follow
            self._shown = event._struct
            again = self.header()
        _, starts = self._heading(event._struct, event._fields)
        line = self._clock.local(event._time_ns)[:8] + " "
        values = tree(self._types[event._struct], event, self._formats)
        for start, value in zip(starts, values.values(), strict=True):
            line = line.ljust(start) if start > len(line) else line + " "
            line += _bare(value)
        return again + line.encode("utf-8", "backslashreplace") + b"\n"

    def _sample(self, found: Sample) -> bytes:
        if found.is_empty:
            return b""
        entry = self._sampled.entry(found)
        key, value = json(entry["key"]).decode(), json(entry["value"]).decode()
        return f"{self._clock.local(found._time_ns)[:8]} {key} {value}\n".encode("utf-8", "backslashreplace")

    def _histogram(self, found: Histogram) -> bytes:
        lines = []
        if found.key is not None:
            key = self._sampled.entry(found)["key"]
            lines.append(f"key =  {_bare(next(iter(key.values())) if len(key) == 1 else key)}")
        lines += [f"{name} = {_bare(value)}" for name, value in found.members.items()]
        draw = linear_bars if found.is_linear else log2_bars
        lines += ["", *draw(found.slots, found.unit or "(unit)"), ""]
        return "".join([f"{line}\n" for line in lines]).encode("utf-8", "backslashreplace")

    def _stack(self, found: Stack) -> bytes:
        """As theirs, each as long as it is; where they have no form for what it is of, that comes first."""
        how = next(
            (how for how in self._formats.get(found.event._struct, {}).values() if is_stack(how)), None
        )
        parts = [[frame for frame in found.frames if frame.is_kernel is kernel] for kernel in (True, False)]
        lines = []
        if how is not None and how.is_eunomia and how.cpu:
            if not any(parts):
                return b""
            members = dict(zip(found.event._fields, found.event, strict=True))
            comm, pid, cpu = members[how.comm], members[how.pid[0]], members[how.cpu]
            lines.append(f"COMM: {display(comm)} (pid={pid}) @ CPU {cpu}")
            row = b""
        else:
            row = self.row(found.event)
        for frames, heading, nothing in zip(
            parts, ("Kernel:", "Userspace:"), ("No Kernel Stack", "No Userspace Stack"), strict=True
        ):
            lines.append(heading if frames else nothing)
            for index, frame in enumerate(frames):
                name = f" {frame}" if frame.symbol is not None else ""
                lines.append(display(f"  {index} [<{frame.address:016x}>]{name}"))
        return row + "".join([f"{line}\n" for line in [*lines, ""]]).encode("utf-8", "backslashreplace")

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
        self._sampled = _SampledTypes(package)

    def header(self) -> bytes:
        return b""

    def row(self, event: Any) -> bytes:
        if isinstance(event, Stack):
            event = event.event
        if isinstance(event, Message):
            return json({"message": event.message, "program": event.program}) + b"\n"
        if isinstance(event, Text):
            return json({"line": event.line, "program": event.program}) + b"\n"
        if isinstance(event, Lost) or (isinstance(event, Sample) and event.is_empty):
            return b""
        if isinstance(event, (Sample, Histogram)):
            return json(_sorted(self._sampled.entry(event))) + b"\n"
        return json(_sorted(tree(self._types[event._struct], event, {}))) + b"\n"


class _SampledTypes:
    """What keys and values of sampled maps are, by the map's name."""

    def __init__(self, package: Package, formats: Formats | None = None) -> None:
        self._formats = formats or {}
        self._types = {
            name: (c_type(package.btf, spec.key_type_id), c_type(package.btf, spec.value_type_id))
            for name, spec in package.maps.items()
            if spec.sample and spec.key_type_id and spec.value_type_id
        }

    def header(self) -> bytes:
        """TIME, and the members of key and value of the first of these maps."""
        for types in self._types.values():
            names = [name for ctype in types for name in _names(ctype)]
            return ("TIME     " + "".join([f"{name.upper():<6} " for name in names]) + "\n").encode()
        return b""

    def entry(self, found: Sample | Histogram) -> dict[str, Any]:
        """Key and value, each an object; what has no members goes by its type's name."""
        key, value = self._types.get(found._map, (None, None))
        shown = self._object(found, "key", key, found.key)
        if isinstance(found, Histogram):
            return {"key": shown, "value": {**found.members, "slots": found.slots}}
        return {"key": shown, "value": self._object(found, "value", value, found.value)}

    def _object(
        self, found: Sample | Histogram, role: str, ctype: CType | None, value: Any
    ) -> dict[str, Any]:
        if isinstance(ctype, StructType):
            return tree(ctype, value, self._formats)
        format = self._formats.get(found._map, {}).get(role)
        if format is not None:
            value = format(value)
        elif isinstance(value, bytes):
            value = value.hex()
        else:
            value = _value(ctype, list(value) if isinstance(value, tuple) else value, self._formats)
        return {ctype.spelling if ctype is not None else "bytes": value}


def _names(ctype: CType) -> list[str]:
    return [member.name for member in ctype.members] if isinstance(ctype, StructType) else [ctype.spelling]


def _bare(value: Any) -> str:
    return display(value) if isinstance(value, str) else json(value).decode()


def tree(struct: StructType, values: Any, formats: Formats) -> dict[str, Any]:
    """The members by name, as their JSON has them; those that have a format as that says."""
    types = {member.name: member.type for member in struct.members}
    by_member = formats.get(struct.name, {})
    return {
        name: by_member[name](value) if name in by_member else _value(types.get(name), value, formats)
        for name, value in zip(values._fields, values, strict=True)
    }


def _value(ctype: CType | None, value: Any, formats: Formats) -> Any:
    if isinstance(ctype, StructType):
        return {
            "__EUNOMIA_TYPE": "union" if ctype.is_union else "struct",
            "__EUNOMIA_TYPE_NAME": ctype.name,
            **tree(ctype, value, formats),
        }
    if isinstance(ctype, EnumType):
        return _enum(ctype, value)
    if isinstance(ctype, ArrayType) and isinstance(value, list):
        return [_value(ctype.element, item, formats) for item in value]
    if isinstance(ctype, IntType) and ctype.size_bytes == 16:
        return str(value)
    return value


def _enum(ctype: EnumType, value: Any) -> str:
    name = value if isinstance(value, str) else "<UNKNOWN_VARIANT>"
    number = next((number for known, number in ctype.values if known == name), value)
    if isinstance(value, str) and ctype.is_cut:
        return name  # of its number only a half is known
    half = 1 << 8 * ctype.size_bytes - 1
    if ctype.size_bytes < 8 and number >= half:  # they take all but the largest for signed
        number -= 2 * half
    return f"{name}({number})"


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
