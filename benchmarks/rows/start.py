"""Row 4: from a tool's start to its first row on the terminal, and from Ctrl-C until it is gone.

A program runs every 2 ms; the clock stops when the first of them is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from .. import peers
from ..measure import Row, Sitting, at_most_times, interleave

NUMBERS = (4,)
TARGETS = {peers.LIBBPF: (at_most_times(2.5),), peers.BPFTRACE: (at_most_times(1 / 3),), peers.BCC: ()}


def measure(sitting: Sitting) -> list[Row]:
    with peers.spawner():
        tools = [peers.OURS, *(name for name in TARGETS if peers.works(name, sitting.note))]
        found = interleave({name: lambda name=name: once(name) for name in tools}, sitting.rounds, warm_up=1)
    ours = found[peers.OURS]
    rows = []
    for key, what in (
        ("first_row_ms", "start to the first row of execsnoop"),
        ("stop_ms", "Ctrl-C to the end of execsnoop"),
    ):
        for name in tools[1:]:
            targets = TARGETS[name] if key == "first_row_ms" else ()
            rows.append(Row(4, what, "ms", ours[key], name, found[name][key], targets))
    return rows


def once(name: str) -> Mapping[str, float]:
    with peers.Watched(name) as tool:
        return {"first_row_ms": tool.first_row_ms(), "stop_ms": tool.stop_ms()}
