"""How processes end: each once, with the status that wait4() gives."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from functools import partial

from . import calls, programs
from .stage import CannotRun, Stage, life_text, need_machine_pids, running, status_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Case, Play

__all__ = ["CASES", "every_process_ends_once"]

_PAUSE_SECONDS = 0.03
_PAIRS = 50
_CROWD = 50


def exits(code: int, stage: Stage) -> Play:
    path = stage.program(f"exits-{code}", programs.exits(code))
    ran = stage.run(path, [b"exits", stage.marker])
    seen = yield f"1 exec, {status_text(ran.status)}"
    return f"{len(seen.of('exec', ran.pid))} exec, {life_text(seen, ran.pid)}"


def killed(number: int, stage: Stage) -> Play:
    path = stage.program("rest", programs.rest())
    child = stage.start(running(path, [b"rest", stage.marker], (), None), until_exec=True)
    os.kill(child.pid, number)
    ran = stage.finish(child)
    seen = yield status_text(ran.status)
    return life_text(seen, ran.pid)


def crashes(with_core: bool, stage: Stage) -> Play:
    path = stage.program("crash", programs.crash())

    def before() -> None:
        os.chdir(stage.folder)
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard if with_core else 0, hard))

    if with_core:
        with open("/proc/sys/kernel/core_pattern") as file:
            pattern = file.read().strip()
        if pattern.startswith("|") or "/" in pattern:
            raise CannotRun("cores don't stay in the folder here")
    ran = stage.run(path, [b"crash", stage.marker], before=before)
    if with_core and not os.WCOREDUMP(ran.status):
        raise CannotRun("no core is written here")
    seen = yield status_text(ran.status)
    return life_text(seen, ran.pid)


def reaped_late(stage: Stage) -> Play:
    """A zombie's time is not the program's."""
    path = stage.program("exits-0", programs.exits(0))
    began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    child = stage.start(running(path, [b"exits", stage.marker], (), None))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ended = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    stage.watch(0.1)
    ran = stage.finish(child)
    seen = yield "its end before it was reaped"
    event = seen.one("exit", ran.pid)
    is_before = began < event.boottime_ns < ended and (event.lifetime_ns or 0) < ended - began
    return "its end before it was reaped" if is_before else f"{(event.lifetime_ns or 0) / 1e6:.1f} ms of life"


def _threads(count: int, body: Callable[[], object]) -> None:
    for _ in range(count):
        threading.Thread(target=body, daemon=True).start()


def _later(end: Callable[[int], None], code: int) -> None:
    time.sleep(_PAUSE_SECONDS)
    end(code)


def leader_first(stage: Stage) -> Play:
    def body() -> None:
        _threads(1, partial(_later, calls.end_process, 7))
        calls.end_thread(3)

    ran = stage.perform(body)
    seen = yield f"{status_text(ran.status)}, after 30 ms or more"
    event = seen.one("exit", ran.pid)
    length = (event.duration_ns or 0) / 1e9
    return (
        f"{life_text(seen, ran.pid)}, after {'30 ms or more' if length >= _PAUSE_SECONDS else f'{length} s'}"
    )


def last_thread(stage: Stage) -> Play:
    def body() -> None:
        _threads(1, partial(_later, calls.end_thread, 5))
        calls.end_thread(3)

    ran = stage.perform(body)
    seen = yield status_text(ran.status)
    return life_text(seen, ran.pid)


def by_worker(stage: Stage) -> Play:
    def body() -> None:
        _threads(1, partial(_later, calls.end_process, 9))
        time.sleep(calls.MAX_CHILD_SECONDS)

    ran = stage.perform(body)
    seen = yield status_text(ran.status)
    return life_text(seen, ran.pid)


def crowd(stage: Stage) -> Play:
    def body() -> None:
        _threads(_CROWD, partial(time.sleep, calls.MAX_CHILD_SECONDS))
        os.kill(os.getpid(), signal.SIGKILL)

    ran = stage.perform(body)
    seen = yield f"1 exit, {status_text(ran.status)}"
    return f"{len(seen.of('exit'))} exit, {life_text(seen, ran.pid)}"


def pairs(stage: Stage) -> Play:
    path = stage.program("pair", programs.pair())
    told = {}
    for _ in range(_PAIRS):
        pid = stage.spawn(path, [b"pair", stage.marker])
        told[pid] = os.waitpid(pid, 0)[1]
        stage.look()
    seen = yield f"{_PAIRS} exits, 0 of them wrong"
    found = [((event.namespaces or {}).get("inner_pid", 0), event.status) for event in seen.of("exit")]
    wrong = sum(told.get(pid) != status for pid, status in found)
    return f"{len(found)} exits, {wrong} of them wrong"


def exec_by_thread(stage: Stage) -> Play:
    need_machine_pids()
    path = stage.program("exits-7", programs.exits(7))

    def execs() -> None:
        os.write(1, b"%d\0" % threading.get_native_id())
        calls.execute(path, [b"exits", stage.marker])

    def body() -> None:
        _threads(1, execs)
        time.sleep(calls.MAX_CHILD_SECONDS)

    ran = stage.perform(body)
    if not ran.words:
        raise CannotRun("no thread could be made")
    seen = yield f"1 exec, old_tid {ran.words[0].decode()}, {status_text(ran.status)}"
    event = seen.one("exec", ran.pid)
    return f"1 exec, old_tid {event.old_tid}, {life_text(seen, ran.pid)}"


def every_process_ends_once(stage: Stage) -> Play:
    yield f"{stage.children} children, 1 exit for each process"
    made = sorted((e.child_pid or 0, e.child_start_boottime_ns or 0) for e in stage.all.of("fork"))
    ended = sorted((e.pid or 0, e.start_boottime_ns or 0) for e in stage.all.of("exit"))
    exits = "1 exit for each process" if made == ended else f"{len(ended)} exits of {len(made)} processes"
    return f"{stage.children_seen} children, {exits}"


CASES: tuple[tuple[str, Case], ...] = (
    ("exit 0", partial(exits, 0)),
    ("exit 1", partial(exits, 1)),
    ("exit 7", partial(exits, 7)),
    ("exit 256 + 3", partial(exits, 259)),
    ("SIGKILL", partial(killed, signal.SIGKILL)),
    ("SIGTERM", partial(killed, signal.SIGTERM)),
    ("a real-time signal", partial(killed, signal.SIGRTMIN + 3)),
    ("a crash without core", partial(crashes, False)),
    ("a crash with core", partial(crashes, True)),
    ("reaped late", reaped_late),
    ("the first thread ends first", leader_first),
    ("the last thread's status", last_thread),
    ("another thread ends all", by_worker),
    (f"a crowd of {_CROWD} threads, killed", crowd),
    ("two threads end at once", pairs),
    ("exec by another thread", exec_by_thread),
)
