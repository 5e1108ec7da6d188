"""What each key of an event is: how its value is got from an event, and what may be compared with it."""

from __future__ import annotations

from operator import attrgetter

from ..model import COLUMNS, signal_name
from .lexer import FilterError, near

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..model import ProcessEvent
    from .lexer import Token

    Getter = Callable[[ProcessEvent], Any]
    Value = int | str | bool

__all__ = ["Key", "is_key", "key"]

_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_UNITS = {"duration": _NS, "size": _BYTES}

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts", "inner_pid")
_CAPABILITY_SETS = ("inheritable", "permitted", "effective", "bounding", "ambient")
_PARTS = {
    "container": dict.fromkeys(("id", "runtime", "name"), "text"),
    "namespaces": dict.fromkeys(_NAMESPACES, "number"),
    "capabilities": dict.fromkeys(_CAPABILITY_SETS, "text"),
    "incomplete": {name: "text" for name in COLUMNS if name not in ("incomplete", "raw")},
}
_OBJECTS = frozenset({*_PARTS, "raw"})
_KINDS = {
    "type": "type",
    "time": "time",
    "uid": "user",
    "euid": "user",
    "old_euid": "user",
    "loginuid": "user",
    "gid": "group",
    "egid": "group",
    "old_egid": "group",
    "signal": "signal",
    "errno": "errno",
    "error": "error",
    "argv": "list",
    "flags": "list",
    "core_dumped": "truth",
    "cpu_exact": "truth",
    "inherited": "truth",
    "cgroup": "path",
    "filename": "path",
    "interpreter": "path",
    "script": "path",
    "exe": "path",
    "cwd": "path",
    **dict.fromkeys(("tty", "comm", "cause", "events"), "text"),
    **dict.fromkeys(_OBJECTS, "object"),
}
_SUFFIXES = {"_ns": "duration", "_bytes": "size"}

# Kinds whose values are numbers, and those that are text.
_NUMBERS = frozenset({"number", "duration", "size", "user", "group", "errno"})
_TEXTS = frozenset({"text", "path", "type", "time", "signal", "error"})

_TYPES = ("exec", "exec_failed", "exit", "fork", "existing", "lost")
_TYPE_NAMES = {**{name: name for name in _TYPES}, "fail": "exec_failed"}


class Key:
    """`name` as it was written; `column` is the one of `COLUMNS` that it is, or is a part of. `get` gives an event's
    value, None where it has none. `kind` decides what it may be compared with; `needs_unit` where the name has none."""

    __slots__ = ("column", "get", "kind", "name", "needs_unit")

    def __init__(self, name: str, column: str, kind: str, get: Getter, needs_unit: bool = False) -> None:
        self.name = name
        self.column = column
        self.kind = kind
        self.get = get
        self.needs_unit = needs_unit

    @property
    def is_ordered(self) -> bool:
        """Whether it can be less than something."""
        return self.kind in _NUMBERS or self.kind == "time"

    @property
    def is_text(self) -> bool:
        """Whether a regular expression may be looked for in it."""
        return self.kind in _TEXTS or self.kind == "list"

    @property
    def text(self) -> Getter:
        """The value as one text."""
        if self.kind != "list":
            return self.get
        get = self.get

        def joined(event: ProcessEvent) -> str | None:
            values = get(event)
            return None if values is None else " ".join(values)

        return joined

    def is_like(self, other: Key) -> bool:
        """Whether the two can be compared with each other."""
        return (
            self.kind == other.kind
            or {self.kind, other.kind} <= _NUMBERS
            or {self.kind, other.kind} <= {"text", "path"}
        )

    def value(self, token: Token, text: str) -> Value:
        """What a token of the filter `text` is for this key. Raises FilterError."""
        try:
            return _READERS[self.kind](self, token)
        except _Refused as refusal:
            raise FilterError(f"{self.name}{refusal}", text, token.position) from None


class _Refused(Exception):
    """Why a token is no value for a key; the message goes on behind the key's name."""


def _duration_or_size(key: Key, token: Token) -> int:
    units = _UNITS[key.kind]
    if token.kind != "number":
        raise _Refused(f" is compared with a number and a unit ({' '.join(units)})")
    if token.unit not in units and (token.unit or (key.needs_unit and token.value != "0")):
        problem = f"{token.unit!r} is no unit of it" if token.unit else "say the unit"
        raise _Refused(f": {problem}; there are {' '.join(units)}")
    return _scaled(token.value, units.get(token.unit, 1))


def _scaled(number: str, unit: int) -> int:
    """Exactly, but for what is less than one of the smallest units."""
    if "." not in number:
        return int(number, 0 if "x" in number.lower() else 10) * unit
    whole, _, decimals = number.partition(".")
    scale: int = 10 ** len(decimals)
    return int(whole + decimals) * unit // scale


def _whole(key: Key, token: Token, what: str) -> int:
    if token.kind != "number" or token.unit or "." in token.value:
        raise _Refused(f" is compared with {what}")
    return _scaled(token.value, 1)


