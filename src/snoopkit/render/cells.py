"""What a table is made of: columns, lines, and a value as the text of a cell."""

from __future__ import annotations

from .._decode import display, json, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["Aligner", "Column", "cell"]


class Column:
    """A table's column: its heading, the width it starts with, and whether its cells stand to the right."""

    __slots__ = ("heading", "is_right", "width")

    def __init__(self, heading: str, width: int = 0, *, is_right: bool = False) -> None:
        self.heading = heading
        self.width = max(width, len(heading))
        self.is_right = is_right


class Aligner:
    """Lays cells out in columns. A cell that is too wide widens its column for the rows that follow, up to
    `most`; the last column is never padded."""

    def __init__(self, columns: Sequence[Column], most: int = 40) -> None:
        self.columns = list(columns)
        self.most = most

    def header(self) -> bytes:
        return self.line([column.heading for column in self.columns])

    def line(self, cells: Iterable[str]) -> bytes:
        parts = []
        for column, cell in zip(self.columns, cells, strict=True):
            if len(cell) > column.width:
                column.width = min(len(cell), max(self.most, column.width))
            parts.append(cell.rjust(column.width) if column.is_right else cell.ljust(column.width))
        return " ".join(parts).rstrip(" ").encode("utf-8", "backslashreplace") + b"\n"


def cell(value: Any) -> str:
    """A value as a table shows it: text as it is but harmless, lists of text as a shell would quote them."""
    if isinstance(value, str):
        return display(value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return quote(value)
    if isinstance(value, (list, tuple)):
        if hasattr(value, "_asdict"):
            value = value._asdict()
        return json(value).decode()
    return str(value)
