"""Ways to run a program: which file it was, and how the kernel came to it."""

from __future__ import annotations

import errno
import os
from functools import partial

from . import calls, programs
from .stage import CannotRun, Stage, arguments_text, encoded, life_text, plain, running, status_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Case, Play, Seen

__all__ = ["CASES"]


def _text(seen: Seen, pid: int) -> str:
    event = seen.one("exec", pid)
    return f"{_short(event.filename)}: {arguments_text(encoded(event.argv))}, flags {plain(event.flags)}"


def _short(path: str | None) -> str:
    """Without the name of the stage's folder, which is long and another each time."""
    return path.partition("/execsnoop-selftest-")[2].partition("/")[2] or path if path else "-"


def _script_text(seen: Seen, pid: int) -> str:
    event = seen.one("exec", pid)
    names = os.path.basename(event.script or "-"), os.path.basename(event.interpreter or "-")
    return f"{arguments_text(encoded(event.argv))} of {names[0]} by {names[1]}"


def script(stage: Stage) -> Play:
    """The interpreter itself reports what it got."""
    path = stage.program("dump", programs.dump())
    name = stage.program("script", b"#!" + path + b" -e two words\n")
    ran = stage.run(name, [b"given", stage.marker])
    seen = yield f"{arguments_text(ran.words)} of script by dump"
    return _script_text(seen, ran.pid)


def script_of_script(stage: Stage) -> Play:
    path = stage.program("dump", programs.dump())
    inner = stage.program("inner", b"#!" + path + b"\n")
    outer = stage.program("outer", b"#!" + inner + b"\n")
    ran = stage.run(outer, [b"given", stage.marker])
    seen = yield f"{arguments_text(ran.words)} of outer by dump"
    return _script_text(seen, ran.pid)


def by_descriptor(flag: str | None, make: Callable[[Stage], int], stage: Stage) -> Play:
    """fexecve(): a file without a name."""

    def body() -> int:
        file = make(stage)
        os.write(1, b"%d\0" % file)
        return calls.execute_at(file, b"", [b"dump", stage.marker], calls.AT_EMPTY_PATH)

    ran = stage.perform(body)
    if len(ran.words) < 2:
        raise CannotRun("the kernel doesn't run it")
    told = flag if flag == "memfd" else stage.flags(*[flag] if flag else [])
    seen = yield f"/dev/fd/{int(ran.words[0])}: {arguments_text(ran.words[1:])}, flags {told}"
    return _text(seen, ran.pid)


def _opened(stage: Stage) -> int:
    return os.open(stage.program("dump", programs.dump()), os.O_RDONLY)


def _deleted(stage: Stage) -> int:
    path = stage.program("deleted", programs.dump())
    file = os.open(path, os.O_RDONLY)
    os.unlink(path)
    return file


def _in_memory(stage: Stage) -> int:
    file = os.memfd_create("selftest")
    os.write(file, programs.dump())
    return file


def in_folder(stage: Stage) -> Play:
    """execveat() with a folder's descriptor."""
    stage.program("dump", programs.dump())

    def body() -> int:
        folder = os.open(stage.folder, os.O_PATH | os.O_DIRECTORY)
        os.write(1, b"%d\0" % folder)
        return calls.execute_at(folder, b"dump", [b"dump", stage.marker], 0)

    ran = stage.perform(body)
    seen = yield f"/dev/fd/{int(ran.words[0])}/dump: {arguments_text(ran.words[1:])}, flags {stage.flags()}"
    return _text(seen, ran.pid)


def checked_only(stage: Stage) -> Play:
    """The kernel says that the program could be run, and doesn't run it."""
    path = stage.program("exits-7", programs.exits(7))

    def body() -> int:
        number = calls.execute_at(-100, path, [b"exits", stage.marker], calls.AT_EXECVE_CHECK)
        if number == errno.EINVAL:
            raise OSError("this kernel has no AT_EXECVE_CHECK")
        return number

    ran = stage.perform(body)
    seen = yield f"0 execs, {status_text(ran.status)}"
    return f"{len(seen.of('exec'))} execs, {life_text(seen, ran.pid)}"


