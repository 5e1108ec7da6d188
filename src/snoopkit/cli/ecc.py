"""`ecc`, eunomia-bpf's compiler by our means: the same arguments, the same files."""

from __future__ import annotations

import argparse
import json
import os
import sys

from ..compiler import compile_package, object_name
from ..errors import CompileError
from .command import command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="ecc",
        description="Compile an eBPF source to a package that `ecli run` runs.",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE_PATH", help="the source, NAME.bpf.c")
    parser.add_argument(
        "header",
        metavar="EXPORT_EVENT_HEADER",
        nargs="?",
        help="the header that defines the struct of its events",
    )
    parser.add_argument(
        "-o", "--output-path", metavar="DIR", help="where the outputs go (default: beside the source)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print the commands that are run")
    parser.add_argument(
        "-a",
        "--additional-cflags",
        metavar="FLAG",
        action="append",
        default=[],
        help="one more argument for clang; write -a=-DX",
    )
    parser.add_argument("-c", "--clang-bin", metavar="PATH", help="the clang to use")
    parser.add_argument("-n", "--no-generate-package-json", action="store_true", help="write no package.json")
    parser.add_argument("-V", "--version", action="version", version=f"ecc (snoopkit {__version__})")
    return parser


@command("ecc")
def main(argv: Sequence[str]) -> int | None:
    options = parser().parse_args(argv)
    folder = options.output_path or os.path.dirname(options.source)
    if folder and not os.path.isdir(folder):
        raise CompileError(f"{folder}: there is no such folder")
    _say("Compiling bpf object...")
    package, diagnostics = compile_package(
        options.source,
        options.header or None,
        cflags=options.additional_cflags,
        clang=options.clang_bin,
        log=_say if options.verbose else None,
    )
    sys.stderr.write(diagnostics)
    for warning in package.warnings:
        _say(f"ecc: warning: {warning}")
    base = os.path.join(folder, object_name(options.source))
    with open(f"{base}.bpf.o", "wb") as file:
        file.write(package.object)
    with open(f"{base}.skel.json", "w", encoding="utf-8") as file:
        json.dump(package.meta, file, sort_keys=True, separators=(",", ":"))
    if not options.no_generate_package_json:
        path = os.path.join(folder, "package.json")
        _say(f"Packing ebpf object and config into {path}...")
        package.write(path)
    return None


def _say(text: str) -> None:
    print(text, file=sys.stderr)
