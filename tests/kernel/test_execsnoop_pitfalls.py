"""What other tracers of execs get wrong, and the test that shows it of this one. Those not in this file are named by
their files: `x` is test_execsnoop.py, `fails`, `groups`, `hooks`, `life`, `snapshot`, `storm` and `truth` are
test_execsnoop_fails.py and so on.

Arguments
 1  an argument is cut, and nothing says so       test_a_long_argument_and_another_name
 2  argv[0] is replaced by the file's name        test_a_long_argument_and_another_name
 3  pages that nobody has touched yet             test_arguments_in_cold_pages
 4  scripts; no environment; empty ones; none     x: test_a_script, test_ways_to_exec, test_empty_arguments_are_kept,
                                                  test_no_arguments_at_all
 5  more than fits into a record                  x: test_longer_arguments_are_completed_while_the_process_is_there,
                                                  test_those_of_a_process_that_is_gone_are_marked
 6  those of a failed exec                        fails: test_the_errno_the_file_and_the_arguments,
                                                  test_what_can_not_be_read_is_marked;
                                                  test_cold_arguments_of_a_failed_exec
 7  they change while, or after, they are read    test_arguments_that_change_meanwhile, test_arguments_written_over

Events that are missed, or didn't happen
 8  execveat(), fexecve()                         x: test_ways_to_exec
 9  32-bit system calls                           fails: test_a_32_bit_call_that_works, test_a_32_bit_call
10  exec by another thread than the first         x: test_a_thread_execs
11  a map that fills up and blinds the tool       test_many_execs_by_threads_blind_nothing
12  half of a stress run                          truth: test_counts_are_the_kernels
13  ends of threads taken for the process's       x: test_a_process_with_threads_ends_once, test_two_threads_end_at_once
14  a failure after the point of no return        test_an_exec_that_fails_when_there_is_no_way_back
15  programs that the kernel starts               test_programs_that_the_kernel_starts
16  AT_EXECVE_CHECK runs nothing                  fails: test_asking_whether_it_could_run_is_no_exec
17  a call that says it worked, and ran nothing   test_a_filter_that_pretends
18  events that are lost                          storm: test_nothing_is_missed;
                                                  x: test_what_was_lost_is_declared_to_the_last_event

Who it was
19  comm is cut, or the caller's                  test_comm_is_the_new_programs
20  a pid that is used again                      test_a_pid_that_is_used_again
21  the parent: who made it, who traces it        life: test_who_made_it_and_who_is_its_parent,
                                                  test_an_orphan_keeps_who_made_it; test_a_tracer_is_no_parent
22  clocks that drift from each other             tests/unit/test_render.py: test_wall_clock_follows_a_step;
                                                  test_another_boot_clock_is_refused
23  the time of printing                          test_the_time_is_the_events
24  user namespaces and set-user-ID               test_users_are_the_hosts; life: test_credentials_before_and_after
25  pid namespaces                                groups: TestNamespaces
26  control groups of both versions               groups: TestGroups
27  the status that wait() gives                  x: test_a_process_with_threads_ends_once, last-thread;
                                                  test_what_dies_by_a_signal_is_no_success
28  threads whose ends come after the process's   x: test_a_process_with_threads_ends_once, killed and crowd
29  vfork() shares the parent's memory            life: test_every_process_begins_before_it_runs_or_ends
30  memory is gone when a process ends            life: TestAccounts

The way out
31  order across CPUs                             every test that calls watch(); storm: test_nothing_is_missed
32  scratch memory shared with what interrupts    storm: test_nothing_is_missed, for each argument and status is right
33  tracepoints whose layout changes              hooks: test_only_what_was_asked_for_is_attached, for these have none;
34  and structs whose members move                test_older_kernels.py, in VMs
38  a price that every system call pays           hooks: test_only_what_was_asked_for_is_attached
39  output in a buffer when a signal comes        x: test_what_ran_just_before_a_signal_is_there
40  bytes that a terminal obeys                   x: test_hostile_bytes_stay_in_their_line

35 and 36 are other machines and kprobes, which aren't used; 37, suspend and lockdown, no test can bring about.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import execsnoop
import snoopkit
from execsnoop import tracing
from execsnoop.selftest.programs import dump, scribble
from kernel.conftest import CAP_BPF, CAP_PERFMON, NOBODY, become, in_child
from kernel.watching import Command, marker, of, one, programs, watch

if TYPE_CHECKING:
    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures


def test_a_long_argument_and_another_name(programs: dict[str, str], marker: str) -> None:
    arguments = ["another name", marker, "x" * 300, "exit", "0"]
    events, _ = watch(*arguments, executable=programs["leaf"])
    event = one(of(events, "exec", marker))
    assert (event.argv, event.filename) == (arguments, programs["leaf"])


def cold_copy(programs: dict[str, str], folder: Path) -> str:
    """A program whose arguments for the next one stand in pages that nobody has touched yet."""
    path = folder / "cold"
    shutil.copy(programs["cold"], path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return str(path)


def test_arguments_in_cold_pages(programs: dict[str, str], tmp_path: Path) -> None:
    path = cold_copy(programs, tmp_path)
    events, _ = watch(path, programs["leaf"])
    first = one([e for e in events if e.type == "exec" and e.argv and e.argv[0] == path])
    event = one([e for e in events if e.type == "exec" and e.pid == first.pid and e is not first])
    assert event.argv == [programs["leaf"], "first argument from a cold page", "second", "exit", "0"]


def test_cold_arguments_of_a_failed_exec(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    """Where the kernel found no file it has mostly not looked at the arguments, and nobody else may."""
    path = cold_copy(programs, tmp_path)
    absent, empty = f"/{marker}", str(tmp_path / marker)
    Path(empty).touch(0o755)
    whole = ["first argument from a cold page", "second", "exit", "0"]
    events, _ = watch(path, absent, status=126, options={"failed": True})
    event = one([e for e in events if e.type == "exec_failed" and e.filename == absent])
    assert event.error == "ENOENT" and event.argv is not None
    assert event.incomplete == (None if event.argv == [absent, *whole] else {"argv": "unreadable"})
    assert event.argv == [absent, *whole][: len(event.argv)]
    cold_copy(programs, tmp_path)
    events, _ = watch(path, empty, status=126, options={"failed": True})
    event = one([e for e in events if e.type == "exec_failed" and e.filename == empty])
    assert (event.error, event.argv, event.incomplete) == ("ENOEXEC", [empty, *whole], None)


def test_arguments_that_change_meanwhile(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    """A thread writes over one while the kernel reads it; what counts is what the program got, by its own report."""
    path = tmp_path / "dump"
    path.write_bytes(dump())
    path.chmod(0o755)
    events, printed = watch(programs["execs"], "changing", str(path), "", marker)
    told = [part.split("\0") for part in printed.split(f"{path}\0")[1:]]
    seen = [e.argv for e in of(events, "exec", marker) if e.argv and e.argv[0] == str(path)]
    assert len(seen) == 200
    assert seen == [[str(path), *part[:-1]] for part in told]
    assert {argv[1] for argv in seen if argv} <= {"a", "b"}


def test_arguments_written_over(marker: str, tmp_path: Path) -> None:
    path = tmp_path / "scribble"
    path.write_bytes(scribble())
    path.chmod(0o755)
    events, printed = watch(str(path), "before", marker)
    assert printed == f"{path}\0Xefore\0{marker}\0"
    for type in ("exec", "exit"):
        assert one(of(events, type, marker)).argv == [str(path), "before", marker]


def test_a_filter_that_pretends(programs: dict[str, str], marker: str) -> None:
    """A seccomp filter lets execve() return 0, and nothing ran."""
    command = [programs["tries"], "pretended", programs["leaf"], marker]
    events, printed = watch(*command, options={"failed": True})
    assert printed == "0\n"
    caller = one(of(events, "exec", marker))
    assert caller.argv == command
    assert [e.type for e in events if e.pid == caller.pid] == ["exec", "exit"]


def test_comm_is_the_new_programs(programs: dict[str, str], marker: str, tmp_path: Path) -> None:
    path = tmp_path / "a name of more than fifteen bytes"
    os.link(programs["leaf"], path)
    for how in ("execveat", "fexecve"):
        with execsnoop.trace(settle=0.0) as trace:
            command = [programs["execs"], how, str(path), marker, "sleep", "1000"]
            with subprocess.Popen(command) as process:
                events: list[ProcessEvent] = []
                while len(of(events, "exec", marker)) < 2:
                    events += trace.poll(0.1)
                comm = Path(f"/proc/{process.pid}/comm").read_text()[:-1]
                process.kill()
            for lot in trace.finish():
                events += lot
        before, after = of(events, "exec", marker)
        assert (before.comm, after.comm) == ("execs", comm)
        assert one(of(events, "exit", marker)).comm == comm
    assert before.incomplete is after.incomplete is None


@pytest.mark.own_root
def test_a_pid_that_is_used_again(programs: dict[str, str], marker: str) -> None:
    for _ in range(20):
        events, printed = watch(programs["forks"], "again", marker, programs["leaf"])
        pids = set(printed.split())
        if len(pids) == 1:  # nobody else got it in between
            break
    (pid,) = map(int, pids)
    parent = [programs["forks"], "again", marker, programs["leaf"]]
    maker = of(events, "exec", marker)[0].pid
    ends = [e for e in events if e.type == "exit" and e.pid == pid and e.ppid == maker]
    assert [(e.exit_code, e.argv == parent, e.inherited) for e in ends] == [
        (3, True, True),
        (4, False, None),
        (3, True, True),
    ]
    begun = [e for e in events if e.type == "fork" and e.pid == maker]
    assert [e.child_start_boottime_ns for e in begun] == [e.start_boottime_ns for e in ends]
    assert len({e.start_boottime_ns for e in ends}) == 3


def test_a_tracer_is_no_parent(programs: dict[str, str], marker: str) -> None:
    events, printed = watch(programs["forks"], "traced", marker, programs["leaf"])
    parent, child, _ = map(int, printed.split())
    told = [e for e in of(events, "exec", marker) + of(events, "exit", marker) if e.pid == child]
    assert [(e.type, e.ppid) for e in told] == [("exec", parent), ("exit", parent)]
    assert told[1].exit_code == 4


@pytest.mark.parametrize("offset", ["-10", "86400"])  # not to before the boot
def test_another_boot_clock_is_refused(offset: str) -> None:
    """In a time namespace; by that clock all times would be wrong, or events too new ever to be given."""
    place = ["unshare", "--time", "--boottime", offset, "--fork"]
    command = [*Command.PROGRAM, "--json", "--duration", "0.1"]
    refused = subprocess.run([*place, *command], capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stdout == ""
    assert f"{int(offset):+} s off the kernel's" in refused.stderr and "nsenter" in refused.stderr


def test_the_time_is_the_events(programs: dict[str, str], marker: str) -> None:
    """Not that of reading, which here comes much later."""
    looks = [time.clock_gettime_ns(time.CLOCK_BOOTTIME)]
    with execsnoop.trace() as trace:
        for _ in range(3):
            subprocess.run([programs["leaf"], marker, "exit", "0"], check=True)
            looks.append(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            time.sleep(0.1)
        events = [event for lot in trace.finish() for event in lot]
    for type in ("exec", "exit"):
        times = [event.boottime_ns for event in of(events, type, marker)]
        assert len(times) == 3
        for before, at, after in zip(looks, times, looks[1:]):
            assert before < at < after


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


def test_the_list_above_names_tests_that_exist() -> None:
    tests = Path(__file__).parents[1]
    defined = "\n".join(path.read_text() for path in tests.rglob("test_*.py"))
    named = re.findall(r"\b(?:test_|Test[A-Z])\w+\b(?!\.py)", __doc__ or "")
    assert len(named) > 40
    assert [name for name in named if not re.search(rf"^ *(def|class) {name}\b", defined, re.MULTILINE)] == []
