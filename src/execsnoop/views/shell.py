"""Execs as lines that a shell can run again."""

from __future__ import annotations

import os

from snoopkit.render import display, quote

from ..redact import MARK
from .cells import loss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import ProcessEvent

__all__ = ["Shell", "word"]

_DESCRIPTORS = "/dev/fd/"  # how the kernel spells a file that was named by a descriptor


class Shell:
    """`cd CWD && COMMAND` for each exec. What can't be run again is a comment that says why, so that a shell may be
    given all of it. Neither the environment nor descriptors are the original's."""

    def header(self) -> bytes:
        return b""

    def row(self, event: ProcessEvent) -> bytes:
        if event.type == "lost":
            return f"# {loss(event)}\n".encode()
        if event.type != "exec":
            return b""
        line = " && ".join([*([f"cd {word(event.cwd)}"] if event.cwd else []), _command(event)])
        obstacle = _obstacle(event)
        if obstacle:
            line = f"# {obstacle}: {line}"
        return line.encode("utf-8", "surrogateescape") + b"\n"


def word(text: str) -> str:
    """`text` as one word of a POSIX shell; in the quotes that bash, zsh and ksh know where it has bytes that can't be
    shown."""
    if display(text) == text:
        return quote([text])
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    if character in "'\\":
        return "\\" + character
    if display(character) == character:
        return character
    return "".join([f"\\x{byte:02x}" for byte in os.fsencode(character)])


def _command(event: ProcessEvent) -> str:
    """The program by its path, for the shell may have another of that name, and its arguments."""
    argv = event.argv or [""]
    file = _file(event)
    if event.script is not None or file is None:
        return " ".join(map(word, argv))  # of a script the first is the interpreter's path
    if argv[0] in (event.filename, os.path.basename(file)):
        return " ".join(map(word, [file, *argv[1:]]))
    return f"(exec -a {' '.join(map(word, [argv[0], file, *argv[1:]]))})"


def _file(event: ProcessEvent) -> str | None:
    file = event.filename
    if file is not None and file.startswith(_DESCRIPTORS):
        file = event.exe
    return file if file is None or "/" in file else f"./{file}"


def _obstacle(event: ProcessEvent) -> str | None:
    """Why a line can't be run again."""
    incomplete = event.incomplete or {}
    for key, name in (("argv", "arguments"), ("filename", "file"), ("cwd", "folder")):
        if key in incomplete:
            return f"{name} {incomplete[key]}"
    if any(MARK in argument for argument in event.argv or ()):
        return "secrets hidden"
    for flag in ("memfd", "deleted"):
        if flag in (event.flags or ()):
            return f"program {flag}"
    if event.cwd is None:
        return "folder unknown"
    if _file(event) is None or (event.script or "").startswith(_DESCRIPTORS):
        return "program known by a descriptor only"
    return None
