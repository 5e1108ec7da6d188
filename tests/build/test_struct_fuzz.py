"""Structs that nobody thought of: C's own layout and C's own bytes against ours.

hypothesis makes the structs, with values; gcc compiles a program that says where their members lie and what their
bytes are, clang the same structs for BPF, of both byte orders. Then for each: the layout read from BTF is the one
that gcc has and the one that the rules of C give, and the decoder, the reference decoder, NumPy's and Arrow's columns
read what C wrote. No compiler may have anything to warn of.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings, strategies as st

import reference
from reference import Array, Enum, Field, Named, Scalar, Struct, Type
from snoopkit import events, layout
from snoopkit._decode import replaced
from snoopkit.btf import KIND_STRUCT, Btf
from snoopkit.columns import arrow_batch, numpy_array
from snoopkit.elf import Elf

ENUMS = (
    Enum("unsigned_enum", (("U_ZERO", 0), ("U_ONE", 1), ("U_TOP", 0x80000000)), 4, False),
    Enum("signed_enum", (("S_LOW", -5), ("S_ZERO", 0), ("S_HIGH", 7)), 4, True),
    Enum("wide_enum", (("W_ONE", 1), ("W_HIGH", 2**40 + 2), ("W_TOP", 2**64 - 3)), 8, False),
    Enum("wide_signed_enum", (("WS_LOW", -(2**40) - 7), ("WS_ONE", 1)), 8, True),
    Enum("tiny_enum", (("T_LOW", -1), ("T_TWO", 2)), 1, True),
)
PRELUDE = """
#ifdef __clang__
#define TAG(x) __attribute__((btf_type_tag(x)))
#define DECL_TAG(x) __attribute__((btf_decl_tag(x)))
#else
#define TAG(x)
#define DECL_TAG(x)
#endif
typedef signed char s8; typedef unsigned char u8; typedef short s16; typedef unsigned short u16;
typedef int s32; typedef unsigned int u32; typedef long long s64; typedef unsigned long long u64;
typedef __int128 s128; typedef unsigned __int128 u128; typedef u32 once; typedef once twice;
struct nowhere; union nothing;
typedef int (*callback)(struct nowhere *, union nothing *);
"""

INTEGERS = [
    Scalar(name, "int", int(name[1:]) // 8, name[0] == "s")
    for name in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "s128", "u128")
]
BOOL, CHAR = Scalar("_Bool", "bool", 1), Scalar("char", "char", 1, True)
FLOAT, DOUBLE = Scalar("float", "float", 4), Scalar("double", "float", 8)
POINTERS = [
    Scalar(name, "pointer", 8) for name in ("void *", "struct nowhere *", "callback", 'u8 TAG("user") *')
]
U8 = INTEGERS[1]

KINDS = (
    *[f"integer {one.spelling}" for one in INTEGERS],
    *[f"enum {one.name}" for one in ENUMS],
    *["bool", "char", "float", "double", "typedef", "const", "volatile", "declaration tag"],
    *["pointer", "pointer forward", "pointer function", "pointer tagged", "pointer restrict"],
    *["bit-field", "bit-field bool", "bit-field enum", "bit-field 128", "bit-field crossing"],
    *["bit-field unnamed", "bit-field of width 0"],
    *[
        "text",
        "octets",
        "array",
        "array of arrays",
        "array of structs",
        "zero-length array",
        "flexible array",
    ],
    *["struct", "union", "anonymous struct", "anonymous union", "empty struct", "packed", "aligned"],
)
EXAMPLES = 1 + -(-200 // len(KINDS))  # of one struct for each kind; the first is the simplest of all


class Lot(list[tuple[Struct, list[Struct], int]]):
    """Structs, each with those that it needs and a seed for its values."""

    def __repr__(self) -> str:
        return f"<{len(self)} structs>"


class Maker:
    """Draws one struct, whose members all have different names."""

    def __init__(self, draw: Any, name: str, hit: set[str]) -> None:
        self.draw = draw
        self.name = name
        self.hit = hit
        self.names = 0
        self.inner: list[Struct] = []  # named structs, to be defined before
        self.shared = 0  # how many unions are around

    def of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def enums(self) -> tuple[Enum, ...]:
        """Those whose numbers BTF has in full, whichever clang wrote it, where others' bytes may be in them."""
        return tuple(one for one in ENUMS if one.size < 8) if self.shared else ENUMS

    def new_name(self) -> str:
        self.names += 1
        return f"m{self.names}"

    def outer(self, wanted: str) -> Struct:
        fields = self.fields(3)
        packed = wanted == "packed" or self.of(*[False] * 4, True)
        aligned = self.of(8, 16, 32) if wanted == "aligned" else 1
        if wanted not in ("packed", "aligned", "flexible array"):
            fields.insert(self.draw(st.integers(0, len(fields))), self.field(wanted, 1))
        if wanted == "flexible array":
            element = self.of(CHAR, U8, INTEGERS[5])
            fields += [Field(self.new_name(), U8), Field(self.new_name(), Array(element, 0), flexible=True)]
        for kind, is_hit in (("packed", packed), ("aligned", aligned > 1), (wanted, True)):
            if is_hit:
                self.hit.add(kind)
        return Struct(self.name, tuple(fields), packed=packed, aligned=aligned)

    def fields(self, most: int, depth: int = 0) -> list[Field]:
        plain = [kind for kind in KINDS if kind not in ("packed", "aligned", "flexible array")]
        kinds = self.draw(st.lists(st.sampled_from(plain), max_size=most))
        return [self.field(kind, depth) for kind in kinds]

    def field(self, kind: str, depth: int) -> Field:
        self.hit.add(kind)
        first, _, rest = kind.partition(" ")
        if kind == "bit-field crossing":  # nine bytes hold it
            fields = [Field(self.new_name(), U8, 3), Field(self.new_name(), self.of(*INTEGERS[6:8]), 63)]
            self.inner.append(Struct(f"{self.name}_{len(self.inner)}", tuple(fields), packed=True))
            return Field(self.new_name(), self.inner[-1])
        if first == "bit-field":
            return self.bit_field(rest)
        if first == "anonymous":
            return Field("", self.struct("", rest == "union", depth))
        prefix = {"const": "const ", "volatile": "volatile ", "declaration": 'DECL_TAG("noted") '}.get(
            first, ""
        )
        return Field(self.new_name(), self.type(first, rest, depth), prefix=prefix)

    def type(self, first: str, rest: str, depth: int) -> Type:
        if first == "integer":
            return next(one for one in INTEGERS if one.spelling == rest)
        if first == "enum":
            return next(one for one in self.enums() if one.name == rest or self.shared)
        if first == "pointer":
            if rest == "restrict":
                return Scalar("char *restrict", "pointer", 8)
            return POINTERS[["", "forward", "function", "tagged"].index(rest)]
        if first in ("bool", "char", "float", "double"):
            return {"bool": BOOL, "char": CHAR, "float": FLOAT, "double": DOUBLE}[first]
        if first == "typedef":
            return Scalar("twice", "int", 4)
        if first == "text":
            return Array(CHAR, self.of(1, 7, 16, 33))
        if first == "octets":
            return Array(U8, self.of(1, 6))
        if first == "array":
            if rest == "of structs":
                return Array(self.struct("inner", False, depth), self.of(1, 2))
            inner: Type = self.of(*INTEGERS, *self.enums(), DOUBLE, BOOL)
            return Array(Array(inner, 2), 3) if rest else Array(inner, self.of(1, 3))
        if first == "zero-length":
            return Array(self.of(INTEGERS[7], CHAR), 0)
        if first in ("struct", "union", "empty"):
            return self.struct("inner", first == "union", depth, is_empty=first == "empty")
        return self.of(*INTEGERS)

    def struct(self, name: str, is_union: bool, depth: int, *, is_empty: bool = False) -> Struct:
        self.shared += is_union
        fields = [] if is_empty or depth > 2 else self.fields(3, depth + 1)
        self.shared -= is_union
        if is_union or (not is_empty and not fields):
            fields.append(Field(self.new_name(), self.of(*INTEGERS)))
        packed = not is_union and self.of(False, False, True)
        if name:
            name = f"{self.name}_{len(self.inner)}"
        made = Struct(name, tuple(fields), is_union=is_union, packed=packed and bool(name))
        if is_union:
            settable = [n for n, one in enumerate(fields) if one.name]
            made = Struct(name, tuple(fields), is_union=True, chosen=self.of(*settable))
        if name:
            self.inner.append(made)
        return made

    def bit_field(self, rest: str) -> Field:
        base: Scalar | Enum = self.of(*INTEGERS[:8])
        width = self.draw(st.integers(1, 8 * base.size))
        if rest == "bool":
            base, width = BOOL, 1
        elif rest == "enum":
            base = self.of(*ENUMS[1:2], ENUMS[4])
            width = self.draw(st.integers(4, 8 * base.size))
        elif rest == "128":
            base = self.of(*INTEGERS[8:])
            width = self.draw(st.integers(1, 128))
        if rest == "unnamed":
            return Field("", base, width)
        return Field("", base, 0) if rest == "of width 0" else Field(self.new_name(), base, width)


