"""A filter as a tree: what it asks, and the function that answers it for an event."""

from __future__ import annotations

import operator
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from ..model import ProcessEvent
    from .keys import Key, Value

    Test = Callable[[ProcessEvent], bool]

__all__ = [
    "All",
    "Any_",
    "Comparison",
    "Matching",
    "Membership",
    "Missing",
    "Node",
    "Not",
    "Under",
    "Within",
    "wanted",
]


class Node:
    """A part of a filter. `test()` makes the function that answers it."""

    def test(self) -> Test:
        raise NotImplementedError

    def all_keys(self) -> Iterator[Key]:
        """The keys that it reads."""
        raise NotImplementedError


class _Joined(Node):
    def __init__(self, parts: Sequence[Node]) -> None:
        self.parts = tuple(parts)

    def all_keys(self) -> Iterator[Key]:
        for part in self.parts:
            yield from part.all_keys()


class All(_Joined):
    def test(self) -> Test:
        first, *rest = (part.test() for part in self.parts)
        for test in rest:
            first = _both(first, test)
        return first


class Any_(_Joined):
    def test(self) -> Test:
        first, *rest = (part.test() for part in self.parts)
        for test in rest:
            first = _either(first, test)
        return first


def _both(first: Test, second: Test) -> Test:
    return lambda event: first(event) and second(event)


def _either(first: Test, second: Test) -> Test:
    return lambda event: first(event) or second(event)


class Not(Node):
    """True for all events for which its part isn't, those without the key included."""

    def __init__(self, part: Node) -> None:
        self.part = part

    def all_keys(self) -> Iterator[Key]:
        return self.part.all_keys()

    def test(self) -> Test:
        test = self.part.test()
        return lambda event: not test(event)


class _OfKey(Node):
    """Asks for the value of one key; false for an event that has none."""

    def __init__(self, key: Key) -> None:
        self.key = key

    def all_keys(self) -> Iterator[Key]:
        yield self.key


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Comparison(_OfKey):
    """With a value, or with another key's."""

    def __init__(self, key: Key, sign: str, other: Value | Key) -> None:
        super().__init__(key)
        self.sign = sign
        self.other = other

    def all_keys(self) -> Iterator[Key]:
        yield self.key
        if not isinstance(self.other, (int, str)):
            yield self.other

    def test(self) -> Test:
        get, other, compare = self.key.text, self.other, _OPERATORS[self.sign]
        if isinstance(other, (int, str)):
            if self.sign == "==":
                return lambda event: bool(get(event) == other)  # the most common, and None equals nothing
            return lambda event: (value := get(event)) is not None and compare(value, other)
        get_other = other.text
        return lambda event: (
            (value := get(event)) is not None
            and (second := get_other(event)) is not None
            and compare(value, second)
        )


class Missing(_OfKey):
    """Whether the event has no value for the key."""

    def test(self) -> Test:
        get = self.key.get
        return lambda event: get(event) is None


class Membership(_OfKey):
    """Whether the key's value is one of several, or is none of them."""

    def __init__(self, key: Key, values: Sequence[Value], is_in: bool) -> None:
        super().__init__(key)
        self.values = frozenset(values)
        self.is_in = is_in

    def test(self) -> Test:
        get, values, is_in = self.key.text, self.values, self.is_in
        return lambda event: (value := get(event)) is not None and (value in values) is is_in


class Within(_OfKey):
    """Whether a text is one of a list's."""

    def __init__(self, key: Key, value: str, is_in: bool) -> None:
        super().__init__(key)
        self.value = value
        self.is_in = is_in

    def test(self) -> Test:
        get, wanted, is_in = self.key.get, self.value, self.is_in
        return lambda event: (values := get(event)) is not None and (wanted in values) is is_in


class Under(_OfKey):
    """Whether a path is that of a folder or of something in it."""

    def __init__(self, key: Key, folder: str, is_in: bool) -> None:
        super().__init__(key)
        self.folder = folder.rstrip("/")
        self.is_in = is_in

    def test(self) -> Test:
        get, folder, inside, is_in = self.key.get, self.folder or "/", self.folder + "/", self.is_in
        return lambda event: (
            (path := get(event)) is not None and (path == folder or path.startswith(inside)) is is_in
        )


class Matching(_OfKey):
    """Whether a regular expression is found in the key's text, or isn't."""

    def __init__(self, key: Key, pattern: re.Pattern[str], is_found: bool) -> None:
        super().__init__(key)
        self.pattern = pattern
        self.is_found = is_found

    def test(self) -> Test:
        get, search, is_found = self.key.text, self.pattern.search, self.is_found
        return lambda event: (value := get(event)) is not None and (search(value) is not None) is is_found


def wanted(node: Node, key: str) -> frozenset[Any]:
    """The values, or folders, of a key by which a filter asks for events, in whichever of its parts."""
    if isinstance(node, _Joined):
        return frozenset().union(*(wanted(part, key) for part in node.parts))
    if isinstance(node, Comparison) and node.key.name == key and node.sign == "==":
        return frozenset([node.other]) if isinstance(node.other, (int, str)) else frozenset()
    if isinstance(node, Membership) and node.key.name == key and node.is_in:
        return node.values
    if isinstance(node, Under) and node.key.name == key and node.is_in:
        return frozenset([node.folder or "/"])
    return frozenset()
