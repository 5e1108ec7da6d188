"""What doc comments in a source say to whoever runs the program: help texts, defaults, how to show a map.

    /// @description "Only this process"
    /// @cmdarg {"default": 0, "long": "pid", "short": "p"}
    const volatile int pid_target = 0;

Comments are eunomia-bpf's, with three differences: a value may go over several lines, text before or behind a
command is the description, and a text stays a text even if it looks like a number.
"""

from __future__ import annotations

import json
import re

from .errors import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Lines = list[tuple[int, str]]  # (line of the file, what stands there)

__all__ = ["LICENSE", "MAP", "PROGRAM", "STRUCT", "VARIABLE", "places", "read"]

VARIABLE, MAP, PROGRAM, LICENSE, STRUCT = "variable", "map", "program", "license", "struct"

_TEXT, _OBJECT, _ANY = "text", "object", "any"
_KEYS: dict[str, dict[str, str]] = {
    VARIABLE: {"description": _TEXT, "cmdarg": _OBJECT, "value": _ANY},
    MAP: {"description": _TEXT, "sample": _OBJECT, "export_config": _ANY, "intepreter": _ANY},
    PROGRAM: {
        "description": _TEXT, "tchook": _OBJECT, "tcopts": _OBJECT, "xdpopts": _OBJECT, "ifindex": _ANY, "flags": _ANY,
    },
    LICENSE: {"description": _TEXT, "brief": _TEXT, "details": _TEXT, "version": _TEXT},
    STRUCT: {"description": _TEXT, "export": _ANY},
}  # fmt: skip
_ALSO_CALLED = {
    "interpreter": "intepreter"
}  # theirs is the wrong spelling, and the one that their runner knows

