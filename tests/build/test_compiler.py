"""Sources and headers of every shape, and what `snoopkit.build` makes of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit import compiler
from snoopkit.arches import target_arch
from snoopkit.errors import CompileError

SNOOPKIT = str(Path(sys.executable).parent / "snoopkit")
KERNEL_H = """
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32;
typedef unsigned long long __u64; typedef int __s32; typedef long long __s64; typedef _Bool bool;
typedef __u16 __be16; typedef __u32 __be32; typedef __u32 __wsum;
enum { BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_RINGBUF = 27 };
"""
PROGRAM = """
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include "x.h"
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4);
} events SEC(".maps");
SEC("raw_tp/sched_process_exec") int on_exec(void *ctx) { BODY return 0; }
char LICENSE[] SEC("license") = "GPL";
"""
EVENT = "struct event { int pid; bool is_exit; char comm[16]; };\n"


def write(folder: Path, header: str = EVENT, source: str = PROGRAM, body: str = "") -> tuple[Path, Path]:
    (folder / "kernel.h").write_text(KERNEL_H)
    (folder / "x.h").write_text(header)
    (folder / "x.bpf.c").write_text(source.replace("BODY", body))
    return folder / "x.bpf.c", folder / "x.h"


def exported(package: snoopkit.Package) -> list[str]:
    return [entry["name"] for entry in package.meta["export_types"]]


def refusal(*arguments: Any, **more: Any) -> CompileError:
    with pytest.raises(CompileError) as caught:
        snoopkit.build(*arguments, **more)
    return caught.value


def test_a_header_that_does_not_parse_alone(tmp_path: Path) -> None:
    package = snoopkit.build(*write(tmp_path))
    assert exported(package) == ["event"]
    (event,) = package.event_specs
    assert (event.map, event.struct.size_bytes) == ("events", 24)
    assert [member.name for member in event.struct.members] == ["pid", "is_exit", "comm"]
    assert list(package.programs) == ["on_exec"]
    assert package.meta["bpf_skel"]["data_sections"] == []
    assert package.options == {}
    assert [s.name for s in package.elf.symbols if s.name] == ["on_exec", "LICENSE", "events"]
    assert package.elf.section(".snoopkit.structs") is None
    assert sorted(os.listdir(tmp_path)) == ["kernel.h", "x.bpf.c", "x.h"]


HEADERS = {
    "comments": ("/* struct a { int x; }; */ // struct b { int x; };\n" + EVENT, ["event"]),
    "a comment that goes on": ("// struct a { \\\n int x; };\n" + EVENT, ["event"]),
    "switched off": ("#if 0\nstruct event { int other; };\n#endif\n" + EVENT, ["event"]),
    "one of two": (
        "#ifdef NEVER\nstruct event {\n int a;\n#else\nstruct event {\n int b;\n#endif\n int c; };\n",
        ["event"],
    ),
    "text": (
        "static const char t[] = \"struct a { int x; };\"; static const char q = '{';\n" + EVENT,
        ["event"],
    ),
    "a macro": (
        "#define M struct made { int x; };\n#define L \\\n struct l { int x; };\n" + EVENT,
        ["event"],
    ),
    "brace below": ("struct event\n{\n\tint pid;\n}\n;\n", ["event"]),
    "packed in front": ("struct __attribute__((packed)) event { char a; long b; };\n", ["event"]),
    "packed behind": ("struct event { char a; long b; } __attribute__((packed));\n", ["event"]),
    "packed by a macro": (
        "#define P __attribute__((packed))\nstruct P event { char a; long b; };\n",
        ["event"],
    ),
    "packed by a macro behind": (
        "#define P __attribute__((packed))\nstruct event { char a; long b; } P;\n",
        ["event"],
    ),
    "a macro with arguments": (
        "#define A(n) __attribute__((aligned(n)))\nstruct A(16) event { long b; };\n",
        ["event"],
    ),
    "typedef": ("typedef struct { int pid; } row;\n", ["row"]),
    "typedef, packed": ("typedef struct { char a; long b; } __attribute__((packed)) row;\n", ["row"]),
    "typedef, packed by a macro": (
        "#define P __attribute__((packed))\ntypedef struct P { char a; long b; } P row, *r;\n",
        ["row"],
    ),
    "typedef with a tag": ("typedef struct tag { int pid; } row;\n", ["tag"]),
    "typedef before": ("typedef struct event row;\nstruct event { int pid; };\n", ["event"]),
    "forward": ("struct other;\n" + EVENT, ["event"]),
    "function": (
        "static inline int f(struct event *e) { struct in { int a; } x = {}; return x.a; }\n" + EVENT,
        ["event"],
    ),
    "function that gives a struct": (
        EVENT
        + "static inline struct event f(void) { struct event e = {}; return e; }\n"
        + "struct b { struct event e; };\n",
        ["event", "b"],
    ),
    "enum and union": ("enum e { A, B };\nunion u { int a; };\n" + EVENT, ["event"]),
    "nested": (
        "struct outer { struct inner { int a; } i; union { struct { int b; }; int c; }; };\n",
        ["outer"],
    ),
    "event among others": ("struct a { int x; };\n" + EVENT + "struct b { int x; };\n", ["event", "a", "b"]),
    "the only outer one": ("struct a { int x; };\nstruct b { struct a as[2]; };\n", ["b", "a"]),
    "no newline at the end": (EVENT.rstrip(), ["event"]),
    "carriage returns": (EVENT.replace("\n", "\r\n") + "\r\nstruct b {\r\n int x; };\r\n", ["event", "b"]),
    "not UTF-8": ("/* \xe9 */ " + EVENT, ["event"]),
    "two on a line": ("struct event { int a; }; struct b { int a; };\n", ["event", "b"]),
    "guarded": ("#ifndef X_H\n#define X_H\n" + EVENT + "#endif\n", ["event"]),
    "pragma once": ("#pragma once\n" + EVENT, ["event"]),
    "array initialiser": (
        "struct t { int a; };\nstatic const struct t all[] = { { 1 }, { 2 } };\n" + EVENT,
        ["event", "t"],
    ),
    "static assertion": (EVENT + '_Static_assert(sizeof(struct event) == 24, "size");\n', ["event"]),
    "an empty one": ("struct nothing {};\n" + EVENT, ["event"]),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header(name: str, tmp_path: Path) -> None:
    text, names = HEADERS[name]
    source, header = write(tmp_path)
    header.write_bytes(text.encode("latin-1"))
    package = snoopkit.build(source, header)
    assert exported(package) == names
    assert package.events["events"].name == names[0]


def test_a_packed_struct_has_its_real_offsets(tmp_path: Path) -> None:
    package = snoopkit.build(
        *write(tmp_path, "typedef struct { char a; long b; } __attribute__((packed)) row;\n")
    )
    assert [(m.name, m.offset_bytes) for m in package.events["events"].members] == [("a", 0), ("b", 1)]


def test_structs_of_inner_headers_do_not_count(tmp_path: Path) -> None:
    source, header = write(tmp_path, '#include "inner.h"\nstruct mine { struct theirs t; };\n')
    (tmp_path / "inner.h").write_text("struct theirs { int a; };\nstruct event { int b; };\n")
    assert exported(snoopkit.build(source, header)) == ["mine"]
    header.write_text('#include "inner.h"\n')
    assert "defines no struct" in str(refusal(source, header))


def test_a_header_elsewhere_through_an_inner_one(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "src"
    folder.mkdir(parents=True)
    source, _ = write(folder, '#include "../../shared/x.h"\n')
    (tmp_path / "shared").mkdir()
    header = tmp_path / "shared" / "x.h"
    header.write_text(EVENT)
    assert exported(snoopkit.build(source, header)) == ["event"]
    header = header.rename(tmp_path / "shared" / "y.h")
    (folder / "x.h").write_text("#include <y.h>\n")
    assert exported(snoopkit.build(source, header, include=[tmp_path / "shared"])) == ["event"]


def test_through_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    assert exported(snoopkit.build(tmp_path / "link" / "x.bpf.c", tmp_path / "real" / "x.h")) == ["event"]
    assert exported(snoopkit.build(tmp_path / "real" / "x.bpf.c", tmp_path / "link" / "x.h")) == ["event"]


def test_names_of_every_kind(tmp_path: Path) -> None:
    for name in ("a b", "é 🐝", "$dollar#hash", 'quote"back\\slash', "%s:1,2=3"):
        (tmp_path / name).mkdir()
        assert exported(snoopkit.build(*write(tmp_path / name))) == ["event"]
    (tmp_path / "bad\udcff").mkdir()
    assert "isn't UTF-8" in str(refusal(*write(tmp_path / "bad\udcff")))


def test_tagged_structs_come_first(tmp_path: Path) -> None:
    package = snoopkit.build(
        *write(
            tmp_path,
            """
            struct event { int not_this; };
            struct head { __u16 type; __u16 flags; __u32 size_bytes; };
            struct start { struct head head; __u32 name_size; __u32 argv_size;
                char tail[] __attribute__((btf_decl_tag("snoopkit.tail:name=text[name_size],argv=strings[argv_size]")));
            } __attribute__((btf_decl_tag("snoopkit.event:events:head.type=1")));
            struct __attribute__((btf_decl_tag("snoopkit.event:events:head.type=0x2"))) stop { struct head head; };
            """,
        )
    )
    assert exported(package) == ["start", "stop", "event", "head"]
    start, stop = package.event_specs
    assert (start.kind_member, start.kind_value, start.tail_member) == ("head.type", 1, "tail")
    assert [(p.name, p.form, p.size_member) for p in start.tail_parts] == [
        ("name", "text", "name_size"),
        ("argv", "strings", "argv_size"),
    ]
    assert (stop.kind_value, stop.tail_member) == (2, None)


def test_without_a_header_tags_in_the_source_count(tmp_path: Path) -> None:
    tagged = 'struct row { int pid; } __attribute__((btf_decl_tag("snoopkit.event:events")));\n'
    source, _ = write(tmp_path, source=PROGRAM.replace('#include "x.h"', tagged))
    package = snoopkit.build(source)
    assert exported(package) == ["row"]
    assert package.event_specs[0].kind_member is None


def test_without_a_header_there_is_no_event(tmp_path: Path) -> None:
    source, _ = write(tmp_path)
    package = snoopkit.build(source)
    assert package.event_specs == ()
    assert package.meta["export_types"] == []
    (warning,) = package.warnings
    assert "map events: the package doesn't say what its records are" in warning


VALUED = """
#include "kernel.h"
#include <bpf/bpf_helpers.h>
struct first { int pid; }; struct second { char comm[16]; }; typedef struct { int x; } nameless;
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); __type(value, struct first); } a SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __type(value, VALUE); } b SEC(".maps");
SEC("raw_tp/sched_process_exec") int on_exec(void *ctx) { return 0; }
char LICENSE[] SEC("license") = "GPL";
"""


def test_without_a_header_event_maps_may_say_what_they_hold(tmp_path: Path) -> None:
    source, _ = write(tmp_path, source=VALUED.replace("VALUE", "struct second"))
    package = snoopkit.build(source)
    assert [(spec.map, spec.struct.name) for spec in package.event_specs] == [("a", "first"), ("b", "second")]
    assert exported(package) == ["first", "second"]
    assert package.warnings == ()


@pytest.mark.parametrize("value", ["int", "nameless"])
def test_a_map_that_does_not_name_a_struct(value: str, tmp_path: Path) -> None:
    """Then no map is read, and each is spoken of, as where none names one."""
    source, _ = write(tmp_path, source=VALUED.replace("VALUE", value))
    package = snoopkit.build(source)
    assert (package.event_specs, exported(package)) == ((), [])
    assert len(package.warnings) == 2


def test_a_trailing_array_is_the_tail(tmp_path: Path) -> None:
    package = snoopkit.build(*write(tmp_path, "struct event { int n; char text[]; };\n"))
    assert package.event_specs[0].tail_member == "text"


def test_losses_map(tmp_path: Path) -> None:
    counter = """
    struct counts { __u64 attempts; __u64 failed; };
    struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32);
      __type(value, struct counts); } outputs SEC(".maps") __attribute__((btf_decl_tag("snoopkit.losses")));
    """
    package = snoopkit.build(*write(tmp_path, source=PROGRAM.replace("struct {", counter + "struct {", 1)))
    assert package.losses_map == "outputs"


def test_members_left_uninitialised_are_zero(tmp_path: Path) -> None:
    body = "struct event e; e.pid = 1; bpf_perf_event_output(ctx, &events, 0xffffffffULL, &e, sizeof(e));"
    package = snoopkit.build(*write(tmp_path, body=body))
    (tmp_path / "out.o").write_bytes(package.object)
    objdump = shutil.which("llvm-objdump") or shutil.which("llvm-objdump-14")
    if objdump is None:
        pytest.skip("no llvm-objdump")
    listing = subprocess.run(
        [objdump, "-d", tmp_path / "out.o"], capture_output=True, text=True, check=True
    ).stdout
    stores = [line.split("*(")[1] for line in listing.splitlines() if "*(u" in line and ") =" in line]
    sizes = {"u8 ": 1, "u16": 2, "u32": 4, "u64": 8}
    written = set()
    for store in stores:
        offset = int(store.split("r10 - ")[1].split(")")[0])
        written |= set(range(-offset, -offset + sizes[store[:3]]))
    assert written >= set(range(-24, 0))


def test_options_and_data_sections(tmp_path: Path) -> None:
    extra = """
    const volatile int pid_target = 7; const volatile bool verbose_output; volatile __u64 count; __u16 port = 53;
    const volatile char name[8] = "abc"; static volatile int hidden; struct event scratch;
    """
    body = "if (pid_target + verbose_output + count + port + name[1] + hidden + scratch.pid == 3) return 1;"
    package = snoopkit.build(
        *write(tmp_path, source=PROGRAM.replace("struct {", extra + "struct {", 1), body=body)
    )
    assert {name: option.default for name, option in package.options.items()} == {
        "pid_target": 7,
        "verbose_output": False,
        "count": 0,
        "port": 53,
        "name": "abc",
    }
    sections = {
        s["name"]: [v["type"] for v in s["variables"]] for s in package.meta["bpf_skel"]["data_sections"]
    }
    assert sections.keys() == {".rodata", ".bss"}
    assert sorted(sections[".rodata"]) == ["bool", "char[8]", "int"]
    assert package.meta["snoopkit"]["data_sections"] == [
        {"name": ".data", "variables": [{"name": "port", "type": "unsigned short"}]}
    ]
    maps = {m["ident"]: m for m in package.meta["bpf_skel"]["maps"]}
    assert maps["data"] == {"name": "x_bpf.data", "ident": "data", "mmaped": True}


def test_annotations(tmp_path: Path) -> None:
    extra = """
    /// Which process to watch
    /// @cmdarg {"default": 3, "short": "p"}
    const volatile int pid_target;
    """
    source = PROGRAM.replace("struct {", extra + '\n/// @sample {"interval": 100}\nstruct {', 1)
    source = source.replace("char LICENSE", "/// @brief A tool\nchar LICENSE")
    package = snoopkit.build(*write(tmp_path, source=source, body="return pid_target;"))
    option = package.options["pid_target"]
    assert (option.help, option.default, option.declared, option.short) == (
        "Which process to watch",
        3,
        True,
        "p",
    )
    assert package.maps["events"].extras == {"sample": {"interval": 100}}
    assert package.doc == {"brief": "A tool"}
    (tmp_path / "x.bpf.c").write_text(source.replace("BODY", "return pid_target;").replace("100}", '"x"}'))
    assert "meta.bpf_skel.maps[0].sample.interval: expected an integer" in str(refusal(tmp_path / "x.bpf.c"))


def test_the_same_bytes_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    for name in ("one", "the other, with a space"):
        folder = tmp_path / name
        (folder / "lib").mkdir(parents=True)
        source, header = write(folder, header='#include "more.h"\n' + EVENT, body="return more(1);")
        (folder / "lib" / "more.h").write_text("static inline int more(int a) { return a + 1; }\n")
        built.append(snoopkit.build(source, header, include=[folder / "lib"]).dumps())
        monkeypatch.chdir(folder)
        built.append(snoopkit.build("x.bpf.c", "x.h", include=["lib"]).dumps())
        monkeypatch.chdir(folder / "lib")
        built.append(snoopkit.build("../x.bpf.c", "../x.h", include=["."]).dumps())
    assert len(set(built)) == 1
    assert (
        b"return more(1);" in snoopkit.Package.parse(built[0]).object
    )  # source lines for the verifier's log


def test_vmlinux_is_there_without_asking(tmp_path: Path) -> None:
    source, header = write(tmp_path, source=PROGRAM.replace('"kernel.h"', "<vmlinux.h>"))
    (tmp_path / "kernel.h").unlink()
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        pytest.skip("this kernel has no BTF")
    first = snoopkit.build(source, header)
    assert exported(first) == ["event"]
    assert snoopkit.build(source, header, btf="/sys/kernel/btf/vmlinux").dumps() == first.dumps()
    source.write_text(PROGRAM.replace("BODY", "").replace('"kernel.h"', '"wrap.h"'))
    (tmp_path / "wrap.h").write_text("#include <vmlinux.h>\n")
    assert exported(snoopkit.build(source, header)) == ["event"]


def test_which_vmlinux_wins(tmp_path: Path) -> None:
    source, header = write(tmp_path, source=PROGRAM.replace('"kernel.h"', "<vmlinux.h>"), body="return WHO;")
    other = tmp_path / "other-name.h"
    other.write_text(KERNEL_H + "#define WHO 2\n")
    package = snoopkit.build(source, header, vmlinux=other)
    assert b"other-name" not in package.object
    (tmp_path / "vmlinux.h").write_text(KERNEL_H + "#define WHO 1\n")
    assert snoopkit.build(source, header, vmlinux=other).object != package.object


def test_a_struct_that_another_one_points_to(tmp_path: Path) -> None:
    """clang keeps no more than a forward declaration of it, unless somebody needs it whole."""
    loop = """
        struct place { struct event *event; };
        static long each(int number, struct place *place) { return place->event != 0; }
    """
    source = PROGRAM.replace("struct {", loop + "struct {", 1)
    body = "struct place place = {}; bpf_loop(3, each, &place, 0);"
    assert exported(snoopkit.build(*write(tmp_path, source=source, body=body))) == ["event"]


def test_define_and_cflags(tmp_path: Path) -> None:
    source, header = write(tmp_path, body="return A + B;")
    assert snoopkit.build(source, header, define=["A=1"], cflags=["-DB=2"]).programs


SWITCHED = """
/* without vmlinux.h */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#if defined(__TARGET_ARCH_x86)
const volatile int arch = 86;
#elif defined(__TARGET_ARCH_arm64)
const volatile int arch = 64;
#elif defined(__TARGET_ARCH_riscv)
const volatile int arch = 5;
#endif
SEC("raw_tp/sched_process_exec") int on_exec(void *ctx) { return arch; }
char LICENSE[] SEC("license") = "GPL";
"""


def test_another_architecture(tmp_path: Path) -> None:
    source = tmp_path / "x.bpf.c"
    source.write_text(SWITCHED)
    found = {arch: snoopkit.build(source, arch=arch) for arch in ("x86", "arm64", "riscv")}
    assert [package.options["arch"].default for package in found.values()] == [86, 64, 5]


def test_registers_of_another_architecture(tmp_path: Path) -> None:
    """libbpf's PT_REGS_PARM1() is what differs; the kernel's types must be that architecture's, too."""
    source = tmp_path / "x.bpf.c"
    source.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_tracing.h>\n'
        'SEC("kprobe/f") int on_call(struct pt_regs *ctx) { return PT_REGS_PARM1(ctx); }\n'
        'char LICENSE[] SEC("license") = "GPL";\n'
    )
    other = "riscv" if target_arch() != "riscv" else "x86"
    error = refusal(source, arch=other)
    assert f"this machine's own ({target_arch()}), not one of {other}" in str(error)
    assert "--vmlinux" in str(error.hint)
    folder = tmp_path / "kernel"  # as libbpf's own tools are given it
    folder.mkdir()
    (folder / "vmlinux.h").write_text('#error "found"\n')
    assert '"found"' in refusal(source, arch=other, include=[folder]).diagnostics
    if other == "riscv":
        kernel = tmp_path / "riscv.h"
        kernel.write_text(KERNEL_H + "struct user_regs_struct { unsigned long pc, a0; };\nstruct pt_regs;\n")
        assert list(snoopkit.build(source, arch="riscv", vmlinux=kernel).programs) == ["on_call"]


