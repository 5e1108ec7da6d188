"""`snoopkit doctor` says what is so: each answer against another way to find it out, and nothing stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit import doctor as doctor_of_machine, features
from snoopkit.errors import SnoopkitError

from .conftest import in_child

SNOOPKIT = str(Path(sys.executable).parent / "snoopkit")
NOBODY = 65534


def doctor(**how: Any) -> tuple[int, dict[str, dict[str, dict[str, Any]]]]:
    done = subprocess.run([SNOOPKIT, "doctor", "--json"], capture_output=True, text=True, **how)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    return done.returncode, {part: {one["name"]: one for one in ones} for part, ones in document.items()}


def listed(what: str) -> list[int]:
    found = subprocess.run(["bpftool", "-j", what, "list"], check=True, capture_output=True).stdout
    return [one["id"] for one in json.loads(found or b"[]") if one.get("name") in KINDS]


KINDS = (
    *("tp_btf", "raw_tracepoint", "tracepoint", "fentry", "kprobe", "uprobe"),
    *("perf_event", "iter", "lsm", "cgroup", "xdp", "tc"),
)


@pytest.mark.own_root
def test_what_it_says_is_so() -> None:
    status, found = doctor()
    assert status == 0
    assert tuple(found["hooks"]) == KINDS
    assert found["tools"]["execsnoop"]["ok"] is True
    machine = found["machine"]
    assert machine["kernel"]["detail"] == " ".join((os.uname().release, os.uname().machine))
    assert machine["BTF"]["ok"] is Path("/sys/kernel/btf/vmlinux").exists()
    assert machine["tracefs"]["ok"] is True
    assert machine["compiler"]["ok"] is True
    for one in (one for part in found.values() for one in part.values()):
        assert (one["cure"] is None) == (one["ok"] is True), one
    assert found["hooks"]["kprobe"]["ok"] is features.kprobes()
    assert listed("prog") == []


@pytest.mark.parametrize("name", ["fentry", "kprobe"])
def test_hooks_that_a_kernel_may_refuse_are_the_ones_that_a_run_is_refused(
    hooks: snoopkit.Package, name: str
) -> None:
    try:
        snoopkit.run(hooks, enable=[name], interface="lo").close()
        works = True
    except SnoopkitError:
        works = False
    _, found = doctor()
    assert found["hooks"][name]["ok"] is works


def test_without_privileges_it_says_what_is_missing() -> None:
    # All that it imports must be there before: the child may not be able to read Python's files.
    assert all(one.name for one in (*doctor_of_machine.machine(), *doctor_of_machine.hooks()))

    def child() -> list[Any]:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        findings = (*doctor_of_machine.machine(), *doctor_of_machine.hooks())
        return [(one.name, one.ok, one.detail, one.cure) for one in findings]

    found = {name: (ok, detail, cure) for name, ok, detail, cure in in_child(child)}
    assert found["capabilities"] == (False, "CAP_BPF and CAP_PERFMON missing", "run as root, or with these")
    assert found["tp_btf"][0] is False
    assert "CAP_BPF and CAP_PERFMON missing" in found["tp_btf"][1]
    assert not any(found[name][0] for name in KINDS)
    assert all(found[name][2] for name in KINDS)


def test_for_people() -> None:
    done = subprocess.run([SNOOPKIT, "doctor"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "  tp_btf          yes  loads and attaches\n" in done.stdout
    assert done.stdout.startswith("machine:\n  kernel ")
