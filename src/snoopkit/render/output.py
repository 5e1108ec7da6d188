"""Where lines go: a queue in front of a descriptor that nobody waits for, unless it is said how long."""

from __future__ import annotations

import os
import select
import stat
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from types import TracebackType
    from typing import Self
else:
    from _collections import deque  # collections imports seven more modules

__all__ = ["Output"]

LIMIT_BYTES = 16 << 20
STALL_MS = 2  # who reads takes the next piece within that time, or is not at it
PTMX = (5, 2)  # opening that again would make another terminal


class Output:
    """Standard output, another descriptor `fd`, or the file at `path` (made anew).

    What is written waits in a queue until the descriptor takes it. A pipe, a terminal or a socket is never waited for
    longer than `flush` and `drain` are told; other descriptors take all at once. The queue is full at `limit_bytes`: it
    still takes what it is given, but whoever asks `is_full` before keeps its memory bounded.
    """

    def __init__(self, path: str | None = None, fd: int = 1, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self.pending_bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self.fd = fd if path is None else os.open(path, flags, 0o666)
        self.is_terminal = os.isatty(self.fd)
        self._is_ours = path is not None
        self._socket = None
        state = os.fstat(self.fd)
        self.is_file = stat.S_ISREG(state.st_mode)
        self.is_socket = stat.S_ISSOCK(state.st_mode)
        self._may_block = self.is_terminal or stat.S_ISFIFO(state.st_mode) or self.is_socket
        if self.is_socket:
            import socket

            self._socket = socket.socket(fileno=os.dup(self.fd))
        elif self._may_block:
            self._make_nonblocking(state)
        # (data, how many events it tells of); of the first, what stands before _at is written.
        self._queue: deque[tuple[bytes, int]] = deque()
        self._at = 0
        self._is_read = True  # whether it took something when it was last tried
        self._watch = select.poll()
        self._watch.register(self.fd, 0)  # errors are reported without being asked for
        self._room = select.poll()
        self._room.register(self.fd, select.POLLOUT)

    def _make_nonblocking(self, state: os.stat_result) -> None:
        """An open file of our own: the given one belongs to others too, who expect that it blocks."""
        if self._is_ours:
            os.set_blocking(self.fd, False)
            return
        if (os.major(state.st_rdev), os.minor(state.st_rdev)) == PTMX:
            return
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self.fd = os.open(f"/proc/self/fd/{self.fd}", flags)
            self._is_ours = True
        except OSError:
            pass  # another user's terminal, say: then a piece of PIPE_BUF at a time, where there is room

    def write(self, data: bytes, events: int = 0) -> None:
        """Queue whole lines, which tell of so many events."""
        if data:
            self._queue.append((data, events))
            self.pending_bytes += len(data)

    @property
    def is_full(self) -> bool:
        """Whether more waits than should."""
        return self.pending_bytes >= self.limit_bytes

    def flush(self, seconds: float = 0.0) -> None:
        """Write what can be written now, and go on for up to `seconds` with someone who keeps reading.

        BrokenPipeError if nobody reads any more, OSError if the disk is full; both leave the queue as it is.
        """
        until = monotonic() + seconds
        while self._queue:
            patience = STALL_MS if self._is_read and monotonic() < until else 0
            self._is_read = self._write_some(patience)
            if not self._is_read:
                return

    def drain(self, seconds: float) -> bool:
        """Write what is queued, waiting up to `seconds` for someone who doesn't read; whether all is out."""
        until = monotonic() + seconds
        while self._queue and (left := until - monotonic()) > 0:
            self._write_some(int(left * 1000) + 1)
        return not self._queue

    def discard(self) -> int:
        """Give up what is queued; returns how many events that told of, half a line being none."""
        lost = 0
        for data, events in self._queue:
            rest = data[self._at :] if self._at else data
            lost += min(events, rest.count(b"\n"))
            self._at = 0
        self._queue.clear()
        self.pending_bytes = 0
        return lost

    def _write_some(self, patience_ms: int) -> bool:
        """One piece, if there is room for it within that time."""
        if self._may_block and not self._room.poll(patience_ms):
            return False
        data, _ = self._queue[0]
        try:
            written = self._put(memoryview(data)[self._at : self._piece_end(data)])
        except BlockingIOError:  # less room than it seemed, or someone else filled it
            return False
        except OSError as error:
            error.filename = self.path or "standard output"
            raise
        self._at += written
        self.pending_bytes -= written
        if self._at == len(data):
            self._queue.popleft()
            self._at = 0
        return True

    def _piece_end(self, data: bytes) -> int:
        """Whole lines where they fit in a piece: what others write there too then comes between lines."""
        end = self._at + select.PIPE_BUF
        if not self._may_block or end >= len(data):
            return len(data)
        return data.rfind(b"\n", self._at, end) + 1 or end

    def _put(self, piece: memoryview) -> int:
        if self._socket is None:
            return os.write(self.fd, piece)
        from socket import MSG_DONTWAIT

        return self._socket.send(piece, MSG_DONTWAIT)

    def is_broken(self) -> bool:
        """Whether the reader at the other end is gone, found out without writing."""
        return any(state & select.POLLERR for _, state in self._watch.poll(0))

    def close(self) -> None:
        """Close what was opened here; standard output stays open. What is queued is gone."""
        if self._socket is not None:
            self._socket.close()
        if self._is_ours and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
