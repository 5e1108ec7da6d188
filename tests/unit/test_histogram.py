"""Histograms as text, ours and eunomia-bpf's, at their edges: against golden files, and by what must always hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from snoopkit.render.histogram import bars, linear_bars, log2_bars
from snoopkit.samples import Histogram

GOLDEN = Path(__file__).parents[1] / "golden" / "histograms.txt"
MOST = (1 << 32) - 1

EDGES = {
    "empty": [0] * 64,
    "one slot": [0] * 9 + [1] + [0] * 54,
    "first slot": [5] + [0] * 63,
    "last slot": [0] * 63 + [7],
    "up to the narrow form's edge": [0] * 32 + [1],
    "just beyond it": [0] * 33 + [1],
    "all 64": list(range(1, 65)),
    "counts near 2^32": [MOST, MOST - 1, MOST // 2, 1],
    "a gap, and what is almost nothing": [1000, 0, 0, 1001, 1],
}


def written() -> str:
    parts = []
    for name, slots in EDGES.items():
        for how, lines in (
            ("ours", bars(Histogram(0, "map", 1, slots, unit="usecs"))),
            ("ours, linear", bars(Histogram(0, "map", 1, slots, unit="usecs", is_linear=True))),
            ("eunomia", log2_bars(slots, "usecs")),
            ("eunomia, linear", linear_bars(slots, "usecs")),
        ):
            parts.append(f"== {name}: {how}\n" + "".join([f"{line}\n" for line in lines]))
    return "".join(parts)


def test_the_edges_are_as_on_record() -> None:
    if os.environ.get("ACCEPT"):
        GOLDEN.write_text(written())
    assert written() == GOLDEN.read_text()


def test_the_line_that_eunomia_has_on_record() -> None:
    line = "         0 -> 1          : 1000     |*************************************** |"
    assert log2_bars([1000, 1001], "(unit)")[1] == line


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=64))
def test_bars_are_honest(slots: list[int]) -> None:
    lines = bars(Histogram(0, "map", None, slots))
    used = [slot for slot, count in enumerate(slots) if count]
    assert len(lines) == (used[-1] - used[0] + 2 if used else 0)
    lengths = (
        [(count, line.count("█")) for count, line in zip(slots[used[0] :], lines[1:], strict=False)]
        if used
        else []
    )
    for count, length in lengths:
        assert length * max(slots) <= 40 * count < (length + 1) * max(slots)
    if used:
        assert max(length for _, length in lengths) == 40


@pytest.mark.parametrize(
    ("is_linear", "bounds"), [(False, [(0, 1), (2, 3), (4, 7)]), (True, [(0, 0), (1, 1), (2, 2)])]
)
def test_bounds(is_linear: bool, bounds: list[tuple[int, int]]) -> None:
    histogram = Histogram(0, "map", None, [1, 1, 1], is_linear=is_linear)
    assert [histogram.bounds(slot) for slot in range(3)] == bounds
