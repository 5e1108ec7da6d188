"""Rows 1 and 2: what an event costs the program that is traced, and whoever reads it.

A loop of getppid() emits one 52-byte event each, on the last CPU; readers take turns on the first, those of snoopkit
and libbpf with the same compiled program. The calls come in bursts that fit into a ring of 2 MB, with pauses in which
whoever is slower catches up: so nobody's cost is that of losing events. What a wake-up costs depends on where the
reader sleeps, so that two of them take another turn each wherever the scheduler puts them. The bare loop is measured
before each of them and subtracted.
The readers:

- snoopkit, as a user has it: typed Python objects and NumPy arrays in a program, JSON lines and a table by its command,
  into a file;
- libbpf's perf buffer as most tools use it: woken at every event, 256 KB, no timestamps;
- libbpf's ring buffer with its defaults, as large as snoopkit's rings together;
- bpftrace, with a program that prints the event's members, into a file;
- the C floor: woken by watermark, with the same record clock and the same 2 MB a CPU as snoopkit, decoding nothing.

The CPU of a reader is what the kernel charges its process with, from when it has read a few events to when it has read
them all: neither start nor end is in it, whoever it is.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from functools import partial

from ..loop import Loop
from ..measure import Row, Samples, Sitting, at_most, at_most_times, interleave
from ..reading import BUFFER_BYTES, PRINTED, Command, Reader, Reading, by_command, in_c, in_program

NUMBERS = (1, 2)
BARE_CALLS = 200_000
WARM_UP_SHARE = 0.25
SETTLED_SECONDS = 0.1  # all that is in the rings is read by then

FORMS = OBJECTS, NUMPY, JSON, TABLE = "typed objects", "NumPy arrays", "JSON lines", "table rows"
DEFAULT, RING, FLOOR, BPFTRACE = "libbpf perf buffer", "libbpf ring buffer", "C floor", "bpftrace"

ANYWHERE = ", readers anywhere"
FOR_INFORMATION = (TABLE, BPFTRACE)  # no target, and they take their time


def by_bpftrace(pid: int) -> Command:
    members = "nsecs, pid, tid, uid, gid, comm"
    probe = f'tracepoint:syscalls:sys_enter_getppid /pid == {pid}/ {{ printf("%llu %d %d %d %d %s\\n", {members}); }}'
    # What it prints itself waits in a buffer; this comes once all is attached.
    return ["bpftrace", "--unsafe", "-o", PRINTED, "-e", f'BEGIN {{ system("echo ready >&2"); }} {probe}']


def printed(_: str) -> tuple[int, int]:
    text = PRINTED.read_text()
    return text.count(" loop\n"), sum(map(int, re.findall(r"Lost (\d+) events", text)))


READERS = {
    OBJECTS: in_program("objects"),
    NUMPY: in_program("numpy"),
    JSON: by_command("json"),
    TABLE: by_command("table")._replace(calls=100_000, pause_seconds=0.15),
    DEFAULT: in_c("default", "emit", 256 << 10, 60_000),
    RING: in_c("ring", "emit_ring", 2 * BUFFER_BYTES),
    FLOOR: in_c("watermark", "emit", BUFFER_BYTES),
    BPFTRACE: Reader(by_bpftrace, printed, calls=60_000),
}


def traced(loop: Loop, name: str, is_pinned: bool = True) -> Mapping[str, float]:
    """One turn of one reader. Of snoopkit's, every event must be seen, or said to be lost; libbpf's perf buffer says
    nothing of what is lost last."""
    reader = READERS[name]
    bare_ns = loop.ns_per_call(BARE_CALLS)
    reading = Reading(reader, loop.pid, is_pinned=is_pinned)
    warm_up = int(reader.calls * WARM_UP_SHARE)
    loop.in_bursts(warm_up, reader.pause_seconds)
    time.sleep(SETTLED_SECONDS)
    before = reading.used()
    spent_ns = loop.in_bursts(reader.calls, reader.pause_seconds)
    time.sleep(SETTLED_SECONDS)
    after = reading.used()
    received, declared = reading.end()
    calls = warm_up + reader.calls
    if name in FORMS and received + declared != calls:
        sys.exit(
            f"bench: {name}: {received} read of {calls}, {declared} said to be lost: where are the others?"
        )
    counted = max(
        reader.calls * received / calls, 1
    )  # of what was lost, none can say whether it was the warm-up's
    return {
        "traced_ns": spent_ns - bare_ns,
        "reader_ns": (after.cpu_ns - before.cpu_ns) / counted,
        "switches": (after.switches - before.switches) * 1000 / counted,
        "faults": (after.faults - before.faults) * 1000 / counted,
        "lost": 1 - received / calls,
    }


def measure(sitting: Sitting) -> list[Row]:
    names = [name for name in READERS if not sitting.is_quick or name not in FOR_INFORMATION]
    with Loop("loop", warm_up=BARE_CALLS) as loop:
        turns = {name: partial(traced, loop, name) for name in names}
        turns |= {name + ANYWHERE: partial(traced, loop, name, False) for name in (OBJECTS, DEFAULT)}
        found = interleave(turns, sitting.rounds)
    PRINTED.unlink(missing_ok=True)
    for name, samples in found.items():
        if sum(samples["lost"]):
            sitting.note(f"{name} lost {100 * sum(samples['lost']) / sitting.rounds:.2f} % of the events")
    return [*traced_rows(found), *reader_rows(found)]


def traced_rows(found: Mapping[str, Samples]) -> list[Row]:
    what = "an event, to the traced program"
    mine = found[OBJECTS]["traced_ns"]
    rows = [
        Row(1, what, "ns", mine, name, found[name]["traced_ns"], (at_most_times(bound),))
        for name, bound in ((DEFAULT, 0.1), (RING, 0.6), (FLOOR, 1.1))
    ]
    if BPFTRACE in found:
        rows.append(Row(1, what, "ns", mine, BPFTRACE, found[BPFTRACE]["traced_ns"]))
    mine, theirs = (found[name + ANYWHERE]["traced_ns"] for name in (OBJECTS, DEFAULT))
    rows.append(Row(1, what + ANYWHERE, "ns", mine, DEFAULT, theirs, (at_most_times(0.1),)))
    return rows


def reader_rows(found: Mapping[str, Samples]) -> list[Row]:
    rows = []
    for form, targets in (
        (NUMPY, (at_most(60), at_most_times(4))),
        (OBJECTS, (at_most(250),)),
        (JSON, (at_most(600),)),
        (TABLE, ()),
    ):
        if form in found:
            what, mine = f"CPU of the reader for an event, as {form}", found[form]["reader_ns"]
            rows.append(Row(2, what, "ns", mine, FLOOR, found[FLOOR]["reader_ns"], targets))
    for form, name in ((OBJECTS, DEFAULT), (OBJECTS, RING), (TABLE, BPFTRACE)):
        if form in found:
            what, mine = f"CPU of the reader for an event, as {form}", found[form]["reader_ns"]
            rows.append(Row(2, what, "ns", mine, name, found[name]["reader_ns"]))
    for name in (DEFAULT, RING):
        what, mine = "times the reader slept, for 1000 events", found[OBJECTS]["switches"]
        rows.append(Row(2, what, "count", mine, name, found[name]["switches"]))
    return rows