def vfork(stage: Stage) -> Play:
    path = stage.program("exits-1", programs.exits(1))

    def body() -> int:
        pid = os.posix_spawn(path, [b"exits", stage.marker], {})
        os.write(1, b"%d\0" % pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    ran = stage.perform(body)
    seen = yield "a fork with CLONE_VFORK, then its exec, then 0x0100 exit 1"
    pid = int(ran.words[0])
    fork, event = seen.of("fork")[-1], seen.one("exec", pid)
    if fork.child_pid != event.pid:
        return "a fork of another process"
    way = "CLONE_VFORK" if (fork.clone_flags or 0) & calls.CLONE_VFORK else f"flags {fork.clone_flags:#x}"
    return f"a fork with {way}, then its exec, then {life_text(seen, pid)}"


def chain(stage: Stage) -> Play:
    """One process, three programs."""
    run, last = stage.program("run", programs.run()), stage.program("exits-7", programs.exits(7))
    ran = stage.run(run, [b"run", run, last, stage.marker])
    seen = yield f"run run exits-7, {status_text(ran.status)}"
    names = [os.path.basename(event.filename or "-") for event in seen.of("exec", ran.pid)]
    return f"{' '.join(names)}, {life_text(seen, ran.pid)}"


def by_32_bit_call(stage: Stage) -> Play:
    path = stage.program("dump", programs.dump())
    compat = stage.program("compat", programs.compat(path, [b"dump", stage.marker, b"by int 0x80"]))
    ran = stage.run(compat, [b"compat", stage.marker])
    if not ran.words:
        raise CannotRun("this kernel has no 32-bit calls")
    seen = yield f"{arguments_text(ran.words)}, {status_text(ran.status)}"
    event = seen.of("exec", ran.pid)[-1]
    return f"{arguments_text(encoded(event.argv))}, {life_text(seen, ran.pid)}"


def upper_layer(stage: Stage) -> Play:
    """A file that was written in an overlay, as a container's own are."""

    def before() -> None:
        calls.unshare(calls.CLONE_NEWNS)
        below = os.path.join(stage.folder, "overlay")
        os.mkdir(below)
        calls.mount(b"tmpfs", os.fsencode(below), b"")
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(os.path.join(below, name))
        options = ",".join(
            f"{key}={below}/{name}"
            for key, name in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))
        )
        calls.mount(b"overlay", os.fsencode(f"{below}/merged"), options.encode())
        with open(f"{below}/merged/dump", "wb") as file:
            file.write(programs.dump())
        os.chmod(f"{below}/merged/dump", 0o755)

    path = os.fsencode(os.path.join(stage.folder, "overlay", "merged", "dump"))
    ran = stage.run(path, [b"dump", stage.marker], before=before)
    seen = yield f"{_short(os.fsdecode(path))}: {arguments_text(ran.words)}, flags upper_layer"
    return _text(seen, ran.pid)


def resolved(stage: Stage) -> Play:
    """What /proc says of a program that was run by a link, and from where."""
    path = stage.program("rest", programs.rest())
    link = os.path.join(stage.folder, "link")
    os.symlink(path, os.fsencode(link))
    place = os.path.join(stage.folder, "a place\nwith two lines")
    os.mkdir(place)
    body = running(os.fsencode(link), [b"rest", stage.marker], (), partial(os.chdir, place))
    child = stage.start(body, until_exec=True)
    exe, cwd = (os.readlink(f"/proc/{child.pid}/{name}") for name in ("exe", "cwd"))
    with open(f"/proc/{child.pid}/comm") as file:
        comm = file.read().removesuffix("\n")
    os.kill(child.pid, 9)
    ran = stage.finish(child)
    seen = yield f"{comm} is {os.path.basename(exe)} in {os.path.basename(cwd)!r}"
    event = seen.one("exec", ran.pid)
    if (event.exe, event.cwd) != (exe, cwd):
        return f"{event.exe} in {event.cwd}"
    return f"{event.comm} is {os.path.basename(event.exe or '')} in {os.path.basename(event.cwd or '')!r}"


CASES: tuple[tuple[str, Case], ...] = (
    ("a script", script),
    ("a script whose interpreter is a script", script_of_script),
    ("fexecve", partial(by_descriptor, None, _opened)),
    ("a deleted file", partial(by_descriptor, "deleted", _deleted)),
    ("a program in memory", partial(by_descriptor, "memfd", _in_memory)),
    ("execveat, below a descriptor", in_folder),
    ("AT_EXECVE_CHECK runs nothing", checked_only),
    ("vfork, then exec", vfork),
    ("three programs, one process", chain),
    ("execve by int 0x80", by_32_bit_call),
    ("a file of an overlay's upper layer", upper_layer),
    ("by a link, in a strange folder", resolved),
)
