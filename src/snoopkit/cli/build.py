"""`snoopkit build`: C sources and their header to a package."""

from __future__ import annotations

import argparse
import os
import sys

from ..arches import ARCHES, known_arch
from ..commandline import CommandLine
from ..compiler import compile_sources, own_header
from ..errors import CompileError
from .command import command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def parser() -> CommandLine:
    parser = CommandLine(
        "snoopkit build",
        usage="%(prog)s [OPTIONS] SOURCE.bpf.c … [HEADER.h]",
        description="Compile an eBPF source to a package. HEADER.h defines the struct of its events: "
        "by default the one of the same name beside a source that includes it.",
        examples=[
            ("snoopkit build tool.bpf.c tool.h", "writes package.json beside the source"),
            ("snoopkit build a.bpf.c b.bpf.c tool.h", "two sources, one package"),
        ],
    )
    parser.add_argument(
        "sources",
        metavar="SOURCE.bpf.c",
        nargs="+",
        help="several are linked; HEADER.h may stand behind them",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="default: package.json beside the source")
    kernel = parser.add_mutually_exclusive_group()
    kernel.add_argument(
        "--btf", metavar="FILE", help="a kernel's BTF to make vmlinux.h from (default: this kernel's)"
    )
    kernel.add_argument(
        "--vmlinux", metavar="FILE", help="a vmlinux.h to use; one beside the source goes first"
    )
    parser.add_argument(
        "--arch",
        metavar="ARCH",
        type=_arch,
        choices=ARCHES,
        help=f"the architecture to compile for: {', '.join(ARCHES)} (default: this machine's); a source that includes "
        "vmlinux.h needs one of that architecture then",
    )
    parser.add_argument(
        "--clang", metavar="PATH", help="default: clang on the PATH, else the newest clang-NN"
    )
    parser.add_argument(
        "-I", dest="include", metavar="DIR", action="append", default=[], help="search DIR for headers"
    )
    parser.add_argument(
        "-D", dest="define", metavar="X[=Y]", action="append", default=[], help="define a macro"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print the commands that are run")
    return parser


@command("snoopkit build")
def main(argv: Sequence[str]) -> int | None:
    options = parser().parse_args(argv)
    header = None if options.sources[-1].endswith(".c") else options.sources.pop()
    if not options.sources:
        raise CompileError(f"{header}: there is no source", hint="a source is called NAME.c")
    is_own = header is None
    if header is None and len(options.sources) == 1:
        header = own_header(options.sources[0])
    package, diagnostics = compile_sources(
        options.sources,
        header,
        is_own=is_own,
        clang=options.clang,
        btf=options.btf,
        vmlinux=options.vmlinux,
        include=options.include,
        define=options.define,
        arch=options.arch,
        log=_log if options.verbose else None,
    )
    sys.stderr.write(diagnostics)
    for warning in package.warnings:
        print(f"snoopkit build: warning: {warning}", file=sys.stderr)
    path = options.output or os.path.join(os.path.dirname(options.sources[0]), "package.json")
    package.write(path)
    print(path)
    return None


def _arch(name: str) -> str:
    try:
        return known_arch(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _log(text: str) -> None:
    print(text, file=sys.stderr)
