"""Row 5: what tracing adds to spawn, exec and exit, arguments and all.

A tiny static program with seven arguments is run on the last CPU while a tool watches from the first, its rows going
to a file; what the same costs with nobody watching is taken off. libbpf-tools' execsnoop shows execs only; its
exitsnoop, exits only.
"""

from __future__ import annotations

from collections.abc import Mapping

from .. import peers
from ..build import OUT
from ..loop import Loop
from ..measure import Row, Sitting, at_most_times, interleave

NUMBERS = (5,)
SPAWNS, TRIES = 300, 5
ARGUMENTS = [f"argument-{number}-of-a-usual-length" for number in range(7)]
PEERS = {
    peers.LIBBPF: (at_most_times(1 / 3),),
    peers.LIBBPF_EXIT: (),
    peers.BPFTRACE: (),
    peers.FORKSTAT: (),
}


def measure(sitting: Sitting) -> list[Row]:
    with Loop("spawns", str(OUT / "tiny"), *ARGUMENTS, warm_up=SPAWNS) as loop:

        def once() -> float:
            return loop.fastest_ns(SPAWNS, TRIES) / 1000

        def turn(name: str) -> Mapping[str, float]:
            bare = once()
            with peers.at_work(name):
                traced = once()
            return {"added_us": traced - (bare + once()) / 2, "bare_us": bare}

        tools = [peers.OURS, *(name for name in PEERS if peers.works(name, sitting.note))]
        found = interleave({name: lambda name=name: turn(name) for name in tools}, sitting.rounds)
    ours = found[peers.OURS]
    what = "added to spawn, exec and exit of a tiny program"
    rows = [Row(5, what, "µs", ours["added_us"], "bare", ours["bare_us"])]
    rows += [
        Row(5, what, "µs", ours["added_us"], name, found[name]["added_us"], PEERS[name]) for name in tools[1:]
    ]
    return rows
