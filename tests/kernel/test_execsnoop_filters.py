"""Filters on live events: what the kernel's side leaves out, and that nobody sees that it did."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import execsnoop
from execsnoop import cli, selection, tracing
from execsnoop.filters import Filter
from kernel.watching import marker, of, one, programs, watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures

CLASSIC = Path("/usr/sbin/execsnoop")
# Times and accounts differ from one trace to the next; `folded` where the kernel leaves out tries under another name.
_KEYS = """
type pid tid ppid start_boottime_ns uid gid euid egid comm cgroup argv argv_size_bytes filename interpreter script
old_tid flags exit_code signal inherited child_pid error
"""
COMPARED = tuple(_KEYS.split())

# Other users, groups and names; changes of them behind an exec, with children that run nothing of their own.
RENAMES = "printf renamed >/proc/$$/comm; (:); (exec true); sleep 0; exit 4"
SETS_ID = "import os; os.setgid(1235); os.setuid(1234); os.fork() or os._exit(3); os.wait()"
SCRIPT = f"""
sleep 0; (exec true)
setpriv --reuid 1234 --regid 1235 --clear-groups sh -c 'sleep 0; (:); true; no-such; (exit 2); id -u >/dev/null'
setpriv --regid 1235 --clear-groups sh -c 'sleep 0; (:)'
sh -c '{RENAMES}'
{sys.executable} -S -E -c '{SETS_ID}'
test -z "$1" || sh -c 'echo $$ >"$1/cgroup.procs"; sleep 0; (:)' sh "$1"
"""


def unified() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


@pytest.fixture(scope="module")
def group() -> Iterator[str]:
    """The folder of a new control group, "" where this machine has none of version 2."""
    where = unified()
    if where is None:
        yield ""
        return
    folder = where / f"snooptest-{os.getpid()}" / "inner"
    folder.mkdir(parents=True)
    yield str(folder)
    deadline = time.monotonic() + 5
    while (folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    folder.rmdir()
    folder.parent.rmdir()


def family(events: Sequence[ProcessEvent], root: int) -> set[int]:
    pids = {root}
    for event in events:
        if event.type == "fork" and event.pid in pids:
            assert event.child_pid is not None
            pids.add(event.child_pid)
    return pids


def told(events: Sequence[ProcessEvent], pids: set[int]) -> list[dict[str, Any]]:
    """Process by process: each trace stamps an event for itself, so those of two CPUs may change places."""
    mine = [{key: getattr(event, key) for key in COMPARED} for event in events if event.pid in pids]
    return sorted(mine, key=lambda event: int(event["pid"]))


def rest(trace: execsnoop.Trace) -> list[ProcessEvent]:
    events = [event for lot in trace.finish() for event in lot]
    assert trace.lost == 0, trace.losses
    return events


def compare(where: str, group: str) -> int:
    """Both sides on the same workload; returns how many events were selected."""
    how: dict[str, Any] = {"failed": True, "settle": 0.0, "buffer_bytes": 8 << 20, "columns": ["cgroup"]}
    with execsnoop.trace(**how) as everything, execsnoop.trace(where=where, **how) as chosen:
        process = subprocess.Popen(["sh", "-c", SCRIPT, "sh", group], stderr=subprocess.DEVNULL)
        assert process.wait() == 0
        all_events, found = rest(everything), rest(chosen)
    pids = family(all_events, process.pid)
    assert len(pids) > 15
    expected = list(filter(Filter(where).matches, all_events))
    assert told(found, pids) == told(expected, pids)
    return len(told(found, pids))


def atoms(group: str) -> list[str]:
    name = f"/snooptest-{os.getpid()}"
    return [
        "uid == 1234",
        "uid != 0",
        "uid < 1234",
        "uid in (0, 4321)",
        "gid == 1235",
        "gid > 0",
        'comm == "sleep"',
        'comm in ("renamed", "sh")',
        'comm ~ "e"',
        f'cgroup in "{name}"',
        f'cgroup == "{name}/inner"',
        'cgroup == "/inner"',
        "exit_code != 0",
        'argv ~ "sleep"',
        "type == fork",
        "inherited",
    ]


FILTERS = st.recursive(
    st.sampled_from(atoms("")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "and", "or"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=4,
)


@pytest.mark.own_root
class TestBothSidesAgree:
    @pytest.mark.parametrize(
        "where",
        [
            "uid == 1234",
            "gid == 1235",
            'comm == "renamed"',
            'comm in ("sleep", "true", "id", "sh")',
            'comm == "sh" and uid == 1234',
        ],
    )
    def test_on_what_the_kernel_decides(self, where: str, group: str) -> None:
        assert Filter(where).kernel_options
        assert compare(where, group) > 0

    def test_on_a_group(self, group: str) -> None:
        if not group:
            return
        name = f"/snooptest-{os.getpid()}"
        for where, is_there in ((f'cgroup in "{name}"', True), (f'cgroup == "{name}/inner"', True)):
            assert (compare(where, group) > 0) is is_there
        assert compare('cgroup in "/inner"', group) == compare(f'cgroup in "{name[:-1]}"', group) == 0

    @settings(
        max_examples=6,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(where=FILTERS)
    def test_on_random_filters(self, group: str, where: str) -> None:
        compare(where, group)


def test_untyped_programs_leave_out_the_same(
    programs: dict[str, str], marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import snoopkit

    real = snoopkit.run

    def refuses(package: snoopkit.Package, **how: Any) -> snoopkit.Snoop:
        if not any(name.endswith("_raw") for name in how["enable"]):
            raise snoopkit.UnsupportedError("no", feature="tp_btf/sched_process_exec")
        return real(package, **how)

    monkeypatch.setattr(tracing.snoopkit, "run", refuses)
    options = {"where": 'comm == "leaf"'}
    events, _ = watch("sh", "-c", f"{programs['leaf']} {marker} exit 3; :", options=options)
    assert {event.comm for event in events} == {"leaf"}
    assert one(of(events, "exec", marker)).pid == one(of(events, "exit", marker)).pid


def test_what_is_left_out_is_neither_seen_nor_lost(programs: dict[str, str], marker: str) -> None:
    where = 'comm == "no such" and uid == 4000000'
    events, _ = watch(programs["leaf"], marker, "exit", "3", status=3, options={"where": where})
    assert events == []


def test_a_family_is_followed_through_those_that_are_not_wanted(
    programs: dict[str, str], marker: str
) -> None:
    script = f"sh -c '{programs['leaf']} {marker} exit 3; :'; :"
    with execsnoop.trace(["sh", "-c", script], where='comm == "leaf"') as trace:
        events = list(trace)
    assert (
        [event.type for event in events if event.comm == "leaf"]
        == ["exec", "exit"]
        == [e.type for e in events]
    )


def test_secrets_are_hidden_everywhere(programs: dict[str, str], marker: str) -> None:
    argv = [programs["leaf"], marker, "--password", "hunter2", "exit", "3"]
    options = {"redact": True, "where": f'argv ~ "{marker} --password hunter2"'}
    events, _ = watch(*argv, status=None, options=options)
    for type in ("exec", "exit"):
        event = one(of(events, type, marker))
        assert event.argv is not None and event.argv[2:4] == ["--password", "[redacted]"]
        assert event.argv_size_bytes in (None, len("\0".join(argv)) + 1)


@pytest.mark.own_root
@pytest.mark.skipif(not CLASSIC.exists(), reason="libbpf-tools' execsnoop is not installed")
class TestClassicFlags:
    """Each against libbpf-tools' own execsnoop, on the same workload. Theirs are about execs alone."""

    def run(self, flags: Sequence[str], marker: str, group: str = "") -> tuple[list[str], list[str]]:
        """The second arguments of the execs that theirs shows, and that ours does."""
        where = selection.where(cli.parser().parse_args([*flags]))
        script = (
            f"sleep 0 {marker[:6]} 2>/dev/null; env true a-{marker}; env false b-{marker}; : c-{marker};"
            f"setpriv --reuid 1234 --clear-groups env true d-{marker};"
            f"""test -z "{group}" || sh -c 'echo $$ >{group}/cgroup.procs; sleep 0; env true e-{marker}; :'; :"""
        )
        with subprocess.Popen(
            ["stdbuf", "-oL", CLASSIC, *flags], stdout=subprocess.PIPE, text=True
        ) as classic:
            assert classic.stdout is not None
            try:
                assert classic.stdout.readline().split()[0] == "PCOMM"  # printed once it is attached
                events, _ = watch("sh", "-c", script, options={"where": where})
                time.sleep(0.3)
            finally:
                classic.terminate()
            theirs = [line.split()[-1] for line in classic.stdout if marker in line]
        ours = [e.argv[-1] for e in events if e.type == "exec" and e.argv and marker in " ".join(e.argv)]
        return [a[:1] for a in theirs], [a[:1] for a in ours]

    @pytest.mark.parametrize("flags", [["-u", "1234"], ["-n", "tru"], ["-n", "env"]])
    def test_the_same_execs(self, flags: list[str], marker: str) -> None:
        theirs, ours = self.run(flags, marker)
        assert theirs == ours and ours

    def test_the_same_control_group(self, group: str, marker: str) -> None:
        if not group:
            return  # theirs knows those of version 2
        theirs, ours = self.run(["-c", str(Path(group).parent)], marker, group)
        assert theirs == ours == ["e", "e"], "a group below it included"

    def test_theirs_looks_for_a_line_in_the_name(self, marker: str) -> None:
        theirs, ours = self.run(["-l", f"b-{marker}"], marker)
        assert theirs == [] and ours.count("b") == 2
