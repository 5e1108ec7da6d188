"""Where a view is drawn: how wide that is, and whether it shows colours."""

from __future__ import annotations

import os

__all__ = ["BOLD", "DIM", "GREEN", "RED", "STRONG_RED", "YELLOW", "Screen"]

# As "select graphic rendition" has them; of colours only the eight that every theme makes legible.
BOLD, DIM, RED, GREEN, YELLOW, STRONG_RED = "1", "2", "31", "32", "33", "1;31"


class Screen:
    """The file or terminal behind `fd`; a file is endlessly wide and colourless unless `width` and `color` say else.

    `width` None asks the terminal, and again for each row, so that rows follow its size; 0 is endless. `color` is
    `auto`, `always` or `never`; `auto` means a terminal, and honours NO_COLOR and TERM=dumb. A row that is too long
    is continued on the next line if `wraps`, else cut.
    """

    def __init__(
        self, fd: int | None = None, *, width: int | None = None, color: str = "auto", wraps: bool = False
    ) -> None:
        self._fd = fd if fd is not None and os.isatty(fd) else None
        self._width = width
        self.wraps = wraps
        self.is_terminal = self._fd is not None
        self.is_coloured = color == "always" or (color == "auto" and self.is_terminal and _wants_colours())

    def size(self) -> tuple[int | None, int | None]:
        """Columns and lines; None where there is no end."""
        columns = lines = None
        if self._fd is not None:
            # Pseudo-terminals that nobody told their size say 0.
            columns, lines = (number or None for number in os.get_terminal_size(self._fd))
        return (columns if self._width is None else self._width or None), lines

    def paint(self, text: str, style: str) -> str:
        """`text` in that style, if this is a place for it."""
        return f"\x1b[{style}m{text}\x1b[m" if style and self.is_coloured else text


def _wants_colours() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
