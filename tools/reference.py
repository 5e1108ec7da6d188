#!/usr/bin/env python3
"""Makes docs/reference.md from the docstrings: `tools/reference.py`, or `tools/reference.py -` to see it only."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import execsnoop
import snoopkit
import snoopkit.errors
import snoopkit.layout
import snoopkit.maps
import snoopkit.package
import snoopkit.render
import snoopkit.stacks

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
HEAD = """\
# Reference

<!-- Made from the docstrings by tools/reference.py; a test compares. Change those, then run it. -->

Each public name with its signature. [python.md](python.md) shows how they are used together. Sizes are in bytes, times
in nanoseconds of CLOCK_BOOTTIME unless they say otherwise, timeouts in seconds.
"""
MAPS = (
    "Map",
    "HashMap",
    "ArrayMap",
    "TrieMap",
    "PerCpu",
    "QueueMap",
    "BloomFilter",
    "ProgramArray",
    "CgroupArray",
    "MapOfMaps",
    "MapSlots",
    "EventMap",
    "InboxMap",
    "Globals",
)
TYPES = ("Member", "CType", "IntType", "FloatType", "EnumType", "PointerType", "ArrayType", "TailPart")
# Classes that others than us make instances of; of the rest one gets them.
MADE = {
    "Package",
    "Snoop",
    "Live",
    "Column",
    "Csv",
    "JsonLines",
    "Output",
    "Screen",
    "Table",
    "WallClock",
    "Trace",
}
SECTIONS: list[tuple[str, Any, list[str]]] = [
    ("snoopkit", snoopkit, list(snoopkit.__all__)),
    ("snoopkit.package: what a `Package` has", snoopkit.package, ["ProgramSpec", "MapSpec", "EventSpec"]),
    ("snoopkit.layout: the types of members", snoopkit.layout, list(TYPES)),
    ("snoopkit.maps: what `Snoop.maps` and `Snoop.globals` give", snoopkit.maps, list(MAPS)),
    ("snoopkit.stacks: what `Symbols` gives", snoopkit.stacks, ["Frame"]),
    ("snoopkit.render: events to text", snoopkit.render, list(snoopkit.render.__all__)),
    ("execsnoop", execsnoop, list(execsnoop.__all__)),
]


def text(thing: object) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "")


def annotation(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", str(value))


def signature(name: str, thing: Any) -> str:
    """As in the source, whatever this Python makes of it; without `self`."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return f"{name}(…)"
    parts = []
    kind = None
    for parameter in found.parameters.values():
        if parameter.name == "self" or (parameter.name == "cls" and not parts):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and kind not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            parts.append("*")
        kind = parameter.kind
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(kind, "")
        part = stars + parameter.name
        if parameter.annotation is not parameter.empty:
            part += f": {annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            equals = " = " if parameter.annotation is not parameter.empty else "="
            part += f"{equals}{default(parameter.default)}"
        parts.append(part)
    end = "" if found.return_annotation is found.empty else f" -> {annotation(found.return_annotation)}"
    line = f"{name}({', '.join(parts)}){end}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def default(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return "…" if type(value) is object else repr(value)


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """What a class offers, its own and what it has from others of ours, in the order of the source."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith(("snoopkit", "execsnoop")):
            continue
        for name, value in vars(base).items():
            is_special = (
                name.startswith("__") and getattr(value, "__doc__", None) and inspect.isroutine(value)
            )
            is_event_name = name in ("_asdict",)
            if (not name.startswith("_") or is_special or is_event_name) and name not in (
                "__init__",
                "__new__",
            ):
                found[name] = value
    yield from found.items()


def described(name: str, thing: Any, level: str, shown: dict[Any, str]) -> Iterator[str]:
    """`shown` has what was described already, and where."""
    yield f"{level} {name}\n"
    if not inspect.isclass(thing):
        yield f"```python\n{signature(name, thing)}\n```\n"
        yield text(thing) + "\n"
        return
    bases = [
        base.__name__ for base in thing.__bases__ if base is not object and not base.__name__.startswith("_")
    ]
    lines = [f"class {name}{'(' + ', '.join(bases) + ')' if bases else ''}"]
    if "__init__" in vars(thing) and name in MADE:
        lines.append(signature(name, thing).removesuffix(" -> None"))
    yield "```python\n" + "\n".join(lines) + "\n```\n"
    yield text(thing) + "\n"
    known: dict[str, list[str]] = {}
    for member, value in members(thing):
        if value in shown:
            known.setdefault(shown[value], []).append(f"`{member}`")
        else:
            yield from described_member(name, member, value, shown)
    for other, names in known.items():
        yield f"- as in `{other}`: {', '.join(names)}\n"


def described_member(name: str, member: str, value: Any, shown: dict[Any, str]) -> Iterator[str]:
    if isinstance(value, property):
        kind = annotation(inspect.signature(value.fget).return_annotation) if value.fget else ""
        yield f"- `.{member}: {kind}`\n"
    elif isinstance(value, (classmethod, staticmethod)):
        yield f"- `{name}.{signature(member, value.__func__)}`\n"
    elif inspect.isroutine(value):
        yield f"- `{signature(member, value)}`\n"
    else:
        return
    shown[value] = name
    if said := text(value):
        yield "  " + said.replace("\n", "\n  ") + "\n"


def page() -> str:
    parts = [HEAD]
    shown: dict[Any, str] = {}
    for title, module, names in SECTIONS:
        parts.append(f"## {title}\n")
        for name in names:
            parts += described(name, getattr(module, name), "###", shown)
        if module is snoopkit:
            parts.append("### Errors\n")
            parts.append(text(snoopkit.errors) + "\n")
    lines = "\n".join(parts).split("\n")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(page())
    else:
        PAGE.write_text(page())
