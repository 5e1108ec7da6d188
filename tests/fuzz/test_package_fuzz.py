"""Mutants of sound packages: what was inflated is mutated, and packed again, so that no checksum shields it.

Each is refused by PackageError or is a package; then libbpf and the kernel get it, in a child process: opened and
loaded, never attached, by all of the kernel's types and by the extract that a run tries first. Neither may crash, hang
or raise anything but a SnoopkitError.

SNOOPKIT_FUZZ_MUTANTS asks for more than the usual 1,000, SNOOPKIT_FUZZ_SEED for others. A failure names the seed.
"""

from __future__ import annotations

import binascii
import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit.elf import Elf
from snoopkit.errors import PackageError

MUTANTS = int(os.environ.get("SNOOPKIT_FUZZ_MUTANTS", "1000"))
SEED = int(os.environ.get("SNOOPKIT_FUZZ_SEED", "0"))
SHIPPED = Path(__file__).parents[2] / "src/execsnoop/bpf/package.json"
LARGEST_MAPS_BYTES = 32 << 20
LONGEST_READ_SECONDS = 2.0
LONGEST_CHILD_SECONDS = 120

SOURCE = """
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32; typedef int __s32;
typedef unsigned long long __u64; typedef long long __s64; typedef __u16 __be16; typedef __u32 __be32;
typedef __u32 __wsum;
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct task_struct { int tgid; struct task_struct *real_parent; } __attribute__((preserve_access_index));
enum color { RED, GREEN = 7 };
struct event { int pid; enum color color; union { __u64 a; struct { __u32 lo, hi; }; }; char comm[16]; };
#include "x.h"
struct { __uint(type, 27); __uint(max_entries, 4096); } events SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 16); __type(key, __u32); __type(value, struct event); } seen SEC(".maps");
const volatile int pid_target = 7; const volatile _Bool quiet = 1; enum color color = GREEN; char name[8] = "abc";
__u64 count; double ratio;
static int depth(struct task_struct *task) { return BPF_CORE_READ(task, real_parent, tgid); }
SEC("raw_tp/sched_process_exec") int on_exec(void *ctx)
{
    struct event event = {};
    __u32 key = bpf_get_current_pid_tgid() >> 32;
    if (key == pid_target || quiet) return 0;
    event.pid = depth((void *)bpf_get_current_task()); event.color = color; event.comm[0] = name[1]; count++;
    bpf_map_update_elem(&seen, &key, &event, 0);
    bpf_ringbuf_output(&events, &event, sizeof(event), 0);
    return 0;
}
SEC("?raw_tp/sched_process_exit") int on_exit(void *ctx) { return *(volatile __u64 *)&ratio > 1; }
char LICENSE[] SEC("license") = "GPL";
"""

ANNOTATED = {
    "pid_target": {"description": "Process to watch", "cmdarg": {"default": 3, "long": "pid", "short": "p"}},
    "quiet": {"cmdarg": {"default": False}},
    "count": {"value": 5},
}

CHILD = """
import os, sys
import snoopkit
from snoopkit import loader
for path in sys.argv[1:]:
    for by_extract in (False, True):
        os.write(1, f"{path} {'by_extract' if by_extract else 'by_all_types'}:".encode())
        try:
            with loader.open(snoopkit.Package.read(path), by_extract=by_extract) as object:
                outcome = "none"
                if object.by_extract == by_extract:
                    object.load()
                    outcome = "loaded"
        except snoopkit.SnoopkitError as error:
            str(error)
            outcome = type(error).__name__
        os.write(1, f"{outcome}\\n".encode())
"""


