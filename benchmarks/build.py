"""What the benchmarks run besides the tools themselves: made here, into out/, before anything is measured."""

from __future__ import annotations

import compileall
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"

# The event that rows 1 and 2 are measured with, once for each transport; by the name of its file.
EMITTERS = {"emit": (), "emit_ring": ("-DRING",)}
# Sources, and the compiler's flags beyond -O2.
PROGRAMS = {
    "programs/loop.c": [],
    "programs/spawn.c": [],
    "programs/spawns.c": [],
    "programs/tiny.c": ["-static"],
    "readers/default.c": ["-lbpf"],
    "readers/ring.c": ["-lbpf"],
    "readers/watermark.c": ["-lbpf"],
}


def build() -> None:
    import snoopkit

    # As after an installation; without it every start would compile what was edited since.
    compileall.compile_dir(HERE.parent / "src", quiet=2)
    OUT.mkdir(exist_ok=True)
    for name, cflags in EMITTERS.items():
        package = snoopkit.build(HERE / "bpf/emit.bpf.c", HERE / "bpf/emit.h", cflags=cflags)
        package.write(OUT / f"{name}.json")
        (OUT / f"{name}.bpf.o").write_bytes(package.object)
    for source, flags in PROGRAMS.items():
        target = OUT / Path(source).stem
        subprocess.run(["gcc", "-O2", "-Wall", "-o", target, HERE / source, *flags], check=True)
