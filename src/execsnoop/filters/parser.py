"""From a filter's text to its tree."""

from __future__ import annotations

import re
import warnings

from .keys import is_key, key
from .lexer import FilterError, near, tokens
from .tree import All, Any_, Comparison, Matching, Membership, Missing, Not, Under, Within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .keys import Key
    from .lexer import Token
    from .tree import Node

__all__ = ["tree"]

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_RESERVED = frozenset({"and", "or", "not", "in", "true", "false", "null"})
_MAX_DEPTH = 50


def tree(text: str) -> Node:
    """Raises FilterError."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0

    # Each method takes what it is called after, from the next token on.

    def whole(self) -> Node:
        node = self._any()
        if self._next.kind:
            raise self._error(
                "'and' or 'or' is missing here" if self._next.kind != ")" else "no bracket is open here"
            )
        return node

    def _any(self) -> Node:
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Any_(parts)

    def _all(self) -> Node:
        parts = [self._one()]
        while self._takes("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else All(parts)

    def _one(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error("that is nested too deeply")
        if self._takes("not"):
            node: Node = Not(self._one())
        elif self._takes("("):
            node = self._any()
            if not self._takes(")"):
                raise self._error("')' is missing here")
        elif self._next.kind == "text":
            node = self._within()
        else:
            node = self._comparison(self._key())
        self._depth -= 1
        return node

    def _key(self) -> Key:
        token = self._next
        if token.kind != "word" or token.value in _RESERVED:
            found = repr(token.value) if token.kind else "the end"
            raise self._error(f"a key belongs here, not {found}")
        self._at += 1
        return key(token, self._text)

    def _within(self) -> Node:
        value = self._take()
        is_in = not self._takes("not")
        if not self._takes("in"):
            raise self._error("after a text comes 'in' and a key that is a list, as in \"-c\" in argv")
        token = self._next
        wanted = self._key()
        if wanted.kind != "list":
            raise self._error(f"{wanted.name} is no list: argv and flags are", token)
        return Within(wanted, value.value, is_in)

    def _comparison(self, left: Key) -> Node:
        sign = self._next
        if self._takes("not"):
            if not self._takes("in"):
                raise self._error("'in' is missing here")
            return self._in(left, False)
        if self._takes("in"):
            return self._in(left, True)
        if self._takes("~", "!~"):
            return self._matching(left, sign)
        if sign.kind in _COMPARISONS:
            self._at += 1
            return self._compared(left, sign)
        if left.kind != "truth":
            raise self._error(f"a comparison of {left.name} belongs here, such as == or !=")
        return Comparison(left, "==", True)

    def _compared(self, left: Key, sign: Token) -> Node:
        token = self._value()
        if token.kind == "word" and token.value == "null":
            if sign.kind not in ("==", "!="):
                raise self._error("null is neither less nor more: == or !=", sign)
            return Missing(left) if sign.kind == "==" else Not(Missing(left))
        if sign.kind not in ("==", "!=") and not left.is_ordered:
            raise self._error(f"{left.name} has no order: == or !=", sign)
        if token.kind == "word" and token.value not in _RESERVED and is_key(token.value):
            right = key(token, self._text)
            if not left.is_like(right):
                raise self._error(f"{right.name} can't be compared with {left.name}", token)
            return Comparison(left, sign.kind, right)
        return Comparison(left, sign.kind, left.value(token, self._text))

    def _value(self) -> Token:
        token = self._next
        if token.kind not in ("word", "number", "text"):
            raise self._error("a value belongs here")
        if token.kind == "word" and token.value in ("and", "or", "not", "in"):
            raise self._error(f"a value belongs here, not {token.value!r}")
        return self._take()

    def _in(self, left: Key, is_in: bool) -> Node:
        if self._next.kind == "text" and left.kind == "path":
            return Under(left, self._take().value, is_in)
        if not self._takes("("):
            folder = ', or a folder: "/usr"' if left.kind == "path" else ""
            raise self._error(f"after 'in' come values in brackets: (1, 2){folder}")
        values = [left.value(self._value(), self._text)]
        while self._takes(","):
            values.append(left.value(self._value(), self._text))
        if not self._takes(")"):
            raise self._error("',' or ')' is missing here")
        return Membership(left, values, is_in)

    def _matching(self, left: Key, sign: Token) -> Node:
        if not left.is_text:
            raise self._error(f"{left.name} is no text, so nothing can be found in it", sign)
        token = self._next
        if token.kind != "text":
            raise self._error("a regular expression in quotes belongs here")
        self._at += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a later Python might understand otherwise
                pattern = re.compile(token.value)
        except (re.error, OverflowError, RecursionError) as error:
            raise self._error(f"not a regular expression: {error}", token) from None
        return Matching(left, pattern, sign.kind == "~")

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, *words: str) -> bool:
        """Whether the next token is one of these words, operators or brackets; then it is taken."""
        token = self._next
        if token.kind in ("text", "number", "") or token.value not in words:
            return False
        self._at += 1
        return True

    def _error(self, message: str, token: Token | None = None) -> FilterError:
        token = token or self._next
        if token.kind == "word":
            message += near(token.value, ("and", "or", "not", "in")) if message.startswith("'and'") else ""
        return FilterError(message, self._text, token.position)