@functools.cache
def sound() -> tuple[tuple[bytes, str], ...]:
    """(object, meta as JSON) of the packages that mutants are made of."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.h").write_text("struct inner { int a; };\n")
        (Path(folder) / "x.bpf.c").write_text(SOURCE)
        built = snoopkit.build(Path(folder) / "x.bpf.c", Path(folder) / "x.h")
    skeleton = built.meta["bpf_skel"]
    skeleton["doc"] = {"brief": "A program", "version": "1"}
    for section in skeleton["data_sections"]:
        for variable in section["variables"]:
            variable.update(ANNOTATED.get(variable["name"], {}))
    skeleton["maps"][1]["sample"] = {"interval": 1000, "type": "log2_hist", "unit": "us", "clear_map": True}
    skeleton["progs"][0]["tchook"] = {"ifindex": 1, "attach_point": "BPF_TC_INGRESS"}
    shipped = snoopkit.Package.read(SHIPPED)
    return tuple((p.object, json.dumps(p.meta)) for p in (built, shipped))


def packed(data: bytes, meta: str) -> bytes:
    text = binascii.b2a_base64(zlib.compress(data, 1), newline=False).decode()
    return f'{{"bpf_object":"{text}","bpf_object_size":{len(data)},"meta":{meta}}}'.encode()


def mutant(seed: int) -> bytes:
    chance = random.Random(seed)
    data, meta = chance.choice(sound())
    kind = seed % 4
    if kind == 3:
        if chance.random() < 0.3:
            return packed(data, mutated_bytes(chance, meta.encode(), 0, len(meta)).decode("latin-1"))
        return packed(data, json.dumps(mutated_meta(chance, json.loads(meta))))
    elf = Elf.parse(data)
    if kind == 0:
        # Anywhere in the ELF, its tables most of all: they begin where the last section ends.
        begin = chance.choice(
            (0, 0, 64, len(data) - 64 * len(elf.sections), len(data) - 64 * len(elf.sections))
        )
        end = 64 if begin == 0 else len(data)
    else:
        name = ".BTF" if chance.random() < 0.8 else ".BTF.ext"
        section = elf.section(name)
        assert section is not None
        begin, end = section.offset, section.offset + section.size
    return packed(mutated_bytes(chance, data, begin, end), meta)


def mutated_bytes(chance: random.Random, data: bytes, begin: int, end: int) -> bytes:
    mutated = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(begin, end)
        how = chance.randrange(6)
        if how == 0:
            mutated[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            mutated[at] = chance.randrange(256)
        elif how == 2:
            mutated[at] = (mutated[at] + chance.choice((-1, 1))) % 256
        elif how == 3:
            word = chance.choice((0, 1, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chance.randrange(1 << 32)))
            at &= ~3
            mutated[at : at + 4] = word.to_bytes(4, "little")[: len(mutated) - at]
        elif how == 4:
            source = chance.randrange(begin, end) & ~3
            at &= ~3
            piece = bytes(mutated[source : source + 4])
            mutated[at : at + len(piece)] = piece[: max(len(mutated) - at, 0)]
        else:
            at &= ~3
            word = (int.from_bytes(mutated[at : at + 4], "little") + chance.randrange(-4, 5)) % (1 << 32)
            mutated[at : at + 4] = word.to_bytes(4, "little")[: len(mutated) - at]
    return bytes(mutated)


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**32, 2**64, 10**30, 1.5, 1e308, "", "x", "\0", "\ud800", "\u202e", "-h",
    "events", ".rodata", ".maps", [], {}, [[]], [None], {"name": 1}, "a" * 5000, [{}] * 10,
)  # fmt: skip


def mutated_meta(chance: random.Random, meta: Any) -> Any:
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key])

    walk(meta)
    for _ in range(chance.choice((1, 1, 2, 3))):
        holder, key = chance.choice(places)
        how = chance.randrange(5)
        if isinstance(holder, dict) and key not in holder:
            continue
        if how == 0 and isinstance(holder, dict):
            del holder[key]
        elif how == 1:
            other, other_key = chance.choice(places)
            if isinstance(other, list) or other_key in other:
                holder[key] = json.loads(json.dumps(other[other_key]))
        elif how == 2 and type(holder[key]) is int:
            holder[key] += chance.choice((-1, 1, 7, 1 << 16))
        else:
            holder[key] = chance.choice(VALUES)
    return meta


def read(seed: int) -> snoopkit.Package | None:
    """The package that a mutant is, None if it was refused as it should be."""
    data = mutant(seed)
    started = time.monotonic()
    try:
        package = snoopkit.Package.read(data)
    except PackageError as error:
        package = None
        assert str(error).isprintable(), f"seed {seed}: {str(error)!r} goes to a terminal"
    except BaseException as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    assert time.monotonic() - started < LONGEST_READ_SECONDS, f"seed {seed}: reading took too long"
    return package


@functools.cache
def readable() -> tuple[int, ...]:
    """The seeds of those that are packages, and don't ask for more memory than a test may take."""
    seeds = []
    for seed in range(SEED, SEED + MUTANTS):
        package = read(seed)
        if package is not None:
            assert all(warning.isprintable() for warning in package.warnings), (
                f"seed {seed}: {package.warnings}"
            )
            assert snoopkit.Package.parse(package.dumps()).dumps() == package.dumps(), f"seed {seed}"
            if largest(package) <= LARGEST_MAPS_BYTES:
                seeds.append(seed)
    return tuple(seeds)


def test_mutants_are_refused_or_read() -> None:
    # Were all refused, nothing would be tested behind; were none, nothing would be refused.
    assert 0.05 * MUTANTS < len(readable()) < 0.9 * MUTANTS


@pytest.mark.kernel
def test_what_is_read_loads_or_is_refused(tmp_path: Path) -> None:
    outcomes: dict[str, int] = {}
    waiting = list(readable())
    while waiting:
        lot, waiting = waiting[:100], waiting[100:]
        paths = []
        for seed in lot:
            paths.append(str(tmp_path / str(seed)))
            Path(paths[-1]).write_bytes(mutant(seed))
        for outcome in in_child(paths):
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(outcomes)
    assert outcomes.get("by_all_types:loaded", 0) > 0 and outcomes.get("by_extract:loaded", 0) > 0


def largest(package: snoopkit.Package) -> int:
    cpus = os.cpu_count() or 1
    return max(
        (spec.max_entries * max(spec.key_size + spec.value_size, 1) * cpus for spec in package.maps.values()),
        default=0,
    )


def in_child(paths: list[str]) -> list[str]:
    """What became of each; a crash, a hang or a traceback fails the test and names the mutant."""
    try:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", CHILD, *paths],
            capture_output=True,
            text=True,
            timeout=LONGEST_CHILD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        last = (error.stdout or b"").decode().split("\n")[-1]
        raise AssertionError(f"hangs: {last}") from None
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"status {done.returncode} at {lines[-1:]}: {done.stderr}"
    return [line.split()[1] for line in lines]
