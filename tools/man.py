#!/usr/bin/env python3
"""Makes the man pages from the parsers: `tools/man.py FOLDER` writes them there, one for each command."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import commands

import snoopkit
from snoopkit.cli import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snoopkit import CommandLine

NAMES = ("execsnoop", "snoopkit", "ecc", "ecli")
STATUS = (
    ("0", "done, also by SIGINT, SIGTERM, a closed pipe or a limit"),
    ("1", "failed"),
    ("2", "bad usage"),
    ("3", "finished, but events were lost or left undecoded"),
)


def escaped(text: str) -> str:
    """Text as roff shows it unchanged, wherever in a line it stands."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    text = text.replace("…", "...").replace("^", r"\(ha").replace("~", r"\(ti")
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in text.split("\n"))


def page(name: str) -> str:
    parsers = {full: parser for full, parser in commands.parsers().items() if full.split()[0] == name}
    what = parsers[name].description if name in parsers else "eBPF C to packages, packages to events."
    stamp = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    day = time.strftime("%Y-%m-%d", time.gmtime(stamp))
    lines = [f'.TH {name.upper()} 1 "{day}" "snoopkit {snoopkit.__version__}"', ".SH NAME"]
    lines += [rf"{name} \- {escaped((what or '').split('. ')[0].rstrip('.'))}"]
    own = parsers.pop(name, None)
    if own:
        lines += [".SH SYNOPSIS", *_usage(own), ".SH DESCRIPTION", escaped(own.description or "")]
        lines += [".SH OPTIONS", *_options(own), *_examples(own)]
    else:
        lines += [".SH SYNOPSIS", rf".B {name}", r"\fICOMMAND\fR ...", ".SH COMMANDS"]
        for command, brief in COMMANDS.items():
            lines += [".TP", rf".B {command}", escaped(brief)]
    for full, parser in parsers.items():
        lines += [f".SH {full.upper()}", *_usage(parser), ".PP", escaped(parser.description or "")]
        lines += [*_options(parser), *_examples(parser)]
    lines += [".SH EXIT STATUS"]
    for status, meaning in STATUS:
        lines += [".TP", f".B {status}", escaped(meaning)]
    return "\n".join(lines) + "\n"


def _usage(parser: CommandLine) -> Iterator[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    yield rf"\fB{escaped(parser.prog)}\fR {escaped(usage.removeprefix(parser.prog).strip())}"


def _options(parser: CommandLine) -> Iterator[str]:
    formatter = argparse.HelpFormatter(parser.prog, width=1000)
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if not shown:
            continue
        yield f'.SS "{escaped(group.title or "")}"'
        if group.description:
            yield escaped(group.description)
        for action in shown:
            yield ".TP"
            yield rf"\fB{escaped(formatter._format_action_invocation(action))}\fR"
            yield escaped(formatter._expand_help(action))


def _examples(parser: CommandLine) -> Iterator[str]:
    if parser.examples:
        yield '.SS "examples"'
    for typed, what in parser.examples:
        yield ".TP"
        yield rf"\fB{escaped(typed)}\fR"
        yield escaped(what)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / f"{name}.1").write_text(page(name))
