"""`snoopkit stubs`: a package's events, maps and options, for type checkers and editors."""

from __future__ import annotations

from ..commandline import CommandLine
from .command import command
from .run import add_source, read_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def parser() -> CommandLine:
    parser = CommandLine(
        "snoopkit stubs",
        description="Write a Python module whose run() is snoopkit's, with the types of this package's events, maps "
        "and options. It can be imported; nothing but its types depends on the package.",
        examples=[("snoopkit stubs package.json -o opens.py", "then: from opens import run")],
    )
    parser.add_argument("-o", "--output", metavar="FILE.py", help="default: standard output")
    add_source(parser)
    return parser


@command("snoopkit stubs")
def main(argv: Sequence[str]) -> None:
    """Write the module."""
    args = parser().parse_args(argv)
    from ..stubs import module

    text = module(read_target(args, "snoopkit stubs"))
    if args.output is None:
        print(text, end="")
    else:
        with open(args.output, "w", encoding="utf-8") as file:
            file.write(text)
        print(args.output)
