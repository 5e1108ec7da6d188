"""Arguments: whole, exact to the byte, and harmless to a terminal; the witness is the program that got them."""

from __future__ import annotations

import json
import resource
from base64 import b64decode
from functools import partial

from ..views.data import JsonLines
from ..views.table import Table
from . import programs
from .stage import CannotRun, Mismatch, Stage, arguments_text, encoded, need_machine_pids, running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .stage import Case, Play, Seen

__all__ = ["CASES"]

_LETTERS = bytes(range(ord("a"), ord("z") + 1))
_HOSTILE = (
    b"two\nlines",
    b"\x1b[31mred\x1b]0;title\x07",
    b"\rback",
    b"bad \xff\xfe\xc3(",
    "right‮to left".encode(),
    b"'; $(touch x) \"",
    b"-rf",
)
_LONGEST = (128 << 10) - 1  # without its NUL
_TO_COMPLETE_SECONDS = 2.0


def _letters(size: int) -> bytes:
    return (_LETTERS * (size // len(_LETTERS) + 1))[:size]


def _seen_text(seen: Seen, pid: int) -> str:
    event = seen.one("exec", pid)
    text = arguments_text(encoded(event.argv))
    if event.incomplete:
        text += f" {event.incomplete}"
    told = event.argv_size_bytes
    actual = sum(len(argument) + 1 for argument in encoded(event.argv) or ())
    return text if told == actual else f"{text}, said to be {told} bytes"


def reports(arguments: Sequence[bytes], environment: Sequence[bytes], stage: Stage) -> Play:
    path = stage.program("dump", programs.dump())
    ran = stage.run(path, [b"dump", stage.marker, *arguments], environment)
    seen = yield arguments_text(ran.words)
    return _seen_text(seen, ran.pid)


def nothing(stage: Stage) -> Play:
    path = stage.program("dump", programs.dump())
    ran = stage.run(path, [])
    # One empty argument, where the kernel gives such a program one.
    seen = yield arguments_text(ran.words)
    return _seen_text(seen, ran.pid)


def huge(size: int, piece: int, stage: Stage) -> Play:
    """More than the kernel's part of the trace can hold: completed from the process, which is there."""
    need_machine_pids()
    path = stage.program("dump", programs.dump())
    text = _letters(size)
    pieces = [text[at : at + piece] for at in range(0, size, piece)]

    def before() -> None:
        soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
        if soft != resource.RLIM_INFINITY and soft < 4 * size + (1 << 18):
            raise OSError("the stack's limit is too low for it")

    child = stage.start(running(path, [b"dump", stage.marker, *pieces], (), before), until_exec=True)
    # It waits for its report to be read.
    stage.watch(_TO_COMPLETE_SECONDS, until=lambda seen: seen.of("exec"))
    ran = stage.finish(child)
    seen = yield arguments_text(ran.words)
    return _seen_text(seen, ran.pid)


def overwritten(stage: Stage) -> Play:
    path = stage.program("scribble", programs.scribble())
    ran = stage.run(path, [b"scribble", b"before", stage.marker])
    if ran.words[1] != b"Xefore":
        raise CannotRun("the program could not overwrite its arguments")
    seen = yield arguments_text([b"scribble", b"before", stage.marker])
    return _seen_text(seen, ran.pid)


def exact_json(stage: Stage) -> Play:
    path = stage.program("dump", programs.dump())
    ran = stage.run(path, [b"dump", stage.marker, *_HOSTILE])
    seen = yield arguments_text(ran.words)
    line = json.loads(JsonLines().row(seen.one("exec", ran.pid)))
    return arguments_text([b64decode(text) for text in line.get("raw", {}).get("argv", ())])


def one_line(stage: Stage) -> Play:
    path = stage.program("dump", programs.dump())
    ran = stage.run(path, [b"dump", stage.marker, *_HOSTILE])
    seen = yield "1 line, 0 characters that a terminal obeys"
    row = Table().row(seen.one("exec", ran.pid)).decode()
    if stage.marker.decode() not in row:
        raise Mismatch("a row without the arguments")
    body = row.removesuffix("\n")
    obeyed = sum(not character.isprintable() for character in body)
    return f"{len(body.splitlines())} line, {obeyed} characters that a terminal obeys"


CASES: tuple[tuple[str, Case], ...] = (
    ("an argument of 300 bytes", partial(reports, [_letters(300)], ())),
    ("arguments of 1 KB", partial(reports, [_letters(100)] * 10, (b"A=1",))),
    ("arguments of 32 KB", partial(reports, [_letters(1_023)] * 32, ())),
    ("an argument of 128 KB - 1", partial(huge, _LONGEST, _LONGEST)),
    ("arguments of 1.9 MB", partial(huge, 1_900_000, 100_000)),
    ("20,000 empty arguments", partial(reports, [b""] * 20_000, ())),
    ("empty arguments among others", partial(reports, [b"", b"a", b"", b"", b"b", b""], ())),
    ("no argument, not even a name", nothing),
    ("no environment", partial(reports, [b"x"], ())),
    ("arguments that the program overwrites", overwritten),
    ("bytes that are no text, in JSON", exact_json),
    ("newlines, escapes and bidi marks, in a row", one_line),
)
