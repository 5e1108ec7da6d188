"""`snoopkit run`: load a package, attach it and print its events."""

from __future__ import annotations

import argparse
import sys

from .. import arguments
from ..commandline import CommandLine
from ..errors import OptionError
from ..stacks import has_stacks
from .command import command
from .live import Live, add_live_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..merging import Extra
    from ..package import Package
    from ..printk import Printed
    from ..render import Screen
    from ..render.formats import Formats
    from ..render.writers import Writer
    from ..session import Snoop
    from .live import Source

__all__ = ["main", "run_package"]


def parser() -> CommandLine:
    from .. import __version__

    parser = CommandLine(
        "snoopkit run",
        description="Load a package, attach its programs and print its events until Ctrl-C.",
        usage="snoopkit run [LIVE OPTIONS] TARGET [THE PACKAGE'S OWN OPTIONS]",
        epilog="snoopkit run TARGET --help shows the package's own options.",
        examples=[
            ("snoopkit run package.json", "until Ctrl-C"),
            ("snoopkit run --max-events 10 tool.bpf.c", "compiled first; ten events"),
            ("snoopkit run package.json --min-us 500", "with the package's own option"),
        ],
    )
    parser.add_argument("--version", action="version", version=f"snoopkit {__version__}")
    add_live_options(parser)
    parser.add_argument(
        "--folded",
        action="store_const",
        const="folded",
        dest="format",
        help="print stack traces only, a line each, as flamegraph.pl reads them",
    )
    add_target(parser)
    return parser


@command("snoopkit run")
def main(argv: Sequence[str]) -> int:
    """Load a package, attach its programs and print its events."""
    return run_package(parser().parse_args(argv), "snoopkit run", _writer)


def _writer(args: argparse.Namespace, snoop: Snoop, formats: Formats, screen: Screen) -> Writer:
    if args.format == "folded":
        from ..render.stack import Folded

        return Folded(snoop.package)
    from ..render import writer

    return writer(args.format, snoop, formats, screen)


def add_source(parser: argparse.ArgumentParser) -> None:
    """TARGET, and what helps to understand it."""
    group = parser.add_argument_group("what TARGET lacks")
    group.add_argument(
        "--event",
        type=_event,
        action="append",
        default=[],
        metavar="MAP=STRUCT",
        help="the struct of a map's records, for an object that doesn't tell",
    )
    group.add_argument("--header", metavar="FILE.h", help="a C source's header, if not the one beside it")
    group.add_argument(
        "--btf", metavar="FILE", help="this kernel's BTF, where the kernel itself doesn't tell"
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="a package, an object, a skeleton, a C source, an https address, or - for standard input",
    )


def read_target(args: argparse.Namespace, name: str) -> Package:
    """The package that `args.target` names; what is odd about it goes to stderr."""
    from .. import sources

    package = sources.read(args.target, header=args.header, events=dict(args.event), btf=args.btf)
    for warning in package.warnings:
        print(f"{name}: warning: {warning}", file=sys.stderr)
    if args.btf is None:
        args.btf = sources.kernel_btf(args.target)
    return package


def add_target(parser: argparse.ArgumentParser) -> None:
    """Where its programs go; TARGET; and behind it whatever the package itself understands."""
    group = parser.add_argument_group("where programs go")
    group.add_argument(
        "--attach",
        type=_attachment,
        action="append",
        default=[],
        metavar="PROGRAM=TARGET",
        help="for example trace_call=uprobe:libc.so.6:getaddrinfo; may be repeated",
    )
    group.add_argument("--iface", metavar="NAME", help="the network interface for XDP and tc programs")
    group.add_argument("--cgroup", metavar="FOLDER", help="the cgroup for programs of cgroups")
    group.add_argument(
        "--pid", type=_count, metavar="N", help="uprobes, USDT probes and sampling: of this process only"
    )
    parser.add_argument(
        "--as",
        action="append",
        default=[],
        dest="show_as",
        metavar="[STRUCT.]FIELD=FORMAT",
        help="show a number as ipv4, ipv6, mac, port, hex, errno, signal, syscall, duration, …; not in JSON and CSV; "
        "or as a stack, or stack:MAP",
    )
    add_source(parser)
    rest = parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # so that no message asks for it


def run_package(
    args: argparse.Namespace,
    name: str,
    writer: Callable[[argparse.Namespace, Snoop, Formats, Screen], Writer],
    parser: Callable[[Package, str], CommandLine] = arguments.parser,
    package: Package | None = None,
) -> int:
    """Read `args.target`, unless `package` is given, give it `args.rest`, which `parser` reads, run it; returns the
    exit status."""
    program = name
    if package is None:
        package = read_target(args, name)
        program = f"{name} {args.target}"
    own = arguments.collect(package, parser(package, program).parse_args(args.rest, args))
    from ..render import Screen
    from ..render.formats import formats

    shown = formats(package, args.show_as)
    if args.format == "folded" and not has_stacks(shown):
        raise OptionError(
            "--folded: the package has no stack traces",
            hint="SNOOPKIT_AS(stack) behind a member, or --as MEMBER=stack, makes it one",
        )
    with Live(args, name) as live:
        from ..printk import Printed
        from ..session import run

        printed = Printed(package)
        try:
            snoop = run(
                package,
                options=own,
                attach=dict(args.attach),
                buffer_bytes=args.buffer_size,
                interface=args.iface,
                cgroup=args.cgroup,
                pid=args.pid,
                btf=args.btf,
            )
            source = _source(snoop, printed, shown)
            return live.run(source, writer(args, snoop, shown, Screen(live.output.fd)))
        finally:
            printed.close()


def _source(snoop: Snoop, printed: Printed, formats: Formats) -> Source:
    """What a live run reads: events; samples of the maps that the package wants sampled; what its programs print and
    its iterators write; with the functions in its stack traces."""
    package = snoop.package
    source: Source = snoop
    if any(spec.sample for spec in package.maps.values()):
        from ..sampling import Sampled

        source = Sampled(snoop)
    extras: list[Extra] = [printed] if printed.is_needed else []
    if any(spec.is_iterator and not spec.optional for spec in package.programs.values()):
        from .dump import Dump

        extras.append(Dump(snoop))
    if extras:
        from ..merging import Merged

        source = Merged(source, snoop, extras)
    if has_stacks(formats):
        from ..stacking import Stacked

        source = Stacked(source, snoop, formats)
    return source


def _attachment(text: str) -> tuple[str, str]:
    program, equals, target = text.partition("=")
    if not (program and equals and target):
        raise argparse.ArgumentTypeError(f"{text!r} isn't PROGRAM=TARGET")
    return program, target


def _event(text: str) -> tuple[str, str]:
    name, equals, struct = text.partition("=")
    if not (name and equals and struct):
        raise argparse.ArgumentTypeError(f"{text!r} isn't MAP=STRUCT")
    return name, struct.removeprefix("struct ")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_count.__name__ = "process id"
