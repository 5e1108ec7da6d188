"""Command lines as all commands here have them: argparse's, with examples, and with a near name for a wrong one."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["CommandLine", "suggestion"]

_MAX_WIDTH_COLUMNS = 100  # longer lines are hard to read, however wide the terminal is


class CommandLine(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` without abbreviations, whose help ends with `examples`: pairs of what is typed and
    what it is for. An option that it doesn't know is answered with the nearest that it does, and status 2.
    """

    def __init__(self, prog: str, *, examples: Sequence[tuple[str, str]] = (), **more: Any) -> None:
        more.setdefault("formatter_class", argparse.HelpFormatter)
        super().__init__(prog, allow_abbrev=False, **more)
        self.examples = examples

    def _get_formatter(self) -> argparse.HelpFormatter:
        from shutil import get_terminal_size

        width = min(get_terminal_size().columns, _MAX_WIDTH_COLUMNS)
        return self.formatter_class(self.prog, width=width - 2)  # type: ignore[call-arg]

    def format_help(self) -> str:
        """As argparse's, at most 100 columns wide, and the examples at its end."""
        text = super().format_help()
        if not self.examples:
            return text
        width = max(len(typed) for typed, _ in self.examples)
        lines = [f"  {typed:{width}}  {what}" for typed, what in self.examples]
        return "\n".join([text, "examples:", *lines, ""])

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, with a near name for an option that it doesn't know, which comes before what is missing."""
        needed = [action for action in self._actions if action.required]
        for action in needed:
            action.required = False
        found, unknown = self.parse_known_args(args, namespace)
        for action in needed:
            action.required = True
        if needed and not unknown:
            found = super().parse_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            near = suggestion(name, self._option_string_actions) if name.startswith("--") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return found


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?` for the nearest of the `known` names, or nothing where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""
