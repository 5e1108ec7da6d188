"""A sound package made by hand, for tests that need no compiler: one program, three maps, variables of every type."""

from __future__ import annotations

import binascii
import json
import zlib
from typing import Any

from btf_writer import BtfWriter
from elf_writer import ElfWriter
from snoopkit import elf, layout

VARIABLES = (  # (name, type, initial bytes as a little-endian number or text), in .rodata
    ("s8", "s8", -1),
    ("u8", "u8", 200),
    ("s16", "s16", -2),
    ("u16", "u16", 50000),
    ("s32", "int", -7),
    ("u32", "u32", 1 << 31),
    ("s64", "s64", -(1 << 40)),
    ("u64", "u64", 1 << 63),
    ("wide", "u128", 1 << 100),
    ("flag", "bool", 1),
    ("off", "bool", 0),
    ("color", "color", 5),
    ("sign", "sign", -3),
    ("text", "text8", b"abc"),
    ("single", "float", b"\x00\x00\xc0\x3f"),
    ("ratio", "double", b"\x00\x00\x00\x00\x00\x00\xe0\xbf"),
    ("pair", "event", 0),
    ("pointer", "pointer", 0),
    ("bytes", "u8s", 0),
)


def types(byteorder: str = "little") -> tuple[BtfWriter, dict[str, int]]:
    writer = BtfWriter(byteorder)
    ids = {
        "int": writer.integer("int", 4, signed=True),
        "u32": writer.integer("unsigned int", 4),
        "s8": writer.integer("signed char", 1, signed=True),
        "u8": writer.integer("unsigned char", 1),
        "s16": writer.integer("short", 2, signed=True),
        "u16": writer.typedef("__u16", writer.integer("unsigned short", 2)),
        "s64": writer.integer("long long", 8, signed=True),
        "u64": writer.integer("unsigned long long", 8),
        "u128": writer.integer("unsigned __int128", 16),
        "bool": writer.integer("_Bool", 1, boolean=True),
        "char": writer.integer("char", 1, signed=True),
        "float": writer.floating("float", 4),
        "double": writer.floating("double", 8),
        "color": writer.enum("color", 4, [("RED", 0), ("GREEN", 5), ("BLUE", 0xFFFFFFFF)]),
        "sign": writer.enum("sign", 4, [("MINUS", -3), ("PLUS", 3)], signed=True),
    }
    ids["text8"] = writer.array(writer.const(ids["char"]), ids["int"], 8)
    ids["u8s"] = writer.array(ids["u8"], ids["int"], 4)
    ids["pointer"] = writer.ptr(ids["int"])
    ids["comm"] = writer.array(ids["char"], ids["int"], 16)
    ids["tail"] = writer.array(ids["char"], ids["int"], 0)
    ids["head"] = writer.struct("head", 8, [("type", ids["u16"], 0), ("size_bytes", ids["u32"], 32)])
    ids["event"] = writer.struct("event", 20, [("pid", ids["int"], 0), ("comm", ids["comm"], 32)])
    ids["start"] = writer.struct(
        "start", 12, [("head", ids["head"], 0), ("name_size", ids["u32"], 64), ("tail", ids["tail"], 96)]
    )
    return writer, ids


def map_type(
    writer: BtfWriter, ids: dict[str, int], kind: int, key: int, value: int, entries: int = 0
) -> int:
    def number(count: int) -> int:
        return writer.ptr(writer.array(ids["int"], ids["int"], count))

    numbers = {"type": kind, "key_size": key, "value_size": value, "max_entries": entries}
    members = [(name, number(count), 64 * i) for i, (name, count) in enumerate(numbers.items())]
    return writer.struct("", 32, members)


