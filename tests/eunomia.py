"""What eunomia-bpf's own runner (ecli 0.2.9) demands of a package: from its behaviour, independent of our code."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from typing import Any

KIND_STRUCT, KIND_ENUM64 = 4, 19
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}  # bytes behind a type's own twelve, by kind
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # and for each of its members
_OPTION_TYPES = re.compile(
    r"bool|pid_t|int|short|long|long long|unsigned int|unsigned short|unsigned long long|float|double|char\[\d+\]"
)


def problems(data: bytes) -> list[str]:
    """Why their runner would refuse the package, or not do as it says; none where it runs."""
    document = json.loads(data)
    found: list[str] = []
    text = document["bpf_object"]
    if re.search(r"\s", text):
        found.append("bpf_object: white space")
    elf = zlib.decompress(base64.b64decode(text, validate=True))
    if document["bpf_object_size"] != len(elf):
        found.append("bpf_object_size: not the object's")
    meta = document["meta"]
    skeleton = meta["bpf_skel"]
    for key in ("obj_name", "data_sections", "maps", "progs"):
        if key not in skeleton:
            found.append(f"bpf_skel: no {key}")
    types = _types(_section(elf, ".BTF"))
    if any(kind == KIND_ENUM64 for kind, _, _ in types):
        found.append("BTF: ENUM64, which their reader doesn't know")
    found += _programs(skeleton.get("progs") or [], elf)
    found += [
        f"map {one.get('name')}: no ident" for one in skeleton.get("maps") or [] if not one.get("ident")
    ]
    for section in skeleton["data_sections"]:
        if section["name"] not in (".rodata", ".bss"):
            found.append(f"data_sections: {section['name']} is unsupported")
        for variable in section["variables"]:
            found += _variable(variable)
    for one in meta["export_types"]:
        found += _export(one, types)
    return found


def _programs(programs: list[dict[str, Any]], elf: bytes) -> list[str]:
    found = []
    for one in programs:
        if not isinstance(one.get("attach"), str) or one.get("link") is not True:
            found.append(f"program {one.get('name')}: no attach or link")
        elif one["attach"].encode() + b"\0" not in elf:
            found.append(f"program {one['name']}: the object has no section {one['attach']}")
    return found


def _variable(one: dict[str, Any]) -> list[str]:
    if "description" in one and not isinstance(one["description"], str):
        return [f"variable {one['name']}: a description that isn't text"]
    argument = one.get("cmdarg")
    if argument is not None and len(argument.get("short", "x")) != 1:
        return [f"variable {one['name']}: a short option of several characters"]
    return [] if isinstance(one["type"], str) else [f"variable {one['name']}: no type"]


def options_that_work(data: bytes) -> set[str]:
    """The variables that can be set on their command line: those of a spelling that it knows."""
    sections = json.loads(data)["meta"]["bpf_skel"]["data_sections"]
    variables = [variable for section in sections for variable in section["variables"]]
    return {one["name"] for one in variables if _OPTION_TYPES.fullmatch(one["type"])}


def _export(one: dict[str, Any], types: list[tuple[int, str, int]]) -> list[str]:
    type_id = one["type_id"]
    if not 0 < type_id < len(types):
        return [f"export type {one['name']}: no type {type_id}"]
    kind, name, members = types[type_id]
    if kind != KIND_STRUCT or name != one["name"] or members != len(one["members"]):
        return [f"export type {one['name']}: type {type_id} is {name} with {members} members"]
    if not isinstance(one["size"], int) or not all(
        {"name", "type"} <= set(member) for member in one["members"]
    ):
        return [f"export type {one['name']}: a member without name or type"]
    return []


def _section(elf: bytes, wanted: str) -> bytes:
    (at,) = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQ", elf, at + index * size) for index in range(count)]
    strings = headers[names][4]
    for header in headers:
        start = strings + header[0]
        if elf[start : elf.index(b"\0", start)].decode() == wanted:
            return elf[header[4] : header[4] + header[5]]
    raise AssertionError(f"no section {wanted}")


def _types(btf: bytes) -> list[tuple[int, str, int]]:
    """(kind, name, members) of each type; the first is void."""
    header, types_at, types_size, strings_at, _ = struct.unpack_from("<IIIII", btf, 4)
    found = [(0, "", 0)]
    at, end = header + types_at, header + types_at + types_size
    while at < end:
        name_at, info, _ = struct.unpack_from("<III", btf, at)
        kind, count = info >> 24 & 31, info & 0xFFFF
        start = header + strings_at + name_at
        found.append((kind, btf[start : btf.index(b"\0", start)].decode(), count))
        at += 12 + _FIXED.get(kind, 0) + _EACH.get(kind, 0) * count
    return found
