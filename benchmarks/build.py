"""What the benchmarks run besides the tools themselves: made here, into out/, before anything is measured."""

from __future__ import annotations

import compileall
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"

# What makes the events: by the name of its file, its source and what that is compiled with.
EMITTERS = {
    "emit": ("emit", ()),
    "emit_ring": ("emit", ("-DRING",)),
    "storm_64": ("storm", ("-DEVENT_BYTES=64",)),
    "storm_1024": ("storm", ("-DEVENT_BYTES=1024",)),
}
# Sources, and the compiler's flags beyond -O2.
PROGRAMS = {
    "programs/loop.c": [],
    "programs/spawn.c": [],
    "programs/spawns.c": [],
    "programs/storm.c": ["-pthread"],
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
    for name, (source, cflags) in EMITTERS.items():
        package = snoopkit.build(HERE / f"bpf/{source}.bpf.c", HERE / f"bpf/{source}.h", cflags=cflags)
        package.write(OUT / f"{name}.json")
        (OUT / f"{name}.bpf.o").write_bytes(package.object)
    for source, flags in PROGRAMS.items():
        target = OUT / Path(source).stem
        subprocess.run(["gcc", "-O2", "-Wall", "-o", target, HERE / source, *flags], check=True)
