"""A filter's text as tokens; and the error that points at a place in it."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FilterError", "Token", "near", "quoted", "tokens"]

# As much of a long filter as a message shows on each side of the place.
_SHOWN = 60
# No number that means anything has more digits.
_MAX_DIGITS = 40


class FilterError(ValueError):
    """A filter can't be understood; `position` is the place in its text, from 0 to the text's length."""

    def __init__(self, message: str, text: str, position: int) -> None:
        first = max(position - _SHOWN, 0)
        line = "".join(
            c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[first:][: 2 * _SHOWN]
        )
        super().__init__(f"{message}\n  {line}\n  {' ' * (position - first)}^")
        self.message = message
        self.text = text
        self.position = position


class Token:
    """`kind` is "word", "number", "text", an operator or a bracket as it is written, or "" at the end; `value` a text
    without its quotes; `unit` the letters behind a number."""

    __slots__ = ("kind", "position", "unit", "value")

    def __init__(self, kind: str, value: str, position: int, unit: str = "") -> None:
        self.kind = kind
        self.value = value
        self.position = position
        self.unit = unit


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:0[xX][0-9a-fA-F]+(?![\w.])|[0-9]+(?:\.[0-9]+)?))(?P<unit>[A-Za-z]*)(?![\w.])
    | (?P<word>[A-Za-z_][\w.+-]*)
    | (?P<quote>["'])
    | (?P<operator>==|!=|!~|<=|>=|[~<>(),])
    | (?P<end>$)
    )""",
    re.VERBOSE | re.ASCII,
)
# What other languages write.
_SLIPS = {"=": "==", "&": "and", "|": "or", "!": "not", "[": "(", "]": ")", "{": "(", ";": "and"}


def tokens(text: str) -> list[Token]:
    """All tokens of a filter, the last one of kind "". Raises FilterError."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise FilterError("no text has this character", text, error.start) from None
    found: list[Token] = []
    at = 0
    while not found or found[-1].kind:
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unknown(text, at)
        kind = match.lastgroup if match.lastgroup != "unit" else "number"
        assert kind is not None
        start, value, at = match.start(kind), match[kind], match.end()
        if kind == "quote":
            value, at = _quoted(text, start)
            found.append(Token("text", value, start))
        elif kind in ("operator", "end"):
            found.append(Token(value, value, start))
        elif kind == "number" and len(value) > _MAX_DIGITS:
            raise FilterError("that is too large a number", text, start)
        else:
            found.append(Token(kind, value, start, match["unit"] or ""))
    return found


def _unknown(text: str, at: int) -> FilterError:
    at += len(text[at:]) - len(text[at:].lstrip(" \t\n\r\f\v"))  # what _TOKEN takes for space
    instead = _SLIPS.get(text[at])
    hint = f"; is it {instead!r}?" if instead else ""
    return FilterError(f"{text[at]!r} has no meaning here{hint}", text, at)


def _quoted(text: str, start: int) -> tuple[str, int]:
    """A text in quotes, and where it ends. A backslash takes a quote or a backslash for itself, and is one otherwise:
    so most regular expressions can be written as they are."""
    quote = text[start]
    parts: list[str] = []
    at = start + 1
    while at < len(text):
        if text[at] == quote:
            return "".join(parts), at + 1
        if text[at] == "\\" and text[at + 1 : at + 2] in ("'", '"', "\\"):
            at += 1
        parts.append(text[at])
        at += 1
    raise FilterError("the text that begins here doesn't end", text, start)


def quoted(value: str) -> str:
    """A text as a filter has it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def near(word: str, words: Iterable[str]) -> str:
    """`; did you mean …?` where one of the words is like this one, else nothing."""
    from difflib import get_close_matches

    found = get_close_matches(word[:_SHOWN], list(words), n=1)
    return f"; did you mean {found[0]}?" if found else ""
