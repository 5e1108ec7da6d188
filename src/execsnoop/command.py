"""A command to be followed: begun as the shell would begin it, but held until its trace is there."""

from __future__ import annotations

import errno as errnos
import os
import signal
from time import monotonic, sleep

import snoopkit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

__all__ = ["Command", "CommandError", "Origin", "User", "invoking_user"]

CANNOT_BEGIN, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
"""Exit statuses, as `env` has them."""

_RELAYED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# Python ignores them in every program of its own.
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
_PACE_SECONDS = 0.05
# What sudo says of whoever called it, and what it changes for the other user.
_SUDO = (b"SUDO_UID", b"SUDO_GID", b"SUDO_USER", b"SUDO_COMMAND", b"SUDO_HOME", b"SUDO_TTY")


class CommandError(snoopkit.SnoopkitError):
    """The command did not begin: `status` is what `env` would end with, `errno` the reason where a call was refused."""

    def __init__(self, message: str, status: int, errno: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.errno = errno


class Origin:
    """What a process passes on to its children, as it was when this was made: ignored signals, the mask, the
    environment."""

    def __init__(self) -> None:
        every = signal.valid_signals()
        self.ignored = {number for number in every if signal.getsignal(number) == signal.SIG_IGN}
        self.ignored -= set(_PYTHON_IGNORES)
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.environment = dict(os.environb)
        # Where there is no locale Python sets this one, for itself and its children.
        if os.environb.get(b"LC_CTYPE") and not _began_with(b"LC_CTYPE"):
            del self.environment[b"LC_CTYPE"]


def _began_with(name: bytes) -> bool:
    try:
        with open("/proc/self/environ", "rb") as file:
            return any(line.startswith(name + b"=") for line in file.read().split(b"\0"))
    except OSError:
        return True


class User:
    """Whom the command runs as."""

    def __init__(self, uid: int, gid: int, groups: Sequence[int], environment: Mapping[bytes, bytes]) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.environment = environment


def invoking_user(environment: Mapping[bytes, bytes]) -> User | None:
    """Who called sudo to become root; None if that isn't so. HOME, USER, LOGNAME and SHELL are the user's, as sudo sets
    them; PATH stays sudo's."""
    if os.geteuid() != 0 or b"SUDO_UID" not in environment:
        return None
    import pwd

    try:
        uid = int(environment[b"SUDO_UID"])
        gid = int(environment[b"SUDO_GID"])
    except (KeyError, ValueError):
        raise CommandError("SUDO_UID and SUDO_GID name no user to run the command as", CANNOT_BEGIN) from None
    if uid == 0:
        return None
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, gid, [gid], {})
    name = os.fsencode(entry.pw_name)
    changes = {b"USER": name, b"LOGNAME": name}
    changes |= {b"HOME": os.fsencode(entry.pw_dir), b"SHELL": os.fsencode(entry.pw_shell)}
    return User(uid, gid, os.getgrouplist(entry.pw_name, gid), changes)


