"""Structs as C lays them out: a program compiled by gcc fills them, the decoder reads the same values.

The witness is C itself: the bytes are a C program's, the offsets its offsetof(); clang's BTF is only what we read.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from btf_writer import BtfWriter
from snoopkit import _decode, events, layout, plans
from snoopkit.btf import KIND_STRUCT, Btf
from snoopkit.elf import Elf
from snoopkit.errors import PackageError

PRELUDE = """
#include <stddef.h>
#define NULL_POINTER ((void *)0)
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64;
typedef char name_t[4]; typedef int number; typedef number again;
enum color { RED, GREEN = 5, BLUE = 9 };
enum sign { MINUS = -3, PLUS = 3 };
struct pair { int a; char tag[3]; };
"""

# name: (members, initialiser, expected members by name)
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "unsigned_widths": (
        "u8 a; u16 b; u32 c; u64 d;",
        "{255, 65535, 4294967295u, 18446744073709551615ull}",
        {"a": 255, "b": 65535, "c": 4294967295, "d": 18446744073709551615},
    ),
    "signed_widths": (
        "s8 a; s16 b; s32 c; s64 d;",
        "{-128, -32768, -2147483647 - 1, -9223372036854775807ll - 1}",
        {"a": -128, "b": -32768, "c": -2147483648, "d": -9223372036854775808},
    ),
    "longs": ("long a; unsigned long b;", "{-1, -1}", {"a": -1, "b": 2**64 - 1}),
    "wide": (
        "__int128 a; unsigned __int128 b;",
        "{-5, ((unsigned __int128)1 << 127) + 7}",
        {"a": -5, "b": 2**127 + 7},
    ),
    "bools": ("_Bool a; _Bool b; int c;", "{1, 0, 7}", {"a": True, "b": False, "c": 7}),
    "floats": ("float a; double b;", "{1.5f, -0.1}", {"a": 1.5, "b": -0.1}),
    "text": ("char comm[16];", '{"bash"}', {"comm": "bash"}),
    "text_stops_at_nul": ("char comm[8];", '{"ab\\0cd"}', {"comm": "ab"}),
    "text_without_nul": ("char comm[4]; int after;", '{"full", 1}', {"comm": "full", "after": 1}),
    "text_not_utf8": ("char comm[8];", '{"a\\xff\\xc3z"}', {"comm": "a\udcff\udcc3z"}),
    "text_utf8": ("char comm[8];", '{"\\xc3\\xa9"}', {"comm": "é"}),
    "text_typedef": ("name_t a; const volatile char b[3];", '{"abcd", "x"}', {"a": "abcd", "b": "x"}),
    "texts": ("char a[2][4];", '{"one", "four"}', {"a": ["one", "four"]}),
    "unsigned_chars_are_numbers": (
        "unsigned char a[3]; s8 b[2];",
        "{{1, 2, 255}, {-1, 1}}",
        {"a": [1, 2, 255], "b": [-1, 1]},
    ),
    "one_char_is_a_number": ("char a;", "{'x'}", {"a": 120}),
    "arrays": (
        "int a[3]; u16 b[2][3];",
        "{{1, -2, 3}, {{1, 2, 3}, {4, 5, 6}}}",
        {"a": [1, -2, 3], "b": [[1, 2, 3], [4, 5, 6]]},
    ),
    "enums": ("enum color a; enum color b;", "{GREEN, BLUE}", {"a": "GREEN", "b": "BLUE"}),
    "enum_unknown": ("enum color a;", "{(enum color)7}", {"a": 7}),
    "enum_negative": ("enum sign a; enum sign b;", "{MINUS, PLUS}", {"a": "MINUS", "b": "PLUS"}),
    "enum_array": ("enum color a[2];", "{{RED, GREEN}}", {"a": ["RED", "GREEN"]}),
    "nested": ("u8 x; struct pair p;", '{1, {2, "ab"}}', {"x": 1, "p": {"a": 2, "tag": "ab"}}),
    "nested_arrays": (
        "struct pair p[2];",
        '{{{1, "x"}, {2, "yz"}}}',
        {"p": [{"a": 1, "tag": "x"}, {"a": 2, "tag": "yz"}]},
    ),
    "anonymous": (
        "u8 x; struct { int y; struct { u64 z; }; };",
        "{1, {2, {3}}}",
        {"x": 1, "y": 2, "z": 3},
    ),
    "unions": (
        "union { u32 whole; u8 bytes[4]; };",
        "{0x04030201}",
        {"whole": 0x04030201, "bytes": [1, 2, 3, 4]},
    ),
    "named_union": (
        "union { u32 whole; u16 half; } u;",
        "{{0x00020001}}",
        {"u": {"whole": 0x20001, "half": 1}},
    ),
    "pointers": (
        "void *p; int (*f)(void);",
        "{(void *)0xffff888000000001ul, 0}",
        {"p": 0xFFFF888000000001, "f": 0},
    ),
    "qualified": ("const int a; volatile u16 b; again c;", "{-1, 2, 3}", {"a": -1, "b": 2, "c": 3}),
    "bit_fields": (
        "u32 a : 3; u32 b : 7; s32 c : 5; u64 d : 40; _Bool e : 1;",
        "{5, 100, -3, 0x1234567890ull, 1}",
        {"a": 5, "b": 100, "c": -3, "d": 0x1234567890, "e": True},
    ),
    "padded": ("u8 a; u64 b; u8 c;", "{1, 2, 3}", {"a": 1, "b": 2, "c": 3}),
}

PACKED = {"packed": ("u8 a; u64 b; u16 c;", "{1, 2, 3}", {"a": 1, "b": 2, "c": 3})}


def plain(value: Any) -> Any:
    if isinstance(value, events.Record):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> tuple[Btf, dict[str, Any]]:
    """The BTF of all cases, and what the C program says of each: its bytes and its members' offsets."""
    folder = tmp_path_factory.mktemp("layouts")
    source = PRELUDE
    for cases, attribute in ((CASES, ""), (PACKED, "__attribute__((packed))")):
        for name, (members, _, _) in cases.items():
            source += f"struct {name} {{ {members} }} {attribute};\n"
    every = CASES | PACKED
    kept = source + "".join(f"struct {name} *keep_{name} __attribute__((used));\n" for name in every)
    (folder / "types.c").write_text(kept)
    clang = next(path for name in ("clang", "clang-14") if (path := shutil.which(name)))
    subprocess.run(
        [clang, "-g", "-O2", "-target", "bpf", "-I", "/usr/include", "-c", "types.c", "-o", "types.o"],
        cwd=folder, check=True,
    )  # fmt: skip
    program = "#include <stdio.h>\n" + source + "int main(void) {\n"
    for name, (members, initialiser, _) in every.items():
        bit_fields = ":" in members
        offsets = [m for m in every[name][2] if not bit_fields]
        program += f"  {{ static const struct {name} it = {initialiser};\n"
        program += f'    printf("{name} %zu ", sizeof it);\n'
        program += (
            '    for (size_t i = 0; i < sizeof it; i++) printf("%02x", ((const unsigned char *)&it)[i]);\n'
        )
        for member in offsets:
            program += f'    printf(" {member}=%zu", offsetof(struct {name}, {member}));\n'
        program += '    printf("\\n"); }\n'
    program += "  return 0;\n}\n"
    (folder / "program.c").write_text(program)
    subprocess.run(["gcc", "-w", "-O0", "-o", "program", "program.c"], cwd=folder, check=True)
    said: dict[str, Any] = {}
    output = subprocess.run([folder / "program"], check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        name, size, data, *offsets = line.split(" ")
        said[name] = (
            int(size),
            bytes.fromhex(data),
            {key: int(value) for key, value in (pair.split("=") for pair in offsets)},
        )
    return Btf.parse(bytes(Elf.parse(Path(folder / "types.o").read_bytes()).section(".BTF").data)), said


@pytest.mark.parametrize("name", [*CASES, *PACKED])
def test_a_struct_that_c_filled_is_read_equal(name: str, witness: tuple[Btf, dict[str, Any]]) -> None:
    btf, said = witness
    size, data, offsets = said[name]
    expected = (CASES | PACKED)[name][2]
    type_id = btf.find(name, KIND_STRUCT)
    assert type_id is not None
    struct = layout.struct_type(btf, type_id)
    assert struct.size_bytes == size
    assert {m.name: m.offset_bytes for m in struct.members if not m.bit_size} == offsets
    program = _decode.Program(*plans.plan(struct), False, None, events.nested_class)
    values = program.read(data)
    assert plain(values) == expected
    text, _ = program.json(values)
    assert [*json.loads(text)] == [member.name for member in struct.members]


def test_the_same_name_twice_is_refused() -> None:
    writer = BtfWriter()
    number = writer.integer("int", 4, signed=True)
    inner = writer.struct("", 4, [("a", number, 0)])
    outer = writer.struct("outer", 8, [("a", number, 0), ("", inner, 32)])
    with pytest.raises(PackageError, match="two members are called 'a'"):
        layout.struct_type(Btf.parse(writer.blob()), outer)


@pytest.mark.parametrize("wide", [False, True])
def test_enumerations_as_later_clangs_write_them(wide: bool) -> None:
    """With their sign, and as BTF_KIND_ENUM64 where they have 8 bytes."""
    writer = BtfWriter()
    size = 8 if wide else 4
    low, high = -(1 << 8 * size - 1), (1 << 8 * size) - 1
    signed = writer.enum("s", size, [("LOW", low), ("MINUS", -1)], signed=True, wide=wide)
    unsigned = writer.enum("u", size, [("HIGH", high), ("ONE", 1)], wide=wide)
    members = [(name, (signed, unsigned)[n % 2], 8 * size * n) for n, name in enumerate("abcdef")]
    outer = writer.struct("outer", 6 * size, members)
    struct = layout.struct_type(Btf.parse(writer.blob()), outer)
    numbers = (low, high, -1, 1, -7, 7)
    data = b"".join((number & high).to_bytes(size, "little") for number in numbers)
    values = _decode.Program(*plans.plan(struct), False, None, events.nested_class).read(data)
    assert [*values] == ["LOW", "HIGH", "MINUS", "ONE", -7, 7]


def test_a_forward_declaration_is_good_for_pointers_only() -> None:
    writer = BtfWriter()
    forward = writer.fwd("nowhere")
    pointer = writer.ptr(writer.type_tag("user", forward))
    good = writer.struct("good", 8, [("p", pointer, 0)])
    struct = layout.struct_type(Btf.parse(writer.blob()), good)
    assert (struct.members[0].type.spelling, struct.members[0].type.size_bytes) == ("struct nowhere *", 8)
    assert str(struct) == "struct nowhere;\nstruct good {\n\tstruct nowhere *p;\n};\n"
    writer.struct("bad", 8, [("whole", forward, 0)])
    with pytest.raises(PackageError, match="has no size"):
        Btf.parse(writer.blob())


def test_floats_that_depend_on_the_machine_are_refused() -> None:
    writer = BtfWriter()
    outer = writer.struct("outer", 16, [("f", writer.floating("long double", 16), 0)])
    with pytest.raises(PackageError, match="'long double' has 16 bytes"):
        layout.struct_type(Btf.parse(writer.blob()), outer)


def test_a_struct_prints_as_c(witness: tuple[Btf, dict[str, Any]]) -> None:
    btf, _ = witness
    type_id = btf.find("nested", KIND_STRUCT)
    assert type_id is not None
    struct = layout.struct_type(btf, type_id)
    assert str(struct) == (
        "typedef unsigned char u8;\n"
        "struct pair {\n\tint a;\n\tchar tag[3];\n};\n"
        "struct nested {\n\tu8 x;\n\tstruct pair p;\n};\n"
    )
    assert str(struct.member("x").type) == "u8"
    assert struct.spelling == "struct nested"


def test_a_typedef_of_a_nameless_struct_prints_as_c() -> None:
    writer = BtfWriter()
    number = writer.integer("int", 4, signed=True)
    pair = writer.struct("", 8, [("a", number, 0), ("b", number, 32)])
    name = writer.typedef("pair_t", pair)
    struct = layout.struct_type(Btf.parse(writer.blob()), name)
    assert str(struct) == "typedef struct {\n\tint a;\n\tint b;\n} pair_t;\n"
