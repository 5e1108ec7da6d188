"""Row 7: how much memory a reader has after a million events, and whether another million makes it more.

The events are those of rows 1 and 2, from a loop that is not slowed down. What is resident counts: Python, libraries
and rings too, those shared with others as well. bpftrace has a tenth of the events, for it takes its time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..loop import Loop
from ..measure import Row, Sitting, at_most, interleave
from ..reading import PRINTED, Reader, Reading, by_command, in_program
from .events import BPFTRACE, READERS, SETTLED_SECONDS

NUMBERS = (7,)
EVENTS = 1_000_000
MOST_ROUNDS = 3
WARM_UP = 100_000
MB = 1e6
GROWTH_MB = 1.0  # what an allocator may keep at one time and not at another

OURS: dict[str, Reader] = {
    "typed objects, in a program": in_program("objects"),
    "NumPy arrays, in a program": in_program("numpy"),
    "JSON lines, by snoopkit run": by_command("json"),
    "table rows, by snoopkit run": by_command("table"),
}
WITHOUT_NUMPY = [name for name in OURS if "NumPy" not in name]


def turn(loop: Loop, reader: Reader) -> Mapping[str, float]:
    events = EVENTS if reader in OURS.values() else EVENTS // 10
    reading = Reading(reader, loop.pid)
    loop.ns_per_call(events)
    time.sleep(SETTLED_SECONDS)
    after_one = reading.memory_bytes()
    loop.ns_per_call(events)
    time.sleep(SETTLED_SECONDS)
    after_two = reading.memory_bytes()
    reading.end()
    return {"after": after_one / MB, "growth": (after_two - after_one) / MB}


def measure(sitting: Sitting) -> list[Row]:
    readers = {**OURS, BPFTRACE: READERS[BPFTRACE]}
    with Loop("loop", warm_up=WARM_UP) as loop:
        turns = {name: lambda reader=reader: turn(loop, reader) for name, reader in readers.items()}
        found = interleave(turns, min(sitting.rounds, MOST_ROUNDS))
    PRINTED.unlink(missing_ok=True)
    peer = found[BPFTRACE]
    rows = []
    for name in OURS:
        targets = (at_most(40),) if name in WITHOUT_NUMPY else ()
        what = f"memory after a million events, as {name}"
        rows.append(Row(7, what, "MB", found[name]["after"], BPFTRACE, peer["after"], targets))
        rows.append(
            Row(7, "more after another million", "MB", found[name]["growth"], targets=(at_most(GROWTH_MB),))
        )
    return rows
