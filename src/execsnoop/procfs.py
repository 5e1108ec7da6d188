"""What /proc tells of a process, never of another one that has its pid by now."""

from __future__ import annotations

import os

__all__ = ["TICK_NS", "arguments", "start_ticks"]

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""The unit of start times in /proc."""


def start_ticks(folder: int) -> int | None:
    """When the process of an open /proc/PID began, in ticks of the boot clock; None if it is gone."""
    text = _read(folder, "stat")
    # The name may have anything in it, brackets too; what follows the last of them are numbers.
    return int(text.rpartition(b")")[2].split()[19]) if text else None


def arguments(pid: int, start_boottime_ns: int) -> bytes | None:
    """What stands in a process's memory of arguments, each with its NUL; None if that process is gone."""
    try:
        # An open folder stays that process's.
        folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if start_ticks(folder) != start_boottime_ns // TICK_NS:
            return None
        return _read(folder, "cmdline")
    finally:
        os.close(folder)


def _read(folder: int, name: str) -> bytes | None:
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(file, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(file)
