"""Events to text: what a table, a JSON line or a CSV row is made of, and where it is written.

A *writer* is any object with `header() -> bytes` (once, before the first row) and `row(event) -> bytes` (one line,
newline included, or b"" for nothing). `Table`, `JsonLines` and `Csv` are the writers for any package's events.
A `Screen` knows how wide a line may be and which styles (`BOLD`, `RED`, …) it shows; `width`, `pad`, `cut` and `wrap`
measure text in the columns of a terminal.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._decode import base64, display, is_lossy, json, quote
    from .cells import Column
    from .clock import WallClock
    from .fitting import cut, pad, width, wrap
    from .output import Output
    from .screen import (
        BOLD as BOLD,
        DIM as DIM,
        GREEN as GREEN,
        RED as RED,
        STRONG_RED as STRONG_RED,
        YELLOW as YELLOW,
        Screen,
    )
    from .writers import Csv, JsonLines, Table, csv_row, writer

__all__ = [
    "Column",
    "Csv",
    "JsonLines",
    "Output",
    "Screen",
    "Table",
    "WallClock",
    "base64",
    "csv_row",
    "cut",
    "display",
    "is_lossy",
    "json",
    "pad",
    "quote",
    "width",
    "wrap",
    "writer",
]

_HOMES = {
    **dict.fromkeys(("base64", "display", "is_lossy", "json", "quote"), "_decode"),
    "Column": "render.cells",
    "WallClock": "render.clock",
    **dict.fromkeys(("cut", "pad", "width", "wrap"), "render.fitting"),
    "Output": "render.output",
    **dict.fromkeys(("BOLD", "DIM", "GREEN", "RED", "STRONG_RED", "YELLOW", "Screen"), "render.screen"),
    **dict.fromkeys(("Csv", "JsonLines", "Table", "csv_row", "writer"), "render.writers"),
}


def __getattr__(name: str) -> object:
    """Each name is imported when it is first used: a tool needs few of them."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'snoopkit.render' has no attribute {name!r}")
    module = __import__(f"snoopkit.{home}", fromlist=[name])
    value = globals()[name] = getattr(module, name)
    return value
