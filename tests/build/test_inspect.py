"""`snoopkit inspect`: what it says of a package is what the package's source says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit.describe import describe

SNOOPKIT = str(Path(sys.executable).parent / "snoopkit")
KERNEL_BPF = Path(__file__).parents[1] / "kernel" / "bpf"
SHIPPED = Path(__file__).parents[2] / "src" / "execsnoop" / "bpf" / "package.json"
SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/// Only processes with this id
const volatile int target_pid = -1;

struct event { int pid; unsigned flag : 3; char name[16]; };
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096);
} events SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, int); __type(value, struct event);
} seen SEC(".maps");

static __attribute__((noinline)) long poke(void *where)
{
    int zero = 0;
    return bpf_probe_write_user(where, &zero, sizeof(zero));
}

__attribute__((noinline)) int indirectly(void *where) { return poke(where); }

static long each(__u32 index, void *ctx) { return bpf_get_prandom_u32() & 1; }

SEC("tracepoint/syscalls/sys_enter_openat") int reads(void *ctx) { return bpf_get_current_pid_tgid() == target_pid; }
SEC("raw_tp/sys_enter") int writes(void *ctx) { return indirectly(ctx); }
SEC("tp_btf/sched_switch") int loops(void *ctx) { return bpf_loop(3, each, 0, 0); }
SEC("?xdp") int drops(void *ctx) { return 1; }
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "some.bpf.c"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module")
def found(source: Path) -> dict[str, Any]:
    done = subprocess.run(
        [SNOOPKIT, "inspect", "--json", "--event", "events=event", source],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_keys_that_scripts_rely_on(found: dict[str, Any]) -> None:
    assert {"programs", "maps", "events", "options", "capabilities", "sha256"} <= set(found)
    assert re.fullmatch("[0-9a-f]{64}", found["sha256"])


def test_programs_their_hooks_and_what_they_call(found: dict[str, Any]) -> None:
    programs = {one["name"]: one for one in found["programs"]}
    assert {name: (one["type"], one["hook"], one["optional"]) for name, one in programs.items()} == {
        "reads": ("tracepoint", "syscalls/sys_enter_openat", False),
        "writes": ("raw_tracepoint", "sys_enter", False),
        "loops": ("tp_btf", "sched_switch", False),
        "drops": ("xdp", None, True),
    }
    assert programs["reads"]["helpers"] == ["bpf_get_current_pid_tgid"]
    assert programs["writes"]["helpers"] == ["bpf_probe_write_user"]
    assert programs["loops"]["helpers"] == ["bpf_get_prandom_u32", "bpf_loop"]
    assert programs["drops"]["helpers"] == []
    assert [name for name, one in programs.items() if one["writes"]] == ["writes"]
    assert programs["writes"]["capabilities"] == ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"]
    assert programs["drops"]["capabilities"] == ["CAP_BPF", "CAP_NET_ADMIN"]


def test_what_all_need_together(found: dict[str, Any]) -> None:
    assert found["capabilities"] == ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"]
    assert found["features"] == [
        "BPF ring buffers (5.8)",
        "kernel BTF",
        "raw tracepoints (4.17)",
        "tracefs",
        "typed raw tracepoints (5.5)",
    ]


def test_maps_events_and_options(found: dict[str, Any]) -> None:
    assert [
        (one["name"], one["type"], one["key"], one["value"], one["max_entries"]) for one in found["maps"]
    ] == [
        ("events", "ringbuf", None, None, 4096),
        ("seen", "hash", "int", "struct event", 8),
    ]
    (event,) = found["events"]
    assert (event["map"], event["struct"], event["size_bytes"]) == ("events", "event", 24)
    assert event["members"] == [
        {"name": "pid", "type": "int", "offset_bytes": 0, "size_bytes": 4},
        {
            "name": "flag",
            "type": "unsigned int",
            "offset_bytes": 4,
            "size_bytes": 4,
            "bit_offset": 0,
            "bit_size": 3,
        },
        {"name": "name", "type": "char[16]", "offset_bytes": 5, "size_bytes": 16, "count": 16},
    ]
    (option,) = found["options"]
    assert (option["name"], option["default"], option["help"]) == (
        "target_pid",
        -1,
        "Only processes with this id",
    )


def test_the_sha256_is_that_of_the_package_file(found: dict[str, Any], source: Path) -> None:
    done = subprocess.run(["sha256sum", SHIPPED], capture_output=True, text=True, check=True)
    assert describe(snoopkit.Package.read(SHIPPED))["sha256"] == done.stdout.split()[0]


def test_helpers_are_those_that_the_disassembler_sees() -> None:
    """execsnoop's programs have everything in one function each, or in .text."""
    package = snoopkit.Package.read(SHIPPED)
    ours = {number for one in describe(package)["programs"] for number in one["helpers"]}
    text = subprocess.run(
        ["llvm-objdump", "-d", "-"], input=package.object, capture_output=True, check=True
    ).stdout.decode()
    from snoopkit.abi import HELPERS

    seen = {
        f"bpf_{HELPERS[int(number)]}" for number in re.findall(r"\b85 00 00 00 [0-9a-f ]+\tcall (\d+)", text)
    }
    assert ours == seen


