"""`ecli`: eunomia-bpf's runner, by our means."""

from __future__ import annotations

import argparse

from ..commandline import CommandLine
from .command import command
from .live import add_live_options
from .run import add_target, run_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..render import Screen
    from ..render.formats import Formats
    from ..render.writers import Writer
    from ..session import Snoop

__all__ = ["main"]


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
    add_live_options(parser)
    add_target(parser)
    return parser


@command("ecli")
def main(argv: Sequence[str]) -> int:
    """Run a package as eunomia-bpf's ecli does: `ecli run package.json`, or `ecli package.json`."""
    arguments = list(argv)
    if arguments[:1] == ["run"]:
        del arguments[0]
    return run_package(parser().parse_args(arguments), "ecli", _writer)


def _writer(args: argparse.Namespace, snoop: Snoop, formats: Formats, screen: Screen) -> Writer:
    if args.format == "csv":
        from ..render import Csv

        return Csv(snoop, formats)
    from ..render.eunomia import EunomiaJson, EunomiaText

    return EunomiaJson(snoop.package) if args.format == "json" else EunomiaText(snoop.package, formats)
