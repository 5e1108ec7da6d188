"""Execs that fail: the errno that the program got, what it tried, and that it lives on."""

from __future__ import annotations

import os
from errno import errorcode
from functools import partial

from . import calls, programs
from .stage import CannotRun, Stage, arguments_text, encoded, life_text, status_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .stage import Case, Play

__all__ = ["CASES"]


def refused(make: Callable[[Stage], bytes], more: Sequence[bytes], stage: Stage) -> Play:
    path = make(stage)
    argv = [b"refused", stage.marker, *more]

    def body() -> int:
        number = calls.execute(path, argv)
        os.write(1, b"%d\0" % number)
        return 4

    ran = stage.perform(body)
    error = errorcode[int(ran.words[0])]
    seen = yield f"{error} {os.path.basename(os.fsdecode(path))}, 0 execs, {status_text(ran.status)}"
    event = seen.one("exec_failed", ran.pid)
    if event.argv is None or encoded(event.argv[:2]) != argv[:2]:
        return f"{event.error} with {arguments_text(encoded(event.argv))}"
    if encoded(event.argv) != argv and not event.incomplete:
        return f"{event.error} with arguments that are cut, but not marked"
    name = os.path.basename(event.filename or "-")
    return f"{event.error} {name}, {len(seen.of('exec'))} execs, {life_text(seen, ran.pid)}"


def _absent(stage: Stage) -> bytes:
    return os.fsencode(os.path.join(stage.folder, "absent"))


def _not_allowed(stage: Stage) -> bytes:
    return stage.program("not-allowed", programs.exits(0), 0o644)


def _nonsense(stage: Stage) -> bytes:
    return stage.program("nonsense", b"no program\n")


def _below_a_file(stage: Stage) -> bytes:
    return _nonsense(stage) + b"/below"


def _circle(stage: Stage) -> bytes:
    path = os.path.join(stage.folder, "circle")
    os.symlink(path, path)
    return os.fsencode(path)


def _fine(stage: Stage) -> bytes:
    return stage.program("exits-0", programs.exits(0))


def search(stage: Stage) -> Play:
    """A name that is looked for in one folder after the other; the line of the success stands for the tries."""
    path = stage.program("exits-1", programs.exits(1))
    tries = [b"%s-%d/exits-1" % (_absent(stage), number) for number in range(3)] + [path]

    def body() -> int:
        for name in tries:
            calls.execute(name, [b"exits", stage.marker])
        return 4

    ran = stage.perform(body)
    if os.waitstatus_to_exitcode(ran.status) == 4:
        raise CannotRun("the program could not be run at all")
    seen = yield f"3 tries before 1 exec, {status_text(ran.status)}"
    execs = seen.of("exec", ran.pid)
    tried = sum(1 + (event.folded or 0) for event in seen.of("exec_failed", ran.pid))
    tried += sum(event.folded or 0 for event in execs)
    return f"{tried} tries before {len(execs)} exec, {life_text(seen, ran.pid)}"


def fatal(stage: Stage) -> Play:
    """The old program is gone when the kernel finds that the new one can't be: neither a success nor survived."""
    path = stage.program("out-of-reach", programs.out_of_reach())
    ran = stage.perform(lambda: calls.execute(path, [b"fatal", stage.marker]) and 4)
    if not os.WIFSIGNALED(ran.status):
        raise CannotRun("this kernel refuses it early")
    seen = yield f"a failed exec, 0 execs, {status_text(ran.status)}"
    seen.one("exec_failed", ran.pid)
    return f"a failed exec, {len(seen.of('exec'))} execs, {life_text(seen, ran.pid)}"


CASES: tuple[tuple[str, Case], ...] = (
    ("no such file", partial(refused, _absent, [])),
    ("a file that may not be run", partial(refused, _not_allowed, [])),
    ("a file that is no program", partial(refused, _nonsense, [])),
    ("a file below a file", partial(refused, _below_a_file, [])),
    ("a link to itself", partial(refused, _circle, [])),
    ("an argument that is too long", partial(refused, _fine, [b"x" * 200_000])),
    ("a search for a program", search),
    ("a failure after the point of no return", fatal),
)