_TOKEN = re.compile(
    r"""
      (?P<comment> //[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<directive> \#(?:\\\r?\n|[^\n])* )
    | (?P<text> "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'? )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<space> \s+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_DOC = re.compile(r"///(?!/)|//!|/\*\*(?![*/])|/\*!")
_COMMAND = re.compile(r"\s*[@\\]([A-Za-z_][\w-]*)\s*(.*)", re.DOTALL)
_SWITCHED_OFF = re.compile(r"\#\s*if\s+0\b")
_CONDITION = re.compile(r"\#\s*(if|ifdef|ifndef|elif|else|endif)\b")


def read(text: str, kinds: Mapping[str, str], source: str) -> dict[str, dict[str, Any]]:
    """The annotations of each thing in `kinds`, which says what kind of thing a name of the object is.

    Keys are those of a package's meta. Raises CompileError, with `source` and the line, for a value that must be
    a JSON object and isn't.
    """
    found: dict[str, dict[str, Any]] = {}
    for names, lines in _documented(text, kinds):
        for name in names:
            for key, value in _values(lines, kinds[name], source):
                found.setdefault(name, {})[key] = value
    return found


def places(text: str, kinds: Mapping[str, str]) -> dict[str, int]:
    """The line where the comment on each thing begins."""
    found: dict[str, int] = {}
    for names, lines in _documented(text, kinds):
        for name in names if lines else ():
            found.setdefault(name, lines[0][0])
    return found


# ---------------------------------------------------------------------------------------------------------------
# Which comment belongs to what


class _Declaration:
    """What stands at the top level since the last declaration ended."""

    def __init__(self) -> None:
        self.doc: Lines = []
        self.words: list[str] = []  # outside parentheses and initialisers
        self.inner: list[str] = []  # in parentheses: BPF_PROG(name, …)
        self.last = ["", "", ""]  # the latest three tokens outside all brackets
        self.is_initialiser = False
        self.is_function = False

    def names(self, kinds: Mapping[str, str]) -> list[str]:
        names = [word for word in self.words if word in kinds]
        if not names and self.is_function:
            names = [word for word in self.inner if kinds.get(word) == PROGRAM][:1]
        return names


def _documented(text: str, kinds: Mapping[str, str]) -> Iterator[tuple[list[str], Lines]]:
    now, ended = _Declaration(), _Declaration()
    nesting: list[str] = []
    for kind, word, line in _tokens(text):
        if kind == "comment":
            mark = _DOC.match(word)
            if mark is None or nesting:
                continue
            body = word[mark.end() :].removesuffix("*/")
            if body.startswith("<"):
                yield (now if now.words else ended).names(kinds), _lines(body[1:], line)
            elif not now.words:
                now.doc += _lines(body, line)
        elif kind == "directive":
            if not now.words:
                now.doc = []
        elif word in ("(", "[", "{"):
            if word == "{" and not nesting:
                attribute = now.last[0] in ("struct", "union", "enum") and now.last[1] == "__attribute__"
                now.is_function = now.last[2] == ")" and not attribute
            nesting.append(word)
        elif word in (")", "]", "}"):
            if nesting:
                nesting.pop()
            if not nesting:
                now.last = [*now.last[1:], word]
                if word == "}" and now.is_function:
                    yield now.names(kinds), now.doc
                    now, ended = _Declaration(), now
        elif nesting:
            if kind == "word" and nesting == ["("]:
                now.inner.append(word)
        elif word == ";":
            yield now.names(kinds), now.doc
            now, ended = _Declaration(), now
        else:
            now.last = [*now.last[1:], word]
            now.is_initialiser = word == "=" or (now.is_initialiser and word != ",")
            if kind == "word" and not now.is_initialiser:
                now.words.append(word)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """(kind, text, line) of each token but white space, without what `#if 0` switches off."""
    line = 1
    depth = 0  # of conditions, within the one that is switched off
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup or "", token.group()
        if kind == "directive":
            condition = _CONDITION.match(word)
            name = condition[1] if condition else ""
            if depth:
                depth += name.startswith("if")
                depth -= name == "endif" or (depth == 1 and name in ("else", "elif"))
            elif _SWITCHED_OFF.match(word):
                depth = 1
        if kind != "space" and not depth:
            yield kind, word, line
        line += word.count("\n")


def _lines(body: str, line: int) -> Lines:
    """A comment's lines without its frame of stars."""
    return [
        (line + index, re.sub(r"^\s*\*(?:\s|$)", "", text) if index else text)
        for index, text in enumerate(body.split("\n"))
    ]


# ---------------------------------------------------------------------------------------------------------------
# What it says


def _values(lines: Lines, kind: str, source: str) -> Iterator[tuple[str, Any]]:
    """(key, value) for each command that means something for this kind of thing, and the description."""
    keys = _KEYS[kind]
    free: list[str] = []
    position = 0
    while position < len(lines):
        line, text = lines[position]
        position += 1
        command = _COMMAND.fullmatch(text.rstrip())
        if command is None:
            free.append(text.strip())
            continue
        name = _ALSO_CALLED.get(command[1], command[1])
        wanted = keys.get(name)
        value = command[2]
        parsed = None if wanted == _TEXT else _json(value)
        while (
            parsed is None and position < len(lines) and not _COMMAND.fullmatch(lines[position][1].rstrip())
        ):
            value += "\n" + lines[position][1].strip()
            position += 1
            parsed = None if wanted == _TEXT else _json(value)
        value = value.strip()
        if wanted == _TEXT:
            quoted = _json(value)
            yield name, quoted[0] if quoted is not None and isinstance(quoted[0], str) else value
        elif wanted == _OBJECT and (parsed is None or not isinstance(parsed[0], dict)):
            raise CompileError(
                f"{source}:{line}: @{command[1]}: it takes a JSON object", hint=f"it is {value!r}"
            )
        elif wanted is not None:
            yield name, parsed[0] if parsed is not None else value
    description = " ".join(text for text in free if text)
    if description:
        yield "description", description


def _json(text: str) -> tuple[Any] | None:
    """The JSON value in a tuple, None if `text` isn't one."""
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError):
        return None
