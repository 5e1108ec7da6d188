"""A terminal, and who sits at it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Terminal:
    """One with a program in the foreground of its session; `text` is what it has shown."""

    def __init__(self, *command: str) -> None:
        self.text = ""
        self.returncode: int | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execvp(command[0], command)
            finally:
                os._exit(127)

    def expect(self, text: str, seconds: float = 30) -> None:
        """Wait for a text, and forget what was shown up to its end."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.text!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                self.text += os.read(self.fd, 4096).decode()
        self.text = self.text.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def insist(self, text: str, answer: str) -> None:
        """Type a text until it is answered: a shell loses some of what comes while it takes its terminal back."""
        for _ in range(4):
            self.type(text)
            try:
                return self.expect(answer, 5)
            except AssertionError:
                if self.text:
                    break
        return self.expect(answer)

    def end(self) -> int:
        """The program's status, once it has ended of its own."""
        deadline = time.monotonic() + 30
        while self.returncode is None:
            assert time.monotonic() < deadline, self.text
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return self.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
