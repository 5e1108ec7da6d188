"""Stack traces as indented lines, as JSON, and folded, a line each, as flame graphs are made of."""

from __future__ import annotations

import errno

from .._decode import display
from ..samples import Sample
from ..stacks import Stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..package import Package
    from ..stacks import Frame

__all__ = ["Folded", "stack_data", "stack_lines"]

MISSED = errno.EEXIST  # another stack was in its place in the map already


def stack_lines(found: Stack) -> list[str]:
    """A line a frame, the innermost first: its function, and where that is from. Why a stack is missing, if it is."""
    lines = []
    for name, frames in found.stacks.items():
        if frames is None:
            if why := _missing(found, name):
                lines.append(f"{display(name)}: {why}")
            continue
        for frame in frames:
            where = "kernel" if frame.is_kernel and frame.module is None else frame.module
            lines.append(display(f"{frame} [{where}]" if where else str(frame)))
    return lines


def _missing(found: Stack, name: str) -> str | None:
    """Nothing of a stack that isn't there: a kernel thread has none in user space, and the other way round."""
    number = found.errors.get(name, errno.EFAULT)
    if number == errno.EFAULT:
        return None
    if number == MISSED:
        return "missed: its place in the map of stacks is taken"
    return f"missed: {errno.errorcode.get(number, number)}"


def stack_data(found: Stack) -> dict[str, Any]:
    """What JSON has as `stacks`."""
    return {
        name: None if frames is None else [_frame(frame) for frame in frames]
        for name, frames in found.stacks.items()
    }


def _frame(frame: Frame) -> dict[str, Any]:
    """What is known of it, and no more."""
    values: dict[str, Any] = {
        "symbol": frame.symbol,
        "offset": frame.offset,
        "module": frame.module,
        "module_offset": frame.module_offset,
    }
    known = {key: value for key, value in values.items() if value is not None}
    return {"address": f"{frame.address:#x}", "kernel": frame.is_kernel, **known}


class Folded:
    """A writer: `comm;outermost;…;innermost count` for each stack, and nothing else. Of maps that are not cleared only
    what came since the sample before, so that the counts of all lines add up."""

    def __init__(self, package: Package) -> None:
        self._kept = {
            name for name, spec in package.maps.items() if spec.sample and not spec.sample.get("clear_map")
        }
        self._before: dict[Any, int] = {}

    def header(self) -> bytes:
        return b""

    def row(self, event: Any) -> bytes:
        if not isinstance(event, Stack):
            return b""
        count = event.count
        if isinstance(event.event, Sample) and event._map in self._kept:
            key = event._map, event._cpu, event.event.key
            count -= self._before.get(key, 0)
            self._before[key] = event.count
        if count <= 0:
            return b""
        names = [event.comm or (f"process {event.pid}" if event.pid is not None else "[unknown]")]
        names += [_name(frame) for frame in reversed(event.frames)]
        names += ["[missed]"] if MISSED in event.errors.values() else []
        line = ";".join([display(name).replace(";", ":") for name in names])
        return f"{line} {count}\n".encode("utf-8", "backslashreplace")


def _name(frame: Frame) -> str:
    """Without the offset, so that equal functions are one."""
    if frame.symbol is not None:
        return frame.symbol
    return f"[{frame.module.rpartition('/')[2]}]" if frame.module is not None else "[unknown]"
