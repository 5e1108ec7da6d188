"""Which functions each program of an object reaches, and which of the kernel's helpers these call, read off the
instructions."""

from __future__ import annotations

import struct

from .elf import SHF_EXECINSTR, SHT_REL, STT_FUNC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .elf import Elf, Symbol

__all__ = ["Function", "helpers", "reached"]

INSTRUCTION_BYTES = 8
CALL = 0x85
LOAD_WIDE = 0x18  # takes two instructions' room
TO_HELPER, TO_FUNCTION = 0, 1  # what the source register of a call says
A_FUNCTION = 4  # and of a wide load: its address, for a callback

Place = tuple[int, int]  # section, offset in bytes


class Function:
    """A function of the object: how often it calls which of the `helpers` itself, by number; the `data` that its
    instructions name, as (section, offset in bytes); and where the functions begin that it calls."""

    __slots__ = ("calls", "data", "helpers", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.helpers: dict[int, int] = {}
        self.data: set[Place] = set()
        self.calls: set[Place] = set()


def helpers(elf: Elf) -> dict[str, list[int]]:
    """By program, the numbers of the helpers that it and the functions it reaches call, in ascending order."""
    return {
        program: sorted({number for function in functions for number in function.helpers})
        for program, functions in reached(elf).items()
    }


def reached(elf: Elf) -> dict[str, list[Function]]:
    """By program, itself and the functions that it reaches."""
    symbols = [symbol for symbol in elf.symbols if symbol.type == STT_FUNC and symbol.size]
    relocations = _relocations(elf)
    own = {id(symbol): _function(elf, symbol, relocations) for symbol in symbols}
    found: dict[str, list[Function]] = {}
    for program in elf.programs():
        there: dict[int, Function] = {}
        waiting = [program]
        while waiting:
            symbol = waiting.pop()
            if id(symbol) in there or id(symbol) not in own:
                continue
            function = there[id(symbol)] = own[id(symbol)]
            waiting += [other for other in symbols for place in function.calls if _holds(other, place)]
        found[program.name] = list(there.values())
    return found


def _holds(function: Symbol, place: Place) -> bool:
    section, offset = place
    return function.section == section and function.value <= offset < function.value + function.size


def _relocations(elf: Elf) -> dict[Place, Symbol]:
    """The symbol that each relocated instruction refers to."""
    found = {}
    for section in elf.sections:
        if section.type == SHT_REL:
            for offset, info in struct.iter_unpack(elf.prefix + "QQ", section.data):
                found[section.info, offset] = elf.symbols[info >> 32]
    return found


def _function(elf: Elf, symbol: Symbol, relocations: dict[Place, Symbol]) -> Function:
    found = Function(symbol.name)
    code = elf.sections[symbol.section].data[symbol.value : symbol.value + symbol.size]
    at = 0
    while at + INSTRUCTION_BYTES <= len(code):
        operation, registers, _, immediate = struct.unpack_from(elf.prefix + "BBhi", code, at)
        source = registers >> 4 if elf.byteorder == "little" else registers & 15
        place = symbol.section, symbol.value + at
        other = relocations.get(place)
        if operation == CALL and source == TO_HELPER and immediate > 0:
            found.helpers[immediate] = found.helpers.get(immediate, 0) + 1
        elif operation == CALL and source == TO_FUNCTION:
            section, start = (other.section, other.value) if other is not None else place
            found.calls.add((section, start + (immediate + 1) * INSTRUCTION_BYTES))
        elif operation == LOAD_WIDE:
            if other is not None and (other.type == STT_FUNC or source == A_FUNCTION):
                found.calls.add((other.section, other.value))
            elif other is not None and other.section < len(elf.sections):
                # through its section's symbol, where the immediate tells the place in bytes: a callback, or data
                is_code = elf.sections[other.section].flags & SHF_EXECINSTR
                (found.calls if is_code else found.data).add((other.section, other.value + immediate))
            at += INSTRUCTION_BYTES
        at += INSTRUCTION_BYTES
    return found
