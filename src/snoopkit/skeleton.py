"""A package's meta, computed from the object itself.

The shape is eunomia-bpf's, so that their runner understands it; what theirs has no word for (several event types in
one package, variables in .data, the map that counts losses) stands under `snoopkit`, which it skips.
"""

from __future__ import annotations

import re

from .btf import (
    KIND_ARRAY,
    KIND_DATASEC,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_INT,
    KIND_STRUCT,
    KIND_UNION,
    LINKAGE_GLOBAL,
)
from .cdecl import type_name
from .elf import SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_PROGBITS
from .errors import CompileError
from .layout import flexible_tail, struct_type
from .options import KCONFIG, plain_type
from .package import EVENT_MAP_TYPES, is_event_source, is_iterator, read_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from .btf import Btf
    from .elf import Elf
    from .package import MapSpec

__all__ = [
    "EUNOMIA_VERSION",
    "META_VERSION",
    "choose",
    "is_tagged",
    "meta",
    "names",
    "tagged",
    "untagged_event",
]

EUNOMIA_VERSION = "0.3.4"  # whose format this is
META_VERSION = 1
EVENT_TAG, TAIL_TAG, LOSSES_TAG, RING_TAG = (
    "snoopkit.event:",
    "snoopkit.tail:",
    "snoopkit.losses",
    "snoopkit.ring",
)

_EVENT = re.compile(r"(\w+)(?::([\w.]+)=(0[xX][0-9a-fA-F]+|\d+))?")
_TAIL_PART = re.compile(r"\s*(\w+)=(text|strings)\[([\w.]+)\]\s*")
_PLAIN_INTS = {  # by (size, signed): the spellings that eunomia's option parser knows
    (2, True): "short",
    (2, False): "unsigned short",
    (4, True): "int",
    (4, False): "unsigned int",
    (8, True): "long long",
    (8, False): "unsigned long long",
}


def names(elf: Elf, btf: Btf) -> tuple[list[str], list[str], list[str]]:
    """The object's global variables, maps and programs."""
    variables = [
        variable["name"] for section in _data_sections(elf, btf) for variable in section["variables"]
    ]
    return variables, list(read_maps(btf, [])), [symbol.name for symbol in elf.programs()]


def meta(
    elf: Elf,
    btf: Btf,
    name: str,
    exported: list[int],
    notes: Mapping[str, dict[str, Any]] | None = None,
    *,
    is_part: bool = False,
) -> dict[str, Any]:
    """The whole meta of a package whose object is called `name` ("execsnoop").

    `exported` are the type ids of the header's structs, the event first; where there are none the event maps may tell
    by `__type(value, struct …)`. `notes` is what the source's comments say of each name. Of an object that `is_part` of
    what will be linked, the maps of some events may be in others. Raises CompileError for a declaration tag that makes
    no sense.
    """
    notes = notes or {}
    object_name = re.sub(r"\W", "_", f"{name}.bpf", flags=re.ASCII)
    sections = _data_sections(elf, btf)
    own: dict[str, Any] = {"version": META_VERSION}
    beyond = [section for section in sections if section["name"] not in (".rodata", ".bss")]
    if beyond:
        own["data_sections"] = beyond
    for section in sections:
        for variable in section["variables"]:
            variable.update(notes.get(variable["name"], {}))
    maps = read_maps(btf, [])
    iterators = [symbol.name for symbol in elf.programs() if is_iterator(elf.sections[symbol.section].name)]
    values = _values(btf, maps) if not exported and not is_part else {}
    if values:
        exported = list(dict.fromkeys(values.values()))
        events = [{"map": map, **untagged_event(btf, type_id)} for map, type_id in values.items()]
    else:
        events = _events(btf, maps, iterators, exported, is_part)
    if events:
        own["events"] = events
    for key, section_name, tag in (("losses", ".maps", LOSSES_TAG), ("ring", ".rodata", RING_TAG)):
        variable_name = _tagged_variable(btf, section_name, tag)
        if variable_name:
            own[key] = variable_name
    skeleton: dict[str, Any] = {
        "obj_name": object_name,
        "data_sections": [section for section in sections if section not in beyond],
        "maps": [{"name": map, "ident": map, **notes.get(map, {})} for map in maps]
        + _internal_maps(elf, sections, object_name),
        "progs": [
            {
                "name": symbol.name,
                "attach": elf.sections[symbol.section].name,
                "link": True,
                **notes.get(symbol.name, {}),
            }
            for symbol in elf.programs()
        ],
    }
    if "LICENSE" in notes:
        skeleton["doc"] = notes["LICENSE"]
    return {
        "bpf_skel": skeleton,
        "export_types": [_export_type(btf, type_id) for type_id in exported],
        "eunomia_version": EUNOMIA_VERSION,
        "snoopkit": own,
    }


# ---------------------------------------------------------------------------------------------------------------
# Which struct is the event


