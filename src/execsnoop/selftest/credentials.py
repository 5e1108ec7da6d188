"""Who a process is, before its exec and after it; the witness is the program that asks the kernel."""

from __future__ import annotations

import os
import struct

from . import calls, programs
from .stage import CannotRun, Stage, plain, running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Case, Play

__all__ = ["CASES"]

_NOBODY = 65534
_SETUID, _SETGID = 0o4755, 0o2755


def _owned(stage: Stage, name: str, mode: int) -> bytes:
    if os.getuid() == _NOBODY:
        raise CannotRun("the user is nobody already")
    path = stage.program(name, programs.ids())
    try:
        os.chown(path, _NOBODY, _NOBODY)
        os.chmod(path, mode)
    except OSError as error:
        raise CannotRun(f"no such file can be made: {error.strerror}") from None
    return path


def _asked(
    stage: Stage, path: bytes, flags: tuple[str, ...], before: Callable[[], object] | None = None
) -> Play:
    """The ids that the program had, and these flags if they differ from those of whoever ran it."""
    ran = stage.run(path, [b"ids", stage.marker], before=before)
    uid, euid, _, gid, egid, _ = struct.unpack("=6I", ran.report)
    if flags and (uid, gid) == (euid, egid):
        raise CannotRun("this folder's mount ignores the setuid and setgid bits")
    told = stage.flags(*flags)
    seen = yield f"uid {uid}, euid {euid}, gid {gid}, egid {egid}, flags {told}"
    event = seen.one("exec", ran.pid)
    if (event.incomplete or {}).get("flags") == "unsupported":
        raise CannotRun("this kernel doesn't tell: it has no hook before an exec")
    found = plain(event.flags)
    return f"uid {event.uid}, euid {event.euid}, gid {event.gid}, egid {event.egid}, flags {found}"


def setuid(stage: Stage) -> Play:
    return _asked(stage, _owned(stage, "setuid", _SETUID), ("setuid", "secureexec"))


def setgid(stage: Stage) -> Play:
    return _asked(stage, _owned(stage, "setgid", _SETGID), ("setgid", "secureexec"))


def no_new_privileges(stage: Stage) -> Play:
    return _asked(stage, _owned(stage, "setuid", _SETUID), (), calls.no_new_privileges)


def another_user(stage: Stage) -> Play:
    def before() -> None:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)

    return _asked(stage, stage.program("ids", programs.ids()), (), before)


def differing_ids(stage: Stage) -> Play:
    def before() -> None:
        os.setresgid(1, 2, 3)
        os.setresuid(4, 5, 6)

    path = stage.program("ids", programs.ids())
    ran = stage.run(path, [b"ids", stage.marker], before=before)
    uid, euid, _, gid, egid, _ = struct.unpack("=6I", ran.report)
    seen = yield f"uid {uid}, euid {euid}, gid {gid}, egid {egid}"
    event = seen.one("exec", ran.pid)
    return f"uid {event.uid}, euid {event.euid}, gid {event.gid}, egid {event.egid}"


def login(stage: Stage) -> Play:
    """As /proc has it, where whoever has not logged in has none."""
    told = []
    for name in ("loginuid", "sessionid"):
        try:
            with open(f"/proc/self/{name}") as file:
                number = int(file.read())
        except OSError:
            raise CannotRun("this kernel keeps no record of logins") from None
        told.append("none" if number == 0xFFFFFFFF else str(number))
    ran = stage.run(stage.program("exits-0", programs.exits(0)), [b"exits", stage.marker])
    seen = yield "loginuid {}, sessionid {}".format(*told)
    event = seen.one("exec", ran.pid)
    found = ["none" if number is None else str(number) for number in (event.loginuid, event.sessionid)]
    return "loginuid {}, sessionid {}".format(*found)


def capabilities(stage: Stage) -> Play:
    """Of a program without privileges, as its own /proc entry has them."""

    def before() -> None:
        if os.getuid() == 0:
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)

    path = stage.program("rest", programs.rest())
    child = stage.start(running(path, [b"rest", stage.marker], (), before), until_exec=True)
    with open(f"/proc/{child.pid}/status") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if line.startswith("Cap"))
    os.kill(child.pid, 9)
    ran = stage.finish(child)
    seen = yield "effective {CapEff}, bounding {CapBnd}".format(**lines)
    sets = seen.one("exec", ran.pid).capabilities or {}
    return f"effective {sets.get('effective')}, bounding {sets.get('bounding')}"


CASES: tuple[tuple[str, Case], ...] = (
    ("a setuid file", setuid),
    ("a setgid file", setgid),
    ("a setuid file, no new privileges", no_new_privileges),
    ("as another user", another_user),
    ("real and effective ids that differ", differing_ids),
    ("the login it comes from", login),
    ("capabilities", capabilities),
)
