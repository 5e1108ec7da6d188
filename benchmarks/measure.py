"""How things are compared: in turns, within one sitting; by medians, with their spread; against a stated target."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Samples = dict[str, list[float]]
Contender = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Sitting:
    """One run of the benchmarks: how many rounds each comparison has, and whether it has to be over in a minute."""

    rounds: int
    is_quick: bool = False

    def note(self, text: str) -> None:
        print(f"bench: {text}", flush=True)


def cpus() -> tuple[int, int]:
    """The CPU for whoever is traced, and the one for whoever reads."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


def interleave(contenders: Mapping[str, Contender], rounds: int, *, warm_up: int = 0) -> dict[str, Samples]:
    """Let the contenders take turns, each round beginning with the next of them, so that whatever else the machine
    does falls on all of them alike. Gives each one's samples by what was measured; those of the `warm_up` rounds are
    thrown away. The samples of one round have the same place in all lists."""
    names = list(contenders)
    found: dict[str, Samples] = {name: {} for name in names}
    for turn in range(rounds + warm_up):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            measured = contenders[name]()
            if turn >= warm_up:
                for key, value in measured.items():
                    found[name].setdefault(key, []).append(value)
    return found


def spread(values: list[float]) -> float:
    """Half the distance between the quartiles."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2


def less(values: Iterable[float], base: Iterable[float]) -> list[float]:
    """What is left of each sample when the one of the same round without the thing measured is taken off."""
    return [value - bare for value, bare in zip(values, base, strict=True)]


def interval(values: list[float]) -> tuple[float, float]:
    """Between which two of the samples the true median lies, with a confidence of 95 % (99 % and less of few samples:
    then it is all of them)."""
    count = len(values)
    rank = max(int((count - 1.96 * count**0.5) / 2), 0)
    ordered = sorted(values)
    return ordered[rank], ordered[count - 1 - rank]


@dataclass(frozen=True)
class Target:
    """What a row promises, and how to tell."""

    text: str
    is_met: Callable[[Row], bool]


def at_most_times(bound: float) -> Target:
    """No more than so many times the peer's value."""
    return Target(f"≤ {bound:.3g} ×", lambda row: row.ratio is not None and row.ratio <= bound)


def at_most(bound: float) -> Target:
    """A value of no more than this."""
    return Target(f"≤ {bound:g}", lambda row: row.value <= bound)


def at_least(bound: float) -> Target:
    """A value of no less than this."""
    return Target(f"≥ {bound:g}", lambda row: row.value >= bound)


def _is_indistinguishable(row: Row) -> bool:
    ratios = row.ratios()
    return bool(ratios) and interval(ratios)[0] <= 1 and statistics.median(ratios) <= 1 + NOISE


# The noise of a measurement may hide a difference, but not a large one: so much of the bare value, at most.
NOISE = 0.02
INDISTINGUISHABLE = Target("as bare", _is_indistinguishable)


@dataclass(frozen=True)
class Row:
    """One line of the table. `number` is the family's; `ours` and `theirs` are samples, those of one round at the
    same place. Without a peer `theirs` is empty; without targets the row is there for information."""

    number: int
    what: str
    unit: str
    ours: list[float]
    peer: str | None = None
    theirs: list[float] | None = None
    targets: tuple[Target, ...] = ()
    note: str | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.ours)

    @property
    def peer_value(self) -> float | None:
        return statistics.median(self.theirs) if self.theirs else None

    def ratios(self) -> list[float]:
        """Of each round, so that what slowed the whole round down cancels out. Rounds in which the peer's value is
        nothing, or less, tell nothing: noise was greater than what was measured."""
        if not self.theirs:
            return []
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=True) if other > 0]

    @property
    def ratio(self) -> float | None:
        ratios = self.ratios()
        return statistics.median(ratios) if ratios else None

    @property
    def holds(self) -> bool | None:
        """Whether every target is met; None where there is none."""
        if not self.targets:
            return None
        return all(target.is_met(self) for target in self.targets)

    @property
    def target(self) -> str:
        return ", ".join(target.text for target in self.targets)

    def as_dict(self) -> dict[str, Any]:
        """What a result file says of it."""
        return {
            "row": self.number,
            "what": self.what,
            "unit": self.unit,
            "value": self.value,
            "spread": spread(self.ours),
            "peer": self.peer,
            "peer_value": self.peer_value,
            "peer_spread": spread(self.theirs) if self.theirs else None,
            "ratio": self.ratio,
            "ratio_spread": spread(self.ratios()),
            "target": self.target,
            "holds": self.holds,
            "note": self.note,
            "samples": self.ours,
            "peer_samples": self.theirs,
        }


def shown(number: float) -> str:
    """With three digits that mean something."""
    size = abs(number)
    return f"{number:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def median_and_spread(values: list[float]) -> str:
    return f"{shown(statistics.median(values))} ±{shown(spread(values))}" if values else ""


def table(rows: Iterable[Row]) -> str:
    """The rows as aligned text."""
    lines = [("row", "", "snoopkit", "peer", "", "ratio", "target", "holds")]
    for row in rows:
        lines.append(
            (
                str(row.number),
                f"{row.what}, {row.unit}",
                median_and_spread(row.ours),
                row.peer or "",
                median_and_spread(row.theirs or []),
                median_and_spread(row.ratios()),
                row.target,
                {None: "", True: "yes", False: "NO"}[row.holds],
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
