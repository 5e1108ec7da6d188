"""vmlinux.h against the compiler and against bpftool's header of the same kernel."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from btf_writer import BtfWriter, ByteMember
from snoopkit import vmlinux
from snoopkit.btf import (
    KIND_ARRAY,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
    TRANSPARENT_KINDS,
    Btf,
    Type,
)
from snoopkit.elf import Elf
from snoopkit.errors import CompileError, UnsupportedError

KEYWORDS = {KIND_STRUCT: "struct", KIND_UNION: "union"}


def clang(source: str, folder: Path, include: Path, *flags: str, name: str = "probe") -> Path:
    """Compile for BPF; clang's complaints, warnings too, are the assertion's message."""
    path = folder / f"{name}.bpf.c"
    path.write_text(source)
    output = folder / f"{name}.o"
    compiler = shutil.which("clang") or shutil.which("clang-14") or "clang"
    done = subprocess.run(
        [compiler, "-target", "bpf", "-g", "-O2", "-Wall", "-Werror", *flags]
        + [f"-I{include}", "-c", str(path), "-o", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:4000]
    return output


def btf_of(path: Path) -> Btf:
    section = Elf.parse(path.read_bytes()).section(".BTF")
    assert section is not None
    return Btf.parse(section.data)


@pytest.fixture(scope="module")
def kernel() -> Btf:
    return Btf.from_kernel()


@pytest.fixture(scope="module")
def ours(kernel: Btf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    (folder / "vmlinux.h").write_text(vmlinux.header(kernel))
    return folder


@pytest.fixture(scope="module")
def bpftools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bpftool")
    tool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    with (folder / "vmlinux.h").open("wb") as file:
        subprocess.run(
            [tool, "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"], stdout=file, check=True
        )
    return folder


def named_records(btf: Btf) -> list[Type]:
    """Structs and unions that a header can only call by their own name."""
    tags = [one for one in btf.types if one.name and one.kind in (*KEYWORDS, KIND_ENUM, KIND_ENUM64)]
    count = Counter(one.name for one in tags)
    return [one for one in tags if one.kind in KEYWORDS and count[one.name] == 1]


def is_bpftools_mistake(btf: Btf, type_id: int) -> bool:
    """Whether Debian 12's bpftool gives a type the wrong size.

    It takes the compiler's own va_list, which for BPF is smaller than the kernel's, and makes every enum an int.
    """
    one = btf.types[type_id]
    if one.kind in TRANSPARENT_KINDS or one.kind == KIND_ARRAY:
        return one.name == "__builtin_va_list" or is_bpftools_mistake(btf, one.type_id)
    if one.kind in (KIND_ENUM, KIND_ENUM64):
        return one.size < 4
    return any(is_bpftools_mistake(btf, member.type_id) for member in one.members)


def places(btf: Btf, one: Type, base: int = 0) -> Iterator[tuple[str, int, int]]:
    """Name, bit offset and bit-field size of each member, those of anonymous members lifted."""
    for member in one.members:
        if member.name:
            yield member.name, base + member.bit_offset, member.bit_size
        elif not member.bit_size:
            inner = btf.types[btf.resolve(member.type_id)]
            yield from places(btf, inner, base + member.bit_offset)


def test_the_kernels_own_header_compiles_without_a_warning(ours: Path, tmp_path: Path) -> None:
    clang('#include "vmlinux.h"\n#include "vmlinux.h"\n', tmp_path, ours)


def test_sizes_and_offsets_are_the_kernels_and_bpftools(
    kernel: Btf, ours: Path, bpftools: Path, tmp_path: Path
) -> None:
    agreed = ['#include "vmlinux.h"']
    disputed: list[str] = []
    records = named_records(kernel)
    for one in records:
        name = f"{KEYWORDS[one.kind]} {one.name}"
        lines = disputed if is_bpftools_mistake(kernel, one.id) else agreed
        lines.append(f'_Static_assert(sizeof({name}) == {one.size}, "size of {name}");')
        for member, offset, bits in places(kernel, one):
            if not bits:
                lines.append(
                    f"_Static_assert(__builtin_offsetof({name}, {member}) == {offset // 8},"
                    f' "{name}: {member}");'
                )
    assert len(records) > 3000 and len(agreed) > 30000
    assert len(disputed) < len(agreed) // 20
    clang("\n".join(agreed + disputed) + "\n", tmp_path, ours, name="ours")
    clang("\n".join(agreed) + "\n", tmp_path, bpftools, name="bpftools")


def test_bit_fields_come_back_from_clang_where_the_kernel_has_them(
    kernel: Btf, ours: Path, tmp_path: Path
) -> None:
    """There is no offsetof for them; clang's BTF of our header says where it put them."""
    records = [one for one in named_records(kernel) if any(bits for _, _, bits in places(kernel, one))]
    # By value: what is only pointed to may come back as a declaration.
    source = ['#include "vmlinux.h"', "union anchor {"]
    source += [f"\t{KEYWORDS[one.kind]} {one.name} member{one.id};" for one in records]
    source.append("};\nunion anchor *anchor;\n")
    again = btf_of(clang("\n".join(source), tmp_path, ours))
    bit_fields = 0
    for one in records:
        expected = sorted(places(kernel, one))
        compiled = again.types[again.find(one.name, one.kind) or 0]
        assert compiled.size == one.size, one
        assert sorted(place for place in places(again, compiled) if place[0][:6] != "___pad") == expected, one
        bit_fields += sum(1 for _, _, bits in expected if bits)
    assert bit_fields > 1000