# --- C text -----------------------------------------------------------------------------------------------


def declare(one: Field) -> str:
    ctype, name = one.type, one.name
    while isinstance(ctype, Array):
        name += "[]" if one.flexible else f"[{ctype.count}]"
        ctype = ctype.element
    if isinstance(ctype, Struct):
        if not ctype.name:
            return f"{define(ctype)};"
        spelling = f"{'union' if ctype.is_union else 'struct'} {ctype.name}"
    else:
        spelling = f"enum {ctype.name}" if isinstance(ctype, Enum) else ctype.spelling
    width = "" if one.bits is None else f" : {one.bits}"
    if one.prefix.startswith("DECL_TAG"):
        return f"{spelling} {name}{width} {one.prefix};"
    if one.prefix and spelling.endswith("*"):
        return f"{spelling} {one.prefix}{name};"
    return f"{one.prefix}{spelling} {name}{width};"


def define(one: Struct) -> str:
    attributes = "packed, " * one.packed + (f"aligned({one.aligned})" if one.aligned > 1 else "")
    members = " ".join(declare(each) for each in one.fields)
    suffix = f" __attribute__(({attributes.rstrip(', ')}))" if attributes else ""
    return f"{'union' if one.is_union else 'struct'} {one.name} {{ {members} }}{suffix}"


