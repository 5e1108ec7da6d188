"""The benchmarks' arithmetic: turns, medians, ratios and verdicts. What they measure is no matter for a test."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from benchmarks.measure import (
    INDISTINGUISHABLE,
    Row,
    at_least,
    at_most,
    at_most_times,
    interleave,
    interval,
    less,
    spread,
    table,
)


def test_every_contender_has_its_turn_in_every_round_and_each_begins_one() -> None:
    order: list[str] = []

    def contender(name: str) -> Callable[[], dict[str, float]]:
        def turn() -> dict[str, float]:
            order.append(name)
            return {"turn": len(order)}

        return turn

    found = interleave({name: contender(name) for name in "abc"}, 3, warm_up=1)
    assert "".join(order) == "abcbcacababc"
    assert found == {"a": {"turn": [6, 8, 10]}, "b": {"turn": [4, 9, 11]}, "c": {"turn": [5, 7, 12]}}


def test_values_are_medians_and_ratios_those_of_the_rounds() -> None:
    row = Row(1, "x", "ns", [10, 20, 60], "peer", [100, 100, 200])
    assert (row.value, row.peer_value) == (20, 100)
    assert row.ratios() == [0.1, 0.2, 0.3]
    assert row.ratio == 0.2


def test_a_round_in_which_the_peer_cost_nothing_tells_nothing() -> None:
    row = Row(5, "x", "µs", [1, 2, 3], "peer", [-4, 4, 0])
    assert row.ratio == 0.5
    assert Row(5, "x", "µs", [1], "peer", [0], (at_most_times(1),)).holds is False


def test_spread_and_interval() -> None:
    assert spread([7.0]) == 0
    assert spread([1, 2, 3, 4, 5]) == 1.5
    assert interval([3.0, 1.0, 2.0]) == (1, 3)
    assert interval([float(n) for n in range(1, 21)]) == (6, 15)  # the binomial's ranks for 20


def test_less_takes_each_rounds_own_base_off() -> None:
    assert less([5.0, 7.0], [1.0, 4.0]) == [4, 3]


@pytest.mark.parametrize(
    ("targets", "holds"),
    [
        ((), None),
        ((at_most(20),), True),
        ((at_most(19.9),), False),
        ((at_least(20),), True),
        ((at_least(20.1),), False),
        ((at_most_times(2),), True),
        ((at_most_times(1.9),), False),
        ((at_most(20), at_most_times(1.9)), False),
    ],
)
def test_a_row_holds_where_all_its_targets_are_met(targets: tuple, holds: bool | None) -> None:
    assert Row(2, "x", "ns", [20], "peer", [10], targets).holds is holds


@pytest.mark.parametrize(
    ("traced", "holds"),
    [
        ([100, 101, 99, 100, 102, 98], True),
        ([101, 102, 101, 103, 102, 101], False),  # 1 % more, every time
        ([99, 130, 131, 132, 133, 134], False),  # the noise reaches down to bare, the median is far from it
    ],
)
def test_indistinguishable_from_bare(traced: list[float], holds: bool) -> None:
    assert Row(6, "x", "ns", traced, "bare", [100] * 6, (INDISTINGUISHABLE,)).holds is holds


def test_the_table_and_the_result_say_the_same() -> None:
    row = Row(4, "start", "ms", [25, 40, 55], "peer", [20, 20, 20], (at_most_times(2.5), at_most(30)))
    header, line = table([row]).splitlines()
    assert header.split() == ["row", "snoopkit", "peer", "ratio", "target", "holds"]
    assert " ".join(line.split()) == "4 start, ms 40.0 ±15.0 peer 20.0 ±0.00 2.00 ±0.75 ≤ 2.5 ×, ≤ 30 NO"
    told = json.loads(json.dumps(row.as_dict()))
    assert {key: told[key] for key in ("row", "value", "peer", "ratio", "target", "holds")} == {
        "row": 4,
        "value": 40,
        "peer": "peer",
        "ratio": 2,
        "target": "≤ 2.5 ×, ≤ 30",
        "holds": False,
    }
