"""`snoopkit stubs`: a package's events, maps and options, for type checkers and editors."""

from __future__ import annotations

import argparse

from .command import command
from .run import add_source, read_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


@command("snoopkit stubs")
def main(argv: Sequence[str]) -> None:
    """Write the module."""
    parser = argparse.ArgumentParser(
        prog="snoopkit stubs",
        description="Write a Python module whose run() is snoopkit's, with the types of this package's events, maps "
        "and options. It can be imported; nothing but its types depends on the package.",
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output", metavar="FILE.py", help="default: standard output")
    add_source(parser)
    args = parser.parse_args(argv)
    from ..stubs import module

    text = module(read_target(args, "snoopkit stubs"))
    if args.output is None:
        print(text, end="")
    else:
        with open(args.output, "w", encoding="utf-8") as file:
            file.write(text)
        print(args.output)