def number(value: int) -> str:
    if -(2**31) < value < 2**31:
        return str(value)
    if value < 0:
        return f"-({number(-value)})" if value > -(2**63) else f"(-({number(-value - 1)}) - 1)"
    if value < 2**64:
        return f"{value}{'ULL' if value >= 2**63 else 'LL'}"
    high = value >> 64
    return f"(({'u128' if high >> 63 else 's128'}){high}{'ULL' if high >= 2**63 else 'LL'} << 64 | {value % 2**64}ULL)"


class Filler:
    """Chooses values, with a liking for the edges, and writes them as C's initialisers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def struct(self, one: Struct) -> str:
        return "{" + ", ".join(self.designated(one)) + "}"

    def designated(self, one: Struct) -> Iterator[str]:
        for place, each in enumerate(one.fields):
            if one.is_union and place != one.chosen:
                continue
            if not each.name:
                if each.bits is None:
                    assert isinstance(each.type, Struct)
                    yield from self.designated(each.type)
            elif reference.size(each.type):
                yield f".{each.name} = {self.value(each.type, each.bits)}"

    def value(self, ctype: Type, bits: int | None = None) -> str:
        if isinstance(ctype, Struct):
            return self.struct(ctype)
        if isinstance(ctype, Array):
            if isinstance(ctype.element, Scalar) and ctype.element.form == "char":
                return self.text(ctype.count)
            return "{" + ", ".join([self.value(ctype.element) for _ in range(ctype.count)]) + "}"
        if isinstance(ctype, Enum):
            name, _ = self.random.choice(ctype.values)
            return self.random.choice([name, name, f"(enum {ctype.name})3"])
        if ctype.form == "bool":
            return self.random.choice("01")
        if ctype.form == "float":
            value = self.random.choice([0.0, -1.5, self.random.uniform(-1e6, 1e6)])
            if ctype.size == 4:
                (value,) = struct.unpack("f", struct.pack("f", value))
            return value.hex()
        if ctype.form == "pointer":
            return f"(void *){number(self.random.getrandbits(64))}"
        width = 8 * ctype.size if bits is None else bits
        low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if ctype.signed else (0, (1 << width) - 1)
        found = self.random.choice(
            [low, high, self.random.randint(low, high), self.random.randint(low, high)]
        )
        return number(found)

    def text(self, count: int) -> str:
        raw = self.random.choice(
            [b"", b"bash", b"\xc3\xa9t\xc3\xa9", b"\xff\xfe", b"x" * count, b"a\0stale"]
        )[:count]
        return "{" + ", ".join([str(byte - 256 if byte > 127 else byte) for byte in raw] or ["0"]) + "}"


def source(structs: Lot) -> str:
    text = PRELUDE
    for one in ENUMS:
        values = ", ".join(f"{name} = {number(value)}" for name, value in one.values)
        text += f"enum {'__attribute__((packed)) ' if one.size == 1 else ''}{one.name} {{ {values} }};\n"
    for one, inner, seed in structs:
        for each in (*inner, one):
            text += f"{define(each)};\n"
        text += f'struct {one.name} v_{one.name} SECTION(".data.{one.name}") = {Filler(seed).struct(one)};\n'
    return text


def offsets(one: Struct) -> list[str]:
    """Names for offsetof: all but bit-fields, anonymous ones' members as the struct's own."""
    found = []
    for each in one.fields:
        if each.bits is None:
            if each.name:
                found.append(each.name)
            else:
                assert isinstance(each.type, Struct)
                found += offsets(each.type)
    return found


# --- what the compilers say -------------------------------------------------------------------------------

WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def compiled(folder: Path, structs: Lot) -> dict[str, Any]:
    """(size, offsets, bytes) of each struct as gcc has it, and the two BPF objects."""
    text = source(structs)
    (folder / "types.c").write_text("#define SECTION(x) __attribute__((section(x), used))\n" + text)
    clang = next(path for name in ("clang", "clang-14") if (path := shutil.which(name)))
    command = [clang, "-g", "-O2", *WARNINGS, "-c", "types.c"]
    program = "#include <stdio.h>\n#include <stddef.h>\n#define SECTION(x)\n" + text
    program += """static void say(const char *name, size_t size, const void *data) {
  printf("%s %zu ", name, size);
  for (size_t i = 0; i < size; i++) printf("%02x", ((const unsigned char *)data)[i]);
}
int main(void) {
"""
    for one, _, _ in structs:
        program += f'  say("{one.name}", sizeof v_{one.name}, &v_{one.name});\n'
        for name in offsets(one):
            program += f'  printf(" {name}=%zu", offsetof(struct {one.name}, {name}));\n'
        program += '  puts("");\n'
    (folder / "program.c").write_text(program + "  return 0;\n}\n")
    gcc = ["gcc", "-O0", *WARNINGS, "-Wno-packed-bitfield-compat", "-o", "program", "program.c"]
    bpf = [[*command, "-target", target, "-o", f"{target}.o"] for target in ("bpfel", "bpfeb")]
    running = [subprocess.Popen(each, cwd=folder) for each in (gcc, *bpf)]
    assert [process.wait() for process in running] == [0, 0, 0]
    output = subprocess.run([folder / "program"], check=True, capture_output=True, text=True).stdout
    said: dict[str, Any] = {}
    for line in output.splitlines():
        name, size, data, *places = line.split(" ")
        said[name] = (
            int(size),
            {key: int(at) for key, at in (p.split("=") for p in places)},
            bytes.fromhex(data),
        )
    for target in ("bpfel", "bpfeb"):
        said[target] = Elf.parse((folder / f"{target}.o").read_bytes())
    return said


# --- comparing --------------------------------------------------------------------------------------------


def equal(found: Any, expected: Any) -> bool:
    """Whether a decoded value, NumPy's or Arrow's, is the reference's."""
    if isinstance(expected, Named):
        if isinstance(found, str) and not found.lstrip("-").isdecimal():
            return found == expected.name
        # clang 14 writes no sign of an enumeration: then the pattern has to do
        return (int(found) - expected.number) % (1 << expected.bits) == 0
    if isinstance(expected, str):
        return bool(found in (expected, replaced(expected).decode()))
    if isinstance(expected, dict) and isinstance(found, dict):
        return [*found] == [*expected] and all(map(equal, found.values(), expected.values()))
    if isinstance(expected, dict):
        return [*found._fields] == [*expected] and all(map(equal, tuple.__iter__(found), expected.values()))
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(equal, found, expected))
    return bool(found == expected) or (found != found and expected != expected)


