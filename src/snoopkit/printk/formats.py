"""Which of the machine's messages a package's programs can have printed: by the formats in their constants."""

from __future__ import annotations

import re

from .. import calls
from ..abi import HELPERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..elf import Elf
    from ..package import Package

__all__ = ["LONGEST_BYTES", "Format", "formats"]

LONGEST_BYTES = 1023  # of a message; the kernel cuts what is longer
_PRINTERS = {HELPERS.index("trace_printk"), HELPERS.index("trace_vprintk")}
_LONGEST_FORMAT_BYTES = 4096
_CONVERSION = re.compile(
    r"%(?P<flags>[-+ 0#]*)(?P<width>\d*)(?P<kind>%|p[ku]s|p[iI][46]|p\w?|s|c|(?:hh|h|ll?|z)?[diuxX])"
)
_NUMBERS = {
    "d": r"[-+]?\d+",
    "i": r"[-+]?\d+",
    "u": r"\+?\d+",
    "x": "(?:0x)?[0-9a-f]+",
    "X": "(?:0x)?[0-9A-F]+",
}
_OF_NUMBERS = "0123456789abcdefABCDEFxX+-. "
_MOST_LOOSE = 2  # conversions that could end anywhere: more of them take a search too long to be allowed


class Format:
    """A format, and the programs that may print by it."""

    def __init__(self, text: str, programs: Iterable[str]) -> None:
        self.text = text
        self.programs = list(programs)
        self._literals, self._pattern = _compiled(text.removesuffix("\n"))

    @property
    def prefix(self) -> str:
        """What each message of it begins with."""
        return self._literals[0]

    @property
    def fits_anything(self) -> bool:
        """Whether hardly a message couldn't be one of it."""
        return not any(map(str.strip, self._literals)) and self.fits("what others say")

    def fits(self, message: str) -> bool:
        """Whether a message can be of this format; one that was cut by what is left of it."""
        if len(message.encode("utf-8", "surrogateescape")) >= LONGEST_BYTES:
            return message.startswith(self.prefix)
        return _in_order(self._literals, message) and (
            self._pattern is None or self._pattern.fullmatch(message) is not None
        )


def _compiled(text: str) -> tuple[list[str], re.Pattern[str] | None]:
    """What stands between the conversions; and a pattern, unless that could take too long somewhere."""
    literals, pattern = [""], ""
    loose = 0
    end = 0
    is_behind_number = False
    for found in _CONVERSION.finditer(text):
        literal = text[end : found.start()]
        end = found.end()
        literals[-1] += literal
        pattern += re.escape(literal)
        if found["kind"] == "%":
            literals[-1] += "%"
            pattern += "%"
            continue
        inside = literals[-1]
        if len(literals) > 1 and (not inside or (is_behind_number and inside[0] in _OF_NUMBERS[:-1])):
            loose += _MOST_LOOSE + 1
        literals.append("")
        number = _NUMBERS.get(found["kind"][-1]) if found["kind"][0] != "p" else None
        is_behind_number = number is not None
        one = number or (r"\S+" if found["kind"] == "p" else "." if found["kind"] == "c" else ".*")
        if number is None or found["width"] or found["flags"]:
            loose += 1
            one = one if one == ".*" else f" *{one} *"
        pattern += one
    literals[-1] += text[end:]
    pattern += re.escape(text[end:])
    return literals, re.compile(pattern, re.DOTALL) if loose <= _MOST_LOOSE else None


def _in_order(literals: list[str], message: str) -> bool:
    """Whether the literals stand in the message, one behind the other, the first and the last at its ends."""
    first, *inner = literals
    if not inner:
        return message == first
    last = inner.pop()
    if not message.startswith(first) or not message.endswith(last):
        return False
    at = len(first)
    for literal in inner:
        at = message.find(literal, at)
        if at < 0:
            return False
        at += len(literal)
    return at <= len(message) - len(last)


def formats(package: Package) -> tuple[list[Format], list[str]]:
    """The formats of the programs that run unless told otherwise; and which of these print by none that is known."""
    elf = package.elf
    by_text: dict[str, list[str]] = {}
    silent = []
    for name, functions in calls.reached(elf).items():
        if package.programs[name].optional:
            continue
        printers = [function for function in functions if _PRINTERS & function.helpers.keys()]
        texts: list[str] = []
        for function in printers:
            own = [text for place in sorted(function.data) for text in _text(elf, *place)]
            texts += own
            if len(own) < sum(function.helpers.get(number, 0) for number in _PRINTERS):
                texts += _copied(elf)  # onto the stack, from where no instruction tells
        if printers and not texts:
            silent.append(name)
        for text in dict.fromkeys(texts):
            by_text.setdefault(text, []).append(name)
    return [Format(text, names) for text, names in by_text.items()], silent


def _text(elf: Elf, section: int, offset: int) -> list[str]:
    """The text at a place among the constants, if there is one."""
    if not 0 <= section < len(elf.sections) or not elf.sections[section].name.startswith(".rodata"):
        return []
    data = elf.sections[section].data[offset : offset + _LONGEST_FORMAT_BYTES] if offset >= 0 else b""
    text, end, _ = data.partition(b"\0")
    if not end or not text or any(byte < 32 and byte not in b"\t\n" for byte in text):
        return []
    return [text.decode("utf-8", "surrogateescape")]


def _copied(elf: Elf) -> Iterator[str]:
    """All texts of the sections that have nothing else."""
    for section in elf.sections:
        if section.name.startswith(".rodata.str"):
            at = 0
            for text in section.data.split(b"\0"):
                yield from _text(elf, section.index, at)
                at += len(text) + 1
