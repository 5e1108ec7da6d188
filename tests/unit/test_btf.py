"""The BTF reader: what it reads, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from btf_writer import BtfWriter
from snoopkit import btf
from snoopkit.btf import Btf
from snoopkit.errors import PackageError, UnsupportedError


def everything(byteorder: str = "little") -> tuple[BtfWriter, dict[str, int]]:
    """One of every kind, as clang writes them: a section of size 0, offsets of 0, external things."""
    w = BtfWriter(byteorder)
    ids: dict[str, int] = {}
    ids["int"] = i32 = w.integer("int", 4, signed=True)
    ids["u64"] = u64 = w.integer("unsigned long long", 8)
    ids["bool"] = boolean = w.integer("_Bool", 1, boolean=True)
    ids["char"] = char = w.integer("char", 1, signed=True)
    ids["comm"] = comm = w.array(char, i32, 16)
    ids["tail"] = tail = w.array(char, i32, 0)
    ids["grid"] = w.array(w.array(i32, i32, 3), i32, 2)
    ids["anon"] = anon = w.union("", 8, [("a", u64, 0), ("b", i32, 0)])
    ids["float"] = w.floating("double", 8)
    ids["event"] = event = w.struct(
        "event",
        48,
        [("pid", i32, 0), ("exit", boolean, 32, 1), ("code", i32, 40, 7), ("comm", comm, 64), ("", anon, 192)]
        + [("next", 17, 256), ("tail", tail, 320)],
    )
    ids["event_t"] = w.typedef("event_t", event)
    ids["pointer"] = w.ptr(w.const(w.volatile(w.restrict(w.type_tag("user", event)))))
    ids["enum"] = w.enum("state", 4, [("NONE", -1), ("SOME", 7)], signed=True)
    ids["flags"] = w.enum("flags", 4, [("TOP", 0x80000000)])
    ids["wide"] = w.enum("wide", 8, [("LOW", -(1 << 63)), ("HIGH", 5)], signed=True, wide=True)
    ids["fwd"] = w.fwd("unknown", union=True)
    ids["proto"] = proto = w.func_proto(i32, [("event", ids["pointer"]), ("", 0)])
    ids["func"] = w.func("handle.part", proto)
    ids["kfunc"] = kfunc = w.func("bpf_external", proto, btf.LINKAGE_EXTERN)
    ids["var"] = var = w.var("counter", u64)
    ids["ksym"] = ksym = w.var("init_task", w.const(0), btf.LINKAGE_EXTERN)
    ids["bss"] = w.datasec(".bss", 0, [(var, 0, 8)])
    ids["ksyms"] = w.datasec(".ksyms", 0, [(ksym, 0, 0), (kfunc, 0, 0)])
    w.decl_tag("on the struct", event)
    w.decl_tag("on the member", event, 1)
    w.decl_tag("on the variable: ä", var)
    w.decl_tag("on the parameter", ids["func"], 0)
    w.decl_tag("another", event)
    w.raw(btf.KIND_DECL_TAG, "an attribute", event, -1, flag=True)
    return w, ids


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_kind_is_read(byteorder: str) -> None:
    w, ids = everything(byteorder)
    read = Btf.parse(w.blob())
    types = read.types
    assert read.byteorder == byteorder
    assert len(read) == len(types) == len(w.records) + 1
    assert [one.id for one in types] == list(range(len(types)))
    assert (types[0].kind, types[0].name) == (btf.KIND_VOID, "")

    number = types[ids["int"]]
    assert (number.name, number.size, number.bits, number.signed, number.encoding) == ("int", 4, 32, True, 1)
    assert types[ids["bool"]].encoding == btf.INT_BOOL
    event = types[ids["event"]]
    assert (event.kind, event.name, event.size) == (btf.KIND_STRUCT, "event", 48)
    assert [(m.name, m.bit_offset, m.bit_size) for m in event.members] == [
        ("pid", 0, 0),
        ("exit", 32, 1),
        ("code", 40, 7),
        ("comm", 64, 0),
        ("", 192, 0),
        ("next", 256, 0),
        ("tail", 320, 0),
    ]
    comm = types[ids["comm"]]
    assert (comm.type_id, comm.index_type_id, comm.count) == (ids["char"], ids["int"], 16)
    assert types[ids["enum"]].values == (("NONE", -1), ("SOME", 7))
    assert types[ids["flags"]].values == (("TOP", 0x80000000),)
    assert types[ids["wide"]].values == (("LOW", -(1 << 63)), ("HIGH", 5))
    assert types[ids["fwd"]].is_union_fwd
    assert types[ids["proto"]].params == (("event", ids["pointer"]), ("", 0))
    assert (types[ids["kfunc"]].linkage, types[ids["var"]].linkage) == (2, 1)
    assert types[ids["bss"]].variables == ((ids["var"], 0, 8),)


def test_sizes_names_and_tags() -> None:
    w, ids = everything()
    read = Btf.parse(w.blob())
    sizes = {
        name: read.size_of(ids[name]) for name in ("u64", "comm", "tail", "grid", "event_t", "pointer", "var")
    }
    assert sizes == {"u64": 8, "comm": 16, "tail": 0, "grid": 24, "event_t": 48, "pointer": 8, "var": 8}
    assert read.resolve(ids["event_t"]) == ids["event"]
    assert read.resolve(read.types[ids["pointer"]].type_id) == ids["event"]
    for name in ("fwd", "proto", "func", "ksym"):
        with pytest.raises(PackageError, match="has no size"):
            read.size_of(ids[name])
    for missing in (-1, len(read), 1 << 40):
        with pytest.raises(PackageError, match="no type"):
            read.resolve(missing)
        with pytest.raises(PackageError, match="no type"):
            read.size_of(missing)
        with pytest.raises(IndexError):
            read.types[missing]

    assert read.find("event") == read.find("event", btf.KIND_STRUCT) == ids["event"]
    assert read.find("event", btf.KIND_TYPEDEF, btf.KIND_UNION) is None
    assert read.find("vent") is read.find("") is read.find("pid") is read.find("nothing") is None

    assert read.tags(ids["event"]) == ("on the struct", "another")
    assert read.tags(ids["event"], 1) == ("on the member",)
    assert read.tags(ids["var"]) == ("on the variable: ä",)
    assert read.tags(ids["func"], 0) == ("on the parameter",)
    assert read.tags(ids["int"]) == ()


def test_a_name_may_begin_inside_another() -> None:
    w = BtfWriter()
    offset = w.string("long_name")
    w.raw(btf.KIND_INT, offset + 5, 4, 32)
    read = Btf.parse(w.blob())
    assert read.types[1].name == "name"
    assert read.find("name") == 1


# What is refused. Each case adds to a BTF that has an int as type 1 and a struct of 8 bytes as type 2.

Case = Callable[[BtfWriter], object]

REFUSED: dict[str, tuple[Case, str]] = {
    "kind 0": (lambda w: w.raw(0, "", 0), "unknown kind 0"),
    "kind 20": (lambda w: w.raw(20, "", 0), "unknown kind 20"),
    "reserved bits": (lambda w: w.records.append(w.words(0, 2 << 24 | 1 << 16, 1)), "reserved bits"),
    "flag of a pointer": (lambda w: w.raw(btf.KIND_PTR, "", 1, flag=True), "has no flag"),
    "parts of a pointer": (lambda w: w.raw(btf.KIND_PTR, "", 1, parts=1), "has no parts"),
    "cut type": (lambda w: w.records.append(w.words(0, 3 << 24, 0, 1)), "cut short"),
    "cut record": (lambda w: w.records.append(w.words(0, 2 << 24)), "cut short"),
    "parts that aren't there": (lambda w: w.raw(btf.KIND_STRUCT, "", 4, 0, 1, 0, parts=60000), "cut short"),
    "name outside": (lambda w: w.raw(btf.KIND_INT, 0xFFFFFFFF, 4, 32), "outside the strings"),
    "name just outside": (lambda w: w.raw(btf.KIND_INT, len(w.strings), 4, 32), "outside the strings"),
    "member name outside": (
        lambda w: w.raw(btf.KIND_STRUCT, "", 4, 1 << 20, 1, 0, parts=1),
        "outside the str",
    ),
    "constant name outside": (lambda w: w.raw(btf.KIND_ENUM, "e", 4, 1 << 20, 1, parts=1), "outside the str"),
    "param name outside": (
        lambda w: w.raw(btf.KIND_FUNC_PROTO, "", 0, 1 << 20, 1, parts=1),
        "outside the str",
    ),
    "name too long": (lambda w: w.struct("x" * 600, 0, []), "can't have this name"),
    "tag too long": (lambda w: w.decl_tag("x" * 5000, 2), "too long"),
    "name not UTF-8": (lambda w: w.decl_tag(b"\xff", 2), "not UTF-8"),
    "name with a space": (lambda w: w.struct("a b", 0, []), "can't have this name"),
    "name with an escape": (lambda w: w.typedef("a\x1b[2J", 1), "can't have this name"),
    "name not ASCII": (lambda w: w.struct("ä", 0, []), "can't have this name"),
    "member with bad name": (lambda w: w.struct("s", 4, [("a-b", 1, 0)]), "not an identifier"),
    "param with bad name": (lambda w: w.func_proto(0, [("a;b", 1)]), "not an identifier"),
    "constant without name": (lambda w: w.enum("e", 4, [("", 1)]), "not an identifier"),
    "named pointer": (lambda w: w.raw(btf.KIND_PTR, "p", 1), "can't have this name"),
    "nameless typedef": (lambda w: w.typedef("", 1), "can't have this name"),
    "nameless declaration": (lambda w: w.fwd(""), "can't have this name"),
    "nameless function": (lambda w: w.func("", w.func_proto(0, [])), "can't have this name"),
    "nameless variable": (lambda w: w.var("", 1), "can't have this name"),
    "nameless section": (lambda w: w.datasec("", 0, []), "can't have this name"),
    "section with an escape": (lambda w: w.datasec(".a\x1b", 0, []), "can't have this name"),
    "nameless tag": (lambda w: w.decl_tag("", 2), "can't have this name"),
    "nameless int": (lambda w: w.integer("", 4), "can't have this name"),
    "int of 3 bytes": (lambda w: w.integer("a", 3), "an integer of"),
    "int of 0 bits": (lambda w: w.raw(btf.KIND_INT, "a", 4, 0), "an integer of 0 bits"),
    "int wider than its bytes": (lambda w: w.raw(btf.KIND_INT, "a", 4, 33), "an integer of 33 bits"),
    "int shifted out": (lambda w: w.raw(btf.KIND_INT, "a", 4, 1 << 16 | 32), "from bit 1"),
    "two encodings": (lambda w: w.raw(btf.KIND_INT, "a", 4, 5 << 24 | 32), "encoding"),
    "unknown encoding bits": (lambda w: w.raw(btf.KIND_INT, "a", 4, 1 << 28 | 32), "encoding"),
    "float of 5 bytes": (lambda w: w.floating("f", 5), "floating point number of 5"),
    "enum of 3 bytes": (lambda w: w.enum("e", 3, [("A", 1)]), "an enum of 3"),
    "enum of 0 bytes": (lambda w: w.enum("e", 0, [("A", 1)]), "an enum of 0"),
    "declaration with a size": (lambda w: w.raw(btf.KIND_FWD, "f", 4), "has no size"),
    "array with a size": (lambda w: w.raw(btf.KIND_ARRAY, "", 4, 1, 1, 1), "has no size"),
    "linkage 3": (lambda w: w.var("v", 1, 3), "linkage 3"),
    "function linkage 3": (lambda w: w.func("f", w.func_proto(0, []), 3), "linkage 3"),
    "pointer to nothing": (lambda w: w.ptr(1 << 20), "refers to 1048576"),
    "pointer past the end": (lambda w: w.ptr(4), "refers to 4"),
    "pointer to a variable": (lambda w: w.ptr(w.var("v", 1)), "which is not a type"),
    "pointer to a function": (lambda w: w.ptr(w.func("f", w.func_proto(0, []))), "which is not a type"),
    "pointer to a section": (lambda w: w.ptr(w.datasec(".x", 0, [])), "which is not a type"),
    "pointer to a tag": (lambda w: w.ptr(w.decl_tag("t", 2)), "which is not a type"),
    "member of no type": (lambda w: w.struct("s", 4, [("a", 77, 0)]), "refers to 77"),
    "parameter of no type": (lambda w: w.func_proto(0, [("a", 77)]), "refers to 77"),
    "result of no type": (lambda w: w.func_proto(77, []), "refers to 77"),
    "element of no type": (lambda w: w.array(77, 1, 1), "refers to 77"),
    "index of no type": (lambda w: w.array(1, 77, 1), "refers to 77"),
    "index that is a struct": (lambda w: w.array(1, 2, 1), "index is not an integer"),
    "index void": (lambda w: w.array(1, 0, 1), "index is not an integer"),
    "void in the middle": (lambda w: w.func_proto(0, [("", 0), ("a", 1)]), "parameter of type void"),
    "named void": (lambda w: w.func_proto(0, [("a", 0)]), "parameter of type void"),
    "function of a struct": (lambda w: w.func("f", 2), "not a prototype"),
    "function of no type": (lambda w: w.func("f", 99), "not a prototype"),
    "section with a type": (lambda w: w.datasec(".x", 0, [(1, 0, 4)]), "not a variable"),
    "section with no type": (lambda w: w.datasec(".x", 0, [(99, 0, 4)]), "not a variable"),
    "section with a function": (
        lambda w: w.datasec(".x", 0, [(w.func("f", w.func_proto(0, [])), 0, 4)]),
        "not external",
    ),
    "section too small": (lambda w: w.datasec(".x", 8, [(w.var("v", 1), 6, 4)]), "outside its section"),
    "section wrapped": (
        lambda w: w.datasec(".x", 8, [(w.var("v", 1), 0xFFFFFFFE, 4)]),
        "outside its section",
    ),
    "tag on an int": (lambda w: w.decl_tag("t", 1), "which can't have one"),
    "tag on nothing": (lambda w: w.decl_tag("t", 99), "which can't have one"),
    "tag past the members": (lambda w: w.decl_tag("t", 2, 1), "which has 1"),
    "tag on member -2": (lambda w: w.decl_tag("t", 2, -2), "on part -2"),
    "tag on a typedef's member": (lambda w: w.decl_tag("t", w.typedef("x", 2), 0), "which has 0"),
    "tag past the parameters": (
        lambda w: w.decl_tag("t", w.func("f", w.func_proto(0, [])), 0),
        "which has 0",
    ),
    "void member": (lambda w: w.struct("s", 4, [("a", 0, 0)]), "has no size"),
    "member only declared": (lambda w: w.struct("s", 4, [("a", w.fwd("f"), 0)]), "has no size"),
    "array of void": (lambda w: w.array(0, 1, 4), "something without a size"),
    "array of functions": (lambda w: w.array(w.func_proto(0, []), 1, 4), "something without a size"),
    "array too large": (lambda w: w.array(2, 1, 1 << 31), "more than 4 GB"),
    "arrays too large": (lambda w: w.array(w.array(1, 1, 1 << 20), 1, 1 << 20), "more than 4 GB"),
    "void variable": (lambda w: w.var("v", 0), "without a size"),
    "variable only declared": (lambda w: w.var("v", w.fwd("f")), "without a size"),
    "external function as variable": (lambda w: w.var("v", w.func_proto(0, []), 2), "without a size"),
    "member outside": (lambda w: w.struct("s", 4, [("a", 1, 8)]), "member 0 lies outside"),
    "member far outside": (lambda w: w.struct("s", 4, [("a", 1, 0xFFFFFFF8)]), "member 0 lies outside"),
    "member at a bit": (lambda w: w.struct("s", 8, [("a", 1, 3)]), "doesn't begin at a byte"),
    "union member at 8": (lambda w: w.union("u", 8, [("a", 1, 8)]), "lies outside"),
    "bit-field outside": (lambda w: w.struct("s", 4, [("a", 1, 30, 3)]), "lies outside"),
    "bit-field too wide": (lambda w: w.struct("s", 8, [("a", 1, 0, 33)]), "wider than its type"),
    "bit-field of a struct": (lambda w: w.struct("s", 8, [("a", 2, 0, 3)]), "neither integer nor enum"),
    "typedef of itself": (lambda w: w.typedef("t", 3), "contains itself"),
    "two typedefs": (lambda w: (w.typedef("t", 4), w.typedef("u", 3)), "contains itself"),
    "const of itself": (lambda w: w.const(3), "contains itself"),
    "struct in itself": (lambda w: w.struct("s", 8, [("a", 3, 0)]), "contains itself"),
    "struct in its array": (lambda w: (w.struct("s", 8, [("a", 4, 0)]), w.array(3, 1, 2)), "contains itself"),
    "array of itself": (lambda w: w.array(3, 1, 0), "contains itself"),
    "array indexed by itself": (lambda w: w.array(1, 3, 0), "index is not an integer"),
    "pointer to itself": (lambda w: w.ptr(3), "can't be written"),
    "function of itself": (lambda w: (w.ptr(4), w.func_proto(0, [("f", 3)])), "can't be written"),
    "nameless struct pointing to itself": (
        lambda w: (w.struct("", 8, [("next", 4, 0)]), w.ptr(3)),
        "can't be written",
    ),
    "pointers too deep": (lambda w: [w.ptr(len(w.records)) for _ in range(100)], "more than 64 deep"),
    "typedefs too deep": (
        lambda w: [w.typedef("t", len(w.records) + 2) for _ in range(50000)] and w.integer("end", 4),
        "more than 64 deep",
    ),
}


def base() -> BtfWriter:
    w = BtfWriter()
    w.integer("int", 4, signed=True)
    w.struct("pair", 8, [("only", 1, 0)])
    return w


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_unsound_is_refused(name: str) -> None:
    add, message = REFUSED[name]
    w = base()
    assert Btf.parse(w.blob())
    add(w)
    with pytest.raises(PackageError) as caught:
        Btf.parse(w.blob())
    assert str(caught.value).startswith("BTF: ")
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def patched(offset: int, value: int, size: int = 4) -> bytes:
    blob = bytearray(base().blob())
    blob[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(blob)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "shorter than its header"),
        (base().blob()[:23], "shorter than its header"),
        (patched(0, 0x1234, 2), "not BTF"),
        (patched(2, 2, 1), "version 2"),
        (patched(4, 20), "header of 20"),
        (patched(4, 26), "header of 26"),
        (patched(4, 0xFFFFFFFC), "header of"),
        (patched(8, 2), "not aligned"),
        (patched(12, 3), "not aligned"),
        (patched(8, 0xFFFFFFFC), "overlap or lie outside"),
        (patched(12, 0xFFFFFFFC), "overlap or lie outside"),
        (patched(16, 4), "overlap or lie outside"),
        (patched(16, 0xFFFFFFFF), "overlap or lie outside"),
        (patched(20, 0xFFFFFFFF), "overlap or lie outside"),
        (patched(20, 0), "begin and end with a NUL"),
        (base().blob(b"int\0"), "begin and end with a NUL"),
        (base().blob(b"\0int\0pair\0only"), "begin and end with a NUL"),
        (bytes((16 << 20) + 1), "larger than 16 MB"),
    ],
)
def test_a_bad_header_or_string_section_is_refused(blob: bytes, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        Btf.parse(blob)


def test_types_without_end_are_refused_in_time() -> None:
    """Wide and shared rather than deep: visited once each, not once a path."""
    w = base()
    w.struct("level0", 0, [])
    for level in range(1, 60):
        w.struct(f"level{level}", 0, [(f"m{n}", len(w.records), 0) for n in range(50)])
    assert Btf.parse(w.blob()).size_of(len(w.records)) == 0


def test_a_long_string_shared_by_many_names_costs_little() -> None:
    w = BtfWriter()
    start = w.string("x" * 400_000)
    for number in range(20_000):
        w.raw(btf.KIND_DECL_TAG, start + number, 1, -1)
    with pytest.raises(PackageError):
        Btf.parse(w.blob())


def test_kernel_btf_that_is_missing_or_bad(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.raises(UnsupportedError, match="--btf") as caught:
        Btf.from_kernel(str(folder / "none"))
    assert caught.value.feature == "kernel BTF"
    (folder / "btf").write_bytes(b"\x9f\xeb\x01\0")
    with pytest.raises(PackageError, match="shorter than its header"):
        Btf.from_kernel(str(folder / "btf"))
    w, ids = everything()
    (folder / "btf").write_bytes(w.blob())
    assert Btf.from_kernel(str(folder / "btf")).find("event") == ids["event"]


def test_little_is_imported() -> None:
    code = "import sys; before = set(sys.modules); import snoopkit.btf; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {name for name in loaded.split() if not name.startswith("snoopkit")} <= {"__future__"}
