"""The public surface, signature by signature. A change to it is deliberate: `ACCEPT=1 pytest` writes the new one."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import execsnoop
import snoopkit
import snoopkit.render

GOLDEN = Path(__file__).parents[1] / "golden" / "public.txt"


def signature(thing: object) -> str:
    try:
        return str(inspect.signature(thing))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(…)"


def described(name: str, thing: object) -> list[str]:
    """One line for a function, several for a class: bases, how it is made, public methods and properties."""
    if not inspect.isclass(thing):
        return [f"{name}{signature(thing) if callable(thing) else ''}"]
    bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
    lines = [f"class {name}({bases})"]
    if "__init__" in vars(thing):
        lines.append(f"    {name}{signature(thing)}")
    for member in sorted(vars(thing)):
        value = vars(thing)[member]
        if member.startswith("_") and member not in ("__enter__", "__iter__", "__len__", "_asdict"):
            continue
        if isinstance(value, property):
            lines.append(f"    .{member}")
        elif isinstance(value, (classmethod, staticmethod)):
            lines.append(f"    {member}{signature(value.__func__)} [{type(value).__name__}]")
        elif inspect.isfunction(value):
            lines.append(f"    {member}{signature(value)}")
        elif inspect.ismemberdescriptor(value):
            lines.append(f"    .{member}")
    return lines


def surface() -> str:
    lines = []
    for module in (snoopkit, snoopkit.render, execsnoop):
        lines.append(f"[{module.__name__}]")
        for name in module.__all__:
            lines += described(name, getattr(module, name))
        lines.append("")
    return "\n".join(lines)


def test_the_public_surface_is_the_one_on_record() -> None:
    if os.environ.get("ACCEPT"):
        GOLDEN.write_text(surface())
    assert surface() == GOLDEN.read_text()


def test_all_is_sorted_and_true() -> None:
    for module in (snoopkit, snoopkit.render, execsnoop):
        assert list(module.__all__) == sorted(module.__all__)
        assert set(module.__all__) <= set(dir(module))
    assert {"Package", "build", "run", "SnoopkitError"} <= set(snoopkit.__all__)


def test_a_function_takes_what_the_class_of_its_result_takes() -> None:
    """Their signatures are written twice, for type checkers and help() see only what is written out."""
    for function, made in ((snoopkit.run, snoopkit.Snoop), (execsnoop.trace, execsnoop.Trace)):
        ours, theirs = (inspect.signature(thing).parameters.values() for thing in (function, made))
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


def test_an_unknown_name_is_pythons_own_error() -> None:
    try:
        snoopkit.no_such_name  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError


def test_both_packages_are_commands() -> None:
    for module in ("snoopkit", "execsnoop"):
        said = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True)
        assert said.stdout == f"{module} {snoopkit.__version__}\n", said.stderr