@pytest.mark.parametrize(
    ("name", "answer"),
    {
        "aarch64": "did you mean arm64?",
        "x86_64": "did you mean x86?",
        "riscv32": "did you mean riscv?",
        "": "known are arc, arm, arm64",
    }.items(),
)
def test_an_unknown_architecture(name: str, answer: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(answer)):
        snoopkit.build(*write(tmp_path), arch=name)
    done = subprocess.run(
        [SNOOPKIT, "build", "--arch", name, "x.bpf.c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and answer in done.stderr
    assert not (tmp_path / "package.json").exists()


def test_a_wheels_own_libbpf_headers_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Path("/usr/include/bpf")
    if not system.is_dir():
        pytest.skip("libbpf's headers are elsewhere")
    source, header = write(tmp_path, body="bpf_tail_call_static(ctx, &events, 0);")
    first = snoopkit.build(source, header).dumps()
    shutil.copytree(system, tmp_path / "wheel" / "include" / "bpf")
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "wheel" / "compiler.py"))
    commands: list[str] = []
    second, _ = compiler.compile_package(source, header, log=commands.append)
    assert f"-isystem {tmp_path}/wheel/include" in commands[0]
    assert second.dumps() == first


# ---------------------------------------------------------------------------------------------------------------
# Refusals


