"""Rows of cells under headings, the last cell as long as it likes or as the screen allows."""

from __future__ import annotations

from snoopkit.render import BOLD, Screen, cut, pad, width, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["Column", "Grid"]

# What the last cell should have before columns are given up for it, and what it has in any case.
_ROOM = 32
_LEAST_ROOM = 16


class Column:
    """A column: what its cells say of an event, and how.

    Where the screen is narrow, columns with the highest `rank` are the first to give room, those with 0 never do:
    `narrow` takes the column's place, or nothing. A cell that is too wide widens its column for the rows that follow,
    up to `most`.
    """

    __slots__ = ("heading", "is_right", "most", "narrow", "rank", "style", "text", "width")

    def __init__(
        self,
        heading: str,
        width: int,
        text: Callable[[Any], str],
        *,
        is_right: bool = False,
        most: int = 0,
        rank: int = 0,
        narrow: Column | None = None,
        style: Callable[[Any], str] | None = None,
    ) -> None:
        self.heading = heading
        self.width = max(width, len(heading))
        self.text = text
        self.is_right = is_right
        self.most = max(most, self.width)
        self.rank = rank
        self.narrow = narrow
        self.style = style


class Grid:
    """Lays out what the columns say of an event, and the text that comes last."""

    def __init__(self, columns: Sequence[Column], last: str, screen: Screen) -> None:
        self._columns = columns
        self._last = last
        self._screen = screen
        self._fit()

    def _fit(self) -> None:
        """Choose the columns for the screen's width of now."""
        self._width, lines = self._screen.size()
        self._shown = _fitting(self._columns, self._width)
        self._lines_left = (lines or 0) - 1  # until the header has gone from the screen
        self._texts = [column.text for column in self._shown]
        self._measure()

    def _measure(self) -> None:
        """Note how wide the columns are."""
        forms = [f"%{column.width}s " if column.is_right else f"%-{column.width}s " for column in self._shown]
        self._form = "".join(forms)
        self._taken = sum(column.width + 1 for column in self._shown)

    def header(self) -> bytes:
        """The headings, for the screen's width of now."""
        self._fit()
        headings = [pad(column.heading, column.width, is_right=column.is_right) for column in self._shown]
        return _encoded(self._screen.paint(" ".join([*headings, self._last]), BOLD))

    def row(self, event: Any, text: str, style: str = "", *, lead: str = "", hang: str = "") -> bytes:
        """One row, under a new header where the old one has gone or doesn't fit any more. `lead` stands before the
        text, `hang` before each line that continues it."""
        header = b""
        if self._screen.is_terminal and (self._lines_left <= 0 or self._screen.size()[0] != self._width):
            header = self.header()
        head, taken = self._head(event)
        paint = self._screen.paint
        if self._width is None:
            return header + _encoded((head + lead + paint(text, style)).rstrip(" "))
        first, *others = self._pieces(text, taken + width(lead), taken + width(hang))
        lines = [(head + lead + paint(first, style)).rstrip(" ")]
        lines += [" " * taken + hang + paint(piece, style) for piece in others]
        self._lines_left -= len(lines)
        return header + _encoded("\n".join(lines))

    def _head(self, event: Any) -> tuple[str, int]:
        """The cells before the text, and the columns that they take."""
        cells = tuple([text(event) for text in self._texts])
        head = self._form % cells
        if len(head) == self._taken and head.isascii() and not self._screen.is_coloured:
            return head, self._taken
        return self._laid_out(event, cells)

    def _laid_out(self, event: Any, cells: tuple[str, ...]) -> tuple[str, int]:
        """The same where a cell is too wide, or has characters that aren't one column wide, or a colour."""
        padded = []
        taken = 0
        for column, text in zip(self._shown, cells):
            column.width = min(max(width(text), column.width), column.most)
            text = pad(text, column.width, is_right=column.is_right)
            taken += width(text) + 1
            padded.append(self._screen.paint(text, column.style(event)) if column.style is not None else text)
        self._measure()
        return " ".join([*padded, ""]), taken

    def _pieces(self, text: str, first: int, others: int) -> list[str]:
        """The text as the lines that it takes behind so many columns."""
        assert self._width is not None
        room = max(self._width - first, _LEAST_ROOM)
        if not self._screen.wraps:
            return [cut(text, room)]
        return wrap(text, room, max(self._width - others, _LEAST_ROOM))


def _fitting(columns: Sequence[Column], width: int | None) -> list[Column]:
    """The columns that leave enough of `width` for the text."""
    shown = list(columns)
    while width is not None and sum(column.width + 1 for column in shown) + _ROOM > width:
        least = max(shown, key=lambda column: column.rank)
        if not least.rank:
            break
        at = shown.index(least)
        shown[at : at + 1] = [least.narrow] if least.narrow is not None else []
    return shown


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace") + b"\n"
