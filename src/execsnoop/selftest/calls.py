"""System calls that Python has no function for, and children that end whatever happens."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AT_EMPTY_PATH",
    "AT_EXECVE_CHECK",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "CLONE_PARENT",
    "CLONE_VFORK",
    "MAX_CHILD_SECONDS",
    "clone",
    "end_process",
    "end_thread",
    "execute",
    "execute_at",
    "fork",
    "mount",
    "no_new_privileges",
    "subreaper",
    "unshare",
]

AT_EMPTY_PATH, AT_EXECVE_CHECK = 0x1000, 0x10000
CLONE_VFORK, CLONE_PARENT = 0x4000, 0x8000
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x4000000, 0x10000000, 0x20000000
MAX_CHILD_SECONDS = 20

_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
# By machine: exit, clone, execveat.
_NUMBERS = {"x86_64": (60, 56, 322), "aarch64": (93, 220, 281)}
_EXIT, _CLONE, _EXECVEAT = _NUMBERS.get(os.uname().machine, (-1, -1, -1))

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _strings(texts: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


def _limit() -> None:
    """A child has a limited life, whatever it becomes, and leaves no core unless it asks for that."""
    signal.alarm(MAX_CHILD_SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def fork() -> int:
    """As os.fork()."""
    pid = os.fork()
    if pid == 0:
        _limit()
    return pid


def clone(flags: int) -> int:
    """A fork with these flags, without Python's knowledge."""
    pid = _check(_libc.syscall(_CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0))
    if pid == 0:
        _limit()
    return pid


def execute(path: bytes, argv: Sequence[bytes], environment: Sequence[bytes] = ()) -> int:
    """execve() without Python's opinion of what arguments should be; returns the errno of a failure."""
    _libc.execve(path, _strings(argv), _strings(environment))
    return ctypes.get_errno()


def execute_at(folder: int, name: bytes, argv: Sequence[bytes], flags: int) -> int:
    """execveat(): 0 if that is its result, else the errno."""
    result = _libc.syscall(_EXECVEAT, folder, name, _strings(argv), _strings(()), flags)
    return ctypes.get_errno() if result < 0 else 0


def end_process(code: int) -> None:
    """End all threads of this process now."""
    _libc._exit(code)


def end_thread(code: int) -> None:
    """End the calling thread alone, the first one too."""
    _libc.syscall(_EXIT, code)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags))


def mount(kind: bytes, where: bytes, options: bytes) -> None:
    """Mount for this process only, which must have mounts of its own."""
    private_below = 1 << 18 | 1 << 14
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(private_below), None))
    _check(_libc.mount(kind, where, kind, ctypes.c_ulong(0), options))


def subreaper() -> None:
    """Orphans among this process's descendants become its children."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def no_new_privileges() -> None:
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