def sample(byteorder: str = "little") -> tuple[bytes, dict[str, Any]]:
    """(object, meta)"""
    writer, ids = types(byteorder)
    order: Any = byteorder
    data = bytearray()
    placed = []
    for name, kind, initial in VARIABLES:
        size = {"text8": 8, "event": 20, "u128": 16}.get(kind) or {"8": 1, "6": 2, "2": 4, "4": 8}.get(
            kind[-1]
        )
        size = size or {"bool": 1, "double": 8, "pointer": 8}.get(kind, 4)
        data += bytes(-len(data) % min(size, 16))
        raw = initial.ljust(size, b"\0") if isinstance(initial, bytes) else b""
        if not isinstance(initial, bytes):
            raw = initial.to_bytes(size, order, signed=initial < 0)
        elif byteorder == "big" and kind in ("float", "double"):
            raw = raw[::-1]
        placed.append((name, len(data), size, writer.var(name, writer.volatile(writer.const(ids[kind])))))
        data += raw
    writer.datasec(".rodata", len(data), [(variable, at, size) for _, at, size, variable in placed])
    count = writer.var("count", ids["u64"])
    writer.datasec(".bss", 16, [(count, 8, 8)])
    maps = [
        ("events", map_type(writer, ids, 4, 4, 4)),
        ("ring", map_type(writer, ids, 27, 0, 0, 4096)),
        ("losses", map_type(writer, ids, 6, 4, 16, 3)),
    ]
    places = [(writer.var(name, type_id), 32 * i, 32) for i, (name, type_id) in enumerate(maps)]
    writer.datasec(".maps", 96, places)
    file = ElfWriter(byteorder)
    file.program("raw_tp/sched_process_exec", "on_exec")
    file.program("?raw_tp/sched_process_exit", "on_exit")
    rodata = file.section(".rodata", bytes(data), elf.SHF_ALLOC, alignment=16)
    bss = file.section(".bss", b"", elf.SHF_ALLOC | elf.SHF_WRITE, elf.SHT_NOBITS, size=16)
    maps_section = file.section(".maps", bytes(96), elf.SHF_ALLOC | elf.SHF_WRITE)
    file.section(".BTF", writer.blob(), alignment=4)
    for name, at, size, _ in placed:
        file.symbol(name, rodata, at, size)
    file.symbol("count", bss, 8, 8)
    for index, (name, _) in enumerate(maps):
        file.symbol(name, maps_section, 32 * index, 32)
    meta = {
        "bpf_skel": {
            "obj_name": "sample_bpf",
            "data_sections": [
                {
                    "name": ".rodata",
                    "variables": [{"name": name, "type": kind} for name, kind, _ in VARIABLES],
                },
                {
                    "name": ".bss",
                    "variables": [
                        {"name": "count", "type": "unsigned long long", "size": 4},
                        {"name": "__eunomia_dummy_event_ptr", "type": "struct event *"},
                    ],
                },
            ],
            "maps": [
                {"name": "events", "ident": "events"},
                {"name": "sample_b.rodata", "ident": "rodata", "mmaped": True},
            ],
            "progs": [{"name": "on_exec", "attach": "raw_tp/sched_process_exec", "link": True, "ifindex": 2}],
        },
        "export_types": [
            {
                "name": "event",
                "members": [{"name": "pid", "type": "int"}, {"name": "comm", "type": "char[16]"}],
                "size": 20,
                "type_id": ids["event"],
            }
        ],
        "eunomia_version": "0.3.4",
        "snoopkit": {
            "version": 1,
            "events": [
                {
                    "map": "events",
                    "type_id": ids["start"],
                    "kind_member": "head.type",
                    "kind_value": 1,
                    "tail_member": "tail",
                    "tail_parts": [{"name": "name", "size_member": "name_size", "form": "text"}],
                },
                {"map": "ring", "type_id": ids["event"], "kind_member": None, "kind_value": None},
            ],
            "losses": "losses",
        },
    }
    return file.bytes(), meta


def struct(name: str, *members: tuple[str, layout.CType]) -> layout.StructType:
    """The layout of one whose members stand one behind the other."""
    placed, offset = [], 0
    for member, ctype in members:
        placed.append(layout.Member(member, offset, ctype))
        offset += ctype.size_bytes
    return layout.StructType(name, offset, tuple(placed))


def packed(data: bytes, meta: object, **changes: object) -> bytes:
    document: dict[str, object] = {
        "bpf_object": binascii.b2a_base64(zlib.compress(data), newline=False).decode(),
        "bpf_object_size": len(data),
        "meta": meta,
    }
    document.update(changes)
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()
