"""What a table is made of: columns, lines, and a value as the text of a cell."""

from __future__ import annotations

from .._decode import display, json, quote
from ..stacks import is_stack
from .fitting import cut, width
from .screen import BOLD, Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .formats import Formats

__all__ = ["Aligner", "Column", "cell", "shown"]

_LEAST_TEXT = 8  # of a column of text on a narrow screen


class Column:
    """A table's column: its heading, the width that its type's widest value takes, and whether its cells stand to the
    right. `usual` is what most values take: the width to begin with where the screen is too narrow for the other. A
    cell is cut to its column, on a terminal, only if it `may_be_cut`: no number is.
    """

    __slots__ = ("heading", "is_right", "may_be_cut", "usual", "width")

    def __init__(
        self,
        heading: str,
        width: int = 0,
        *,
        usual: int = 0,
        is_right: bool = False,
        may_be_cut: bool = False,
    ) -> None:
        self.heading = heading
        self.width = max(width, len(heading))
        self.usual = max(min(usual or width, self.width), len(heading))
        self.is_right = is_right
        self.may_be_cut = may_be_cut


class Aligner:
    """Lays cells out in columns, for a file or for a `Screen`, as `Table` says it. The last column ends at the screen's
    edge if its cells may be cut."""

    def __init__(self, columns: Sequence[Column], screen: Screen | None = None) -> None:
        self.columns = list(columns)
        self._screen = screen if screen is not None else Screen()
        self._lines_left = 0
        self._template_of: list[int] = []  # the widths that it is for
        self._template = ""
        self._fit()

    def _fit(self) -> None:
        """Choose the widths for the screen's size of now."""
        self._size = self._screen.size()
        room = self._size[0]
        last = self.columns[-1]
        self._widths = [column.width for column in self.columns]
        if room is None or sum(self._widths) + len(self._widths) - 1 <= room:
            return
        self._widths = [column.usual for column in self.columns]
        texts = [at for at, column in enumerate(self.columns) if column.may_be_cut and column is not last]
        for at in texts:
            self._widths[at] = max(min(self._widths[at], _LEAST_TEXT), len(self.columns[at].heading))
        left = room - sum(self._widths) - len(self._widths) + 1
        for number, at in enumerate(texts):  # what is left is theirs, in equal parts
            more = min(self.columns[at].width - self._widths[at], left // (len(texts) - number))
            if more > 0:
                self._widths[at] += more
                left -= more

    def header(self) -> bytes:
        """The headings, for the screen's size of now."""
        if self._screen.size() != self._size:
            self._fit()
        self._lines_left = (self._size[1] or 0) - 1
        line = self._laid_out([column.heading for column in self.columns])
        return (self._screen.paint(line, BOLD) + "\n").encode("utf-8", "backslashreplace")

    def line(self, cells: Iterable[str]) -> bytes:
        """One row; under a new header where the old one doesn't fit any more, or has gone from the screen."""
        texts = list(cells)
        is_stale = self._screen.size() != self._size
        if is_stale:
            self._fit()
        columns, lines = self._size
        if columns is not None:
            is_stale |= self._widen(texts) or (lines is not None and self._lines_left <= 0)
            self._cut(texts, columns)
        header = self.header() if is_stale else b""
        self._lines_left -= 1
        return header + (self._laid_out(texts) + "\n").encode("utf-8", "backslashreplace")

    def _widen(self, texts: list[str]) -> bool:
        """Whether a cell that may not be cut was too wide for its column, which has the room now."""
        before = self._widths[:]
        for at, (column, text) in enumerate(zip(self.columns, texts, strict=True)):
            if not column.may_be_cut and (column.is_right or at + 1 < len(texts)):
                self._widths[at] = max(self._widths[at], width(text))
        return self._widths != before

    def _cut(self, texts: list[str], room: int) -> None:
        for at, column in enumerate(self.columns):
            wide = self._widths[at]
            if at + 1 == len(texts):
                wide = max(room - sum(self._widths[:at]) - at, _LEAST_TEXT)
            if column.may_be_cut:
                texts[at] = cut(texts[at], wide)

    def _laid_out(self, texts: list[str]) -> str:
        if self._template_of != self._widths:
            self._template_of = self._widths[:]
            self._template = " ".join(
                [
                    f"%{wide}s" if column.is_right else f"%-{wide}s"
                    for column, wide in zip(self.columns, self._widths, strict=True)
                ]
            )
        line = self._template % tuple(texts)
        # As a rule: nothing is wider than its column, or it would be longer.
        if line.isascii() and len(line) == sum(self._widths) + len(texts) - 1:
            return line.rstrip(" ")
        line = ""
        start = taken = 0
        for column, wide, text in zip(self.columns, self._widths, texts, strict=True):
            own = width(text)
            # Where it should begin, or behind what took its place.
            begin = max(start + wide - own if column.is_right else start, taken + bool(taken))
            line += " " * (begin - taken) + text
            taken = begin + own
            start += wide + 1
        return line.rstrip(" ")


def cell(value: Any) -> str:
    """A value as a table shows it: text as it is but harmless, lists of text as a shell would quote them."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        return display(value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return quote(value)
    if isinstance(value, (list, tuple, dict)):
        return json(value).decode()
    return str(value)


def shown(value: Any, formats: Formats) -> Any:
    """With structs as dicts, however deep, whose members that have a format are text; but for stacks."""
    if type(value) is int or type(value) is str:
        return value
    if isinstance(value, list):
        return [shown(item, formats) for item in value]
    if not hasattr(value, "_asdict"):
        return value
    by_member = formats.get(value._struct, {})
    return {
        name: by_member[name](item) if name in by_member else shown(item, formats)
        for name, item in zip(value._fields, value, strict=True)
        if not is_stack(by_member.get(name))
    }
