"""What other tracers of execs get wrong, one test for each that no other file has."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

import execsnoop
import snoopkit
from execsnoop import tracing
from kernel.conftest import CAP_BPF, CAP_PERFMON, NOBODY, become, in_child
from kernel.watching import marker, of, one, programs, watch

__all__ = ["marker", "programs"]  # fixtures


def test_a_long_argument_and_another_name(programs: dict[str, str], marker: str) -> None:
    arguments = ["another name", marker, "x" * 300, "exit", "0"]
    events, _ = watch(*arguments, executable=programs["leaf"])
    event = one(of(events, "exec", marker))
    assert (event.argv, event.filename) == (arguments, programs["leaf"])


def test_arguments_in_cold_pages(programs: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "cold"
    shutil.copy(programs["cold"], path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    events, _ = watch(str(path), programs["leaf"])
    first = one([e for e in events if e.type == "exec" and e.argv and e.argv[0] == str(path)])
    event = one([e for e in events if e.type == "exec" and e.pid == first.pid and e is not first])
    assert event.argv == [programs["leaf"], "first argument from a cold page", "second", "exit", "0"]


def test_many_execs_by_threads_blind_nothing(programs: dict[str, str], marker: str) -> None:
    script = (
        f"for i in $(seq 300); do {programs['ends']} exec-by-thread {marker} {programs['leaf']}; done; : end"
    )
    events, printed = watch("/bin/sh", "-c", script)
    told = {int(pid): int(tid) for pid, tid in map(str.split, printed.splitlines())}
    assert len(told) == 300
    by_thread = {e.pid: e.old_tid for e in of(events, "exec", marker) if e.old_tid is not None}
    assert by_thread == told
    ends = [e for e in events if e.type == "exit" and e.pid in told]
    assert len(ends) == 300 and {e.exit_code for e in ends} == {4}


def elf_at_zero() -> bytes:
    """An ELF program whose only segment wants to lie at address 0, where no user may map anything."""
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x1000, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0x1000, 0x1000, 0x1000)
    return (header + segment).ljust(0x1000, b"\x90")


def test_an_exec_that_fails_when_there_is_no_way_back(marker: str) -> None:
    path = f"/var/tmp/{marker}"
    try:
        Path(path).write_bytes(elf_at_zero())
        os.chmod(path, 0o755)
        # The shell's child is killed, which only its exit shows: the exec fails and returns to nobody.
        events, _ = watch(
            "/bin/sh",
            "-c",
            f"{path} {marker}; exit 0",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            stderr=subprocess.DEVNULL,
            options={"failed": True},
        )
    finally:
        os.unlink(path)
    fails = [e for e in events if e.type == "exec_failed" and e.uid == NOBODY]
    assert len(fails) == 1 and fails[0].error == "EPERM"
    end = one([e for e in events if e.type == "exit" and e.pid == fails[0].pid])
    assert end.signal in ("SIGSEGV", "SIGKILL")
    assert not [e for e in events if e.type == "exec" and e.pid == fails[0].pid]


@pytest.mark.own_root
def test_programs_that_the_kernel_starts(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    """It starts one when a control group has become empty; no system call tells of that."""
    helper = tmp_path / "helper"
    helper.write_text("#!/bin/sh\nexit 7\n")
    helper.chmod(0o755)
    groups = tmp_path / "groups"
    groups.mkdir()
    mount = ["mount", "-t", "cgroup", "-o", f"none,name={marker}", "none", str(groups)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        raise snoopkit.UnsupportedError("no control groups of version 1", feature="cgroup v1")
    group = groups / "group"
    try:
        (groups / "release_agent").write_text(str(helper))
        group.mkdir()
        (group / "notify_on_release").write_text("1")
        script = f"echo $$ >{group}/cgroup.procs; exec {programs['leaf']} {marker} exit 0"
        events, _ = watch("/bin/sh", "-c", script, linger=0.5)
    finally:
        group.rmdir()
        subprocess.run(["umount", str(groups)], check=True)
    event = one([e for e in events if e.type == "exec" and e.filename == str(helper)])
    assert event.argv == ["/bin/sh", str(helper), "/group"]
    assert event.ppid is not None and not Path(f"/proc/{event.ppid}/cmdline").read_bytes()
    end = one([e for e in events if e.type == "exit" and e.pid == event.pid])
    assert end.exit_code == 7 and end.argv == event.argv


@pytest.mark.own_root
def test_users_are_the_hosts(programs: dict[str, str], marker: str) -> None:
    with open(programs["leaf"], "rb") as leaf:
        path = f"/proc/self/fd/{leaf.fileno()}"
        events, _ = watch(
            *("unshare", "-U", "-r", path, marker, "exit", "0"),
            pass_fds=[leaf.fileno()],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
    event = one([e for e in of(events, "exec", marker) if e.comm != "unshare"])
    assert (event.uid, event.euid) == (NOBODY, NOBODY)  # root inside


def test_what_dies_by_a_signal_is_no_success(programs: dict[str, str], marker: str) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        events, _ = watch(programs["leaf"], marker, "signal", str(int(number)), status=-number)
        end = one(of(events, "exit", marker))
        assert (end.exit_code, end.signal, end.status) == (None, number.name, number)


@pytest.mark.own_root
def test_two_capabilities_are_enough(
    programs: dict[str, str], marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(tracing.package_path()).read_bytes()
    monkeypatch.setattr(tracing, "package_path", lambda: package)
    with open(programs["leaf"], "rb") as leaf:
        path = f"/proc/self/fd/{leaf.fileno()}"

        def run() -> list[list[str]]:
            become(NOBODY, [CAP_BPF, CAP_PERFMON])
            columns = ["exe", "cgroup", "namespaces"]
            with execsnoop.trace(failed=True, existing=True, columns=columns, buffer_bytes=1 << 16) as trace:
                subprocess.run(
                    ["leaf", marker, "exit", "0"], executable=path, pass_fds=[leaf.fileno()], check=True
                )
                events = [event for lot in trace.finish() for event in lot]
            mine = [e for e in events if e.argv and marker in e.argv and e.type in ("exec", "exit")]
            return [[e.type, e.exe or ""] for e in mine]

        assert in_child(run) == [["exec", programs["leaf"]], ["exit", ""]]
