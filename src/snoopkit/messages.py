"""What programs say in words: by bpf_printk(), and iterators line by line."""

from __future__ import annotations

__all__ = ["Message", "Text"]


class Message:
    """What a program said by bpf_printk(). `program` is the one that printed it, by its format; None where several have
    one that fits, which `candidates` are then.

    `comm` and `tid` are of the thread that it ran in, `comm` None if the kernel had forgotten it. `_time_ns` is when
    (CLOCK_BOOTTIME, in nanoseconds, exact to a microsecond), `_cpu` where.
    """

    __slots__ = ("_cpu", "_time_ns", "candidates", "comm", "message", "tid")
    _struct = "printk"
    _map = ""

    def __init__(
        self, time_ns: int, cpu: int, candidates: list[str], message: str, tid: int, comm: str | None
    ) -> None:
        self._time_ns = time_ns
        self._cpu = cpu
        self.candidates = candidates
        self.message = message
        self.tid = tid
        self.comm = comm

    @property
    def program(self) -> str | None:
        return self.candidates[0] if len(self.candidates) == 1 else None

    def __repr__(self) -> str:
        return f"Message({self.message!r}, {'|'.join(self.candidates)})"


class Text:
    """A line that the iterator `program` wrote. `_time_ns` is when it was read (CLOCK_BOOTTIME, in nanoseconds)."""

    __slots__ = ("_time_ns", "line", "program")
    _struct = "text"
    _map = ""
    _cpu = -1

    def __init__(self, time_ns: int, program: str, line: str) -> None:
        self._time_ns = time_ns
        self.program = program
        self.line = line

    def __repr__(self) -> str:
        return f"Text({self.line!r}, {self.program})"
