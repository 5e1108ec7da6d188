"""What stands in a cell: text for people, in one line and harmless to a terminal."""

from __future__ import annotations

from snoopkit.render import display, json, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import ProcessEvent

__all__ = ["Words", "cell", "duration", "loss", "number", "result", "size"]

_AT_FDCWD = -100
_ID_DIGITS = 12  # enough to tell containers apart, as their runtimes show them
_BINARY = "KMGTP"


class Words:
    """A command as words, as a shell would quote them; each in double quotes if `all_quoted`. Of more than `most`
    words a mark tells how many are left out."""

    def __init__(self, *, all_quoted: bool = False, most: int | None = None) -> None:
        self._quote = _quote_all if all_quoted else quote
        self._most = most

    def of(self, event: ProcessEvent) -> str:
        """The command that an event has; marks stand in brackets."""
        reason = event.incomplete.get("argv") if event.incomplete else None
        if event.type == "exec_failed":
            return self._attempt(event, reason)
        if event.argv is None:
            return "[unreadable]" if reason else "?"
        text = self._joined(event.argv)
        # A shell's word with a bracket stands in quotes, so no argument can look like these marks.
        if event.inherited or event.type == "fork":
            text = f"[{text}]"
        if event.type == "exec" and event.folded:
            text += f" [after {event.folded} tries]" if event.folded > 1 else " [after 1 try]"
        return f"{text} [{reason}]" if reason else text

    def _joined(self, argv: Sequence[str]) -> str:
        if self._most is None or len(argv) <= self._most:
            return self._quote(argv)
        return f"{self._quote(argv[: self._most])} [{len(argv) - self._most} more]"

    def _attempt(self, event: ProcessEvent, reason: str | None) -> str:
        """What was tried: the file stands in the place of the name that the program would have had."""
        if event.filename is None:
            parts = ["[unreadable]", self._joined((event.argv or ())[1:])]
        else:
            parts = [self._joined([event.filename, *(event.argv or ())[1:]])]
        if reason:
            parts.append(f"[{reason}]")
        if event.dirfd is not None:
            at = f"dirfd {event.dirfd}" if event.dirfd != _AT_FDCWD else ""
            flags = f"at_flags {event.at_flags:#x}" if event.at_flags else ""
            parts.append(f"[{' '.join(filter(None, (at, flags)))}]")
        if event.folded:
            parts.append(f"[and {event.folded} before]")
        return " ".join(filter(None, parts))


def _quote_all(argv: Sequence[str]) -> str:
    return " ".join(map(_in_double_quotes, argv))


def _in_double_quotes(argument: str) -> str:
    for special in '\\"$`':
        argument = argument.replace(special, "\\" + special)
    return f'"{display(argument)}"'


def cell(words: Words, event: ProcessEvent, key: str, value: object) -> str:
    """The value that an event has for a key of the JSON lines."""
    if key == "argv":
        return words.of(event) if event.type != "fork" else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return display(value)
    if key == "flags" and isinstance(value, list):
        return ",".join(value)
    if key == "container" and isinstance(value, dict):
        return display(value.get("name") or value["id"][:_ID_DIGITS])
    return json(value).decode() if isinstance(value, (dict, list)) else str(value)


def number(value: int | None) -> str:
    return "" if value is None else str(value)


def result(event: ProcessEvent) -> str:
    """How a process ended: its code, or the signal's name."""
    if event.signal is None:
        return str(event.exit_code)
    return f"{event.signal} core" if event.core_dumped else event.signal


def loss(event: ProcessEvent) -> str:
    """What a notice of loss says."""
    kind = f" {event.events}" if event.events else ""
    return f"{event.count}{kind} events are missing: {event.cause}"


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


def size(number_bytes: int) -> str:
    """For people, by powers of 1024: `512`, `4.0K`, `37M`, `1.2G`."""
    value = float(number_bytes)
    unit = ""
    for unit in ("", *_BINARY):
        if value < 999.5 or unit == _BINARY[-1]:
            break
        value /= 1024
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"
