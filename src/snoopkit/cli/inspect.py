"""`snoopkit inspect`: what a package has, what it needs, and what it may do, before anybody runs it."""

from __future__ import annotations

import json
import sys

from ..commandline import CommandLine
from ..options import printable
from .command import command
from .run import add_source, read_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["main"]


def parser() -> CommandLine:
    parser = CommandLine(
        "snoopkit inspect",
        description="Show what a package has, what it needs and what it may do. Needs neither root nor a kernel.",
        examples=[
            ("snoopkit inspect package.json", "before it runs here as root"),
            ("snoopkit inspect --json tool.bpf.o", "a compiled object, as JSON"),
        ],
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    add_source(parser)
    return parser


@command("snoopkit inspect")
def main(argv: Sequence[str]) -> None:
    """Show what a package has, needs and may do."""
    args = parser().parse_args(argv)
    from ..describe import describe

    package = read_target(args, "snoopkit inspect")
    found = describe(package)
    for warning in found["warnings"][len(package.warnings) :]:
        print(f"snoopkit inspect: warning: {printable(warning)}", file=sys.stderr)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{printable(found['name'])}  sha256:{found['sha256']}"
    yield f"needs  {', '.join(found['capabilities']) or 'no capability'}"
    if found["features"]:
        yield f"       {', '.join(found['features'])}"
    yield from _section("PROGRAM", "TYPE", "HOOK", "", rows=[_program(one) for one in found["programs"]])
    for one in found["programs"]:
        if one["writes"]:
            yield f"  {one['name']} can change what is not its own: {', '.join(one['writes'])}"
    yield from _section("MAP", "TYPE", "KEY", "VALUE", "ENTRIES", rows=[_map(one) for one in found["maps"]])
    for event in found["events"]:
        yield from _event(event)
    yield from _section("OPTION", "TYPE", "DEFAULT", "", rows=[_option(one) for one in found["options"]])


def _section(*head: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A blank line and the rows below their heads, each column as wide as it must be."""
    if not rows:
        return
    yield ""
    shown = [head, *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[index]) for row in shown) for index in range(len(head))]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _program(one: dict[str, Any]) -> tuple[str, ...]:
    notes = [one["description"] or "", "(off unless asked for)" if one["optional"] else ""]
    return one["name"], one["type"], one["hook"] or "-", " ".join(filter(None, notes))


def _map(one: dict[str, Any]) -> tuple[str, ...]:
    key = one["key"] or (f"{one['key_size_bytes']} bytes" if one["key_size_bytes"] else "-")
    value = one["value"] or (f"{one['value_size_bytes']} bytes" if one["value_size_bytes"] else "-")
    return one["name"], one["type"], key, value, str(one["max_entries"] or "-")


def _event(event: dict[str, Any]) -> Iterator[str]:
    when = f", when {event['when']}" if event["when"] else ""
    rows: list[tuple[str, ...]] = []
    for member in event["members"]:
        bits = f":{member['bit_size']}" if "bit_size" in member else ""
        rows.append(
            (
                f"+{member['offset_bytes']}",
                str(member["size_bytes"]),
                member["type"],
                f"{member['name'] or ''}{bits}",
                _stack(member["stack"]) if "stack" in member else "",
            )
        )
    head = f"EVENT {event['struct']}: {event['size_bytes']} bytes, through {event['map']}{when}"
    yield from ["", printable(head)]
    yield from list(_section("AT", "SIZE", "TYPE", "MEMBER", "", rows=rows))[1:]


def _stack(stack: dict[str, Any]) -> str:
    if stack["map"] is not None:
        return f"a stack's number in {stack['map']}"
    size = stack["size_member"]
    return f"a stack of {size} bytes" if size else "a stack"


def _option(one: dict[str, Any]) -> tuple[str, ...]:
    name = f"{one['short']}, {one['option']}" if one["short"] else one["option"]
    return name, one["type"], json.dumps(one["default"], ensure_ascii=False), one["help"]
