"""Rows 1 and 2: what an event costs the program that is traced, and whoever reads it.

A loop of getppid() emits one 52-byte event each, on the last CPU; readers take turns on the first, those of snoopkit
and libbpf with the same compiled program. The bare loop is measured before each of them and subtracted. The readers:

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

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ..build import HERE, OUT
from ..loop import Loop
from ..measure import Row, Samples, Sitting, at_most, at_most_times, cpus, interleave

NUMBERS = (1, 2)
BUFFER_BYTES = 2 << 20
PAGE_BYTES = 4096
BARE_CALLS = 200_000
WARM_UP = 20_000
SETTLED_SECONDS = 0.1  # all that is in the rings is read by then

FORMS = OBJECTS, NUMPY, JSON, TABLE = "typed objects", "NumPy arrays", "JSON lines", "table rows"
DEFAULT, RING, FLOOR, BPFTRACE = "libbpf perf buffer", "libbpf ring buffer", "C floor", "bpftrace"
PRINTED = OUT / "events.txt"

Command = list[str | Path]


class Reader(NamedTuple):
    """`command(pid)` traces that process, writes a line once it is ready, and ends by SIGINT or, if it `ends_by_input`,
    when its input does. `count(said)` gives the events it has read and what it says is lost."""

    command: Callable[[int], Command]
    count: Callable[[str], tuple[int, int]]
    ends_by_input: bool = False
    calls: int = 400_000


def reported(said: str) -> tuple[int, int]:
    result = json.loads(said)
    return result["received"], result["lost"]


def summarized(said: str) -> tuple[int, int]:
    found = re.search(r"events=(\d+) lost=(\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


def printed(_: str) -> tuple[int, int]:
    text = PRINTED.read_text()
    return text.count(" loop\n"), sum(map(int, re.findall(r"Lost (\d+) events", text)))


def in_program(form: str) -> Reader:
    command: Command = [sys.executable, HERE / "readers/snoopkit_reader.py", form, OUT / "emit.json"]
    return Reader(lambda pid: [*command, str(pid), str(BUFFER_BYTES)], reported, True)


def by_command(form: str) -> Reader:
    command: Command = [HERE.parent / ".venv/bin/snoopkit", "run", "--format", form, "-o", PRINTED]
    command += ["--ready-fd", "1", "--buffer-size", str(BUFFER_BYTES), OUT / "emit.json", "--targ_pid"]
    return Reader(lambda pid: [*command, str(pid)], summarized)


def in_c(name: str, emitter: str, pages: int, calls: int = 400_000) -> Reader:
    return Reader(lambda pid: [OUT / name, OUT / emitter, str(pid), str(pages)], reported, True, calls)


def by_bpftrace(pid: int) -> Command:
    members = "nsecs, pid, tid, uid, gid, comm"
    probe = f'tracepoint:syscalls:sys_enter_getppid /pid == {pid}/ {{ printf("%llu %d %d %d %d %s\\n", {members}); }}'
    # What it prints itself waits in a buffer; this comes once all is attached.
    return ["bpftrace", "--unsafe", "-o", PRINTED, "-e", f'BEGIN {{ system("echo ready >&2"); }} {probe}']


READERS = {
    OBJECTS: in_program("objects"),
    NUMPY: in_program("numpy"),
    JSON: by_command("json"),
    TABLE: by_command("table"),
    DEFAULT: in_c("default", "emit.bpf.o", (256 << 10) // PAGE_BYTES, 60_000),
    RING: in_c("ring", "emit_ring.bpf.o", 2 * BUFFER_BYTES // PAGE_BYTES),
    FLOOR: in_c("watermark", "emit.bpf.o", BUFFER_BYTES // PAGE_BYTES),
    BPFTRACE: Reader(by_bpftrace, printed, calls=60_000),
}


class Used(NamedTuple):
    """What a process has used so far."""

    cpu_ns: int
    switches: int
    faults: int


def used_by(pid: int) -> Used:
    cpu_ns = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M)
        switches += int(found[1]) if found else 0
    return Used(cpu_ns, switches, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7]))


def traced(loop: Loop, name: str) -> Mapping[str, float]:
    """One turn of one reader. Of snoopkit's, every event must be seen, or said to be lost; libbpf's perf buffer says
    nothing of what is lost last."""
    reader = READERS[name]
    bare_ns = loop.ns_per_call(BARE_CALLS)
    process = subprocess.Popen(
        ["taskset", "-c", str(cpus()[1]), *reader.command(loop.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = []
    while (line := process.stdout.readline()) not in ("ready\n", "\n"):
        if not line:
            sys.exit(f"bench: the reader '{name}' did not start: {''.join(said)}")
        said.append(line)
    loop.ns_per_call(WARM_UP)
    time.sleep(SETTLED_SECONDS)
    before = used_by(process.pid)
    spent_ns = loop.ns_per_call(reader.calls)
    time.sleep(SETTLED_SECONDS)
    after = used_by(process.pid)
    if not reader.ends_by_input:
        process.send_signal(signal.SIGINT)
    received, declared = reader.count(process.communicate()[0])
    calls = WARM_UP + reader.calls
    lost = calls - received
    if name in FORMS and lost != declared:
        sys.exit(
            f"bench: {name}: {received} read of {calls}, {declared} declared lost: where are the others?"
        )
    counted = max(reader.calls - lost, 1)
    return {
        "traced_ns": spent_ns - bare_ns,
        "reader_ns": (after.cpu_ns - before.cpu_ns) / counted,
        "switches": (after.switches - before.switches) * 1000 / counted,
        "faults": (after.faults - before.faults) * 1000 / counted,
        "lost": lost / calls,
    }


def measure(sitting: Sitting) -> list[Row]:
    with Loop("loop", warm_up=BARE_CALLS) as loop:
        found = interleave({name: lambda name=name: traced(loop, name) for name in READERS}, sitting.rounds)
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
    return [*rows, Row(1, what, "ns", mine, BPFTRACE, found[BPFTRACE]["traced_ns"])]


def reader_rows(found: Mapping[str, Samples]) -> list[Row]:
    rows = []
    for form, targets in (
        (NUMPY, (at_most(60), at_most_times(4))),
        (OBJECTS, (at_most(250),)),
        (JSON, (at_most(600),)),
        (TABLE, ()),
    ):
        what, mine = f"CPU of the reader for an event, as {form}", found[form]["reader_ns"]
        rows.append(Row(2, what, "ns", mine, FLOOR, found[FLOOR]["reader_ns"], targets))
    for form, name in ((OBJECTS, DEFAULT), (OBJECTS, RING), (TABLE, BPFTRACE)):
        what, mine = f"CPU of the reader for an event, as {form}", found[form]["reader_ns"]
        rows.append(Row(2, what, "ns", mine, name, found[name]["reader_ns"]))
    for name in (DEFAULT, RING):
        what, mine = "times the reader slept, for 1000 events", found[OBJECTS]["switches"]
        rows.append(Row(2, what, "count", mine, name, found[name]["switches"]))
    return rows
