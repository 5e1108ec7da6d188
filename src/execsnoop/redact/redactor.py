"""Hides passwords, tokens and keys in arguments, before an event is given to anyone.

What a rule takes for a secret becomes `[redacted]`; what stands around it stays, so that a line can still be
understood. The rules are the tables of `rules`. They know names (`--password x`, `FOO_TOKEN=x`), shapes (`ghp_…`, URLs
with credentials, headers), and the short options of programs that take a secret by one.
"""

from __future__ import annotations

import re

from . import MARK
from .rules import CLIENTS, HEADER_HINTS, HEADERS, NAME_HINTS, NAMES, POINTERS, SHAPES, WHOLE_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..model import ProcessEvent
    from .rules import Client

__all__ = ["Redactor"]

_PROGRAMS = frozenset(name.encode() for client in CLIENTS for name in client.programs)


# What may stand around a program's name in a shell's line.
_AROUND = b"/\"'`$();&|{}"
_TO_SPACES = bytes.maketrans(_AROUND, b" " * len(_AROUND))
_MAX_REMEMBERED = 256


class Redactor:
    """`redact(event)` hides what its rules take for secrets.

    Each of `rules` adds one: the name of an option or variable whose value is secret, or `/…/`: a regular expression
    for secrets, of which the group named `secret` is hidden if there is one. Raises ValueError for any other.
    """

    def __init__(self, rules: Iterable[str] = ()) -> None:
        whole_names = [WHOLE_NAMES]
        shapes = list(SHAPES)
        for rule in rules:
            if len(rule) > 2 and rule.startswith("/") and rule.endswith("/"):
                shapes.append(("", rule[1:-1]))
            elif re.fullmatch(r"[\w.-]*\w", rule):
                whole_names.append(re.escape(rule.lstrip("-")))
            else:
                raise ValueError(f"{rule!r} is neither a name nor a regular expression, as in /…/")
        self._latest: dict[int, tuple[list[str], list[str]]] = {}
        self._shapes = [(hint, _compiled(shape)) for hint, shape in shapes]
        self._name_hints = (*NAME_HINTS, *(name.replace("\\", "").lower() for name in whole_names[1:]))
        self._hints = tuple({*self._name_hints, *HEADER_HINTS})
        name = rf"-{{0,2}}(?:(?:{'|'.join(whole_names)})|[\w.-]*(?:{NAMES}))"
        self._option = re.compile(rf"{name}\Z", re.I)
        self._assignment = re.compile(rf"({name}=)(.+)\Z", re.I | re.S)
        # Amid a text: in a query, a shell's command, a list of options, JSON.
        self._parameter = re.compile(
            rf"(?<![\w.-])({name}=)(\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s&;,\"']+)", re.I
        )
        self._field = re.compile(rf"([\"']{name}[\"']\s*:\s*)(\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s,}}]+)", re.I)
        self._header = re.compile(
            rf"((?<![\w-])(?:{HEADERS})[\"']?\s*:\s*[\"']?"
            r"(?:(?:basic|bearer|digest|token|negotiate|apikey)\s+)?)([^\s\"'][^\"'\r\n]*)",
            re.I,
        )

    def redact(self, event: ProcessEvent) -> None:
        """Takes the secrets out of the arguments and paths of an event."""
        if event.argv:
            event.argv = self._once(event.argv)
        for key in ("filename", "script", "exe", "cwd"):
            text = getattr(event, key)
            if text is not None:
                setattr(event, key, self._by_shape(text))

    def _once(self, argv: list[str]) -> list[str]:
        """The same for the same list: an exec, what it forks and its exit share one."""
        before = self._latest.get(id(argv))
        if before is not None and before[0] is argv:
            return before[1]
        found = self.arguments(argv)
        self._latest[id(argv)] = argv, found
        if len(self._latest) > _MAX_REMEMBERED:
            del self._latest[next(iter(self._latest))]
        return found

    def arguments(self, argv: Sequence[str]) -> list[str]:
        """A command's arguments without their secrets."""
        text = " ".join(argv)
        lower = text.lower()
        if not (
            any(hint in lower for hint in self._hints)
            or any(hint in text for hint, _ in self._shapes)
            or not _PROGRAMS.isdisjoint(text.encode("utf-8", "replace").translate(_TO_SPACES).split())
        ):
            return list(argv)
        return self._words(argv, self._argument)

    def _words(self, words: Sequence[str], inner: Callable[[str, str], str]) -> list[str]:
        """By what stands before each of them; `inner` looks into one, and knows the one before."""
        found: list[str] = []
        clients: list[Client] = []
        behind: str | None = None  # what the next word's secret stands behind, if it is a value
        before = ""
        for word in words:
            is_option = word.startswith("-") and len(word) > 1
            if behind is not None and not is_option:
                found.append(_hidden_behind(word, behind))
                behind, before = None, word
                continue
            if not is_option:
                program = word.rpartition("/")[2]
                clients = [c for c in clients if not c.is_wrapper]
                clients += [c for c in CLIENTS if program in c.programs and (not c.after or c.after in words)]
            behind = self._next_is_behind(word, clients) if is_option else None
            found.append(word if behind is not None else self._attached(word, clients) or inner(word, before))
            before = word
        return found

    def _next_is_behind(self, option: str, clients: Iterable[Client]) -> str | None:
        """What the secret in an option's value stands behind ("": all is secret), if the next word is such a value."""
        for client in clients:
            if option in client.separate:
                return client.behind
        return "" if self._option.match(option) else None

    def _attached(self, word: str, clients: Iterable[Client]) -> str | None:
        for client in clients:
            for option in client.attached:
                if word.startswith(option) and len(word) > len(option):
                    return option + _hidden_behind(word[len(option) :], client.behind)
        return None

    def _argument(self, text: str, before: str) -> str:
        """One argument, which may be a command line itself, behind a shell's -c for sure."""
        is_command = any(map(str.isspace, text))
        whole = self._assignment.match(text)
        if whole and not (is_command and _HAS_COMMAND.match(before)):
            return whole[1] + _hidden(whole[2])
        if is_command:
            words = _WORD.findall(text)
            spaces = _WORD.split(text)
            hidden = self._words(words, lambda word, before: word)
            text = "".join(space + word for space, word in zip(spaces, [*hidden, ""], strict=True))
        return self._text(text)

    def _text(self, text: str) -> str:
        lower = text.lower()
        if ":" in text and any(hint in lower for hint in HEADER_HINTS):
            text = self._header.sub(_second_hidden, text)
        if any(hint in lower for hint in self._name_hints):
            text = self._field.sub(_second_hidden, text)
            text = self._parameter.sub(_second_hidden, text)
        return self._by_shape(text)

    def _by_shape(self, text: str) -> str:
        for hint, shape in self._shapes:
            if hint in text:
                text = shape.sub(_secret_hidden, text)
        return text