def test_no_clang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, header = write(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(refusal(source, header)).startswith("clang: not found")
    assert "apt install clang" in str(refusal(source, header))
    assert (
        str(refusal(source, header, clang="nowhere/clang"))
        == "clang: 'nowhere/clang' isn't a program that can be run"
    )


def test_newest_clang_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clang-9", "clang-14", "clang-100", "clang-format-200", "clang-cpp-300"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/absent:{tmp_path}")
    assert compiler.find_clang() == str(tmp_path / "clang-100")
    (tmp_path / "clang").write_text("")
    (tmp_path / "clang").chmod(0o755)
    assert compiler.find_clang() == str(tmp_path / "clang")


@pytest.mark.parametrize(
    ("says", "expected"), [("13.0.1", "too old"), ("nonsense", "doesn't say which version")]
)
def test_a_clang_that_will_not_do(says: str, expected: str, tmp_path: Path) -> None:
    clang = tmp_path / "clang"
    clang.write_text(f"#!/bin/sh\necho {says}\n")
    clang.chmod(0o755)
    assert expected in str(refusal(*write(tmp_path), clang=str(clang)))


def test_a_compile_error_has_the_users_names_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "struct event { nonsense pid; };\n", body="return missing;")
    monkeypatch.chdir(tmp_path)
    error = refusal("sub/x.bpf.c", "sub/x.h")
    assert str(error) == "sub/x.bpf.c: clang refuses it"
    lines = error.diagnostics.splitlines()
    assert lines[0] == "In file included from sub/x.bpf.c:4:"
    assert lines[1] == "sub/x.h:1:16: error: unknown type name 'nonsense'"
    assert lines[2] == "struct event { nonsense pid; };"
    assert any(line.startswith("sub/x.bpf.c:8:") and "'missing'" in line for line in lines)
    assert "snoopkit" not in error.diagnostics
    absolute = refusal(tmp_path / "sub" / "x.bpf.c", tmp_path / "sub" / "x.h")
    assert f"{tmp_path}/sub/x.h:1:16: error" in absolute.diagnostics


