"""Which programs run in the kernel, and that kernels with fewer hooks get what there is: each lack is forced here."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop
import snoopkit
from execsnoop.tracing import package_path
from kernel.watching import Command, held, marker, of, one, programs, watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures

ALWAYS = {"on_exec", "on_exit", "on_fork"}


@pytest.fixture
def lack(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes hooks disappear: those whose section ends so."""

    def forget(*ends: str) -> None:
        found = snoopkit.supports
        monkeypatch.setattr(snoopkit, "supports", lambda s: not s.endswith(ends) and found(s))

    return forget


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Fills with the names of the programs that runs were asked to attach, one set for each."""
    run = snoopkit.run
    asked: list[set[str]] = []

    def spy(*args: Any, **how: Any) -> snoopkit.Snoop:
        snoop = run(*args, **how)
        loaded = ALWAYS - set(how.get("disable", ())) | set(how["enable"])
        asked.append({name for name in loaded if not snoop.package.programs[name].is_iterator})
        return snoop

    monkeypatch.setattr(snoopkit, "run", spy)
    return asked


def refuse_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that refuses every program with typed arguments."""
    run = snoopkit.run

    def refusing(package: snoopkit.Package, **how: Any) -> snoopkit.Snoop:
        on = {name for name, program in package.programs.items() if not program.optional}
        for name in on - set(how.get("disable", ())) | set(how["enable"]):
            section = package.programs[name].section
            if section.removeprefix("?").startswith("tp_btf/"):
                raise snoopkit.UnsupportedError("this kernel refuses tp_btf programs", feature=section)
        return run(package, **how)

    monkeypatch.setattr(snoopkit, "run", refusing)


def links() -> dict[int, tuple[str, str]]:
    """Every link in the kernel that belongs to a program of ours: its kind, and the program's name."""
    ours = {name[:15]: name for name in snoopkit.Package.read(package_path()).programs}
    programs, links = (
        json.loads(subprocess.run(["bpftool", "-j", what, "list"], check=True, capture_output=True).stdout)
        for what in ("prog", "link")
    )
    names = {p["id"]: ours[p["name"][:15]] for p in programs if p.get("name", "")[:15] in ours}
    return {
        link["id"]: (link["type"], names[link["prog_id"]]) for link in links if link.get("prog_id") in names
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--settle", "0"], {*ALWAYS, "on_prepare"}),
        ([], {*ALWAYS, "on_prepare", "on_free"}),
        (
            ["--columns", "pid,cwd"],
            {"on_exec_more", "on_exit_more", "on_fork_more", "on_prepare", "on_free"},
        ),
        (["-x"], {*ALWAYS, "on_prepare", "on_free", "on_fail_execve", "on_fail_execveat"}),
    ],
)
def test_only_what_was_asked_for_is_attached(tmp_path: Path, options: list[str], expected: set[str]) -> None:
    if not snoopkit.supports("tp_btf/sched_prepare_exec"):
        expected = expected - {"on_prepare"}
    command = Command("--json", *options, output=tmp_path / "out")
    _, ids = held(command.process.pid)
    mine = {key: link for key, link in links().items() if key in ids}
    command.end()
    assert sorted(name for _, name in mine.values()) == sorted(expected)
    kinds = {name: kind for kind, name in mine.values()}
    assert {kinds[name] for name in expected if "fail" not in name} <= {"tracing", "raw_tracepoint"}


def check_life(programs: dict[str, str], marker: str, *, is_exact: bool = True) -> None:
    """An exec, a fork and ends, as the default hooks tell them."""
    events, printed = watch(programs["forks"], "fork", marker, options={"settle": 1.0}, linger=0.5)
    child = int(printed)
    parent = one(of(events, "exec", marker))
    assert parent.filename == programs["forks"]
    fork = one([e for e in events if e.type == "fork" and e.pid == parent.pid])
    assert fork.child_pid == child
    end = one([e for e in events if e.type == "exit" and e.pid == child])
    assert (end.exit_code, end.argv, end.inherited) == (3, parent.argv, True)
    assert end.start_boottime_ns == fork.child_start_boottime_ns
    assert end.cpu_exact is is_exact and end.max_rss_bytes is not None and end.max_rss_bytes > 0


def test_programs_with_typed_arguments_are_refused(
    programs: dict[str, str], marker: str, monkeypatch: pytest.MonkeyPatch, ran: list[set[str]]
) -> None:
    refuse_types(monkeypatch)
    check_life(programs, marker)
    before = {"on_prepare_raw"} if snoopkit.supports("raw_tp/sched_prepare_exec") else set()
    assert ran == [{"on_exec_raw", "on_exit_raw", "on_fork_raw", "on_free_raw"} | before]