def test_constants_and_typedefs_are_all_there(kernel: Btf, ours: Path, tmp_path: Path) -> None:
    constants: Counter[str] = Counter()
    values = {}
    typedefs: Counter[str] = Counter()
    for one in kernel.types:
        for name, value in one.values:
            constants[name] += 1
            values[name] = value
        if one.kind == KIND_TYPEDEF:
            typedefs[one.name] += 1
    source = ['#include "vmlinux.h"']
    for name, count in constants.items():
        if count == 1 and name not in typedefs:
            value = values[name]
            literal = f"{value}ULL" if value >= 0 else f"(unsigned long long)({value + 1}LL - 1)"
            source.append(f'_Static_assert((unsigned long long){name} == {literal}, "{name}");')
    source += [f"extern {name} *anchor_{name};" for name in typedefs if name not in constants]
    assert "BPF_F_CURRENT_CPU" in values and len(source) > 10000
    clang("\n".join(source) + "\n", tmp_path, ours)


def compiled(writer: BtfWriter, tmp_path: Path, *anchors: str) -> Btf:
    text = vmlinux.header(Btf.parse(writer.blob()))
    (tmp_path / "vmlinux.h").write_text(text)
    source = '#include "vmlinux.h"\n' + "".join(
        f"{anchor} anchor{number};\n" for number, anchor in enumerate(anchors)
    )
    return btf_of(clang(source, tmp_path, tmp_path, "-Wno-pragma-clang-attribute"))


def test_what_refers_to_itself_by_another_name(tmp_path: Path) -> None:
    w = BtfWriter()
    # typedef struct node node_t; struct node { node_t *next; void (*visit)(struct later, node_t *); };
    w.typedef("node_t", 2)
    node = w.struct("node", 16, [("next", 3, 0), ("visit", 4, 64)])
    w.ptr(1)
    w.ptr(5)
    w.func_proto(0, [("", 6), ("", 3)])
    w.struct("later", 8, [("inner", 7, 0)])
    w.typedef("inner_t", 8)
    w.struct("inner", 8, [("x", 9, 0)])
    w.integer("long", 8, signed=True)
    assert node == 2
    result = compiled(w, tmp_path, "struct node", "struct later")
    assert result.size_of(result.find("node", KIND_STRUCT) or 0) == 16


