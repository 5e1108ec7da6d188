"""What stands in a cell: text for people, in one line and harmless to a terminal."""

from __future__ import annotations

from snoopkit.render import display, json, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import ProcessEvent

__all__ = ["arguments", "cell", "duration", "loss", "result"]

_AT_FDCWD = -100


def cell(event: ProcessEvent, key: str, value: object) -> str:
    if key == "argv":
        return arguments(event) if event.type != "fork" else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return display(value)
    if key == "flags" and isinstance(value, list):
        return ",".join(value)
    return json(value).decode() if isinstance(value, (dict, list)) else str(value)


def duration(nanoseconds: int) -> str:
    """For people: `850us`, `1.2ms`, `3.04s`, `4m05s`, `2h07m`, `3d04h`."""
    if nanoseconds < 999_500:
        return f"{nanoseconds / 1e3:.0f}us"
    if nanoseconds < 99_950_000:
        return f"{nanoseconds / 1e6:.1f}ms"
    if nanoseconds < 999_500_000:
        return f"{nanoseconds / 1e6:.0f}ms"
    if nanoseconds < 59_995_000_000:
        return f"{nanoseconds / 1e9:.2f}s"
    seconds = round(nanoseconds / 1e9)
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600:02}h"


def loss(event: ProcessEvent) -> str:
    kind = f" {event.events}" if event.events else ""
    return f"{event.count}{kind} events are missing: {event.cause}"


def result(event: ProcessEvent) -> str:
    if event.signal is None:
        return str(event.exit_code)
    return f"{event.signal} core" if event.core_dumped else event.signal


def arguments(event: ProcessEvent) -> str:
    reason = event.incomplete.get("argv") if event.incomplete else None
    if event.type == "exec_failed":
        return _attempt(event, reason)
    if event.argv is None:
        return "[unreadable]" if reason else "?"
    text = quote(event.argv)
    # A shell's word with a bracket stands in quotes, so no argument can look like these marks.
    if event.inherited or event.type == "fork":
        text = f"[{text}]"
    return f"{text} [{reason}]" if reason else text


def _attempt(event: ProcessEvent, reason: str | None) -> str:
    """What was tried: the file stands in the place of the name that the program would have had."""
    parts = ["[unreadable]" if event.filename is None else quote([event.filename])]
    if event.argv and len(event.argv) > 1:
        parts.append(quote(event.argv[1:]))
    if reason:
        parts.append(f"[{reason}]")
    if event.dirfd is not None:
        at = f"dirfd {event.dirfd}" if event.dirfd != _AT_FDCWD else ""
        flags = f"at_flags {event.at_flags:#x}" if event.at_flags else ""
        parts.append(f"[{' '.join(filter(None, (at, flags)))}]")
    if event.folded:
        parts.append(f"[and {event.folded} before]")
    return " ".join(parts)
