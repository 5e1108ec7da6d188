"""Where the cells of a table's row stand, by a rule that is told here once more."""

from __future__ import annotations

from hypothesis import given, strategies as st

from snoopkit.render.cells import Aligner, Column
from snoopkit.render.fitting import width

COLUMNS = [Column("LEFT", 6), Column("RIGHT", 7, is_right=True), Column("%s", 5), Column("LAST")]
WIDTHS = [6, 7, 5, 4]

cells = st.text("ab %s{}é界", max_size=9)


@given(st.lists(st.tuples(cells, cells, cells, cells), max_size=5))
def test_a_cell_stands_in_its_column_or_behind_what_took_its_place(rows: list[tuple[str, ...]]) -> None:
    aligner = Aligner(COLUMNS)
    for row in rows:
        shown = aligner.line(row).decode()
        expected, start = "", 0
        for column, wide, text in zip(COLUMNS, WIDTHS, row, strict=True):
            place = start + wide - width(text) if column.is_right else start
            expected += " " * max(place - width(expected), bool(expected)) + text
            start += wide + 1
        assert shown == expected.rstrip(" ") + "\n"


def test_a_row_of_what_fits_keeps_to_the_columns() -> None:
    assert Aligner(COLUMNS).line(["100%", "%d", "%s", ""]) == b"100%        %d %s\n"
    assert Aligner(COLUMNS).line(["", "", "", "é"]) == "                     é\n".encode()
