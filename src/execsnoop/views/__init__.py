"""A process event as text: for people a table, for programs JSON lines and CSV. A view is loaded when it is chosen."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from ..model import ProcessEvent

    class Writer(Protocol):
        def header(self) -> bytes: ...
        def row(self, event: ProcessEvent) -> bytes: ...


__all__ = ["writer"]


def writer(format: str, columns: Sequence[str] | None = None) -> Writer:
    """The writer for `table`, `json` or `csv`, with the columns of the format or those that were chosen."""
    if format == "table":
        from .table import Columns, Table

        return Columns(columns) if columns is not None else Table()
    from .data import Csv, JsonLines

    if format == "json":
        return JsonLines(columns)
    return Csv(columns) if columns is not None else Csv()
