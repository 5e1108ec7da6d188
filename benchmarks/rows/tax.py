"""Row 6: what tracing costs a system call that has nothing to do with it.

The bare loop of getppid() is measured before and after each turn of a tool. What a tool is attached to says why: a
link to a process event costs nothing elsewhere, one to a system call's tracepoint slows every system call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from .. import peers
from ..loop import Loop
from ..measure import INDISTINGUISHABLE, Row, Sitting, interleave, less

NUMBERS = (6,)
CALLS, TRIES = 100_000, 8


def measure(sitting: Sitting) -> list[Row]:
    with Loop("loop", warm_up=CALLS) as loop:
        links: dict[str, str] = {}

        def turn(name: str) -> Mapping[str, float]:
            before = loop.fastest_ns(CALLS, TRIES)
            with peers.at_work(name) as process:
                links[name] = attached(process.pid)
                traced = loop.fastest_ns(CALLS, TRIES)
            return {"traced_ns": traced, "bare_ns": (before + loop.fastest_ns(CALLS, TRIES)) / 2}

        tools = (peers.OURS, peers.LIBBPF)
        found = interleave({name: lambda name=name: turn(name) for name in tools}, sitting.rounds)
    for name in tools:
        sitting.note(f"{name} is attached by {links[name]}")
    ours, theirs = (found[name] for name in tools)
    what = "getppid() while execs and exits are traced"
    return [
        Row(6, what, "ns", ours["traced_ns"], "bare", ours["bare_ns"], (INDISTINGUISHABLE,), links[tools[0]]),
        Row(
            6,
            "added to getppid() while execs are traced",
            "ns",
            less(ours["traced_ns"], ours["bare_ns"]),
            peers.LIBBPF,
            less(theirs["traced_ns"], theirs["bare_ns"]),
            note=links[tools[1]],
        ),
    ]


def attached(pid: int) -> str:
    """Which kinds of links, and which events with programs on them, a process holds."""
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        target = (entry.parent.parent / "fd" / entry.name).readlink()
        if target.name.startswith("anon_inode:bpf") and "link" in target.name:
            lines = dict(line.split(":\t", 1) for line in entry.read_text().splitlines() if ":\t" in line)
            kinds[f"{lines['link_type']} link"] += 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no link"
