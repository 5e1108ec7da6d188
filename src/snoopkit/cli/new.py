"""`snoopkit new`: a small project that builds and runs at once, to be changed into what is wanted."""

from __future__ import annotations

import argparse
import os
import re

from ..commandline import CommandLine
from ..errors import SnoopkitError
from .command import command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]

TEMPLATES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "templates")
_OPEN = "def trigger(path: str) -> None:\n    Path(path).write_text('')\n"
_UNLINK = "def trigger(path: str) -> None:\n    Path(path).write_text('')\n    os.unlink(path)\n"
_SYSTEM = "def trigger(path: str) -> None:\n    os.system(f': {path}')\n"
_EXEC = """def trigger(path: str) -> None:
    Path(path).write_text('#!/bin/sh\\n')
    os.chmod(path, 0o755)
    assert os.spawnl(os.P_WAIT, path, path) == 0
"""
HOOKS = {  # what it sees, what an event's text is, and what a test does about it
    "tracepoint": ("which files are opened", "the path, as the program gave it", _OPEN),
    "raw_tp": ("which programs are executed", "the file", _EXEC),
    "tp_btf": ("which programs are executed", "the file", _EXEC),
    "uprobe": ("which commands are given to system(3)", "the command", _SYSTEM),
    "kprobe": ("which files are removed", "the path, as the program gave it", _UNLINK),
}


def parser() -> CommandLine:
    parser = CommandLine(
        "snoopkit new",
        description="Make a small project in a new folder: C, header, Python reader, test, README.",
        examples=[("snoopkit new opens --hook tracepoint", "then: cd opens && python3 opens.py")],
    )
    parser.add_argument(
        "name", metavar="NAME", type=_name, help="what it is called; a folder may stand before it"
    )
    parser.add_argument(
        "--hook",
        choices=sorted(HOOKS),
        default="tracepoint",
        help="where its program is attached (default: tracepoint)",
    )
    return parser


@command("snoopkit new")
def main(argv: Sequence[str]) -> None:
    """Make a small project in a folder of its own."""
    args = parser().parse_args(argv)
    try:
        os.makedirs(args.name)
    except FileExistsError:
        raise SnoopkitError(f"{args.name}: it is there already", hint="nothing is overwritten") from None
    for name, text in _files(os.path.basename(args.name), args.hook):
        path = os.path.join(args.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(path)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w-]*", os.path.basename(text), re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}: a name has letters, digits, _ and -, a letter first")
    return text


def _files(name: str, hook: str) -> Iterator[tuple[str, str]]:
    what, text, trigger = HOOKS[hook]
    identifier = name.replace("-", "_")
    words = {
        "NAME": name,
        "IDENTIFIER": identifier,
        "GUARD": identifier.upper(),
        "WHAT": what,
        "TEXT": text,
        "TRIGGER": trigger.replace("'", '"'),
    }
    project = os.path.join(TEMPLATES, "project")
    places = [(os.path.join(TEMPLATES, "hooks", f"{hook}.bpf.c"), f"{name}.bpf.c")]
    for entry in sorted(entry.name for entry in os.scandir(project) if entry.is_file()):
        made = entry.removesuffix(".in")  # which keeps an installer from compiling it
        own = identifier if made.endswith(".py") else name
        places.append((os.path.join(project, entry), made.replace("NAME", own)))
    for path, made in places:
        with open(path, encoding="utf-8") as file:
            yield made, re.sub(r"@([A-Z]+)@", lambda match: words[match[1]], file.read())
