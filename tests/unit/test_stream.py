"""Execs and exits joined: by identity, within bounds, once each, in order."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from execsnoop.model import ProcessEvent
from execsnoop.processes import Processes
from execsnoop.stream import Stream

MAY_REPEAT = 0x20
UNSELECTED = 0x800
NEVER = 1 << 62


def record(struct: str, time_ns: int, pid: int, start: int, flags: int, **values: Any) -> SimpleNamespace:
    return SimpleNamespace(
        _struct=struct,
        _time_ns=time_ns,
        _cpu=0,
        header=SimpleNamespace(flags=flags),
        pid=pid,
        tid=pid,
        ppid=1,
        start_boottime_ns=start,
        uid=0,
        gid=0,
        euid=0,
        egid=0,
        loginuid=0xFFFFFFFF,
        sessionid=0xFFFFFFFF,
        comm="x",
        tty="",
        **values,
    )


def execs(
    time_ns: int,
    pid: int,
    *argv: str,
    start: int = 2_000,
    flags: int = 0,
    old_tid: int | None = None,
    how: int = 0,
    euid: int = 0,
    egid: int = 0,
) -> SimpleNamespace:
    size = sum(len(argument) + 1 for argument in argv)
    made = record(
        "exec_event",
        time_ns,
        pid,
        start,
        flags,
        old_tid=pid if old_tid is None else old_tid,
        how=how,
        argv=list(argv),
        argv_size_bytes=size,
        argv_captured_bytes=size,
        filename="/x",
        interpreter="/i",
    )
    made.euid, made.egid = euid, egid
    return made


ACCOUNT = {
    "user_ns": 3,
    "system_ns": 1,
    "cpu_ns": 400,
    "max_rss_pages": 2,
    "minor_faults": 5,
    "major_faults": 1,
    "read_bytes": 4096,
    "write_bytes": 512,
    "voluntary_switches": 4,
    "involuntary_switches": 2,
}


def exits(
    time_ns: int, pid: int, status: int = 0, start: int = 2_000, flags: int = 0, **account: int
) -> SimpleNamespace:
    return record("exit_event", time_ns, pid, start, flags, status=status, **{**ACCOUNT, **account})


def fails(time_ns: int, pid: int, filename: str, error: int = 2, tid: int = 0) -> SimpleNamespace:
    made = record(
        "fail_event",
        time_ns,
        pid,
        2_000,
        0,
        error=error,
        dirfd=-100,
        at_flags=0,
        filename=filename,
        argv=[filename.rpartition("/")[2], "x"],
    )
    made.tid = tid or pid
    return made


def forks(time_ns: int, pid: int, child: int, *, start: int = 2_000, child_start: int = 0) -> SimpleNamespace:
    return record(
        "fork_event",
        time_ns,
        pid,
        start,
        0,
        child_pid=child,
        child_start_boottime_ns=child_start or time_ns,
        clone_flags=0x4100,
    )


def frees(time_ns: int, pid: int, start: int = 2_000, **account: int) -> SimpleNamespace:
    return record("free_event", time_ns, pid, start, 0, **{**ACCOUNT, **account})


def prepares(time_ns: int, tid: int, pid: int, old_euid: int = 0, old_egid: int = 0) -> SimpleNamespace:
    made = record("prepare_event", time_ns, pid, 2_000, 0, old_euid=old_euid, old_egid=old_egid)
    made.tid = tid
    return made


def loses(time_ns: int, count: int, map: str = "events") -> SimpleNamespace:
    return SimpleNamespace(
        _struct="lost", _time_ns=time_ns, _cpu=-1, _map=map, count=count, cause="buffer_full"
    )


def feed(stream: Stream, *records: SimpleNamespace, now_ns: int = 0) -> list[ProcessEvent]:
    return stream.feed(records, now_ns)


def test_an_exit_has_the_arguments_of_the_last_exec() -> None:
    stream = Stream()
    first, second, end = feed(
        stream, execs(3_000, 7, "env", "ls"), execs(5_000, 7, "ls"), exits(9_000, 7, status=2 << 8)
    )
    assert (first.argv, second.argv, end.argv) == (["env", "ls"], ["ls"], ["ls"])
    assert (end.duration_ns, end.lifetime_ns) == (4_000, 7_000)
    assert (end.exit_code, end.status) == (2, 512)


def test_a_pid_used_again_is_another_process() -> None:
    stream = Stream()
    (_, end) = feed(stream, execs(3_000, 7, "ls"), exits(9_000, 7, start=8_000))
    assert end.argv is None
    assert end.duration_ns == end.lifetime_ns == 1_000


def test_a_process_without_an_exec_has_its_parents_command() -> None:
    stream = Stream()
    _, fork, second, child, grandchild = feed(
        stream,
        execs(3_000, 7, "sh", "-c", "(:)"),
        forks(4_000, 7, 8),
        forks(4_500, 8, 9, start=4_000),
        exits(5_000, 8, start=4_000),
        exits(6_000, 9, start=4_500),
    )
    assert (fork.type, fork.child_pid, fork.child_start_boottime_ns) == ("fork", 8, 4_000)
    assert fork.argv == second.argv == child.argv == grandchild.argv == ["sh", "-c", "(:)"]
    assert child.inherited is grandchild.inherited is True
    assert (child.duration_ns, child.lifetime_ns) == (1_000, 1_000)
    assert "argv" not in fork.as_dict() and fork.as_dict()["clone_flags"] == 0x4100


def test_a_command_of_its_own_is_not_inherited() -> None:
    stream = Stream()
    *_, end = feed(
        stream,
        execs(3_000, 7, "sh"),
        forks(4_000, 7, 8),
        execs(4_100, 8, "ls", start=4_000),
        execs(4_200, 7, "other"),
        exits(5_000, 8, start=4_000),
    )
    assert end.argv == ["ls"] and end.inherited is None


def test_the_command_is_the_one_at_the_time_of_the_fork() -> None:
    stream = Stream()
    *_, end = feed(
        stream,
        execs(3_000, 7, "sh"),
        forks(4_000, 7, 8),
        execs(4_200, 7, "other"),
        exits(5_000, 8, start=4_000),
    )
    assert end.argv == ["sh"] and end.inherited


def test_a_command_that_nobody_saw_is_unknown() -> None:
    stream = Stream()
    fork, old, child = feed(stream, forks(3_000, 7, 8), exits(3_500, 7), exits(4_000, 8, start=3_000))
    assert fork.argv is None and old.argv is None and child.argv is None
    assert old.inherited is None and child.inherited is None
    assert old.duration_ns == 1_500


def test_lost_execs_make_inheriting_uncertain() -> None:
    stream = Stream()
    feed(stream, execs(2_500, 6, "sh"), forks(3_500, 6, 7))
    notice, end, _, later = feed(
        stream,
        loses(4_000, 3),
        exits(5_000, 7, start=3_500),
        forks(5_500, 6, 8),
        exits(6_000, 8, start=5_500),
    )
    assert (notice.type, notice.count, notice.cause, notice.events) == ("lost", 3, "buffer_full", "exec")
    assert end.argv is None
    assert later.argv == ["sh"]
    assert list(notice.as_dict()) == ["type", "time", "boottime_ns", "count", "cause", "events"]


def test_lost_exits_leave_execs_certain() -> None:
    stream = Stream()
    feed(stream, execs(2_500, 6, "sh"), forks(3_500, 6, 7))
    notice, end = feed(stream, loses(4_000, 3, "life"), exits(5_000, 7, start=3_500))
    assert notice.events == "fork or exit"
    assert end.argv == ["sh"]


def test_notices_do_not_disturb_the_order() -> None:
    stream = Stream()
    events = feed(stream, execs(3_000, 7, "a"), loses(2_900, 1), loses(3_500, 1), execs(4_000, 8, "b"))
    assert [event.boottime_ns for event in events] == [3_000, 3_000, 3_500, 4_000]


def test_flags_become_marks() -> None:
    stream = Stream()
    cut, unreadable, unsupported, end = feed(
        stream,
        execs(3_000, 7, "a", flags=0x01 | 0x04),
        execs(3_001, 8, "a", flags=0x02 | 0x08),
        execs(3_002, 9, "a", flags=0x10),
        exits(3_003, 7),
    )
    assert cut.incomplete == {"argv": "truncated", "filename": "truncated"}
    assert unreadable.argv is None and unreadable.filename is None
    assert unreadable.incomplete == {"argv": "unreadable", "filename": "unreadable"}
    assert unsupported.incomplete == {"loginuid": "unsupported", "sessionid": "unsupported"}
    assert end.incomplete == {"argv": "truncated"}


def test_an_exec_by_a_thread_shows_the_threads_old_number() -> None:
    by_leader, by_thread = feed(Stream(), execs(3_000, 7, "a"), execs(3_001, 8, "a", old_tid=9))
    assert by_leader.old_tid is None
    assert by_thread.old_tid == 9


def test_memory_is_bounded_by_processes() -> None:
    stream = Stream(Processes(max_running=2))
    feed(stream, *(execs(3_000 + pid, pid, "a", start=2_000 + pid) for pid in range(5)))
    assert stream.processes.evicted == 3
    forgotten, kept = feed(stream, exits(4_000, 2, start=2_002), exits(4_001, 3, start=2_003))
    assert forgotten.argv is None
    assert kept.argv == ["a"]


def test_memory_is_bounded_by_bytes_of_arguments() -> None:
    stream = Stream(
        Processes(max_argv_bytes=300)
    )  # two arguments of 60 bytes, with what Python needs for each
    feed(stream, execs(3_000, 1, "a" * 60), execs(3_001, 1, "b" * 60), execs(3_002, 2, "c" * 60))
    assert stream.processes.evicted == 0  # the second exec of the first process replaced its first
    assert feed(stream, exits(4_000, 2))[0].argv == ["c" * 60]
    feed(stream, execs(5_000, 3, "d" * 60))
    assert stream.processes.evicted == 0  # the exit gave its share back
    feed(stream, execs(5_001, 4, "e" * 60))
    assert stream.processes.evicted == 1
    oldest, newest = feed(stream, exits(6_000, 1), exits(6_001, 4))
    assert oldest.argv is None and newest.argv == ["e" * 60]


class TestRepeatedExits:
    """Before 6.16 several threads of one process may each report its end: the latest is right."""

    def test_the_latest_is_kept_and_the_order_too(self) -> None:
        stream = Stream()
        assert feed(stream, execs(3_000, 7, "a"))
        assert not feed(stream, exits(4_000, 7, 0, flags=MAY_REPEAT), now_ns=4_100)
        assert stream.due_ns is not None
        between = feed(stream, execs(4_200, 8, "b"), exits(4_300, 7, 5 << 8, flags=MAY_REPEAT), now_ns=4_400)
        events = between + feed(stream, now_ns=NEVER)
        assert [(event.type, event.pid, event.boottime_ns) for event in events] == [
            ("exec", 8, 4_200),
            ("exit", 7, 4_300),
        ]
        assert events[1].exit_code == 5 and events[1].argv == ["a"] and events[1].duration_ns == 1_300
        assert stream.repeated == 1 and stream.due_ns is None

    def test_the_last_thread_ends_the_wait(self) -> None:
        stream = Stream()
        events = feed(
            stream, exits(4_000, 7, 0, flags=MAY_REPEAT), exits(4_300, 7, 5 << 8), execs(4_400, 8, "b")
        )
        assert [(event.type, event.boottime_ns) for event in events] == [("exit", 4_300), ("exec", 4_400)]
        assert stream.due_ns is None

    def test_one_that_comes_too_late_is_dropped(self) -> None:
        stream = Stream()
        feed(stream, exits(4_000, 7, flags=MAY_REPEAT))
        assert len(feed(stream, now_ns=NEVER)) == 1
        assert not feed(stream, exits(9_000, 7, flags=MAY_REPEAT))
        assert stream.repeated == 1

    def test_the_end_waits_for_nothing(self) -> None:
        stream = Stream()
        feed(stream, exits(4_000, 7, flags=MAY_REPEAT), execs(4_100, 8, "b"))
        assert [event.type for event in stream.flush()] == ["exit", "exec"]
        assert stream.due_ns is None

    @pytest.mark.parametrize("pids", [(1, 2, 3), (3, 1, 2)])
    def test_several_wait_at_once(self, pids: tuple[int, ...]) -> None:
        stream = Stream()
        feed(stream, *(exits(4_000 + n, pid, flags=MAY_REPEAT) for n, pid in enumerate(pids)))
        again = feed(stream, *(exits(4_100 + n, pid, 256) for n, pid in enumerate(reversed(pids))))
        assert [(event.pid, event.exit_code) for event in again] == [(pid, 1) for pid in reversed(pids)]


def test_an_exit_that_cannot_repeat_waits_for_nothing() -> None:
    stream = Stream()
    assert len(feed(stream, exits(4_000, 7))) == 1
    assert stream.due_ns is None


class TestAccounts:
    """An exit waits for the account that the kernel settles when the parent reaps, not for ever."""

    def test_the_final_one_replaces_the_first_and_ends_the_wait(self) -> None:
        stream = Stream(settle=1e-6)
        assert not feed(stream, exits(4_000, 7), now_ns=4_100)
        assert stream.due_ns == 5_000
        assert not feed(stream, execs(4_200, 8, "b"), now_ns=4_300)
        end, later = feed(
            stream, frees(4_400, 7, cpu_ns=800, minor_faults=6, voluntary_switches=5), now_ns=4_500
        )
        assert (end.cpu_ns, end.user_cpu_ns, end.system_cpu_ns, end.cpu_exact) == (800, 600, 200, True)
        assert (end.minor_faults, end.major_faults, end.read_bytes, end.write_bytes) == (6, 1, 4096, 512)
        assert (end.voluntary_switches, end.involuntary_switches) == (5, 2)
        assert end.max_rss_bytes == 2 * os.sysconf("SC_PAGE_SIZE")
        assert later.type == "exec" and stream.due_ns is None

    def test_one_that_does_not_come_is_not_waited_for(self) -> None:
        stream = Stream(settle=1e-6)
        assert not feed(stream, exits(4_000, 7), now_ns=4_999)
        (end,) = feed(stream, now_ns=5_000)
        assert (end.cpu_ns, end.cpu_exact) == (400, False)
        assert not feed(stream, frees(6_000, 7), now_ns=6_000)

    def test_the_order_stays(self) -> None:
        stream = Stream(settle=1e-6)
        assert not feed(stream, exits(4_000, 7), exits(4_100, 8), execs(4_200, 9, "a"), frees(4_300, 8))
        events = feed(stream, frees(4_400, 7), now_ns=4_500)
        assert [(event.pid, event.cpu_exact) for event in events] == [(7, True), (8, True), (9, None)]

    def test_without_settling_nothing_waits(self) -> None:
        (end,) = feed(Stream(), exits(4_000, 7), frees(4_001, 7))
        assert end.cpu_exact is False

    def test_what_is_held_is_bounded(self) -> None:
        stream = Stream(settle=1.0, max_held=3)
        events = feed(stream, exits(4_000, 1), exits(4_001, 2), *(execs(4_002 + n, 9, "a") for n in range(4)))
        assert [event.pid for event in events] == [1, 2, 9, 9, 9, 9]

    def test_a_kernel_that_does_not_count_blocks(self) -> None:
        (end,) = feed(Stream(), exits(4_000, 7, flags=0x40))
        values = end.as_dict()
        assert values["read_bytes"] is None and values["incomplete"]["write_bytes"] == "unsupported"

    def test_time_that_no_tick_saw_is_the_users(self) -> None:
        (end,) = feed(Stream(), exits(4_000, 7, user_ns=0, system_ns=0))
        assert (end.user_cpu_ns, end.system_cpu_ns) == (400, 0)


class TestHow:
    """What an exec says of the file and of the credentials."""

    def test_flags(self) -> None:
        (event,) = feed(Stream(), execs(3_000, 7, "a", how=0x1F))
        assert event.flags == ["memfd", "deleted", "upper_layer", "secureexec"]
        assert (event.script, event.interpreter) == ("/x", "/i")

    def test_a_plain_file_has_none(self) -> None:
        (event,) = feed(Stream(), execs(3_000, 7, "a"))
        assert event.flags is None and event.script is None and event.interpreter is None

    def test_credentials_that_change(self) -> None:
        (event,) = feed(
            Stream(), prepares(2_900, 9, 7, old_euid=1000), execs(3_000, 7, "a", old_tid=9, how=0x30)
        )
        assert event.flags == ["setuid", "secureexec"]
        assert (event.old_euid, event.old_egid) == (1000, None)
        (event,) = feed(
            Stream(), prepares(2_900, 7, 7, old_euid=1, old_egid=2), execs(3_000, 7, "a", egid=3, euid=4)
        )
        assert event.flags == ["setuid", "setgid"] and (event.old_euid, event.old_egid) == (1, 2)

    def test_those_of_another_process_are_not_taken(self) -> None:
        (event,) = feed(Stream(), prepares(2_900, 7, 6, old_euid=1000), execs(3_000, 7, "a"))
        assert event.flags is None

    def test_a_kernel_that_does_not_tell(self) -> None:
        plain, set_uid = feed(
            Stream(sees_credentials=False), execs(3_000, 7, "a"), execs(3_001, 8, "a", how=0x30)
        )
        assert plain.incomplete is None
        assert set_uid.incomplete == {"flags": "unsupported"} and set_uid.flags == ["secureexec"]


class TestSearches:
    """Tries along PATH: the last one stands for those before it, and the order stays."""

    def test_one_that_finds_nothing(self) -> None:
        stream = Stream()
        assert not feed(stream, fails(3_000, 7, "/a/ls"), fails(3_100, 7, "/b/ls"), fails(3_200, 7, "/c/ls"))
        assert stream.due_ns == 3_200 + 20_000_000
        (event,) = feed(stream, now_ns=NEVER)
        assert (event.filename, event.folded, event.boottime_ns) == ("/c/ls", 2, 3_200)
        assert stream.due_ns is None

    def test_one_that_finds_it(self) -> None:
        stream = Stream()
        tries = fails(3_000, 7, "/a/x"), fails(3_100, 7, "/b/x")
        (event,) = feed(stream, *tries, execs(3_200, 7, "x", "x"))
        assert (event.type, event.filename, event.folded) == ("exec", "/x", 2)
        assert not stream._folded and not stream._walks

    def test_one_that_finds_a_script(self) -> None:
        (event,) = feed(Stream(), fails(3_000, 7, "/a/x"), execs(3_200, 7, "/bin/sh", "/b/x", "x", how=0x01))
        assert (event.type, event.folded) == ("exec", 1)

    def test_one_that_finds_what_is_not_selected(self) -> None:
        assert not feed(Stream(), fails(3_000, 7, "/a/x"), execs(3_200, 7, "x", "x", flags=UNSELECTED))

    def test_a_success_of_another_program_or_much_later_stands_for_itself(self) -> None:
        tries = fails(3_000, 7, "/a/cat"), fails(3_100, 8, "/a/x")  # with these names as arguments
        events = feed(Stream(), *tries, execs(3_200, 7, "x", "x"), execs(3_100 + 30_000_000, 8, "x", "x"))
        assert [event.folded for event in events] == [None] * 4

    def test_another_answer_ends_it_and_is_not_folded(self) -> None:
        stream = Stream()
        events = feed(
            stream, fails(3_000, 7, "/a/ls"), fails(3_100, 7, "/b/ls", 13), fails(3_200, 7, "/c/ls")
        )
        events += feed(stream, now_ns=NEVER)
        assert [(e.error, e.folded) for e in events] == [("EACCES", 1), ("ENOENT", None)]

    def test_other_programs_threads_and_processes_are_not_folded(self) -> None:
        stream = Stream()
        tries = [
            fails(3_000, 7, "/a/ls"),
            fails(3_100, 7, "/a/cat"),
            fails(3_200, 7, "/b/ls", tid=8),
            fails(3_300, 9, "/b/ls"),
            fails(3_100 + 30_000_000, 7, "/b/cat"),  # much later
        ]
        events = feed(stream, *tries) + feed(stream, now_ns=NEVER)
        assert [event.folded for event in events] == [None] * 5
        times = [event.boottime_ns for event in events]
        assert times == sorted(times)

    def test_what_comes_between_keeps_its_place(self) -> None:
        stream = Stream()
        events = feed(stream, fails(3_000, 7, "/a/ls"), execs(3_050, 8, "x"), fails(3_100, 7, "/b/ls"))
        events += feed(stream, exits(3_200, 8), now_ns=3_300)
        events += stream.flush()
        assert [(e.type, e.pid) for e in events] == [("exec", 8), ("exec_failed", 7), ("exit", 8)]
        assert not stream._folded and not stream._walks