def is_tagged(btf: Btf, type_id: int) -> bool:
    """Whether the source declares this struct an event."""
    return any(tag.startswith(EVENT_TAG) for tag in btf.tags(type_id))


def tagged(btf: Btf) -> list[int]:
    """Every struct of the object that the source declares an event."""
    return [
        type_id
        for type_id in range(1, len(btf))
        if btf.types[type_id].kind == KIND_STRUCT and is_tagged(btf, type_id)
    ]


def choose(btf: Btf, structs: list[tuple[int, str]], header: str, marked: Collection[str] = ()) -> list[int]:
    """The type ids of a header's structs, the events first: tagged ones; else the one called `event`; else the only
    one that no other contains. Of a header where some are `marked` for export, only these. Raises CompileError,
    which lists the candidates, if that leaves several.
    """
    if marked:
        structs = [(type_id, name) for type_id, name in structs if name in marked]
    ids = [type_id for type_id, _ in structs]
    first = [type_id for type_id in ids if is_tagged(btf, type_id)]
    first = first or [type_id for type_id, name in structs if name == "event"][:1]
    if not first:
        contained = {inner for outer in ids for inner in _contained(btf, outer)}
        first = [type_id for type_id in ids if type_id not in contained]
        if len(first) > 1:
            names = ", ".join(name for type_id, name in structs if type_id in first)
            raise CompileError(
                f"{header}: which struct is the event? It defines several: {names}",
                hint="call one `event`, write `/// @export` before it, or tag each that is one with "
                '__attribute__((btf_decl_tag("snoopkit.event:MAP:MEMBER=NUMBER")))',
            )
    return first + [type_id for type_id in ids if type_id not in first]


def _contained(btf: Btf, outer: int) -> set[int]:
    """The structs that stand in `outer` by value, however deep."""
    found: set[int] = set()
    waiting = [member.type_id for member in btf.types[outer].members]
    while waiting:
        inner = btf.types[btf.resolve(waiting.pop())]
        if inner.kind == KIND_ARRAY:
            waiting.append(inner.type_id)
        elif inner.kind in (KIND_STRUCT, KIND_UNION) and inner.id not in found:
            found.add(inner.id)
            waiting += [member.type_id for member in inner.members]
    return found


# ---------------------------------------------------------------------------------------------------------------
# What their runner reads


def _data_sections(elf: Elf, btf: Btf) -> list[dict[str, Any]]:
    """Each section of global variables, in the object's order."""
    sections = []
    for section in elf.sections:
        if not _holds_data(section.name):
            continue
        datasec = btf.find(section.name, KIND_DATASEC)
        if datasec is None:
            continue
        variables = [btf.types[variable_id] for variable_id, _, _ in btf.types[datasec].variables]
        shown = [
            {"name": variable.name, "type": _spelling(btf, variable.type_id)}
            for variable in variables
            if variable.linkage == LINKAGE_GLOBAL and RING_TAG not in btf.tags(variable.id)
        ]
        if shown:
            sections.append({"name": section.name, "variables": shown})
    settings = [
        {"name": name, "type": _spelling(btf, type_id)} for name, type_id in _kernel_settings(btf).items()
    ]
    if settings:
        sections.append({"name": KCONFIG, "variables": settings})
    return sections


def _kernel_settings(btf: Btf) -> dict[str, int]:
    """The type ids of the variables that libbpf fills from the kernel's configuration."""
    datasec = btf.find(KCONFIG, KIND_DATASEC)
    ids = [] if datasec is None else [variable_id for variable_id, _, _ in btf.types[datasec].variables]
    variables = [btf.types[variable_id] for variable_id in ids]
    # those of libbpf's own, such as LINUX_KERNEL_VERSION, are nothing that a configuration says
    return {variable.name: variable.type_id for variable in variables if variable.name.startswith("CONFIG_")}


def _holds_data(name: str) -> bool:
    return name in (".rodata", ".data", ".bss") or name.startswith((".rodata.", ".data."))


def _spelling(btf: Btf, type_id: int) -> str:
    """A variable's type as eunomia's option parser wants it: no qualifiers, plain C integers."""
    resolved = btf.types[btf.resolve(type_id)]
    if resolved.kind == KIND_INT:
        if resolved.name == "_Bool":
            return "bool"
        plain = _PLAIN_INTS.get((resolved.size, resolved.signed))
        if plain:
            return plain
    return plain_type(btf, type_id)


