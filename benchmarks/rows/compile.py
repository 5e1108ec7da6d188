"""Row 8: what `snoopkit build` adds to clang itself, on the same file with the same vmlinux.h and headers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from ..build import HERE, OUT
from ..measure import Row, Sitting, at_most_times, interleave

NUMBERS = (8,)
SNOOPKIT = HERE.parent / ".venv/bin/snoopkit"
SOURCES = {
    "with vmlinux.h": HERE / "bpf/emit.bpf.c",
    "of execsnoop": HERE.parent / "src/execsnoop/bpf/execsnoop.bpf.c",
}


def measure(sitting: Sitting) -> list[Row]:
    return [compared(sitting, f"building a package {what}", source) for what, source in SOURCES.items()]


def compared(sitting: Sitting, what: str, source: Path) -> Row:
    ours, clang = commands(source)
    found = interleave({"ours": lambda: run(ours), "clang": lambda: run(clang)}, sitting.rounds, warm_up=1)
    return Row(8, what, "ms", found["ours"]["ms"], "clang alone", found["clang"]["ms"], (at_most_times(1.2),))


def commands(source: Path) -> tuple[list[str | Path], list[str | Path]]:
    from snoopkit.compiler import find_clang
    from snoopkit.vmlinux import cached_header

    header = source.with_name(source.name.replace(".bpf.c", ".h"))
    target = OUT / "compiled"
    clang: list[str | Path] = [find_clang(), "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86"]
    clang += ["-Wno-unknown-attributes", "-I", HERE.parent / "src/snoopkit/include", "-I", cached_header()]
    clang += ["-idirafter", "/usr/include/x86_64-linux-gnu", "-c", source, "-o", target]
    return [SNOOPKIT, "build", source, header, "-o", target.with_suffix(".json")], clang


def run(command: list[str | Path]) -> Mapping[str, float]:
    started = time.monotonic()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return {"ms": (time.monotonic() - started) * 1000}