_HAS_COMMAND = re.compile(r"-[a-z]*c\Z")
# A word of a command line amid a text, quotes and all.
_WORD = re.compile(r"(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.|[^\s\"'\\]|[\"'\\])+", re.S)


def _compiled(shape: str) -> re.Pattern[str]:
    try:
        return re.compile(shape, re.S)
    except re.error as error:
        raise ValueError(f"/{shape}/ is not a regular expression: {error}") from None


def _hidden(value: str) -> str:
    """A whole value, unless it only tells where the secret is; a quote around it stays."""
    if value.startswith("pass:"):
        return f"pass:{MARK}"  # as openssl has it
    bare = value.strip("\"'")
    if not bare or POINTERS.match(bare):
        return value
    at = value.index(bare)
    return f"{value[:at]}{MARK}{value[at + len(bare) :]}"


def _hidden_behind(value: str, sign: str) -> str:
    if not sign:
        return _hidden(value)
    before, found, secret = value.partition(sign)
    return f"{before}{sign}{_hidden(secret)}" if found and secret else value


def _second_hidden(match: re.Match[str]) -> str:
    return match[1] + _hidden(match[2])


def _secret_hidden(match: re.Match[str]) -> str:
    if "secret" not in match.re.groupindex:
        return MARK
    whole, start = match[0], match.start()
    first, last = match.span("secret")
    return f"{whole[: first - start]}{MARK}{whole[last - start :]}"