def check_numpy(ctype: Type, found: Any, expected: Any) -> None:
    """One value of NumPy's against the reference's."""
    if isinstance(ctype, Struct):
        for one in ctype.fields:
            if one.bits is not None or not reference.size(one.type):
                continue
            if one.name:
                if not (ctype.is_union and isinstance(one.type, Array)):
                    check_numpy(one.type, found[one.name], expected[one.name])
            else:
                assert isinstance(one.type, Struct)
                check_numpy(one.type, found, expected)
    elif isinstance(ctype, Array):
        if isinstance(expected, str):
            assert bytes(found) == expected.encode("utf-8", "surrogateescape")
        else:
            for one, wanted in zip(found, expected, strict=True):
                check_numpy(ctype.element, one, wanted)
    elif ctype.size == 16:
        assert (int(found["high"]) << 64) + int(found["low"]) == expected
    else:
        assert equal(found, expected)


def check(one: Struct, btf: Btf, data: bytes) -> layout.StructType:
    """The decoder, NumPy and Arrow read what the reference reads; the layout from BTF."""
    type_id = btf.find(one.name, KIND_STRUCT)
    assert type_id is not None
    laid_out = layout.struct_type(btf, type_id)
    spec = SimpleNamespace(
        struct=laid_out, map="m", kind_member=None, kind_value=None, tail_member=None, tail_parts=()
    )
    package: Any = SimpleNamespace(btf=btf, event_specs=(spec,))
    decoder, _ = events.decoder(package, ["m"])
    index = struct.pack("<QIIIHH", 0, 0, len(data), 0, 0, 0)
    (event,) = decoder.events(data, index)
    expected = reference.decode(one, data, btf.byteorder)
    assert equal(event, expected), (event, expected)
    (row,) = numpy_array(decoder, data, index)
    check_numpy(one, row, expected)
    for each in one.fields:
        if each.bits and each.name:
            found = row[each.name]
            wide = each.type.size == 16  # type: ignore[union-attr]
            number = (int(found["high"]) << 64) + int(found["low"]) if wide else found
            assert equal(number, expected[each.name])
    (values,) = arrow_batch(decoder, data, index).to_pylist()
    assert equal({name: values[name] for name in event._fields}, expected), (values, expected)
    return laid_out


