"""Events to text: what a table, a JSON line or a CSV row is made of, and where it is written.

A *writer* is any object with `header() -> bytes` (once, before the first row) and `row(event) -> bytes` (one line,
newline included, or b"" for nothing). `Table`, `JsonLines` and `Csv` are the writers for any package's events.
"""

from __future__ import annotations

from .._decode import base64, display, is_lossy, json, quote
from .cells import Column
from .clock import WallClock
from .output import Output
from .writers import Csv, JsonLines, Table, csv_row, writer

__all__ = [
    "Column",
    "Csv",
    "JsonLines",
    "Output",
    "Table",
    "WallClock",
    "base64",
    "csv_row",
    "display",
    "is_lossy",
    "json",
    "quote",
    "writer",
]
