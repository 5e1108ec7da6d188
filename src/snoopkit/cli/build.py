"""`snoopkit build`: a C source and its header to a package."""

from __future__ import annotations

import argparse
import os
import sys

from ..compiler import compile_package
from .command import command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snoopkit build",
        description="Compile an eBPF source to a package. HEADER defines the struct of its events.",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE.bpf.c")
    parser.add_argument("header", metavar="HEADER.h", nargs="?")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: package.json beside the source")
    kernel = parser.add_mutually_exclusive_group()
    kernel.add_argument(
        "--btf", metavar="FILE", help="a kernel's BTF to make vmlinux.h from (default: this kernel's)"
    )
    kernel.add_argument(
        "--vmlinux", metavar="FILE", help="a vmlinux.h to use; one beside the source goes first"
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
    package, diagnostics = compile_package(
        options.source,
        options.header,
        clang=options.clang,
        btf=options.btf,
        vmlinux=options.vmlinux,
        include=options.include,
        define=options.define,
        log=_log if options.verbose else None,
    )
    sys.stderr.write(diagnostics)
    for warning in package.warnings:
        print(f"snoopkit build: warning: {warning}", file=sys.stderr)
    path = options.output or os.path.join(os.path.dirname(options.source), "package.json")
    package.write(path)
    print(path)
    return None


def _log(text: str) -> None:
    print(text, file=sys.stderr)
