"""The command lines of all commands, for what is made from them: man pages, completions, and tests."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import execsnoop.cli
from snoopkit.cli import COMMANDS, ecc, ecli

if TYPE_CHECKING:
    from snoopkit import CommandLine


def parsers() -> dict[str, CommandLine]:
    """By what is typed, `snoopkit build` for a command's own command."""
    found = [execsnoop.cli.parser(), execsnoop.cli.selftest_parser()]
    found += [import_module(f"snoopkit.cli.{name}").parser() for name in COMMANDS]
    found += [ecc.parser(), ecli.parser()]
    return {parser.prog: parser for parser in found}