def test_and_so_are_files_credentials_and_threads(
    programs: dict[str, str], marker: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuse_types(monkeypatch)
    events, _ = watch(programs["execs"], "memfd", programs["leaf"], marker, "exit", "0")
    event = one([e for e in of(events, "exec", marker) if e.argv and e.argv[0] == programs["leaf"]])
    assert event.flags == ["memfd"]
    events, printed = watch(programs["ends"], "race", marker, "100")
    told = {int(pid): int(status) for pid, status in map(str.split, printed.splitlines())}
    ends = [event for event in events if event.type == "exit" and event.pid in told]
    assert {event.pid: event.status for event in ends} == told and len(ends) == 100
    events, printed = watch(programs["ends"], "exec-by-thread", marker, programs["leaf"], status=4)
    pid, tid = map(int, printed.split())
    assert (of(events, "exec", marker)[1].pid, of(events, "exec", marker)[1].old_tid) == (pid, tid)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n:\n")
    script.chmod(0o755)
    events, _ = watch(
        str(script), marker, options={"columns": ["exe", "cgroup", "namespaces", "capabilities"]}
    )
    event = one(of(events, "exec", marker))
    assert (event.script, event.interpreter) == (str(script), "/bin/sh")
    assert event.exe is not None and event.cgroup is not None and event.namespaces and event.capabilities


def setuid_exec(program: str, marker: str) -> ProcessEvent:
    """Of a copy that is root's, by somebody else."""
    path = f"/var/tmp/{marker}"
    try:
        subprocess.run(["install", "-m", "4755", program, path], check=True)
        events, _ = watch(path, marker, "exit", "0", user=65534, group=65534, extra_groups=[])
    finally:
        subprocess.run(["rm", "-f", path], check=True)
    return one(of(events, "exec", marker))


def test_credentials_where_typed_programs_are_refused(
    programs: dict[str, str], marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_types(monkeypatch)
    event = setuid_exec(programs["leaf"], marker)
    if snoopkit.supports("tp_btf/sched_prepare_exec"):
        assert event.old_euid == 65534 and {"setuid", "secureexec"} <= set(event.flags or ())


def test_without_the_hook_before_an_exec(
    programs: dict[str, str], marker: str, lack: Callable[..., None], ran: list[set[str]]
) -> None:
    lack("/sched_prepare_exec")
    check_life(programs, marker)
    assert ran == [{*ALWAYS, "on_free"}]
    event = setuid_exec(programs["leaf"], marker)
    assert event.incomplete == {"flags": "unsupported"} and "secureexec" in (event.flags or ())
    events, _ = watch(programs["leaf"], marker, "exit", "0")
    assert one(of(events, "exec", marker)).incomplete is None


def test_without_the_hook_when_a_process_is_reaped(
    programs: dict[str, str], marker: str, lack: Callable[..., None], ran: list[set[str]]
) -> None:
    lack("/sched_process_free")
    check_life(programs, marker, is_exact=False)
    assert all("on_free" not in names for names in ran)


def test_without_tracefs_failed_execs_come_from_every_calls_end(
    marker: str, lack: Callable[..., None], ran: list[set[str]]
) -> None:
    lack("/sys_exit_execve")
    events, _ = watch("/bin/sh", "-c", f"/no/such {marker}", status=127, options={"failed": True})
    assert "on_fail_raw" in ran[0] and "on_fail_execveat" not in ran[0]
    assert one(of(events, "exec_failed", marker)).error == "ENOENT"


def test_a_refusal_for_another_reason_is_no_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refusing(package: snoopkit.Package, **how: Any) -> snoopkit.Snoop:
        calls.append(how)
        raise snoopkit.UnsupportedError("no BTF", feature="kernel BTF")

    monkeypatch.setattr(snoopkit, "run", refusing)
    with pytest.raises(snoopkit.UnsupportedError, match="no BTF"):
        execsnoop.trace()
    assert len(calls) == 1


def test_by_a_ring_buffer(programs: dict[str, str], marker: str) -> None:
    events, printed = watch(
        programs["spawn"], programs["leaf"], marker, "200", "8", options={"transport": "ring"}
    )
    told = {int(pid): int(status) for _, pid, status in map(str.split, printed.splitlines())}
    ends = {event.pid: event.status for event in of(events, "exit", marker) if event.pid in told}
    assert ends == told
    assert len([event for event in of(events, "exec", marker) if event.pid in told]) == 200
