"""Execs and exits joined: by identity, within bounds, once each, in order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from execsnoop.model import ProcessEvent
from execsnoop.stream import Stream

SINCE = 1_000
MAY_REPEAT = 0x20
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
    time_ns: int, pid: int, *argv: str, start: int = 2_000, flags: int = 0, old_tid: int | None = None
) -> SimpleNamespace:
    size = sum(len(argument) + 1 for argument in argv)
    return record(
        "exec_event",
        time_ns,
        pid,
        start,
        flags,
        argv=list(argv),
        argv_size_bytes=size,
        argv_captured_bytes=size,
        filename=argv[0],
        old_tid=pid if old_tid is None else old_tid,
    )


def exits(time_ns: int, pid: int, status: int = 0, start: int = 2_000, flags: int = 0) -> SimpleNamespace:
    return record("exit_event", time_ns, pid, start, flags, status=status)


def loses(time_ns: int, count: int, map: str = "events") -> SimpleNamespace:
    return SimpleNamespace(
        _struct="lost", _time_ns=time_ns, _cpu=-1, _map=map, count=count, cause="buffer_full"
    )


def feed(stream: Stream, *records: SimpleNamespace, now_ns: int = 0) -> list[ProcessEvent]:
    return stream.feed(records, now_ns)


def test_an_exit_has_the_arguments_of_the_last_exec() -> None:
    stream = Stream(SINCE)
    first, second, end = feed(
        stream, execs(3_000, 7, "env", "ls"), execs(5_000, 7, "ls"), exits(9_000, 7, status=2 << 8)
    )
    assert (first.argv, second.argv, end.argv) == (["env", "ls"], ["ls"], ["ls"])
    assert (end.duration_ns, end.lifetime_ns) == (4_000, 7_000)
    assert (end.exit_code, end.status) == (2, 512)


def test_a_pid_used_again_is_another_process() -> None:
    stream = Stream(SINCE)
    (_, end) = feed(stream, execs(3_000, 7, "ls"), exits(9_000, 7, start=8_000))
    assert end.argv is None
    assert end.duration_ns == end.lifetime_ns == 1_000


def test_a_process_older_than_the_trace_is_not_seen_from_its_start() -> None:
    stream = Stream(SINCE)
    old, young = feed(stream, exits(3_000, 7, start=500), exits(3_500, 8, start=2_000))
    assert not old.seen_from_start and young.seen_from_start
    assert old.argv is None and young.argv is None
    assert old.duration_ns == 2_500


def test_lost_execs_make_the_absence_of_an_exec_uncertain() -> None:
    stream = Stream(SINCE)
    feed(stream, execs(3_000, 6, "a"))
    notice, end, later = feed(
        stream, loses(4_000, 3), exits(5_000, 7, start=3_500), exits(6_000, 8, start=5_000)
    )
    assert (notice.type, notice.count, notice.cause, notice.events) == ("lost", 3, "buffer_full", "exec")
    assert not end.seen_from_start
    assert later.seen_from_start
    assert list(notice.as_dict()) == ["type", "time", "boottime_ns", "count", "cause", "events"]


def test_lost_exits_leave_execs_certain() -> None:
    stream = Stream(SINCE)
    notice, end = feed(stream, loses(4_000, 3, "life"), exits(5_000, 7, start=3_500))
    assert notice.events == "exit"
    assert end.seen_from_start


def test_notices_do_not_disturb_the_order() -> None:
    stream = Stream(SINCE)
    events = feed(stream, execs(3_000, 7, "a"), loses(2_900, 1), loses(3_500, 1), execs(4_000, 8, "b"))
    assert [event.boottime_ns for event in events] == [3_000, 3_000, 3_500, 4_000]


def test_flags_become_marks() -> None:
    stream = Stream(SINCE)
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
    by_leader, by_thread = feed(Stream(SINCE), execs(3_000, 7, "a"), execs(3_001, 8, "a", old_tid=9))
    assert by_leader.old_tid is None
    assert by_thread.old_tid == 9


def test_memory_is_bounded_by_processes() -> None:
    stream = Stream(SINCE, max_running=2)
    feed(stream, *(execs(3_000 + pid, pid, "a", start=2_000 + pid) for pid in range(5)))
    assert stream.evicted == 3
    forgotten, kept = feed(stream, exits(4_000, 2, start=2_002), exits(4_001, 3, start=2_003))
    assert forgotten.argv is None and not forgotten.seen_from_start
    assert kept.argv == ["a"]


def test_memory_is_bounded_by_bytes_of_arguments() -> None:
    stream = Stream(SINCE, max_argv_bytes=300)  # two arguments of 60 bytes, with what Python needs for each
    feed(stream, execs(3_000, 1, "a" * 60), execs(3_001, 1, "b" * 60), execs(3_002, 2, "c" * 60))
    assert stream.evicted == 0  # the second exec of the first process replaced its first
    assert feed(stream, exits(4_000, 2))[0].argv == ["c" * 60]
    feed(stream, execs(5_000, 3, "d" * 60))
    assert stream.evicted == 0  # the exit gave its share back
    feed(stream, execs(5_001, 4, "e" * 60))
    assert stream.evicted == 1
    oldest, newest = feed(stream, exits(6_000, 1), exits(6_001, 4))
    assert oldest.argv is None and newest.argv == ["e" * 60]


class TestRepeatedExits:
    """Before 6.16 several threads of one process may each report its end: the latest is right."""

    def test_the_latest_is_kept_and_the_order_too(self) -> None:
        stream = Stream(SINCE)
        assert feed(stream, execs(3_000, 7, "a"))
        assert not feed(stream, exits(4_000, 7, 0, flags=MAY_REPEAT), now_ns=4_100)
        assert stream.waiting
        between = feed(stream, execs(4_200, 8, "b"), exits(4_300, 7, 5 << 8, flags=MAY_REPEAT), now_ns=4_400)
        events = between + feed(stream, now_ns=NEVER)
        assert [(event.type, event.pid, event.boottime_ns) for event in events] == [
            ("exec", 8, 4_200),
            ("exit", 7, 4_300),
        ]
        assert events[1].exit_code == 5 and events[1].argv == ["a"] and events[1].duration_ns == 1_300
        assert stream.repeated == 1 and not stream.waiting

    def test_the_last_thread_ends_the_wait(self) -> None:
        stream = Stream(SINCE)
        events = feed(
            stream, exits(4_000, 7, 0, flags=MAY_REPEAT), exits(4_300, 7, 5 << 8), execs(4_400, 8, "b")
        )
        assert [(event.type, event.boottime_ns) for event in events] == [("exit", 4_300), ("exec", 4_400)]
        assert not stream.waiting

    def test_one_that_comes_too_late_is_dropped(self) -> None:
        stream = Stream(SINCE)
        feed(stream, exits(4_000, 7, flags=MAY_REPEAT))
        assert len(feed(stream, now_ns=NEVER)) == 1
        assert not feed(stream, exits(9_000, 7, flags=MAY_REPEAT))
        assert stream.repeated == 1

    def test_the_end_waits_for_nothing(self) -> None:
        stream = Stream(SINCE)
        feed(stream, exits(4_000, 7, flags=MAY_REPEAT), execs(4_100, 8, "b"))
        assert [event.type for event in stream.flush()] == ["exit", "exec"]
        assert not stream.waiting

    @pytest.mark.parametrize("pids", [(1, 2, 3), (3, 1, 2)])
    def test_several_wait_at_once(self, pids: tuple[int, ...]) -> None:
        stream = Stream(SINCE)
        feed(stream, *(exits(4_000 + n, pid, flags=MAY_REPEAT) for n, pid in enumerate(pids)))
        again = feed(stream, *(exits(4_100 + n, pid, 256) for n, pid in enumerate(reversed(pids))))
        assert [(event.pid, event.exit_code) for event in again] == [(pid, 1) for pid in reversed(pids)]


def test_an_exit_that_cannot_repeat_waits_for_nothing() -> None:
    stream = Stream(SINCE)
    assert len(feed(stream, exits(4_000, 7))) == 1
    assert not stream.waiting