def test_header_not_included(tmp_path: Path) -> None:
    source, header = write(tmp_path, source=PROGRAM.replace('#include "x.h"', ""))
    assert str(refusal(source, header)).startswith(f"{header}: {source} doesn't include it")


def test_a_namesake_elsewhere_is_not_the_header(tmp_path: Path) -> None:
    source, _ = write(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.h").write_text(EVENT)
    assert "doesn't include it" in str(refusal(source, tmp_path / "other" / "x.h"))


def test_no_struct(tmp_path: Path) -> None:
    source, header = write(tmp_path, "#if 0\nstruct event { int a; };\n#endif\nenum e { A };\n")
    assert str(refusal(source, header)) == f"{header}: it defines no struct, as {source} sees it"


def test_several_candidates(tmp_path: Path) -> None:
    source, header = write(
        tmp_path, "struct a { int x; };\nstruct b { int x; };\nstruct c { struct a a; };\n"
    )
    error = str(refusal(source, header))
    assert error.startswith(f"{header}: which struct is the event? It defines several: b, c (")


def test_structs_marked_for_export(tmp_path: Path) -> None:
    source, header = write(
        tmp_path,
        "/// @export\nstruct a { int x; };\nstruct event { int x; };\n/** @export */\n"
        "typedef struct { struct a a; } c;\n",
    )
    package = snoopkit.build(source, header)
    assert [found["name"] for found in package.meta["export_types"]] == ["c", "a"]
    header.write_text("struct a { int x; };\n/// @export\nstruct b { int x; };\n")
    package = snoopkit.build(source, header)
    assert [found["name"] for found in package.meta["export_types"]] == ["b"]


@pytest.mark.parametrize(
    ("comment", "declaration", "problem"),
    [
        ('@cmdarg {"default": 300}', "const volatile unsigned char limit", "300"),
        (
            '@cmdarg {"long": "two words"}',
            "const volatile int limit",
            "'two words' can't be the name of an option",
        ),
        ('@cmdarg {"short": "xy"}', "const volatile int limit", "isn't one letter or digit"),
        ("@value [1, 2]", "const volatile int limit", "neither a number nor text"),
        ("@value {}", "const volatile int limit", "expected a number, text, a boolean, or a list"),
    ],
)
def test_a_comment_that_does_not_fit(comment: str, declaration: str, problem: str, tmp_path: Path) -> None:
    annotated = f"/// @description fine\nconst volatile int fine;\n\n/// {comment}\n{declaration};\n"
    source, header = write(tmp_path, source=PROGRAM + annotated)
    line = PROGRAM.count("\n") + 4
    error = str(refusal(source, header))
    assert error.startswith(f"{source}:{line}: the comment on limit: ")
    assert problem in error


def test_no_programs(tmp_path: Path) -> None:
    source, header = write(tmp_path, source=PROGRAM.split('SEC("raw_tp')[0])
    assert str(refusal(source, header)).startswith(f"{source}: it has no programs")
    source.write_text("int unused(void);\n")
    assert str(refusal(source)).startswith(f"{source}: it has neither programs nor variables")


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (
            "snoopkit.event:nowhere",
            "struct event: no perf event array, ring buffer or iterator is called 'nowhere'",
        ),
        ("snoopkit.event:events:a==1", "struct event: the tag 'snoopkit.event:events:a==1' isn't understood"),
        ("snoopkit.event:events:b=1", "struct 'event' has no member 'b'"),
        ("snoopkit.event:events:c=256", "256 doesn't fit 'c'"),
    ],
)
def test_bad_event_tags(tag: str, expected: str, tmp_path: Path) -> None:
    header = f'struct event {{ int a; char c; }} __attribute__((btf_decl_tag("{tag}")));\n'
    assert expected in str(refusal(*write(tmp_path, header)))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("snoopkit.tail:a=nothing[n]", "isn't understood"), ("snoopkit.tail:a=text[m]", "has no member 'm'")],
)
def test_bad_tail_tags(tag: str, expected: str, tmp_path: Path) -> None:
    header = f'struct event {{ int n; char tail[] __attribute__((btf_decl_tag("{tag}"))); }};\n'
    assert expected in str(refusal(*write(tmp_path, header)))


def test_no_such_file(tmp_path: Path) -> None:
    source, _ = write(tmp_path)
    assert str(refusal(tmp_path / "absent.c")) == f"{tmp_path}/absent.c: there is no such file"
    assert str(refusal(source, tmp_path / "absent.h")) == f"{tmp_path}/absent.h: there is no such file"


def test_missing_headers_have_a_hint(tmp_path: Path) -> None:
    source, header = write(tmp_path, source=PROGRAM.replace("bpf/bpf_helpers.h", "bpf/bpf_absent.h"))
    assert "libbpf-dev" in str(refusal(source, header))


def test_warnings_of_clang_are_kept(tmp_path: Path) -> None:
    package = snoopkit.build(*write(tmp_path, body="int unused = 1 / 0;"))
    assert len(package.warnings) == 1
    assert f"{tmp_path}/x.bpf.c:8:" in package.warnings[0]