def test_names_are_the_kernels() -> None:
    """The header of libbpf that programs are compiled with has the same numbers."""
    from snoopkit.abi import HELPERS, MAP_TYPES, WRITERS

    text = Path("/usr/include/linux/bpf.h").read_text()
    names = re.findall(r"^\tFN\((\w+)", text, re.MULTILINE)
    assert HELPERS[: len(names)] == names
    body = text.partition("enum bpf_map_type {")[2].partition("}")[0]
    maps = [name.lower() for name in re.findall(r"BPF_MAP_TYPE_(\w+),", body)]
    assert MAP_TYPES[: len(maps)] == maps
    assert set(HELPERS) >= WRITERS


def test_for_people(source: Path) -> None:
    done = subprocess.run(
        [SNOOPKIT, "inspect", "--event", "events=event", source], capture_output=True, text=True, check=True
    )
    for line in (
        r"some_bpf  sha256:[0-9a-f]{64}",
        r"needs  CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN",
        r"reads    tracepoint      syscalls/sys_enter_openat",
        r"drops    xdp             -  +\(off unless asked for\)",
        r"  writes can change what is not its own: bpf_probe_write_user",
        r"EVENT event: 24 bytes, through events",
        r"\+4  +4  +unsigned int  flag:3",
        r"--target_pid  int  +-1  +Only processes with this id",
    ):
        assert re.search(f"^{line}$", done.stdout, re.MULTILINE), (line, done.stdout)


def build_annotated() -> snoopkit.Package:
    return snoopkit.build(KERNEL_BPF / "stack_trace.bpf.c", KERNEL_BPF / "stack_trace.h")


def test_stacks_are_told_from_numbers(tmp_path: Path) -> None:
    """By our tags, and by eunomia-bpf's annotation of a map."""
    expected: dict[snoopkit.Package, dict[str, tuple[str | None, str | None]]] = {
        snoopkit.build(KERNEL_BPF / "stacks.bpf.c"): {
            "kernel_id": ("stacks", None),
            "user_id": ("stacks", None),
            "user": (None, None),
        },
        build_annotated(): {"kstack": (None, "kstack_sz"), "ustack": (None, "ustack_sz")},
    }
    for package, stacks in expected.items():
        (event,) = describe(package)["events"]
        marked = {member["name"]: member["stack"] for member in event["members"] if "stack" in member}
        assert {one: (how["map"], how["size_member"]) for one, how in marked.items()} == stacks
        package.write(tmp_path / "package.json")
        done = subprocess.run(
            [SNOOPKIT, "inspect", tmp_path / "package.json"], capture_output=True, text=True, check=True
        )
        lines = [line for line in done.stdout.splitlines() if "a stack" in line]
        assert [re.split(" {2,}", line)[3:] for line in lines] == [
            [one, f"a stack's number in {map}" if map else f"a stack of {size} bytes" if size else "a stack"]
            for one, (map, size) in stacks.items()
        ]


def test_a_stack_that_cannot_be_one_is_warned_of() -> None:
    package = build_annotated()
    meta = json.loads(json.dumps(package.meta))
    (events,) = (map for map in meta["bpf_skel"]["maps"] if map["name"] == "events")
    events["intepreter"]["stack_trace"]["field_map"]["ustack"] = "comm"
    found = describe(snoopkit.Package(package.object, meta))
    assert found["warnings"][-1].endswith("char[16] comm isn't a stack trace")
    assert all("stack" not in member for member in found["events"][0]["members"])


@pytest.mark.parametrize(
    "path", sorted(set(KERNEL_BPF.glob("*.bpf.c")) - {KERNEL_BPF / "tally.bpf.c"}), ids=lambda path: path.name
)
def test_whatever_can_be_compiled_can_be_described(path: Path) -> None:
    done = subprocess.run([SNOOPKIT, "inspect", "--json", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["programs"]
