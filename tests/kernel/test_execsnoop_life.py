"""What execsnoop tells of a process's beginning and end, against what its parent knows."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import snoopkit
from kernel.watching import Command, marker, of, one, programs, watch

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["marker", "programs"]  # fixtures

CLONE_VM, CLONE_VFORK, CLONE_PARENT = 0x100, 0x4000, 0x8000
NOBODY = 65534


class TestForks:
    @pytest.mark.parametrize("mode", ["fork", "thread"])
    def test_a_child_and_its_parents_command(self, programs: dict[str, str], marker: str, mode: str) -> None:
        events, printed = watch(programs["forks"], mode, marker)
        child = int(printed)
        parent = one(of(events, "exec", marker))
        fork = one([e for e in events if e.type == "fork" and e.pid == parent.pid])  # threads are none
        assert (fork.child_pid, fork.ppid) == (child, os.getpid())
        end = one([e for e in events if e.type == "exit" and e.pid == child])
        assert end.start_boottime_ns == fork.child_start_boottime_ns
        assert end.argv == [programs["forks"], mode, marker]
        assert end.inherited is True and end.exit_code == 3 and end.ppid == parent.pid
        assert end.lifetime_ns == end.duration_ns and end.lifetime_ns is not None and end.lifetime_ns > 0
        assert parent.inherited is None

    def test_every_process_begins_before_it_runs_or_ends(self, programs: dict[str, str], marker: str) -> None:
        events, printed = watch(programs["spawn"], programs["leaf"], marker, "300", "8")
        children = {int(line.split()[1]) for line in printed.splitlines()}
        parent = one([e for e in of(events, "exec", marker) if e.argv and e.argv[0] == programs["spawn"]])
        begun = {}
        for event in events:
            if event.type == "fork" and event.pid == parent.pid:
                begun[event.child_pid] = event.child_start_boottime_ns
                assert event.clone_flags is not None
                assert event.clone_flags & (CLONE_VM | CLONE_VFORK) == CLONE_VM | CLONE_VFORK
            elif event.pid in children:
                assert begun[event.pid] == event.start_boottime_ns
        assert set(begun) == children

    def test_who_made_it_and_who_is_its_parent(self, programs: dict[str, str], marker: str) -> None:
        events, printed = watch(programs["forks"], "sibling", marker)
        maker, parent = map(int, printed.split())
        fork = one([e for e in events if e.type == "fork" and e.pid == maker])
        assert fork.clone_flags is not None and fork.clone_flags & CLONE_PARENT
        end = one([e for e in events if e.type == "exit" and e.pid == fork.child_pid])
        assert end.ppid == parent and end.exit_code == 3

    def test_an_orphan_keeps_who_made_it(self, programs: dict[str, str], marker: str) -> None:
        events, printed = watch(programs["forks"], "orphan", marker, programs["leaf"])
        maker, reaper = map(int, printed.split())
        fork = one([e for e in events if e.type == "fork" and e.pid == maker])
        ran = one([e for e in of(events, "exec", marker) if e.pid == fork.child_pid])
        assert ran.ppid == reaper
        assert ran.start_boottime_ns == fork.child_start_boottime_ns

    def test_the_table_shows_forks(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        command = Command("--format", "table", output=tmp_path / "out")
        process = subprocess.run([programs["forks"], "fork", marker], check=True, capture_output=True)
        child = process.stdout.decode().strip()
        data, _ = command.end()
        rows = [line.split() for line in data.decode().splitlines() if marker in line]
        fork = one([row for row in rows if row[1] == "fork" and row[5] == "forks"])  # type: ignore[type-var]
        assert fork[6:] == [child, f"[{programs['forks']}", "fork", f"{marker}]"]
        end = one([row for row in rows if row[1] == "exit" and row[2] == child])  # type: ignore[type-var]
        assert end[6] == "3" and end[8:] == fork[7:]


class TestAccounts:
    @pytest.mark.parametrize("count", [10, pytest.param(50, marks=pytest.mark.heavy)])
    def test_they_are_wait4s(self, programs: dict[str, str], marker: str, count: int) -> None:
        events, printed = watch(programs["forks"], "burn", marker, str(count), options={"settle": 2.0})
        told = {int(pid): list(map(int, rest)) for pid, *rest in map(str.split, printed.splitlines())}
        ends = [event for event in events if event.type == "exit" and event.pid in told]
        assert len(ends) == len(told) == count
        exact = [event for event in ends if event.cpu_exact]
        assert len(exact) >= count - 2
        slept = 0
        for event in ends:
            assert event.pid is not None and event.max_rss_bytes is not None and event.cpu_ns is not None
            status, user_us, system_us, max_rss_kb, minor, major, waits, preemptions = told[event.pid]
            assert event.status == status
            assert event.max_rss_bytes == max_rss_kb * 1024
            assert event.user_cpu_ns is not None and event.system_cpu_ns is not None
            assert event.user_cpu_ns + event.system_cpu_ns == event.cpu_ns
            if event.cpu_exact:
                assert abs(event.cpu_ns / 1000 - user_us - system_us) < 1000
                assert abs(event.user_cpu_ns / 1000 - user_us) < 1000
                assert (event.minor_faults, event.major_faults) == (minor, major)
                assert event.voluntary_switches is not None
                # Who reaps at once does so before the process has left its CPU for the last time.
                assert event.voluntary_switches - waits in (0, 1)
                assert event.involuntary_switches == preemptions
                slept += waits >= 6
            else:
                assert event.cpu_ns / 1000 <= user_us + system_us + 1
        assert slept >= count // 10

    @pytest.mark.own_root  # what is in memory is never written
    def test_blocks_are_wait4s(self, marker: str, tmp_path: Path) -> None:
        code = (
            "import os, sys, time; pid = os.posix_spawn('/bin/dd', ['dd', *sys.argv[2:]], os.environ)\n"
            "used = os.wait4(pid, 0)[2]; print(pid, used.ru_inblock, used.ru_oublock); time.sleep(0.3)"
        )  # who watches stops with this one, and the final account comes some time behind the reaping
        words = ("if=/dev/zero", f"of={tmp_path}/file", "bs=64k", "count=20", "conv=fsync", "status=none")
        events, printed = watch(sys.executable, "-c", code, marker, *words, options={"settle": 2.0})
        pid, read, written = map(int, printed.split())
        end = one([e for e in events if e.type == "exit" and e.pid == pid])
        assert end.cpu_exact and end.read_bytes is not None and end.write_bytes is not None
        assert (end.read_bytes >> 9, end.write_bytes >> 9) == (read, written)
        assert written >= 20 << 7

    @pytest.mark.own_root
    def test_blocks_read_and_written(self, marker: str, tmp_path: Path) -> None:
        script = f"dd if=/dev/zero of={tmp_path}/file bs=64k count=20 2>/dev/null; : {marker}"
        events, _ = watch("/bin/sh", "-c", script, options={"settle": 1.0})
        shell = one(of(events, "exec", script))
        end = one([e for e in events if e.type == "exit" and e.ppid == shell.pid and e.comm == "dd"])
        assert end.write_bytes is not None and end.write_bytes >= 20 << 16

    def test_nothing_waits_for_a_parent_that_does_not_reap(
        self, programs: dict[str, str], marker: str, tmp_path: Path
    ) -> None:
        command = Command("--json", "--settle", "0.1", output=tmp_path / "out")
        with subprocess.Popen([programs["forks"], "zombie", marker], stdout=subprocess.PIPE) as process:
            time.sleep(0.3)
            zombie = [line for line in (tmp_path / "out").read_text().splitlines() if 'exit_code":3' in line]
            assert len(zombie) == 1 and '"cpu_exact":false' in zombie[0]
            process.wait()
        command.end()

    def test_without_settling_only_the_first_account_is_there(
        self, programs: dict[str, str], marker: str
    ) -> None:
        events, _ = watch(programs["leaf"], marker, "exit", "0", options={"settle": 0.0})
        end = one(of(events, "exit", marker))
        assert end.cpu_exact is False and end.cpu_ns is not None


class TestHow:
    """Which file ran, and with whose rights."""

    def test_a_file_without_a_name(self, programs: dict[str, str], marker: str) -> None:
        events, _ = watch(programs["execs"], "memfd", programs["leaf"], marker, "exit", "0")
        event = one([e for e in of(events, "exec", marker) if e.argv and e.argv[0] == programs["leaf"]])
        assert event.flags == ["memfd"]

    def test_a_deleted_file(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        shutil.copy(programs["leaf"], tmp_path / "gone")
        with open(tmp_path / "gone", "rb") as file:
            os.unlink(tmp_path / "gone")
            path = f"/proc/self/fd/{file.fileno()}"
            events, _ = watch("gone", marker, "exit", "0", executable=path, pass_fds=[file.fileno()])
        assert "deleted" in (one(of(events, "exec", marker)).flags or [])

    def test_a_script_and_its_interpreter(self, marker: str, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/bin/sh\n:\n")
        script.chmod(0o755)
        events, _ = watch(str(script), marker)
        event = one(of(events, "exec", marker))
        assert (event.script, event.interpreter, event.filename) == (str(script), "/bin/sh", str(script))

    @pytest.mark.parametrize("bits", [stat.S_ISUID, stat.S_ISGID, stat.S_ISUID | stat.S_ISGID])
    def test_credentials_before_and_after(self, programs: dict[str, str], marker: str, bits: int) -> None:
        path = f"/var/tmp/{marker}"  # where set-user-ID counts, and anyone may run it
        try:
            shutil.copy(programs["leaf"], path)
            os.chmod(path, 0o755 | bits)
            events, _ = watch(path, marker, "exit", "0", user=NOBODY, group=NOBODY, extra_groups=[])
        finally:
            os.unlink(path)
        event = one(of(events, "exec", marker))
        is_uid, is_gid = bool(bits & stat.S_ISUID), bool(bits & stat.S_ISGID)
        assert (event.uid, event.gid) == (NOBODY, NOBODY)
        assert (event.euid, event.egid) == (0 if is_uid else NOBODY, 0 if is_gid else NOBODY)
        flags = [flag for flag in event.flags or () if flag != "upper_layer"]
        if snoopkit.supports("tp_btf/sched_prepare_exec"):
            assert flags == ["setuid"] * is_uid + ["setgid"] * is_gid + ["secureexec"]
            assert event.old_euid == (NOBODY if is_uid else None)
            assert event.old_egid == (NOBODY if is_gid else None)
        else:
            assert flags == ["secureexec"] and event.incomplete == {"flags": "unsupported"}

    def test_an_upper_layer(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        for name in ("lower", "upper", "work", "merged"):
            (tmp_path / "on" / name).mkdir(parents=True)
        on = tmp_path / "on"
        mount = f"mount -t tmpfs none {on} && mkdir {on}/lower {on}/upper {on}/work {on}/merged"
        layers = f"lowerdir={on}/lower,upperdir={on}/upper,workdir={on}/work"
        script = (
            f"{mount} && cp {programs['leaf']} {on}/lower/below && mount -t overlay none -o {layers} {on}/merged"
            f" && cp {programs['leaf']} {on}/merged/above"
            f" && {on}/merged/below {marker} exit 0 && {on}/merged/above {marker} exit 0"
        )
        events, _ = watch("unshare", "-m", "sh", "-c", script)
        below, above = of(events, "exec", marker)
        assert "upper_layer" not in (below.flags or []) and "upper_layer" in (above.flags or [])


def test_a_signal_ends_what_is_held(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    command = Command("--json", "--settle", "30", output=tmp_path / "out")
    with subprocess.Popen([programs["forks"], "zombie", marker], stdout=subprocess.PIPE):
        time.sleep(0.1)
        began = time.monotonic()
        data, _ = command.end(signal.SIGTERM)
        assert time.monotonic() - began < 2
    assert b'"exit_code":3' in data