def _internal_maps(elf: Elf, sections: list[dict[str, Any]], object_name: str) -> list[dict[str, Any]]:
    """The maps that libbpf makes of data sections, under the names that it gives them."""
    mapped = {section["name"] for section in sections}
    maps = []
    for section in elf.sections:
        if not _holds_data(section.name) or section.flags & SHF_EXECINSTR or not section.flags & SHF_ALLOC:
            continue
        if section.type not in (SHT_PROGBITS, SHT_NOBITS) or not section.size:
            continue
        name = section.name
        if "." not in name[1:]:
            room = 16 - max(7, len(name)) - 1
            name = re.sub(r"[^\w.]", "_", object_name[:room] + name, flags=re.ASCII)
        entry: dict[str, Any] = {"name": name, "ident": section.name[1:].replace(".", "_")}
        if section.name in mapped:
            entry["mmaped"] = True
        maps.append(entry)
    return maps


def _export_type(btf: Btf, type_id: int) -> dict[str, Any]:
    struct = btf.types[type_id]
    return {
        "name": struct.name,
        "members": [{"name": m.name, "type": _member_spelling(btf, m.type_id)} for m in struct.members],
        "size": struct.size,
        "type_id": type_id,
    }


def _member_spelling(btf: Btf, type_id: int) -> str:
    kind = btf.types[type_id].kind
    if kind in (KIND_STRUCT, KIND_UNION):
        return "composite"
    if kind in (KIND_ENUM, KIND_ENUM64):
        return "enum"
    return type_name(btf, type_id)


# ---------------------------------------------------------------------------------------------------------------
# What only ours reads


def _events(
    btf: Btf, maps: dict[str, MapSpec], iterators: list[str], exported: list[int], is_part: bool
) -> list[dict[str, Any]]:
    declared = []
    for type_id in exported:
        for tag in btf.tags(type_id):
            match = _EVENT.match(tag.removeprefix(EVENT_TAG))
            is_elsewhere = is_part and match and not is_event_source(match[1], maps, iterators)
            if tag.startswith(EVENT_TAG) and not is_elsewhere:
                declared.append(_tagged_event(btf, maps, iterators, type_id, tag))
    if declared or not exported:
        return declared
    entry = untagged_event(btf, exported[0])
    return [{"map": spec.name, **entry} for spec in maps.values() if spec.type in EVENT_MAP_TYPES]


def _values(btf: Btf, maps: dict[str, MapSpec]) -> dict[str, int]:
    """The struct that each event map is declared to hold; none at all unless each is: one that nobody reads would go
    unnoticed beside the others."""
    event_maps = [spec for spec in maps.values() if spec.type in EVENT_MAP_TYPES]
    found = {spec.name: btf.resolve(spec.value_type_id) for spec in event_maps}
    is_each = all(btf.types[id].kind == KIND_STRUCT and btf.types[id].name for id in found.values())
    return found if is_each else {}


def untagged_event(btf: Btf, type_id: int) -> dict[str, Any]:
    """What the meta says of a struct that is the only one to come through a map, but for the map."""
    return {"type_id": type_id, **_tail(btf, type_id)}


def _tagged_event(
    btf: Btf, maps: dict[str, MapSpec], iterators: list[str], type_id: int, tag: str
) -> dict[str, Any]:
    name = btf.types[type_id].name
    match = _EVENT.fullmatch(tag.removeprefix(EVENT_TAG))
    if match is None:
        raise CompileError(
            f"struct {name}: the tag {tag!r} isn't understood", hint="write snoopkit.event:MAP:MEMBER=NUMBER"
        )
    map_name, member, value = match.groups()
    if not is_event_source(map_name, maps, iterators):
        raise CompileError(
            f"struct {name}: no perf event array, ring buffer or iterator is called {map_name!r}"
        )
    entry: dict[str, Any] = {"map": map_name, "type_id": type_id, **_tail(btf, type_id)}
    if member:
        entry.update(kind_member=member, kind_value=int(value, 0 if value[1:2] in ("x", "X") else 10))
    return entry


def _tail(btf: Btf, type_id: int) -> dict[str, Any]:
    struct = btf.types[type_id]
    for index, member in enumerate(struct.members):
        for tag in btf.tags(type_id, index):
            if not tag.startswith(TAIL_TAG):
                continue
            parts = [_TAIL_PART.fullmatch(part) for part in tag.removeprefix(TAIL_TAG).split(",")]
            if not all(parts):
                raise CompileError(
                    f"struct {struct.name}: the tag {tag!r} isn't understood",
                    hint="write snoopkit.tail:NAME=text[SIZE_MEMBER],NAME=strings[SIZE_MEMBER]",
                )
            return {
                "tail_member": member.name,
                "tail_parts": [
                    {"name": part[1], "form": part[2], "size_member": part[3]} for part in parts if part
                ],
            }
    tail = flexible_tail(struct_type(btf, type_id))
    return {"tail_member": tail} if tail else {}


def _tagged_variable(btf: Btf, section_name: str, tag: str) -> str | None:
    datasec = btf.find(section_name, KIND_DATASEC)
    for variable_id, _, _ in btf.types[datasec].variables if datasec is not None else ():
        if tag in btf.tags(variable_id):
            return btf.types[variable_id].name
    return None
