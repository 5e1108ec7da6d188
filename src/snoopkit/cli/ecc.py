"""`ecc`, eunomia-bpf's compiler by our means: the same arguments, the same files."""

from __future__ import annotations

import json
import os
import sys

from ..arches import target_arch
from ..commandline import CommandLine
from ..compiler import compile_package, object_name
from ..errors import CompileError
from .command import command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["main"]


def parser() -> CommandLine:
    from .. import __version__

    parser = CommandLine(
        "ecc",
        description="Compile an eBPF source to a package that `ecli run` runs.",
        examples=[
            ("ecc tool.bpf.c tool.h", "package.json, tool.bpf.o, tool.skel.json"),
            ("ecc -o out -a=-DDEBUG tool.bpf.c", "into a folder, with a macro"),
        ],
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
    parser.add_argument(
        "-l",
        "--llvm-strip-bin",
        metavar="PATH",
        help="accepted for the sake of scripts: no llvm-strip is needed",
    )
    parser.add_argument(
        "-w",
        "--workspace-path",
        metavar="DIR",
        help="search DIR/include, and DIR/include/vmlinux/ARCH, before our own headers",
    )
    parser.add_argument(
        "--header-only",
        action="store_true",
        help="the source is itself the header: compile its structs, without a program",
    )
    parser.add_argument(
        "-y", "--yaml", action="store_true", help="write YAML in place of JSON (needs snoopkit[yaml])"
    )
    parser.add_argument(
        "-b",
        "--btfgen",
        action="store_true",
        help="also write NAME.tar: the package, and what it needs of the BTF of kernels that don't tell theirs",
    )
    parser.add_argument(
        "--btfhub-archive",
        metavar="DIR",
        help="a copy of BTFHub's archive, for -b (default: btfhub-archive in $EUNOMIA_HOME or ~/.local/share/eunomia)",
    )
    result = parser.add_mutually_exclusive_group()
    result.add_argument("-n", "--no-generate-package-json", action="store_true", help="write no package.json")
    result.add_argument(
        "-s",
        "--standalone",
        action="store_true",
        help="also write NAME.out: a program that needs only Python and libbpf",
    )
    parser.add_argument("-V", "--version", action="version", version=f"ecc (snoopkit {__version__})")
    return parser


@command("ecc")
def main(argv: Sequence[str]) -> int | None:
    options = parser().parse_args(argv)
    folder = options.output_path or os.path.dirname(options.source)
    if folder and not os.path.isdir(folder):
        raise CompileError(f"{folder}: there is no such folder")
    dump = _yaml() if options.yaml else _json
    _say("Compiling bpf object...")
    package, diagnostics = compile_package(
        options.source,
        options.header or None,
        cflags=options.additional_cflags,
        clang=options.clang_bin,
        include=_include_folders(options.workspace_path),
        header_only=options.header_only,
        log=_say if options.verbose else None,
    )
    sys.stderr.write(diagnostics)
    for warning in package.warnings:
        _say(f"ecc: warning: {warning}")
    base = os.path.join(folder, object_name(options.source))
    suffix = "yaml" if options.yaml else "json"
    with open(f"{base}.bpf.o", "wb") as file:
        file.write(package.object)
    _write(f"{base}.skel.{suffix}", dump(package.meta))
    if not options.no_generate_package_json:
        path = os.path.join(folder, f"package.{suffix}")
        _say(f"Packing ebpf object and config into {path}...")
        if options.yaml:
            _write(path, dump(json.loads(package.dumps())))
        else:
            package.write(path)
    if options.btfgen:
        from .. import btfhub

        archive = options.btfhub_archive or os.path.join(btfhub.data_folder(), btfhub.FOLDER)
        _say(f"Packing BTF of {archive} into {base}.tar...")
        btfhub.write(package, archive, f"{base}.tar", object_name(options.source))
    if options.standalone:
        from ..standalone import write

        _say(f"Making {base}.out...")
        write(package, f"{base}.out")
    return None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _include_folders(workspace: str | None) -> list[str]:
    if workspace is None:
        return []
    include = os.path.join(workspace, "include")
    if not os.path.isdir(include):
        raise CompileError(f"{workspace}: it has no folder `include`")
    return [include, os.path.join(include, "vmlinux", target_arch())]


def _json(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _yaml() -> Callable[[Any], str]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise CompileError("--yaml: PyYAML is not installed", hint="pip install 'snoopkit[yaml]'") from None

    def dump(document: Any) -> str:
        text: str = yaml.safe_dump(document)
        return text

    return dump


def _say(text: str) -> None:
    print(text, file=sys.stderr)
