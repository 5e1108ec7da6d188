"""What processes cost, when it was, and that of many none is missing."""

from __future__ import annotations

import mmap
import os
import time
from collections import Counter

from . import programs
from .ends import every_process_ends_once
from .stage import CannotRun, Stage, arguments_text, encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .stage import Case, Play

__all__ = ["CASES"]

_SETTLED_SECONDS = 0.3
_BURNT_SECONDS = 0.05
_TAKEN_BYTES = 32 << 20
_MAX_CPU_ERROR_NS = 1_000_000
_MANY = 1_000
_AT_ONCE = 8


def _burn() -> None:
    end = time.process_time() + _BURNT_SECONDS
    while time.process_time() < end:
        pass


def cpu(stage: Stage) -> Play:
    ran = stage.perform(_burn)
    stage.watch(_SETTLED_SECONDS, until=lambda seen: seen.of("exit"))
    seen = yield "within 1 ms of wait4()"
    event = seen.one("exit", ran.pid)
    if not event.cpu_exact:
        raise CannotRun("the kernel's exact total did not come in time")
    waited_ns = round((ran.usage.ru_utime + ran.usage.ru_stime) * 1e9)
    apart_ns = abs((event.cpu_ns or 0) - waited_ns)
    return (
        "within 1 ms of wait4()" if apart_ns <= _MAX_CPU_ERROR_NS else f"{apart_ns / 1e6:.1f} ms from wait4()"
    )


def memory(stage: Stage) -> Play:
    def body() -> None:
        taken = b"x" * _TAKEN_BYTES
        del taken

    ran = stage.perform(body)
    seen = yield f"{ran.usage.ru_maxrss * 1024} bytes"
    return f"{seen.one('exit', ran.pid).max_rss_bytes} bytes"


def faults(stage: Stage) -> Play:
    def body() -> None:
        with mmap.mmap(-1, 500 * mmap.PAGESIZE) as taken:
            for at in range(0, len(taken), mmap.PAGESIZE):
                taken[at] = 1

    ran = stage.perform(body)
    stage.watch(_SETTLED_SECONDS, until=lambda seen: seen.of("exit"))
    seen = yield f"{ran.usage.ru_minflt} minor, {ran.usage.ru_majflt} major"
    event = seen.one("exit", ran.pid)
    if not event.cpu_exact:
        raise CannotRun("the kernel's exact total did not come in time")
    return f"{event.minor_faults} minor, {event.major_faults} major"


def moment(stage: Stage) -> Play:
    """Between two looks at the boot clock and at the wall clock."""
    path = stage.program("exits-0", programs.exits(0))
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()
    ran = stage.run(path, [b"exits", stage.marker])
    after = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()
    seen = yield "between the looks, wall clock within 1 s"
    event = seen.one("exec", ran.pid)
    if not before[0] < event.boottime_ns < after[0]:
        return f"{(event.boottime_ns - before[0]) / 1e6:.3f} ms after the first look"
    if not before[1] - 10**9 < event.unix_ns < after[1] + 10**9:
        return f"wall clock {(event.unix_ns - before[1]) / 1e9:.3f} s after the first look"
    return "between the looks, wall clock within 1 s"


def many(stage: Stage) -> Play:
    """In quick succession, several at a time, each with its own number and one of four codes."""
    paths = [stage.program(f"exits-{code}", programs.exits(code)) for code in (0, 1, 7, 259)]
    running: dict[int, int] = {}
    told: Counter[tuple[int, int, int]] = Counter()

    def reap() -> None:
        pid, status = os.waitpid(next(iter(running)), 0)
        told[running.pop(pid), pid, status] += 1
        stage.look()

    for index in range(_MANY):
        path = paths[index % len(paths)]
        pid = stage.spawn(path, [b"exits", stage.marker, b"%d" % index])
        running[pid] = index
        if len(running) == _AT_ONCE:
            reap()
    while running:
        reap()
    seen = yield f"{_MANY} execs, {_MANY} right ends"
    found = Counter(
        (int(event.argv[-1]), (event.namespaces or {}).get("inner_pid", 0), event.status or 0)
        for event in seen.of("exit")
        if event.argv
    )
    numbers = {event.argv[-1] for event in seen.of("exec") if event.argv}
    return f"{len(numbers)} execs, {(found & told).total()} right ends"


def long_lines_of_many(stage: Stage) -> Play:
    """32 arguments each, all of them right."""
    path = stage.program("exits-0", programs.exits(0))
    given = []
    for index in range(100):
        given.append([b"exits", stage.marker, *(b"%d-%d" % (index, n) for n in range(30))])
        os.waitpid(stage.spawn(path, given[-1]), 0)
        stage.look()
    seen = yield arguments_text([argument for argv in given for argument in argv])
    found = [argument for event in seen.of("exec") for argument in encoded(event.argv) or ()]
    return arguments_text(found)


def order(stage: Stage) -> Play:
    yield "0 events before one that was earlier"
    return f"{stage.disordered} events before one that was earlier"


def nothing_lost(stage: Stage) -> Play:
    yield "0 lost"
    return f"{stage.lost} lost"


CASES: tuple[tuple[str, Case], ...] = (
    ("CPU time", cpu),
    ("the most memory it had", memory),
    ("page faults", faults),
    ("when it was", moment),
    (f"{_MANY} programs", many),
    ("100 programs of 32 arguments", long_lines_of_many),
    ("all events in order of time", order),
    ("no event lost", nothing_lost),
    ("every process ends once", every_process_ends_once),
)
