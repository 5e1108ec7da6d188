"""What there is to know of a package before anybody runs it, as plain data. Needs neither a kernel nor root."""

from __future__ import annotations

import struct

from . import abi, calls
from .errors import PackageError
from .layout import ArrayType
from .stacks import is_stack
from .targets import kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .layout import Member
    from .package import EventSpec, MapSpec, Package, ProgramSpec
    from .render.formats import Formats

__all__ = ["describe"]

_CORE_HEADER_BYTES = 32  # from where .BTF.ext's header has its CO-RE relocations


def describe(package: Package) -> dict[str, Any]:
    """`name`, `programs`, `maps`, `events`, `options`, `features`, `capabilities`, `warnings` and `sha256`.

    `features` and `capabilities` are those that the programs need which run unless told otherwise. Each program has its
    own too, and the helpers that it may call; `writes` are those that change something beside its own maps. A member of
    an event that is a stack trace has `stack`: `map`, where the stack is whose number it has, or None for addresses,
    and `size_member`, if one says how many bytes of these there are.
    """
    warnings = list(package.warnings)
    formats = _formats(package, warnings)
    numbers = calls.helpers(package.elf)
    programs = [_program(spec, numbers[spec.name]) for spec in package.programs.values()]
    running = [one for one in programs if not one["optional"]] or programs
    maps = [_map(spec, package) for spec in package.maps.values()]
    features = {name for one in running for name in one["features"]}
    features |= {abi.MAP_FEATURES[one["type"]] for one in maps if one["type"] in abi.MAP_FEATURES}
    if has_core_relocations(package):
        features.add("kernel BTF")
    return {
        "name": package.name,
        "programs": programs,
        "maps": maps,
        "events": [_event(spec, formats) for spec in package.event_specs],
        "options": [
            {
                "name": spec.name,
                "option": f"--{spec.long}",
                "short": spec.short and f"-{spec.short}",
                "type": spec.type,
                "default": spec.default.decode("utf-8", "replace")
                if isinstance(spec.default, bytes)
                else spec.default,
                "section": spec.section,
                "help": spec.help,
            }
            for spec in package.options.values()
        ],
        "features": sorted(features),
        "capabilities": _sorted({name for one in running for name in one["capabilities"]}),
        "warnings": warnings,
        "sha256": package.sha256,
    }


def _sorted(capabilities: Iterable[str]) -> list[str]:
    return sorted(set(capabilities))


def _program(spec: ProgramSpec, numbers: list[int]) -> dict[str, Any]:
    kind = kind_of(spec.section)
    helpers = [_name(abi.HELPERS, number) for number in numbers]
    wanted = set(abi.CAPABILITIES.get(kind, abi.OTHER_CAPABILITIES))
    wanted.update(*[abi.HELPER_CAPABILITIES.get(name, ()) for name in helpers])
    return {
        "name": spec.name,
        "type": kind,
        "hook": spec.section.removeprefix("?").partition("/")[2] or None,
        "section": spec.section.removeprefix("?"),
        "optional": spec.optional,
        "description": spec.extras.get("description"),
        "helpers": [f"bpf_{name}" for name in helpers],
        "writes": [f"bpf_{name}" for name in helpers if name in abi.WRITERS],
        "features": list(abi.KIND_FEATURES.get(kind, ())),
        "capabilities": _sorted(wanted),
    }


def _name(names: list[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _map(spec: MapSpec, package: Package) -> dict[str, Any]:
    from .cdecl import type_name

    key, value = (
        type_name(package.btf, type_id) if type_id else None
        for type_id in (spec.key_type_id, spec.value_type_id)
    )
    return {
        "name": spec.name,
        "type": _name(abi.MAP_TYPES, spec.type),
        "key": key,
        "key_size_bytes": spec.key_size,
        "value": value,
        "value_size_bytes": spec.value_size,
        "max_entries": spec.max_entries,
        "description": spec.extras.get("description"),
    }


def _formats(package: Package, warnings: list[str]) -> Formats:
    from .render.formats import formats

    try:
        return formats(package)
    except PackageError as error:  # it can't be run, but it can be looked at
        warnings.append(str(error))
        return {}


def _event(spec: EventSpec, formats: Formats) -> dict[str, Any]:
    how = formats.get(spec.struct.name, {})
    return {
        "map": spec.map,
        "struct": spec.struct.name,
        "size_bytes": spec.struct.size_bytes,
        "when": f"{spec.kind_member} = {spec.kind_value}" if spec.kind_member is not None else None,
        "members": [_member(member, how.get(member.name)) for member in spec.struct.members],
        "tail": [{"name": part.name, "form": part.form, "size": part.size_member} for part in spec.tail_parts]
        or spec.tail_member,
    }


def _member(member: Member, how: object) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": member.name or None,
        "type": member.type.spelling,
        "offset_bytes": member.offset_bytes,
        "size_bytes": member.type.size_bytes,
    }
    if isinstance(member.type, ArrayType):
        found["count"] = member.type.count
    if member.bit_size:
        found.update(bit_offset=member.bit_offset, bit_size=member.bit_size)
    if is_stack(how):
        found["stack"] = {"map": how.map, "size_member": how.size_member}
    return found


def has_core_relocations(package: Package) -> bool:
    """Whether libbpf has to look up the running kernel's types to adapt the programs to it."""
    section = package.elf.section(".BTF.ext")
    data = section.data if section is not None else b""
    if len(data) < _CORE_HEADER_BYTES:
        return False
    header, _, _, _, _, _, size = struct.unpack_from(package.elf.prefix + "7I", data, 4)
    return bool(header >= _CORE_HEADER_BYTES and size)
