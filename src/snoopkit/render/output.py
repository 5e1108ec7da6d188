"""Where lines go: a descriptor that is written whole or not at all."""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Output"]


class Output:
    """Standard output, or the file at `path` (made anew). Lines are collected and written at each `flush()`."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self.fd = 1 if path is None else os.open(path, flags, 0o666)
        self.is_terminal = os.isatty(self.fd)
        self._lines: list[bytes] = []
        self._watch = select.poll()
        self._watch.register(self.fd, 0)  # errors are reported without being asked for

    def write(self, line: bytes) -> None:
        """Keep `line`, newline included, for the next flush."""
        self._lines.append(line)

    def flush(self) -> None:
        """Write everything, in as many goes as the descriptor needs. BrokenPipeError if nobody reads any more."""
        data = memoryview(b"".join(self._lines))
        self._lines.clear()
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:  # whoever gave us the descriptor made it non-blocking
                wait = select.poll()
                wait.register(self.fd, select.POLLOUT)
                wait.poll()
            except OSError as error:
                error.filename = self.path or "standard output"
                raise

    def is_broken(self) -> bool:
        """Whether the reader at the other end is gone, found out without writing."""
        return any(state & select.POLLERR for _, state in self._watch.poll(0))

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self.path is not None and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
