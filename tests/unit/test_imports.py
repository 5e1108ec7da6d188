"""The arrows of docs/architecture.md, read from the imports; and what starting costs, in modules."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).parents[2] / "src"

# Room → the rooms it may import, those below it. A name is a module of src/snoopkit, or a package there.
TYPES = {"errors", "btf", "cdecl", "layout", "plans"}
FILES = TYPES | {"elf", "cheader", "vmlinux"}
SEAM = FILES | {"meta", "document", "options", "arguments", "package"}
LIVE = {"errors", "_core", "features"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    # build half, up to the seam: no kernel, no root, no native module
    "btf": {"errors", "btf_check"},
    "btf_check": {"errors", "btf"},
    "cdecl": {"errors", "btf"},
    "layout": {"errors", "btf", "cdecl"},
    "plans": {"errors", "layout"},
    "cache": set(),
    "elf": TYPES,
    "cheader": {"errors", "btf", "cdecl"},
    "vmlinux": TYPES | {"cache", "cheader"},
    "commandline": set(),
    "meta": FILES,
    "document": FILES | {"meta"},
    "options": FILES,
    "arguments": FILES | {"options"},
    "package": SEAM - {"package", "arguments"},
    "anchors": SEAM,
    "annotations": SEAM,
    "skeleton": SEAM | {"anchors"},
    "linker": SEAM | {"skeleton"},
    "arches": set(),
    "packaging": SEAM | {"anchors", "annotations", "skeleton"},
    "compiler": SEAM | {"anchors", "arches"},
    # run half: no compiler
    "_core": {"errors", "record", "_libbpf", "_system"},
    "features": {"errors", "btf", "_core"},
    "kernel_ids": SEAM,
    "kernel_types": SEAM | {"features", "kernel_ids"},
    "loader": SEAM | LIVE | {"kernel_types"},
    "abi": set(),
    "calls": SEAM,
    "targets": SEAM,
    "standalone": SEAM,
    "btfhub": SEAM,
    "fetch": SEAM,
    "describe": SEAM | {"abi", "calls", "render", "stacks", "targets"},
    "attach": SEAM | LIVE | {"loader", "targets"},
    "iterators": SEAM | LIVE | {"loader", "attach", "_decode", "events"},
    "transport": SEAM | LIVE | {"loader"},
    # decoding: neither libbpf nor a kernel
    "_decode": {"errors", "layout", "record"},
    "events": SEAM | {"_decode"},
    "columns": {"layout", "plans", "_decode"},
    "encode": {"layout"},
    "maps": SEAM | LIVE | {"loader", "_decode", "encode", "events"},
    "samples": set(),
    "stacks": set(),
    "messages": set(),
    "render": SEAM | {"_decode", "events", "messages", "samples", "stacks"},
    "sampling": {"events", "maps", "samples"},
    "symbols": {"errors", "elf", "stacks"},
    "stacking": {"events", "samples", "stacks", "symbols"},
    "printk": SEAM | {"abi", "calls", "events", "features", "messages"},
    "merging": set(),
    "batch": SEAM | {"_decode", "events", "columns", "render"},
    "stubs": SEAM,
    "reading": SEAM | LIVE | {"transport", "_decode", "events", "batch"},
    # where it is wired
    "session": SEAM
    | LIVE
    | {"loader", "attach", "iterators", "targets", "transport", "_decode", "events", "reading", "maps"}
    | {"sources"},
    "sources": SEAM | {"cache"},
    "doctor": {"errors", "features", "package", "session"},
}
# What may be reached only from inside a function, when it is needed.
LATE: dict[str, set[str]] = {
    "layout": {"cheader"},
    "arguments": {"commandline"},
    "arches": {"commandline"},
    "compiler": {"btf_check", "linker", "packaging", "skeleton"},
    "sources": {"btfhub", "compiler", "fetch", "skeleton"},
    "doctor": {"compiler"},
    "linker": {"_core"},  # libbpf's linker, where there are several sources
}
EVERYTHING = {
    "cli",
    "__init__",
    "__main__",
}  # may import what they like; `__init__` does so when a name is asked for


class Import(NamedTuple):
    room: str  # "" is the package itself
    names: tuple[str, ...]
    late: bool
    line: int


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path, package: str = "snoopkit") -> list[Import]:
    """What a module of `src` imports from `package` at run time."""
    found: list[Import] = []
    here = list(path.relative_to(SRC).with_suffix("").parts)

    def visit(node: ast.AST, late: bool) -> None:
        if is_type_checking(node):
            assert isinstance(node, ast.If)
            for child in node.orelse:
                visit(child, late)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(alias.name.split("."), (), late, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            names = tuple(alias.name for alias in node.names)
            if module == [package]:
                for name in names:
                    add([*module, name], (name,), late, node.lineno)
            else:
                add(module, names, late, node.lineno)
        inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    def add(module: list[str], names: tuple[str, ...], late: bool, line: int) -> None:
        if module[0] == package:
            found.append(Import(module[1] if len(module) > 1 else "", names, late, line))

    visit(ast.parse(path.read_text()), False)
    return found


def cython_imports(path: Path) -> list[Import]:
    pattern = re.compile(r"^(\s*)(?:from|import|cimport)\s+(?:snoopkit\.|\.)(\w+)")
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := pattern.match(line):
            found.append(Import(match[2], (), bool(match[1]), number))
    return found


def modules(package: str) -> list[Path]:
    return sorted(p for p in (SRC / package).rglob("*.py*") if p.suffix in (".py", ".pyx"))


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[1].split(".")[0]


@pytest.mark.parametrize("path", modules("snoopkit"), ids=lambda p: str(p.relative_to(SRC)))
def test_nothing_imports_upward(path: Path) -> None:
    room = room_of(path)
    if room in EVERYTHING:
        return
    assert room in ARROWS, (
        f"{room} is a new room: say in ARROWS, and in docs/architecture.md, what it may import"
    )
    for one in imports(path) if path.suffix == ".py" else cython_imports(path):
        if one.room in ("", "__version__", room):
            continue
        allowed = ARROWS[room] | (LATE.get(room, set()) if one.late else set())
        where = f"{path.relative_to(SRC.parent)}:{one.line}"
        assert one.room in allowed, (
            f"{where}: {room} may not import {one.room}{'' if one.late else ' at its top'}"
        )


def test_the_arrows_have_no_circle_but_one() -> None:
    """btf and btf_check are one room in two files; else whatever is below knows nothing of what is above."""
    below: dict[str, set[str]] = {}

    def reach(room: str, path: tuple[str, ...] = ()) -> set[str]:
        assert room not in path, f"a circle: {' → '.join([*path, room])}"
        if room not in below:
            direct = ARROWS.get(room, set()) - ({"btf"} if room == "btf_check" else set())
            below[room] = direct.union(*(reach(r, (*path, room)) for r in direct))
        return below[room]

    for room in ARROWS:
        reach(room)
    native = {"_core", "_decode", "features", "loader", "attach", "transport"}
    assert not below["compiler"] & native, "the build half needs no native module"
    run_half = (
        "features",
        "loader",
        "attach",
        "iterators",
        "transport",
        "events",
        "render",
        "maps",
        "session",
    )
    assert not any("compiler" in below[room] for room in run_half), "the run half needs no compiler"
    decoding = below["events"] | below["encode"] | below["render"]
    assert "_core" not in decoding, "decoding needs neither libbpf nor a kernel"


@pytest.mark.parametrize("path", modules("execsnoop"), ids=lambda p: str(p.relative_to(SRC)))
def test_the_tool_uses_public_names_only(path: Path) -> None:
    import snoopkit

    public = {*snoopkit.__all__, "__version__", "render"}
    for one in imports(path):
        assert one.room in {"", *public}, f"{path.name}:{one.line}: snoopkit.{one.room} is not public"
        if one.room == "render":
            import snoopkit.render

            assert all(hasattr(snoopkit.render, name) for name in one.names if name != "render")
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "snoopkit"
        ):
            assert node.attr in public, f"{path.name}:{node.lineno}: snoopkit.{node.attr} is not public"


def exits(path: Path) -> list[int]:
    """Lines that print, write to the standard streams or end the process."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        text = ast.unparse(node) if isinstance(node, ast.Call | ast.Raise) else ""
        if re.match(
            r"(print|sys\.exit|exit|quit|os\._exit|sys\.std(out|err)\.write)\(|raise SystemExit", text
        ):
            found.append(node.lineno)
    return found


def test_only_a_command_line_prints_or_ends_the_process() -> None:
    for path in modules("snoopkit") + modules("execsnoop"):
        if path.suffix != ".py" or room_of(path) in ("cli", "__main__"):
            continue
        if path.name == "command.py" and len(exits(path)) == 1:
            continue  # the end of a forked child that could not become the command
        assert not exits(path), f"{path.relative_to(SRC.parent)}, lines {exits(path)}: that is for cli alone"
