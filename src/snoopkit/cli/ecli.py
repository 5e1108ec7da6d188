"""`ecli`: eunomia-bpf's runner, by our means."""

from __future__ import annotations

import argparse

from .. import arguments
from ..commandline import CommandLine
from ..options import printable
from .command import command
from .live import add_live_options
from .run import add_target, run_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..package import Package
    from ..render import Screen
    from ..render.formats import Formats
    from ..render.writers import Writer
    from ..session import Snoop

__all__ = ["main", "standalone"]


def parser() -> CommandLine:
    from .. import __version__

    parser = CommandLine(
        "ecli",
        description="Load a package, attach its programs and print its events as eunomia-bpf's runner does.",
        usage="ecli [run] [-j] [LIVE OPTIONS] PACKAGE [THE PACKAGE'S OWN OPTIONS]",
        epilog="ecli run PACKAGE --help shows the package's own options.",
        examples=[
            ("ecli run package.json", "its events as text, until Ctrl-C"),
            ("ecli -j --duration 5 package.json", "as JSON, for five seconds"),
        ],
    )
    parser.add_argument("-V", "--version", action="version", version=f"ecli {__version__} (snoopkit)")
    parser.add_argument("-j", action="store_const", const="json", dest="format", help="print JSON")
    parser.add_argument(
        "-p",
        "--prog-type",
        type=_program_type,
        metavar="TYPE",
        help="what PACKAGE is, json or tar; that is found out without it, too",
    )
    add_live_options(parser)
    add_target(parser)
    return parser


@command("ecli")
def main(argv: Sequence[str]) -> int:
    """Run a package as eunomia-bpf's ecli does: `ecli run package.json`, or `ecli package.json`."""
    words = list(argv)
    if words[:1] == ["run"]:
        del words[0]
    return run_package(parser().parse_args(words), "ecli", _writer, _own_parser)


def standalone(package: Package, name: str) -> Callable[..., int]:
    """The main function of a program that is nothing but `package`: all its arguments are the package's own."""

    @command(name)
    def main(argv: Sequence[str]) -> int:
        args = parser().parse_args([name])
        args.rest = list(argv)
        return run_package(args, name, _writer, _own_parser, package)

    return main


def _own_parser(package: Package, program: str) -> CommandLine:
    """The package's own options, and those that eunomia-bpf's runner gives each package, where it has none such."""
    found = arguments.parser(package, program)
    for names, how in (
        (("-j", "--json"), {"dest": "format", "const": "json", "help": "print JSON"}),
        (
            ("--verbose",),
            {"dest": "debug", "const": True, "help": "print the log of libbpf and the verifier"},
        ),
    ):
        free = [name for name in names if name not in found._option_string_actions]
        if free:
            found.add_argument(*free, action="store_const", default=argparse.SUPPRESS, **how)
    free = [name for name in ("-V", "--version") if name not in found._option_string_actions]
    if free:
        version = f"{package.name} {package.doc.get('version') or '0.1.0'}"
        found.add_argument(*free, action="version", version=printable(version).replace("%", "%%"))
    return found


def _program_type(text: str) -> str:
    if text.lower() not in ("json", "jsoneunomia", "tar"):
        raise argparse.ArgumentTypeError(f"{text!r}: that can't be run, only json and tar")
    return text


def _writer(args: argparse.Namespace, snoop: Snoop, formats: Formats, screen: Screen) -> Writer:
    if args.format == "csv":
        from ..render import Csv

        return Csv(snoop, formats)
    from ..render.eunomia import EunomiaJson, EunomiaText

    return EunomiaJson(snoop.package) if args.format == "json" else EunomiaText(snoop.package, formats)
