"""For programs: JSON lines and CSV."""

from __future__ import annotations

from snoopkit.render import csv_row, json

from ..model import COLUMNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..model import ProcessEvent

__all__ = ["Csv", "JsonLines"]


class JsonLines:
    """One JSON object a line, with all its keys or with those of `columns`; notices of loss always with all."""

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self._columns = frozenset(columns) if columns is not None else None

    def header(self) -> bytes:
        return b""

    def row(self, event: ProcessEvent) -> bytes:
        values = event.as_dict()
        if self._columns is not None and event.type != "lost":
            values = _chosen(values, self._columns)
        return json(values) + b"\n"


class Csv:
    """A column for each key of the JSON lines, or for those of `columns`."""

    def __init__(self, columns: Sequence[str] = COLUMNS) -> None:
        self._columns = tuple(columns)

    def header(self) -> bytes:
        return csv_row(self._columns)

    def row(self, event: ProcessEvent) -> bytes:
        values = event.as_dict()
        return csv_row([values.get(key) for key in self._columns])


def _chosen(values: dict[str, Any], columns: frozenset[str]) -> dict[str, Any]:
    """The values of these keys, and what `incomplete` and `raw` say of them."""
    found = {key: value for key, value in values.items() if key in columns}
    for mark in ("incomplete", "raw"):
        about = {key: text for key, text in values.get(mark, {}).items() if key in columns}
        if about:
            found[mark] = about
    return found
