"""Which of the kernel's helpers each program of an object can call, read off its instructions."""

from __future__ import annotations

import struct

from .elf import SHT_REL, STT_FUNC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .elf import Elf, Symbol

__all__ = ["helpers"]

INSTRUCTION_BYTES = 8
CALL = 0x85
LOAD_WIDE = 0x18  # takes two instructions' room
TO_HELPER, TO_FUNCTION = 0, 1  # what the source register of a call says
A_FUNCTION = 4  # and of a wide load: its address, for a callback

Place = tuple[int, int]  # section, offset in bytes


def helpers(elf: Elf) -> dict[str, list[int]]:
    """By program, the numbers of the helpers that it and the functions it reaches call, in ascending order."""
    functions = [symbol for symbol in elf.symbols if symbol.type == STT_FUNC and symbol.size]
    symbols = _relocations(elf)
    own = {id(symbol): _calls(elf, symbol, symbols) for symbol in functions}
    found = {}
    for program in elf.programs():
        reached: set[int] = set()
        waiting = [program]
        while waiting:
            function = waiting.pop()
            if id(function) in reached or id(function) not in own:
                continue
            reached.add(id(function))
            waiting += [f for f in functions for place in own[id(function)][1] if _holds(f, place)]
        found[program.name] = sorted({number for key in reached for number in own[key][0]})
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


def _calls(elf: Elf, function: Symbol, symbols: dict[Place, Symbol]) -> tuple[set[int], set[Place]]:
    """The helpers that a function itself calls, and where the functions begin that it calls."""
    numbers: set[int] = set()
    places: set[Place] = set()
    code = elf.sections[function.section].data[function.value : function.value + function.size]
    at = 0
    while at + INSTRUCTION_BYTES <= len(code):
        operation, registers, _, immediate = struct.unpack_from(elf.prefix + "BBhi", code, at)
        source = registers >> 4 if elf.byteorder == "little" else registers & 15
        place = function.section, function.value + at
        if operation == CALL and source == TO_HELPER and immediate > 0:
            numbers.add(immediate)
        elif operation == CALL and source == TO_FUNCTION:
            symbol = symbols.get(place)
            start = symbol.value if symbol is not None else place[1]
            section = symbol.section if symbol is not None else place[0]
            places.add((section, start + (immediate + 1) * INSTRUCTION_BYTES))
        elif operation == LOAD_WIDE:
            symbol = symbols.get(place)
            if symbol is not None and (symbol.type == STT_FUNC or source == A_FUNCTION):
                places.add((symbol.section, symbol.value))
            elif symbol is not None and symbol.section < len(elf.sections):
                # a callback through its section's symbol: which function, the immediate tells in bytes
                places.add((symbol.section, symbol.value + immediate))
            at += INSTRUCTION_BYTES
        at += INSTRUCTION_BYTES
    return numbers, places