def test_packed_aligned_and_bit_fields(tmp_path: Path) -> None:
    w = BtfWriter()
    char, u32, u64 = w.integer("char", 1), w.integer("unsigned int", 4), w.integer("unsigned long long", 8)
    cases: list[tuple[str, int, list[ByteMember]]] = [
        ("tight", 13, [("a", char, 0), ("b", u64, 8), ("c", u32, 72)]),
        ("aligned", 128, [("a", char, 0), ("b", u64, 512)]),
        ("shrunk", 12, [("a", u64, 0), ("b", u32, 64)]),
        ("late", 16, [("a", u32, 32), ("b", u64, 64)]),
        ("empty", 0, []),
        ("hollow", 24, []),
        ("bits", 8, [("a", u32, 0, 3), ("b", u32, 20, 4), ("c", u32, 24, 8), ("d", u32, 32, 1)]),
        ("crossing", 5, [("a", u32, 0, 30), ("b", u32, 30, 10)]),
        ("gap", 16, [("a", u64, 0, 1), ("b", u64, 64, 1)]),
        ("mixed", 8, [("a", char, 0), ("b", u32, 13, 5), ("c", char, 24), ("d", u32, 33, 31)]),
    ]
    for name, size, members in cases:
        w.struct(name, size, members)
    w.union("wide", 32, [("a", char, 0), ("b", u32, 0)])
    w.union("odd", 5, [("a", char, 0), ("b", u32, 0)])
    result = compiled(w, tmp_path, *[f"struct {name}" for name, *_ in cases], "union wide", "union odd")
    for name, size, members in cases:
        one = result.types[result.find(name, KIND_STRUCT) or 0]
        assert one.size == size, name
        found = [place for place in places(result, one) if not place[0].startswith("___pad")]
        assert found == [(m[0], m[2], m[3] if len(m) > 3 else 0) for m in members], name
    assert [result.size_of(result.find(name, KIND_UNION) or 0) for name in ("wide", "odd")] == [32, 5]


def test_names_that_collide(tmp_path: Path) -> None:
    w = BtfWriter()
    i32, i64 = w.integer("int", 4, signed=True), w.integer("long", 8, signed=True)
    w.struct("same", 4, [("a", i32, 0)])
    w.struct("same", 8, [("a", i64, 0)])
    w.union("same", 8, [("b", i64, 0)])
    w.typedef("same_t", i32)
    w.typedef("same_t", i64)
    w.enum("one", 4, [("X", 1), ("same_t", 2)])
    w.enum("two", 4, [("X", 3), ("Y", -1)], signed=True)
    w.fwd("same")
    w.fwd("unknown")
    w.fwd("unknown", union=True)
    nameless = w.enum("", 4, [("SHARED", 7)])
    w.struct("uses", 16, [("a", nameless, 0), ("b", nameless, 32), ("for", i32, 64), ("pad", i32, 96)])
    w.enum("", 4, [("ALONE", 9)])
    w.typedef("named_t", w.enum("", 4, [("BEHIND", 11)]))
    w.enum("large", 8, [("LARGE", 1 << 40), ("LEAST", -(1 << 63))], signed=True, wide=True)
    w.enum("small", 1, [("SMALL", 1)])
    w.enum("nothing", 4, [])
    w.typedef("__Poly8_t", w.integer("__Poly8", 1))
    result = compiled(
        w,
        tmp_path,
        *("struct same", "struct same___2", "union same___3", "same_t", "same_t___2", "enum one", "enum two"),
        *("struct unknown *", "union unknown___2 *", "struct uses", "named_t", "enum large", "enum small"),
        *("enum nothing", "__Poly8_t", "char test[SHARED + ALONE + BEHIND] __attribute__((unused)); int "),
    )
    sizes = {one.name: one.size for one in result.types if one.kind in (*KEYWORDS, KIND_ENUM, KIND_ENUM64)}
    assert (sizes["same"], sizes["same___2"], sizes["same___3"], sizes["uses"]) == (4, 8, 8, 16)
    assert (sizes["small"], sizes["large"]) == (1, 8)


