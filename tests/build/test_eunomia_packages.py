"""Whatever we write, eunomia-bpf's runner reads: all that is built in this repository, checked by its demands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import eunomia
from snoopkit import sources
from snoopkit.cli import new

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "examples").rglob("*.bpf.c")) + sorted(
    (ROOT / "tests" / "kernel" / "bpf").glob("*.bpf.c")
)
NOT_ALONE = {"tally.bpf.c"}  # built beside execsnoop's header


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name not in NOT_ALONE], ids=lambda path: path.name)
def test_examples_and_test_programs(path: Path) -> None:
    assert eunomia.problems(sources.read(path).dumps()) == []


@pytest.mark.parametrize("path", ["execsnoop/bpf/package.json", "snoopkit/probes/package.json"])
def test_shipped_packages(path: str) -> None:
    assert eunomia.problems((ROOT / "src" / path).read_bytes()) == []


@pytest.mark.parametrize("hook", new.HOOKS)
def test_new_projects(tmp_path: Path, hook: str) -> None:
    new.main([str(tmp_path / "tool"), "--hook", hook])
    data = sources.read(tmp_path / "tool" / "tool.bpf.c").dumps()
    assert eunomia.problems(data) == []
    assert "target_pid" in eunomia.options_that_work(data)


BROKEN = {
    "no maps": lambda meta: meta["bpf_skel"].pop("maps"),
    "no ident": lambda meta: meta["bpf_skel"]["maps"][0].pop("ident"),
    "no link": lambda meta: meta["bpf_skel"]["progs"][0].pop("link"),
    "another section": lambda meta: meta["bpf_skel"]["progs"][0].update(attach="raw_tp/none"),
    "initialised data": lambda meta: meta["bpf_skel"]["data_sections"].append(
        {"name": ".data", "variables": []}
    ),
    "a number for a description": lambda meta: meta["bpf_skel"]["data_sections"][0]["variables"][0].update(
        description=1
    ),
    "another type": lambda meta: meta["export_types"][0].update(type_id=1),
    "a member less": lambda meta: meta["export_types"][0]["members"].pop(),
    "another size": None,
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_validator_sees_what_is_wrong(name: str) -> None:
    document = json.loads((ROOT / "src/execsnoop/bpf/package.json").read_bytes())
    change = BROKEN[name]
    if change is None:
        document["bpf_object_size"] += 1
    else:
        change(document["meta"])
    assert len(eunomia.problems(json.dumps(document).encode())) == 1