def check_text(folder: Path, structs: list[layout.StructType]) -> None:
    """The text of each struct is C, and lays its members where they were."""
    text = ""
    for one in structs:
        text += f"void f_{one.name}(void);\nvoid f_{one.name}(void) {{\n{one}"
        text += f'_Static_assert(sizeof(struct {one.name}) == {one.size_bytes}, "size");\n'
        for member in one.members:
            if not member.bit_size:
                place = f"__builtin_offsetof(struct {one.name}, {member.name})"
                text += f'_Static_assert({place} == {member.offset_bytes}, "{member.name}");\n'
        text += "}\n"
    (folder / "text.c").write_text(text)
    # without warnings: an enumeration whose sign clang 14 left out doesn't fit its own bit-field
    subprocess.run(["gcc", "-w", "-fsyntax-only", "text.c"], cwd=folder, check=True)


def test_structs_that_c_wrote(tmp_path: Path) -> None:
    hit: set[str] = set()
    counts: Counter[str] = Counter()

    @st.composite
    def batches(draw: Any) -> Lot:
        made = Lot()
        for place, kind in enumerate(KINDS):
            maker = Maker(draw, f"s{place}", hit)
            one = maker.outer(kind)
            made.append((one, maker.inner, draw(st.integers(0, 2**32))))
        return made

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
        database=None,
        deadline=None,
    )
    @given(batches())
    def run(structs: Lot) -> None:
        said = compiled(tmp_path, structs)
        texts = []
        btfs = {name: Btf.parse(bytes(said[name].section(".BTF").data)) for name in ("bpfel", "bpfeb")}
        for one, inner, _ in structs:
            size, places, written = said[one.name]
            try:
                assert reference.size(one) == size
                for name, btf in btfs.items():
                    section = said[name].section(f".data.{one.name}")
                    data = bytes(section.data) if section is not None else b""
                    laid_out = check(one, btf, data)
                    assert laid_out.size_bytes == size
                    assert {m.name: m.offset_bytes for m in laid_out.members if not m.bit_size} == places
                    if name == "bpfel":
                        assert data == written
                        texts.append(laid_out)
                counts["structs"] += 1
            except Exception as error:
                text = "\n".join([define(each) for each in (*inner, one)])
                raise AssertionError(f"{name}\n{text}\n{said[one.name]}") from error
        check_text(tmp_path, texts)

    run()
    assert counts["structs"] >= 200
    assert hit == set(KINDS)