def test_a_chain_of_typedefs_of_any_length(tmp_path: Path) -> None:
    w = BtfWriter()
    w.integer("int", 4, signed=True)
    for number in range(3000):
        w.typedef(f"t{number}", 2 * number + 3)
        if number < 2999:
            w.ptr(2 * number + 4)
        else:
            w.ptr(1)
    result = compiled(w, tmp_path, "t0")
    assert result.find("t2999", KIND_TYPEDEF)


# The cache


def test_the_cache_is_written_once_and_is_private(tmp_path: Path) -> None:
    first = vmlinux.cached_header(cache_dir=str(tmp_path / "cache"))
    path = Path(first) / "vmlinux.h"
    before = path.stat()
    assert path.read_text().startswith("#ifndef __VMLINUX_H__")
    assert stat.S_IMODE(before.st_mode) & 0o022 == 0
    assert vmlinux.cached_header(cache_dir=str(tmp_path / "cache")) == first
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(first) == ["vmlinux.h"]


def test_a_cut_or_foreign_cache_entry_is_not_used(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    w = BtfWriter()
    w.struct("only", 4, [("a", w.integer("int", 4, signed=True), 0)])
    btf = tmp_path / "some.btf"
    btf.write_bytes(w.blob())
    folder = Path(vmlinux.cached_header(str(btf), str(cache)))
    text = (folder / "vmlinux.h").read_text()
    assert "struct only {\n\tint a;\n};" in text
    (folder / "vmlinux.h").write_text(text[:100])
    assert (Path(vmlinux.cached_header(str(btf), str(cache))) / "vmlinux.h").read_text() == text
    (folder / "vmlinux.h").write_text("#error planted\n" + text)
    (folder / "vmlinux.h").chmod(0o666)
    assert (Path(vmlinux.cached_header(str(btf), str(cache))) / "vmlinux.h").read_text() == text
    cache.chmod(0o777)
    elsewhere = Path(vmlinux.cached_header(str(btf), str(cache)))
    assert cache not in elsewhere.parents
    assert (elsewhere / "vmlinux.h").read_text() == text


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = BtfWriter()
    w.struct("only", 4, [("a", w.integer("int", 4, signed=True), 0)])
    btf = tmp_path / "some.btf"
    btf.write_bytes(w.blob())
    mine = vmlinux.cached_header(str(btf), str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert vmlinux.cached_header(str(btf), str(tmp_path / "cache")) != mine


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = BtfWriter()
    w.integer("int", 4, signed=True)
    btf = tmp_path / "some.btf"
    btf.write_bytes(w.blob())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    before = os.umask(0o002)  # as many systems have it: what is made must still be private
    try:
        folder = Path(vmlinux.cached_header(str(btf)))
    finally:
        os.umask(before)
    assert folder.parent == tmp_path / "xdg" / "snoopkit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Path(vmlinux.cached_header(str(btf))).parent == tmp_path / "home" / ".cache" / "snoopkit"


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = Path(vmlinux.cached_header(cache_dir=str(tmp_path / "file" / "cache")))
    assert (folder / "vmlinux.h").stat().st_size > 100000


def test_without_kernel_btf_it_says_what_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match=r"--btf FILE or --vmlinux FILE") as caught:
        Btf.from_kernel(str(tmp_path / "vmlinux"))
    assert caught.value.feature == "kernel BTF"
    with pytest.raises(CompileError, match=r"nothing\.btf: No such file"):
        vmlinux.cached_header(str(tmp_path / "nothing.btf"))
    (tmp_path / "text").write_text("this is not BTF, but long enough")
    with pytest.raises(CompileError, match="not BTF"):
        vmlinux.cached_header(str(tmp_path / "text"), str(tmp_path))
