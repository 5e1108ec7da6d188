"""What kernels of vmtest/kernels.toml do otherwise than the one that the other tests run on: in a VM only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import snoopkit
from execsnoop.tracing import package_path
from kernel.conftest import BPF
from kernel.watching import marker, programs, watch
from snoopkit import attach, features, loader
from snoopkit.btf import KIND_FUNC_PROTO, KIND_PTR, KIND_TYPEDEF, Btf

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["marker", "programs"]  # fixtures

pytestmark = pytest.mark.vm

PAGE = Path(__file__).parents[2] / "docs/kernels.md"
MAY_REPEAT = 0x20  # of header.flags in execsnoop.h


@pytest.mark.parametrize("settle", [0.0, 0.3])
def test_an_end_that_is_told_twice_comes_out_once(
    programs: dict[str, str], marker: str, settle: float
) -> None:
    # Emulated CPUs take turns, so that two threads seldom end at once.
    assert any(is_told_twice(programs, marker, settle) for _ in range(20)), "this showed nothing"


def is_told_twice(programs: dict[str, str], marker: str, settle: float) -> bool:
    """Whether the kernel told any of 200 ends twice; none of them comes out so, in any case."""
    with snoopkit.run(snoopkit.Package.read(package_path())) as witness:
        events, printed = watch(programs["ends"], "race", marker, "200", options={"settle": settle})
        records = [record for lot in witness.finish() for record in lot]
        assert witness.lost == 0
    told = {int(pid): int(status) for pid, status in map(str.split, printed.splitlines())}
    assert len(told) == 200

    by_pid: dict[int, list[int]] = {pid: [] for pid in told}
    for record in records:
        if record._struct == "exit_event" and record.pid in told:
            by_pid[record.pid].append(record.header.flags)
    assert all(by_pid.values())
    # Whatever is told again was marked as what may be.
    assert all(flags & MAY_REPEAT for lot in by_pid.values() for flags in lot[:-1])

    exits = [event for event in events if event.type == "exit" and event.pid in told]
    assert len(exits) == 200
    assert {event.pid: event.status for event in exits} == told
    return max(map(len, by_pid.values())) > 1


@pytest.fixture(scope="module")
def probes() -> snoopkit.Package:
    return snoopkit.build(BPF / "probes.bpf.c")


def test_programs_on_kernel_functions_run(probes: snoopkit.Package) -> None:
    with loader.open(probes, options={"target_pid": os.getpid()}) as object:
        object.load()
        with attach.attach_all(object) as links:
            assert len(links) == 4
            for _ in range(5):
                time.sleep(0.001)
        time.sleep(0.001)  # detached: counted no more
        calls = [object.maps["calls"].lookup(kind.to_bytes(4, "little")) for kind in range(4)]
    assert [int.from_bytes(value or b"", "little") for value in calls] == [5] * 4


def tells_the_last_thread() -> bool:
    """Whether sched_process_exit has its third argument, group_dead."""
    btf = Btf.from_kernel()
    type_id = btf.find("btf_trace_sched_process_exit", KIND_TYPEDEF)
    assert type_id is not None
    prototype = btf.types[type_id]
    while prototype.kind in (KIND_TYPEDEF, KIND_PTR):
        prototype = btf.types[prototype.type_id]
    assert prototype.kind == KIND_FUNC_PROTO
    return len(prototype.params) == 3  # the first is the tracepoint's own


PROBES: dict[str, Callable[[], bool | None]] = {
    "`sched_prepare_exec`": lambda: features.supports("tp_btf/sched_prepare_exec"),
    "`sched_process_free`": lambda: features.supports("tp_btf/sched_process_free"),
    "`group_dead`": tells_the_last_thread,
    "user ring buffers": features.user_ring_buffer,
    "kprobes": features.kprobes,
}


@pytest.mark.parametrize("feature", PROBES)
def test_the_page_says_what_this_kernel_has(feature: str) -> None:
    """docs/kernels.md against our own probes."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line[:1] == "|"
    ]
    version = ".".join(os.uname().release.split(".")[:2])
    header = next(row for row in rows if version in row)
    said = next(row for row in rows if row[0].startswith(feature))[header.index(version)]
    assert said == ("yes" if PROBES[feature]() else "no")


def test_the_selftest_passes() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "execsnoop", "selftest", "--json"], capture_output=True, text=True, timeout=400
    )
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row for row in rows if row["verdict"] == "FAIL"] == []
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(row["verdict"] == "pass" for row in rows) >= 25
