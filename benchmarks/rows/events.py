"""Rows 1 and 2: what an event costs the program that is traced, and whoever reads it.

A loop of getppid() emits one 52-byte event each, on the last CPU; readers take turns on the first, all with the same
compiled program. The bare loop is measured before each of them and subtracted. The readers:

- snoopkit, as a user has it: a typed Python object for every event; NumPy arrays; JSON lines to a file;
- libbpf's perf buffer as most tools use it: woken at every event, 256 KB, no timestamps;
- libbpf's ring buffer with its defaults, as large as snoopkit's rings together;
- the C floor: woken by watermark, with the same record clock and the same 2 MB a CPU as snoopkit, decoding nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..build import HERE, OUT
from ..loop import Loop
from ..measure import Row, Samples, Sitting, at_most, at_most_times, cpus, interleave

NUMBERS = (1, 2)
BUFFER_BYTES = 2 << 20
PAGE_BYTES = 4096
BARE_CALLS = 200_000

FORMS = OBJECTS, NUMPY, JSON = "typed objects", "NumPy arrays", "JSON lines"
DEFAULT, RING, FLOOR = "libbpf perf buffer", "libbpf ring buffer", "C floor"


class Reader(NamedTuple):
    """A command that gets the traced pid and `size` added, and how many events it is measured with."""

    command: list[str | Path]
    size: int
    calls: int = 400_000


def ours(form: str) -> Reader:
    script = HERE / "readers/snoopkit_reader.py"
    return Reader([sys.executable, script, form, OUT / "emit.json"], BUFFER_BYTES)


READERS = {
    OBJECTS: ours("objects"),
    NUMPY: ours("numpy"),
    JSON: ours("json"),
    DEFAULT: Reader([OUT / "default", OUT / "emit.bpf.o"], (256 << 10) // PAGE_BYTES, 60_000),
    RING: Reader([OUT / "ring", OUT / "emit_ring.bpf.o"], 2 * BUFFER_BYTES // PAGE_BYTES),
    FLOOR: Reader([OUT / "watermark", OUT / "emit.bpf.o"], BUFFER_BYTES // PAGE_BYTES),
}


def traced(loop: Loop, name: str) -> Mapping[str, float]:
    """One turn of one reader. Of snoopkit's, every event must be seen, or said to be lost; libbpf's perf buffer says
    nothing of what is lost last."""
    reader = READERS[name]
    bare_ns = loop.ns_per_call(BARE_CALLS)
    process = subprocess.Popen(
        ["taskset", "-c", str(cpus()[1]), *reader.command, str(loop.pid), str(reader.size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    if process.stdout.readline() != "ready\n":
        process.communicate()
        sys.exit(f"bench: the reader '{name}' did not start")
    spent_ns = loop.ns_per_call(reader.calls)
    result = json.loads(process.communicate()[0])
    lost = reader.calls - result["received"]
    if name in FORMS and lost != result["lost"]:
        sys.exit(f"bench: {name}: {result} for {reader.calls} events: neither seen nor declared lost")
    return {
        "traced_ns": spent_ns - bare_ns,
        "reader_ns": result["cpu_ns"] / reader.calls,
        "switches": result["switches"] * 1000 / reader.calls,
        "lost": lost / reader.calls,
    }


def measure(sitting: Sitting) -> list[Row]:
    with Loop("loop", warm_up=BARE_CALLS) as loop:
        found = interleave({name: lambda name=name: traced(loop, name) for name in READERS}, sitting.rounds)
    for name, samples in found.items():
        if sum(samples["lost"]):
            sitting.note(f"{name} lost {100 * sum(samples['lost']) / sitting.rounds:.2f} % of the events")
    return [*traced_rows(found), *reader_rows(found)]


def traced_rows(found: Mapping[str, Samples]) -> list[Row]:
    what = "an event, to the traced program"
    mine = found[OBJECTS]["traced_ns"]
    return [
        Row(1, what, "ns", mine, name, found[name]["traced_ns"], (at_most_times(bound),))
        for name, bound in ((DEFAULT, 0.1), (RING, 0.6), (FLOOR, 1.1))
    ]


def reader_rows(found: Mapping[str, Samples]) -> list[Row]:
    rows = []
    for form, targets in (
        (NUMPY, (at_most(60), at_most_times(4))),
        (OBJECTS, (at_most(250),)),
        (JSON, (at_most(600),)),
    ):
        what, mine = f"CPU of the reader for an event, as {form}", found[form]["reader_ns"]
        rows.append(Row(2, what, "ns", mine, FLOOR, found[FLOOR]["reader_ns"], targets))
    for name in (DEFAULT, RING):
        what, mine = f"CPU of the reader for an event, as {OBJECTS}", found[OBJECTS]["reader_ns"]
        rows.append(Row(2, what, "ns", mine, name, found[name]["reader_ns"]))
        what, mine = "times the reader slept, for 1000 events", found[OBJECTS]["switches"]
        rows.append(Row(2, what, "count", mine, name, found[name]["switches"]))
    return rows
