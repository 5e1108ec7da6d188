"""Anchors stand behind structs and change nothing else, whatever the header's text is."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from snoopkit import anchors

PIECES = (
    "struct", "typedef", "union", "enum", "x", "y", "__attribute__((packed))", "{", "}", "{ int a; }", "(", ")", ";",
    "*", ",", "=", "/*", "*/", "//", "\n", "\r\n", "\\\n", "#if 0", "#else", "#endif", "#define x", '"', "'", "\\",
    "struct x { int a; };", "typedef struct { int a; } y;", "[", "]", "#", "\xff",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_nothing_but_anchors_is_added(pieces: list[str]) -> None:
    text = " ".join(pieces)
    placed = anchors.place(text)
    assert anchors.clean(placed) == text
    assert placed.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("struct a { int x; };", ["struct a"]),
        ("typedef struct { int x; } b;", ["b"]),
        ("typedef struct { int x; } *pointer;", []),
        ("struct { int x; } variable;", []),
        ("struct a { int x; } variable;", ["struct a"]),
        ("extern struct a *f(struct b { int y; } x);", []),
        ("struct a; struct a *p; int f(struct a *);", []),
        ("int f(void) { struct a { int x; } y; return y.x; }", []),
        ("struct a { int x; }", []),
        ("union u { struct a { int x; } y; };", []),
    ],
)
def test_what_is_anchored(text: str, expected: list[str]) -> None:
    placed = anchors.place(text)
    found = [part.split(";")[-1].strip() for part in placed.split(" (*__snoopkit_struct_")[:-1]]
    assert found == expected
