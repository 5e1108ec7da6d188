"""How many columns of a terminal a text takes, and what fits into so many."""

from __future__ import annotations

__all__ = ["cut", "pad", "width", "wrap"]

CUT = "…"
"""Stands for what was cut off. An argument with it would be in quotes, so it is never taken for one."""

_MAX_WIDTHS = 4_096
_widths: dict[str, int] = {}


def width(text: str) -> int:
    """The columns that `text`, made harmless by `display()`, takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    found = _widths.get(character)
    if found is None:
        if len(_widths) == _MAX_WIDTHS:
            _widths.clear()
        found = _widths[character] = _looked_up(character)
    return found


def _looked_up(character: str) -> int:
    """0 for what joins the character before it, 2 for East Asian wide ones and most emoji."""
    from unicodedata import category, east_asian_width

    if category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int, *, is_right: bool = False) -> str:
    """`text` with as many spaces as it needs to take that many columns."""
    if text.isascii():
        return text.rjust(columns) if is_right else text.ljust(columns)
    spaces = " " * (columns - width(text))
    return spaces + text if is_right else text + spaces


def _fitting(text: str, columns: int) -> int:
    """How many characters of `text` take at most that many columns, and with them what joins the last one."""
    if text.isascii():
        return min(len(text), columns)
    taken = 0
    for index, character in enumerate(text):
        taken += _width(character)
        if taken > columns:
            return index
    return len(text)


def cut(text: str, columns: int) -> str:
    """`text`, its end replaced by a mark where it takes more columns; before that a long path at its beginning gives
    up its folders."""
    if _fitting(text, columns) == len(text):
        return text
    path, space, rest = text.partition(" ")
    folder, _, name = path.rpartition("/")
    if folder.startswith("/"):
        text = f"{CUT}/{name}{space}{rest}"
        if _fitting(text, columns) == len(text):
            return text
    return text[: _fitting(text, columns - 1)] + CUT


def wrap(text: str, first: int, others: int) -> list[str]:
    """`text` in pieces of at most `first` columns, then `others`; divided at spaces where these aren't too far back."""
    pieces = []
    columns = first
    while (fits := _fitting(text, columns)) < len(text):
        space = text.rfind(" ", fits // 2, fits + 1)
        end = space if space > 0 else max(fits, 1)
        pieces.append(text[:end])
        text = text[end + (space > 0) :]
        columns = others
    return [*pieces, text]
