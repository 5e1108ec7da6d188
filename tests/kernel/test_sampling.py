"""Maps looked at from time to time, while a program counts in them: nothing missed, nothing twice."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from snoopkit.render import writer
from snoopkit.render.eunomia import EunomiaJson, EunomiaText
from snoopkit.render.formats import formats
from snoopkit.samples import Histogram, Sample
from snoopkit.sampling import Sampled

from .conftest import BPF

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.build(BPF / "sampled.bpf.c")


@pytest.fixture
def snoop(package: snoopkit.Package) -> Iterator[snoopkit.Snoop]:
    with snoopkit.run(package, options={"target_pid": os.getpid()}) as snoop:
        yield snoop


def call(times: int) -> None:
    for _ in range(times):
        os.getppid()


def of(found: list[Any], map: str) -> list[Any]:
    return [item for item in found if item._map == map]


def rounds(sampled: Sampled, calls: int, seconds: float = 0.2) -> list[Any]:
    """All samples while the calls are made in parts, the last ones behind a wait for the interval."""
    found: list[Any] = []
    end = monotonic() + seconds
    while calls or monotonic() < end:
        part = min(calls, 100)
        call(part)
        calls -= part
        found += sampled.poll(0.005)
    return found


def test_what_is_cleared_adds_up_to_what_happened(snoop: snoopkit.Snoop) -> None:
    sampled = Sampled(snoop)
    found = rounds(sampled, 5000)
    for lot in sampled.finish():
        found += lot
    calls = [sample for sample in of(found, "calls") if not sample.is_empty]
    assert len(calls) > 1
    assert {(sample.key.pid, sample.key.kind) for sample in calls} == {(os.getpid(), 3)}
    # what clears a hash may drop what was being counted at that moment, and nobody counts but this thread
    assert sum(sample.value for sample in calls) == 5000
    kinds = [item for item in of(found, "kinds") if isinstance(item, Histogram)]
    assert sum(histogram.slots[3] for histogram in kinds) == 5000
    assert all(histogram.is_linear and sum(histogram.slots) == histogram.slots[3] for histogram in kinds)


def test_what_is_kept_grows(snoop: snoopkit.Snoop) -> None:
    sampled = Sampled(snoop)
    found = rounds(sampled, 3000)
    for lot in sampled.finish():
        found += lot
    sums = [sample.value for sample in of(found, "per_cpu") if not sample.is_empty]
    assert sums == sorted(sums)
    assert sums[-1] == 3000
    last = of(found, "spreads")[-1]
    assert (last.key, last.members, last.unit) == (7, {"total": 3000}, "calls")
    assert last.slots == [0] * 5 + [3000] + [0] * 58


def test_an_empty_map_is_told_once(snoop: snoopkit.Snoop) -> None:
    found = rounds(Sampled(snoop), 10)
    assert [item.is_empty for item in of(found, "unused")] == [True]
    snoop.maps["unused"][1] = 2
    sampled = Sampled(snoop)
    again = rounds(sampled, 0)
    assert {(item.key, item.value) for item in of(again, "unused")} == {(1, 2)}


def test_intervals_and_order(snoop: snoopkit.Snoop) -> None:
    began = clock_gettime_ns(CLOCK_BOOTTIME)
    found = rounds(Sampled(snoop), 10)
    times = [item._time_ns for item in found]
    assert times == sorted(times)
    assert times[0] >= began + 20_000_000
    of_one = [item._time_ns for item in of(found, "per_cpu")]
    assert len(of_one) > 1
    assert all(later > earlier for earlier, later in pairwise(of_one))


def test_written_in_every_form(snoop: snoopkit.Snoop) -> None:
    sampled = Sampled(snoop)
    rounds(sampled, 300)
    spread = Histogram(0, "spreads", 7, [0, 0, 4, 2], members={"total": 6}, unit="calls")
    table = writer("table", snoop)
    assert table.header().split() == [b"TIME", b"MAP", b"KEY", b"VALUE"]
    lines = table.row(spread).decode().splitlines()
    assert lines[0].split()[1:] == ["spreads", "7", "total=6"]
    assert [line.strip() for line in lines[1:]] == [
        "calls  count",
        f"[4, 8)      4  {'█' * 40}",
        f"[8, 16)      2  {'█' * 20}",
    ]
    row = json.loads(writer("json", snoop).row(spread))
    assert row["type"] == "histogram"
    assert row["map"] == "spreads"
    assert row["data"] == {"key": 7, "total": 6, "scale": "log2", "unit": "calls", "slots": [0, 0, 4, 2]}
    sample = Sample(0, "per_cpu", 7, 300)
    row = json.loads(writer("json", snoop).row(sample))
    assert (row["type"], row["data"]) == ("sample", {"key": 7, "value": 300})
    assert json.loads(EunomiaJson(snoop.package).row(sample)) == {"key": {"u32": 7}, "value": {"u64": 300}}
    text = EunomiaText(snoop.package)
    assert text.header() == b"TIME     PID    KIND   U64    \n"
    assert text.row(sample).decode()[9:] == '{"u32":7} {"u64":300}\n'
    shown = EunomiaText(snoop.package, formats(snoop.package, ["per_cpu.key=hex", "spreads.key=errno"]))
    assert shown.row(sample).decode()[9:] == '{"u32":"0x7"} {"u64":300}\n'
    assert shown.row(spread).decode().splitlines()[0] == "key =  E2BIG"
    assert text.row(spread).decode().splitlines()[:4] == [
        "key =  7",
        "total = 6",
        "",
        "     calls               : count    distribution",
    ]