def _plain_number(key: Key, token: Token) -> int:
    return _whole(key, token, "a whole number")


def _user(key: Key, token: Token) -> int:
    if token.kind == "number":
        return _whole(key, token, "a user's number or name")
    from pwd import getpwall, getpwnam

    try:
        return getpwnam(token.value).pw_uid
    except (KeyError, ValueError):
        hint = near(token.value, (one.pw_name for one in getpwall()))
        raise _Refused(f": there is no user {token.value!r}{hint}") from None


def _group(key: Key, token: Token) -> int:
    if token.kind == "number":
        return _whole(key, token, "a group's number or name")
    from grp import getgrall, getgrnam

    try:
        return getgrnam(token.value).gr_gid
    except (KeyError, ValueError):
        hint = near(token.value, (one.gr_name for one in getgrall()))
        raise _Refused(f": there is no group {token.value!r}{hint}") from None


def _signal(key: Key, token: Token) -> str:
    if token.kind == "number":
        return signal_name(_whole(key, token, "a signal's name or number"))
    known = {signal_name(number) for number in range(1, 65)}
    name = token.value.upper()
    for candidate in (name, f"SIG{name}"):
        if candidate in known:
            return candidate
    raise _Refused(f": there is no signal {token.value!r}{near(name, known)}")


def _error(key: Key, token: Token) -> str:
    from errno import errorcode

    if token.kind == "number":
        number = _whole(key, token, "an errno's name or number")
        return errorcode.get(number, f"E{number}")
    name = token.value.upper()
    if name not in errorcode.values():
        raise _Refused(f": there is no errno {token.value!r}{near(name, errorcode.values())}")
    return name


def _errno(key: Key, token: Token) -> int:
    import errno

    if token.kind == "number":
        return _whole(key, token, "an errno's name or number")
    return int(getattr(errno, _error(key, token)))


def _type(key: Key, token: Token) -> str:
    if token.kind == "number" or token.value not in _TYPE_NAMES:
        hint = near(token.value, _TYPE_NAMES)
        raise _Refused(f" is one of {' '.join(_TYPES)}, not {token.value}{hint}")
    return _TYPE_NAMES[token.value]


def _truth(key: Key, token: Token) -> bool:
    if token.kind == "word" and token.value in ("true", "false"):
        return token.value == "true"
    raise _Refused(" is true or false")


def _text(key: Key, token: Token) -> str:
    if token.kind == "text":
        return token.value
    raise _Refused(f' is text, which stands in quotes: "{token.value}{token.unit}"')


def _object(key: Key, token: Token) -> str:
    if key.name in _PARTS:
        parts = " ".join(f"{key.name}.{part}" for part in list(_PARTS[key.name])[:3])
        raise _Refused(f" has parts, as {parts}; itself it can only be null or not")
    raise _Refused(" can only be null or not")


_READERS: dict[str, Callable[[Key, Token], Value]] = {
    "number": _plain_number,
    "duration": _duration_or_size,
    "size": _duration_or_size,
    "user": _user,
    "group": _group,
    "signal": _signal,
    "errno": _errno,
    "error": _error,
    "type": _type,
    "truth": _truth,
    "text": _text,
    "path": _text,
    "time": _text,
    "list": _text,
    "object": _object,
}


def key(token: Token, text: str) -> Key:
    """The key that a word of the filter `text` names. Raises FilterError."""
    name, _, part = token.value.partition(".")
    if part and name in _PARTS:
        if part not in _PARTS[name]:
            known = _PARTS[name]
            raise FilterError(f"{name} has no part {part!r}{near(part, known)}", text, token.position)
        return Key(token.value, name, _PARTS[name][part], _part_getter(name, part))
    if token.value in COLUMNS:
        return Key(token.value, token.value, _kind(token.value), _getter(token.value))
    for suffix, kind in _SUFFIXES.items():
        column = token.value + suffix
        if column in COLUMNS:
            return Key(token.value, column, kind, _getter(column), needs_unit=True)
    raise FilterError(f"no key {token.value!r}{near(token.value, _names())}", text, token.position)


def is_key(word: str) -> bool:
    """Whether a word names a key."""
    name, _, part = word.partition(".")
    return word in _names() or part in _PARTS.get(name, ())


def _names() -> Iterable[str]:
    shorter = (c.removesuffix(suffix) for c in COLUMNS for suffix in _SUFFIXES if c.endswith(suffix))
    return [*COLUMNS, *shorter]


def _kind(column: str) -> str:
    for suffix, kind in _SUFFIXES.items():
        if column.endswith(suffix):
            return kind
    return _KINDS.get(column, "number")


def _getter(column: str) -> Getter:
    if column == "argv":
        return _argv
    return attrgetter(column)


def _argv(event: ProcessEvent) -> list[str] | None:
    # A fork has its parent's for the table's sake.
    return event.argv if event.type != "fork" else None


def _part_getter(name: str, part: str) -> Getter:
    get = attrgetter(name)

    def value(event: ProcessEvent) -> Any:
        whole = get(event)
        return None if whole is None else whole.get(part)

    return value
