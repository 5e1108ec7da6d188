"""What snoopkit costs against its peers, in under a minute: `make bench-quick`, or ARGS="-o result.json".

1. What an event costs the program that is traced, and the reader. A loop of getppid() emits one 52-byte event each;
   readers take turns with the same compiled program, the bare loop is measured between them and subtracted:
   snoopkit (a typed Python object for every event; NumPy arrays; JSON lines), libbpf's perf buffer as most tools use it
   (woken at every event, 256 KB, no timestamps), and a C reader that wakes by watermark, with the same record clock
   and the same 2 MB as snoopkit, and decodes nothing: the floor. The loop has the last CPU, the reader the first.
2. How long after its start a tool shows its first event: a program runs every 2 ms, and the clock stops when its row
   is on the tool's terminal: execsnoop against libbpf-tools' execsnoop.

Values are medians over rounds; the spread is half the distance between the quartiles.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import pty
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
PEER = "/usr/sbin/execsnoop"
OURS = str(HERE.parent / ".venv/bin/execsnoop")
BUFFER_BYTES = 2 << 20
DEFAULT_BUFFER_BYTES = 256 << 10  # 64 pages, as libbpf-tools has it

Samples = dict[str, list[float]]


def fail(text: str) -> NoReturn:
    sys.exit(f"bench: {text}")


# --- building ---------------------------------------------------------------------------------------------


def build() -> None:
    import snoopkit

    # As after an installation; without it every start would compile what was edited since.
    compileall.compile_dir(HERE.parent / "src", quiet=2)
    OUT.mkdir(exist_ok=True)
    package = snoopkit.build(HERE / "bpf/emit.bpf.c", HERE / "bpf/emit.h")
    package.write(OUT / "emit.json")
    (OUT / "emit.bpf.o").write_bytes(package.object)
    libbpf = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libbpf"], check=True, capture_output=True, text=True
    ).stdout.split()
    for source, flags in (
        ("programs/loop.c", []),
        ("programs/spawn.c", []),
        ("readers/default.c", libbpf),
        ("readers/watermark.c", libbpf),
    ):
        target = OUT / Path(source).stem
        subprocess.run(["gcc", "-O2", "-Wall", "-o", target, HERE / source, *flags], check=True)


# --- what an event costs ----------------------------------------------------------------------------------


class Loop:
    """The traced program."""

    def __init__(self, cpu: int) -> None:
        self.process = subprocess.Popen(
            ["taskset", "-c", str(cpu), OUT / "loop"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._answer()

    def _answer(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def ns_per_call(self, calls: int) -> float:
        assert self.process.stdin
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        return self._answer() / calls

    def close(self) -> None:
        self.process.communicate()


FORMS = {"snoopkit": "objects", "snoopkit NumPy": "numpy", "snoopkit JSON": "json"}
READERS: dict[str, tuple[list[str | Path], int, int]] = {
    **{
        name: (
            [sys.executable, HERE / "readers/snoopkit_reader.py", form, OUT / "emit.json"],
            BUFFER_BYTES,
            400_000,
        )
        for name, form in FORMS.items()
    },
    "libbpf default": ([OUT / "default", OUT / "emit.bpf.o"], DEFAULT_BUFFER_BYTES // 4096, 60_000),
    "C watermark": ([OUT / "watermark", OUT / "emit.bpf.o"], BUFFER_BYTES // 4096, 400_000),
}


def traced(loop: Loop, name: str, cpu: int, bare_ns: float) -> dict[str, float]:
    command, size, calls = READERS[name]
    process = subprocess.Popen(
        ["taskset", "-c", str(cpu), *command, str(loop.pid), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    if process.stdout.readline() != "ready\n":
        process.communicate()
        fail(f"the reader '{name}' did not start")
    spent_ns = loop.ns_per_call(calls)
    result = json.loads(process.communicate()[0])
    if result["received"] + result["lost"] != calls:
        fail(f"{name}: {result} for {calls} events: neither seen nor declared lost")
    return {
        "traced_ns": spent_ns - bare_ns,
        "reader_ns": result["cpu_ns"] / calls,
        "switches": result["switches"] * 1000 / calls,
        "lost": result["lost"],
    }


def event_costs(rounds: int) -> tuple[dict[str, Samples], list[float]]:
    cpus = sorted(os.sched_getaffinity(0))
    samples: dict[str, Samples] = {name: {} for name in READERS}
    bare: list[float] = []
    loop = Loop(cpus[-1])
    try:
        loop.ns_per_call(200_000)
        for turn in range(rounds):
            names = list(READERS)
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                bare.append(loop.ns_per_call(200_000))
                for key, value in traced(loop, name, cpus[0], bare[-1]).items():
                    samples[name].setdefault(key, []).append(value)
    finally:
        loop.close()
    return samples, bare


# --- start to first event ---------------------------------------------------------------------------------


def first_event_ms(command: list[str], marker: bytes) -> float:
    ours, theirs = pty.openpty()  # a terminal, so that neither tool holds its rows back in a buffer
    seen = b""
    try:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        try:
            while marker not in seen:
                if not select.select([ours], [], [], 10)[0]:
                    fail(f"{command[0]} showed nothing in ten seconds but: {seen.decode(errors='replace')}")
                seen += os.read(ours, 65536)
            return (time.monotonic() - start) * 1000
        finally:
            process.terminate()
            while process.poll() is None:
                if select.select([ours], [], [], 0.02)[0]:
                    os.read(ours, 65536)  # so that it can't block on a full terminal
    finally:
        os.close(theirs)
        os.close(ours)


def starts(rounds: int) -> Samples:
    marker = f"marker-{os.getpid()}"
    spawner = subprocess.Popen([OUT / "spawn", marker, "2"])
    samples: Samples = {OURS: [], PEER: []}
    try:
        for turn in range(rounds + 1):
            for command in (OURS, PEER) if turn % 2 else (PEER, OURS):
                took_ms = first_event_ms([command], marker.encode())
                if turn:  # the first turn fills the page cache
                    samples[command].append(took_ms)
    finally:
        spawner.kill()
        spawner.wait()
    return samples


# --- the table --------------------------------------------------------------------------------------------


def spread(values: list[float]) -> float:
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2


def row(name: str, unit: str, ours: list[float], peer: str, theirs: list[float]) -> dict[str, object]:
    value, peer_value = statistics.median(ours), statistics.median(theirs)
    return {
        "row": name,
        "unit": unit,
        "value": value,
        "spread": spread(ours),
        "peer": peer,
        "peer_value": peer_value,
        "peer_spread": spread(theirs),
        "ratio": value / peer_value if peer_value else None,
        "samples": ours,
        "peer_samples": theirs,
    }


def show(rows: list[dict[str, object]]) -> None:
    lines = [("row", "value", "peer", "ratio")]
    for r in rows:
        ratio = "-" if r["ratio"] is None else f"{r['ratio']:.2f}"
        lines.append(
            (
                f"{r['row']}, {r['unit']}",
                f"{r['value']:.1f} ±{r['spread']:.1f}",
                f"{r['peer']}: {r['peer_value']:.1f} ±{r['peer_spread']:.1f}",
                ratio,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description="snoopkit against its peers, in under a minute")
    parser.add_argument("-o", metavar="FILE", help="write everything measured, every sample too, as JSON")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison (default: 7)")
    arguments = parser.parse_args()
    if os.geteuid():
        fail("loading programs into the kernel needs root")
    began = time.monotonic()
    load = os.getloadavg()[0]
    build()
    samples, bare = event_costs(max(arguments.rounds, 2))
    start = starts(max(arguments.rounds, 2))
    rows = []
    for peer in ("libbpf default", "C watermark"):
        for key, name, unit in (
            ("traced_ns", "cost of an event to the traced program", "ns"),
            ("reader_ns", "CPU of the reader for an event", "ns"),
            ("switches", "times the reader slept, for 1000 events", "count"),
        ):
            rows.append(row(name, unit, samples["snoopkit"][key], peer, samples[peer][key]))
    for ours, what in (("snoopkit NumPy", "NumPy arrays"), ("snoopkit JSON", "JSON lines")):
        name, theirs = f"CPU of the reader for an event, as {what}", samples["C watermark"]["reader_ns"]
        rows.append(row(name, "ns", samples[ours]["reader_ns"], "C watermark", theirs))
    rows.append(row("start to the first row of execsnoop", "ms", start[OURS], "libbpf-tools", start[PEER]))
    show(rows)
    lost = {name: int(sum(values["lost"])) for name, values in samples.items()}
    print(
        f"bare call {statistics.median(bare):.0f} ns; events lost: "
        + ", ".join(
            f"{name} {count} of {READERS[name][2] * len(bare) // len(READERS)}"
            for name, count in lost.items()
        )
        + f"; {time.monotonic() - began:.0f} s"
    )
    if load > 0.5:
        print(
            f"this machine was busy before (load {load:.1f} on {os.cpu_count()} CPUs): trust no figure",
            file=sys.stderr,
        )
    if arguments.o:
        machine = {
            "kernel": platform.release(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load": load,
        }
        result = {"machine": machine, "bare_ns": bare, "lost": lost, "rows": rows}
        Path(arguments.o).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
