"""The meta that is computed from an object: eunomia's shape, held by a golden file and against other tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit.elf import Elf, strip_debug

GOLDEN = Path(__file__).parents[1] / "golden" / "skeleton.json"

KERNEL = """
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32; typedef int __s32;
typedef unsigned long long __u64; typedef long long __s64; typedef __u16 __be16; typedef __u32 __be32;
typedef __u32 __wsum; typedef int pid_t; typedef _Bool bool;
"""
HEADER = """
enum kind { FIRST = 1, SECOND };
typedef struct { int x; } inner_t;
struct inner { short a[2][3]; };
struct event {
    __u64 time; pid_t pid; __u32 uid; bool is_exit; char comm[16]; const char *where; enum kind kind;
    enum kind kinds[2]; struct inner inner; inner_t other;
    union { int one; float two; }; unsigned char bytes[4]; int flag : 3;
    struct event *next; void (*call)(int, char *);
};
"""
SOURCE = """
#include <bpf/bpf_helpers.h>
#include "x.h"
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 8); __type(key, __u32); __type(value, struct inner); } hash SEC(".maps");
const volatile pid_t pid_target; const volatile __u32 uid_target = 5; const volatile bool failed; const volatile char pattern[10];
const volatile enum kind kind = SECOND; const volatile unsigned long mask; const volatile __u8 small;
__u64 count; struct inner scratch; __s64 threshold = 9; static volatile int hidden; int in_own SEC(".data.own") = 1;
SEC("tp/syscalls/sys_enter_openat") int enter(void *ctx)
{
    static const char text[] = "kept in a section of strings: %d";
    bpf_trace_printk(text, sizeof(text), hidden + in_own);
    return pid_target + uid_target + failed + pattern[1] + kind + mask + small + count + scratch.a[1][1] + threshold;
}
SEC("?kprobe/do_exit") int leave(void *ctx) { struct event event = {}; bpf_ringbuf_output(&ring, &event, sizeof(event), 0); return 0; }
char LICENSE[] SEC("license") = "GPL";
"""  # noqa: E501


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> snoopkit.Package:
    folder = tmp_path_factory.mktemp("skeleton")
    (folder / "x.h").write_text(HEADER)
    (folder / "a-long name.v2.bpf.c").write_text(KERNEL + SOURCE)
    return snoopkit.build(folder / "a-long name.v2.bpf.c", folder / "x.h")


def test_golden(built: snoopkit.Package) -> None:
    """What changes here changes for everybody's packages: look, then write the file anew from the test's message."""
    meta = json.dumps(built.meta, indent=2, sort_keys=True)
    for entry in built.meta["export_types"] + built.meta["snoopkit"]["events"]:
        meta = meta.replace(
            f'"type_id": {entry["type_id"]}', '"type_id": 0'
        )  # as clang happens to number them
    assert meta + "\n" == GOLDEN.read_text(), meta


def test_type_ids_are_those_of_the_object(built: snoopkit.Package) -> None:
    for entry in built.meta["export_types"]:
        struct = built.btf.types[entry["type_id"]]
        assert (struct.name, struct.size, len(struct.members)) == (
            entry["name"],
            entry["size"],
            len(entry["members"]),
        )


@pytest.mark.skipif(not shutil.which("bpftool"), reason="no bpftool")
def test_maps_and_programs_are_those_that_libbpf_sees(built: snoopkit.Package, tmp_path: Path) -> None:
    path = tmp_path / f"{built.name}.o"
    path.write_bytes(built.object)
    text = subprocess.run(
        ["bpftool", "gen", "skeleton", path, "name", built.name], capture_output=True, text=True, check=True
    ).stdout
    skeleton: dict[str, Any] = built.meta["bpf_skel"]

    def block(begin: str, end: str) -> list[str]:
        inside = text.split(begin, 1)[1].split(end, 1)[0]
        return [line.split("*")[1].strip(" ;") for line in inside.splitlines() if "*" in line]

    assert [m["ident"] for m in skeleton["maps"]] == block("struct bpf_object *obj;\n\tstruct {", "} maps;")
    assert [p["name"] for p in skeleton["progs"]] == block("} maps;", "} progs;")
    names = [
        line.split('"')[1] for line in text.splitlines() if "map->name = " in line or "].name = " in line
    ]
    assert [m["name"] for m in skeleton["maps"]] == names[: len(skeleton["maps"])]
    mapped = [m["ident"] for m in skeleton["maps"] if m.get("mmaped")]
    assert mapped == [
        line.split("*")[1].strip(" ;") for line in text.splitlines() if line.startswith("\t} *")
    ]


@pytest.mark.skipif(not shutil.which("llvm-strip"), reason="no llvm-strip")
def test_strips_as_llvm_strip_does(tmp_path: Path) -> None:
    (tmp_path / "x.h").write_text(HEADER)
    (tmp_path / "x.c").write_text(KERNEL + SOURCE)
    subprocess.run(
        ["clang", "-g", "-O2", "-target", "bpf", "-I.", "-c", "x.c", "-o", "x.o"], cwd=tmp_path, check=True
    )
    ours = Elf.parse(strip_debug((tmp_path / "x.o").read_bytes()))
    subprocess.run(["llvm-strip", "-g", "x.o"], cwd=tmp_path, check=True)
    theirs = Elf.parse((tmp_path / "x.o").read_bytes())
    # They keep what only a linker reads: relocations of BTF and the table of addressed symbols.
    linkers = {".rel.BTF", ".rel.BTF.ext", ".llvm_addrsig", ".strtab"}
    named = {section.name: section for section in theirs.sections if section.name not in linkers}
    assert {section.name for section in ours.sections} - {".strtab"} == set(named)
    for section in ours.sections:
        if section.name in named and section.name != ".symtab" and not section.name.startswith(".rel"):
            assert section.data == named[section.name].data
            assert (section.flags, section.type, section.size) == (
                named[section.name].flags,
                named[section.name].type,
                named[section.name].size,
            )
    assert [s.name for s in ours.symbols if s.name] == [s.name for s in theirs.symbols if s.name]