class Command:
    """`hold()` forks, `release()` lets the program begin; `attend()` from then on, now and then.

    The child has everything of `origin`, our process group and terminal, and nothing of ours: no descriptor that isn't
    inheritable, no handler, no restriction. If `relays`, signals that someone sends to us are for the command while
    it runs; what the terminal sends it has itself. Where it stops by job control we stop too, for the shell that waits
    for us to see it, and once continued continue it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        origin: Origin | None = None,
        user: User | None = None,
        relays: bool = False,
    ) -> None:
        if not arguments:
            raise ValueError("a command has at least a name")
        self.arguments = [os.fsencode(argument) for argument in arguments]
        if any(b"\0" in argument for argument in self.arguments):
            raise ValueError("an argument can't have a NUL")
        self.pid = 0
        self.returncode: int | None = None
        """None while it runs; then its exit code, or -N if signal N killed it."""
        self.is_dismissed = False
        """Whether a signal came after its end: nobody wants to wait for what it left behind."""
        self._origin = origin or Origin()
        self._user = user
        self._relayed = (
            [number for number in _RELAYED if number not in self._origin.ignored] if relays else []
        )
        self._go = self._answer = -1
        if self._relayed:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._relayed)

    # The beginning

    def hold(self) -> int:
        """Fork; returns the pid of the child, which waits."""
        if self._relayed and signal.SIGCHLD in self._origin.ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else the kernel would not keep the status
        told, self._go = os.pipe()
        self._answer, answer = os.pipe()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                self._begin(told, answer)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(told)
            os.close(answer)
        return self.pid

    def release(self) -> None:
        """Let it begin. CommandError if it can't, or if a signal came before."""
        if self._relayed and (info := signal.sigtimedwait(self._relayed, 0)) is not None:
            self.close()
            name = signal.Signals(info.si_signo).name
            raise CommandError(f"{name} before the command began", 128 + info.si_signo)
        try:
            os.write(self._go, b"!")
        except BrokenPipeError:
            pass  # a signal killed it: its returncode tells
        os.close(self._go)
        self._go = -1
        answer = b""
        while part := os.read(self._answer, 256):
            answer += part
        if answer:
            self.wait()
            stage, number = answer.decode().split()
            raise self._refused(stage, int(number))

    def _refused(self, stage: str, number: int) -> CommandError:
        if stage == "user":
            cause = f"can't run the command as the invoking user: {os.strerror(number)}"
            return CommandError(cause, CANNOT_BEGIN, number)
        status = NOT_FOUND if number == errnos.ENOENT else NOT_EXECUTABLE
        name = snoopkit.render.quote([os.fsdecode(self.arguments[0])])
        return CommandError(f"{name}: {os.strerror(number)}", status, number)

    def _begin(self, told: int, answer: int) -> NoReturn:
        """In the child; with all signals blocked."""
        stage = "user"
        try:
            os.close(self._go)
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                is_ignored = number in self._origin.ignored
                signal.signal(number, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._origin.mask)
            environment = dict(self._origin.environment)
            if os.read(told, 1):
                if self._user is not None:
                    os.setgroups(self._user.groups)
                    os.setresgid(self._user.gid, self._user.gid, self._user.gid)
                    os.setresuid(self._user.uid, self._user.uid, self._user.uid)
                    environment = {key: text for key, text in environment.items() if key not in _SUDO}
                    environment.update(self._user.environment)
                stage = "exec"
                _execute(self.arguments, environment)
        except OSError as error:
            os.write(answer, f"{stage} {error.errno}".encode())
        finally:
            os._exit(NOT_FOUND)

    # While it runs

    def attend(self) -> int | None:
        """Pass signals on, and take note of its end; returns `returncode`."""
        while self._relayed and (info := signal.sigtimedwait(self._relayed, 0)) is not None:
            if self._has_ended():
                self.is_dismissed = True
            elif info.si_code <= 0 and not self._is_told(info.si_pid):
                os.kill(self.pid, info.si_signo)
        self._has_ended()
        return self.returncode

    def _has_ended(self) -> bool:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG | (os.WUNTRACED if self._relayed else 0))
            if pid and os.WIFSTOPPED(status):
                self._stop_too(os.WSTOPSIG(status))
            elif pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode is not None

    def _stop_too(self, number: int) -> None:
        ours, theirs = os.getpgrp(), os.getpgid(self.pid)
        if number == signal.SIGSTOP and _foreground() not in (ours, theirs):
            return  # someone's own business, and no shell's
        os.kill(os.getpid(), signal.SIGTSTP)  # which does nothing where no shell could continue us
        if theirs != ours:
            # A shell has a group of its own.
            if _foreground() == ours:
                _foreground(theirs)
            os.killpg(theirs, signal.SIGCONT)
            return
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WCONTINUED)
        if not pid:
            os.kill(self.pid, signal.SIGCONT)
        elif not os.WIFCONTINUED(status):
            self.returncode = os.waitstatus_to_exitcode(status)

    def _is_told(self, sender: int) -> bool:
        """Whether a signal is the command's own, or went to the whole job, which the command is a part of."""
        if sender == self.pid:
            return True
        try:
            return os.getpgrp() == os.getpid() == os.getpgid(sender)
        except ProcessLookupError:
            return False

    def wait(self, timeout: float | None = None) -> int | None:
        """`returncode` at its end, or None after `timeout` seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        while self.attend() is None and (deadline is None or monotonic() < deadline):
            sleep(_PACE_SECONDS)
        return self.returncode

    def let_go(self) -> None:
        """Signals are ours again, where the command has ended."""
        if self._relayed and self.attend() is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._origin.mask)
            self._relayed = []

    def close(self) -> None:
        """One that is still held ends; one that runs goes on."""
        was_held = self._go >= 0
        for fd in (self._go, self._answer):
            if fd >= 0:
                os.close(fd)
        self._go = self._answer = -1
        if was_held and self.pid:
            self.wait()


def _foreground(group: int | None = None) -> int | None:
    """The process group that has our terminal; before that, `group` gets it. None where there is no terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if group is not None:
            os.tcsetpgrp(terminal, group)
        return os.tcgetpgrp(terminal)
    except OSError:
        return None
    finally:
        os.close(terminal)


def _execute(arguments: list[bytes], environment: dict[bytes, bytes]) -> NoReturn:
    """As execvpe() does: along PATH, past folders that can't be searched, and what has no known format is a script."""
    name = arguments[0]
    folders = environment.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    paths = [name] if b"/" in name else [os.path.join(folder or b".", name) for folder in folders if name]
    refused = errnos.ENOENT
    for path in paths:
        try:
            os.execve(path, arguments, environment)
        except OSError as error:
            if error.errno == errnos.ENOEXEC:
                os.execve(b"/bin/sh", [b"/bin/sh", path, *arguments[1:]], environment)
            if error.errno == errnos.EACCES:
                refused = errnos.EACCES
            elif error.errno not in (errnos.ENOENT, errnos.ENOTDIR) or len(paths) == 1:
                raise
    raise OSError(refused, os.strerror(refused))
