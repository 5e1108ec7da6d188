"""Programs of a few dozen bytes, as ELF files that need neither a compiler nor a library.

Each is assembled from the listing beside it, without data: what it works on stands on its stack.
"""

from __future__ import annotations

import os
import struct

from .stage import CannotRun

__all__ = [
    "compat",
    "crash",
    "dump",
    "elf",
    "exits",
    "ids",
    "out_of_reach",
    "pair",
    "rest",
    "run",
    "scribble",
]

_BASE = 0x400000
_MACHINES = {"x86_64": 62, "aarch64": 183}
_HEADERS_BYTES = 64 + 2 * 56
_LOAD, _GNU_STACK = 1, 0x6474E551
_READ, _WRITE, _EXECUTE = 4, 2, 1

# By program, its code for x86_64 and for aarch64.
_CODE = {
    # write(1, argument, its length with the NUL) for each argument; exit_group(0)
    "dump": (
        "48 8d 5c 24 08  48 8b 33  48 85 f6  74 1e  31 d2"  # rbx = &argv[0]; 1: rsi = [rbx], 0: to 3; edx = 0
        "48 ff c2  80 7c 16 ff 00  75 f6"  # 2: rdx += 1; until a NUL was passed
        "bf 01 00 00 00  b8 01 00 00 00  0f 05  48 83 c3 08  eb da"  # write(1, rsi, rdx); rbx += 8; to 1
        "31 ff  b8 e7 00 00 00  0f 05",  # 3: exit_group(0)
        "f3 23 00 91  61 86 40 f8  21 01 00 b4  02 00 80 d2"  # x19 = &argv[0]; 1: x1 = [x19], x19 += 8; 0: to 3; x2 = 0
        "23 68 62 38  42 04 00 91  c3 ff ff 35"  # 2: w3 = x1[x2]; x2 += 1; until that was a NUL
        "20 00 80 d2  08 08 80 d2  01 00 00 d4  f7 ff ff 17"  # write(1, x1, x2); to 1
        "00 00 80 d2  c8 0b 80 d2  01 00 00 d4",  # 3: exit_group(0)
    ),
    # *argv[1] = 'X'; what follows it is dump
    "scribble": (
        "48 8b 44 24 10  c6 00 58",
        "e0 0b 40 f9  01 0b 80 52  01 00 00 39",
    ),
    # 1: ppoll(NULL, 0, NULL, NULL); to 1
    "rest": (
        "31 ff  31 f6  31 d2  45 31 d2  b8 0f 01 00 00  0f 05  eb ee",
        "00 00 80 d2  01 00 80 d2  02 00 80 d2  03 00 80 d2  28 09 80 d2  01 00 00 d4  fa ff ff 17",
    ),
    # *(int *)0 = 0
    "crash": ("31 c0  89 00", "00 00 80 d2  00 00 00 f9"),
    # Two threads meet at a counter, then the first ends alone with 3, the second with 5.
    "pair": (
        "6a 00  49 89 e4  48 8d b4 24 00 f0 ff ff"  # the counter is on the stack: r12; rsi = a stack below it
        "bf 00 0f 05 00  31 d2  45 31 d2  45 31 c0  b8 38 00 00 00  0f 05"  # clone(VM FS FILES SIGHAND THREAD SYSVSEM)
        "85 c0  78 21  bf 03 00 00 00  75 05  bf 05 00 00 00"  # an error: to 3; edi = 3 in one, 5 in the other
        "f0 41 ff 04 24  f3 90  41 83 3c 24 02  72 f7"  # lock inc [r12]; 2: pause, until [r12] is 2
        "b8 3c 00 00 00  0f 05"  # exit(edi)
        "bf 7d 00 00 00  b8 e7 00 00 00  0f 05",  # 3: exit_group(125)
        "ff 0f 1f f8  f3 03 00 91  e1 07 40 d1"
        "00 e0 81 d2  a0 00 a0 f2  02 00 80 d2  03 00 80 d2  04 00 80 d2  88 1b 80 d2  01 00 00 d4"
        "c0 01 f8 b7  74 00 80 52  40 00 00 b5  b4 00 80 52"
        "61 fe 5f 88  21 04 00 11  61 fe 02 88  a2 ff ff 35  61 fe df 88  3f 08 00 71  c3 ff ff 54"
        "e0 03 14 2a  a8 0b 80 d2  01 00 00 d4"
        "a0 0f 80 d2  c8 0b 80 d2  01 00 00 d4",
    ),
    # getresuid() and getresgid() into six words, write(1, them, 24), exit_group(0)
    "ids": (
        "48 83 ec 18"
        "48 89 e7  48 8d 74 24 04  48 8d 54 24 08  b8 76 00 00 00  0f 05"
        "48 8d 7c 24 0c  48 8d 74 24 10  48 8d 54 24 14  b8 78 00 00 00  0f 05"
        "bf 01 00 00 00  48 89 e6  ba 18 00 00 00  b8 01 00 00 00  0f 05"
        "31 ff  b8 e7 00 00 00  0f 05",
        "ff 83 00 d1"
        "e0 03 00 91  e1 13 00 91  e2 23 00 91  88 12 80 d2  01 00 00 d4"
        "e0 33 00 91  e1 43 00 91  e2 53 00 91  c8 12 80 d2  01 00 00 d4"
        "20 00 80 d2  e1 03 00 91  02 03 80 d2  08 08 80 d2  01 00 00 d4"
        "00 00 80 d2  c8 0b 80 d2  01 00 00 d4",
    ),
    # execve(argv[1], &argv[1], NULL); exit_group(126)
    "run": (
        "48 8b 7c 24 10  48 8d 74 24 10  31 d2  b8 3b 00 00 00  0f 05  bf 7e 00 00 00  b8 e7 00 00 00  0f 05",
        "e0 0b 40 f9  e1 43 00 91  02 00 80 d2  a8 1b 80 d2  01 00 00 d4  c0 0f 80 d2  c8 0b 80 d2  01 00 00 d4",
    ),
}


def _machine() -> str:
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise CannotRun(f"there are no programs for {machine}")
    return machine


def _code(name: str) -> bytes:
    return bytes.fromhex(_CODE[name][list(_MACHINES).index(_machine())])


def elf(code: bytes, address: int = _BASE) -> bytes:
    """A static program of one segment that is this code, which begins behind the headers at `address`."""
    size = _HEADERS_BYTES + len(code)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH",
        2,  # to be loaded where it says
        _MACHINES[_machine()],
        1,
        address + _HEADERS_BYTES,
        64,
        0,
        0,
        64,
        56,
        2,
        0,
        0,
        0,
    )
    load = struct.pack("<IIQQQQQQ", _LOAD, _READ | _EXECUTE, 0, address, address, size, size, 0x10000)
    stack = struct.pack("<IIQQQQQQ", _GNU_STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code


def exits(code: int) -> bytes:
    """exit_group(code)"""
    if _machine() == "x86_64":
        return elf(b"\xbf" + code.to_bytes(4, "little") + bytes.fromhex("b8 e7 00 00 00  0f 05"))
    return elf((0x52800000 | code << 5).to_bytes(4, "little") + bytes.fromhex("c8 0b 80 d2  01 00 00 d4"))


def dump() -> bytes:
    """Writes its arguments to descriptor 1, each with its NUL."""
    return elf(_code("dump"))


def scribble() -> bytes:
    """Overwrites the first byte of its second argument with an X, then as `dump`."""
    return elf(_code("scribble") + _code("dump"))


def rest() -> bytes:
    """Waits for a signal that kills it."""
    return elf(_code("rest"))


def crash() -> bytes:
    """Writes to where nothing is."""
    return elf(_code("crash"))


def pair() -> bytes:
    """Its two threads end at the same moment, the first with 3 and the other with 5."""
    return elf(_code("pair"))


def ids() -> bytes:
    """Writes six words to descriptor 1: real, effective and saved user id, and group id."""
    return elf(_code("ids"))


def run() -> bytes:
    """Runs its second argument, with its arguments from the second on."""
    return elf(_code("run"))


def compat(path: bytes, argv: list[bytes]) -> bytes:
    """Runs `path` by the 32-bit system call of x86; ends with the errno, or by SIGSEGV where there is no such call."""
    if _machine() != "x86_64":
        raise CannotRun(f"{_machine()} has no int 0x80")
    code_bytes = 32
    texts = [path, *argv]
    at = _BASE + _HEADERS_BYTES + code_bytes + 4 * (len(argv) + 1)
    addresses = []
    for text in texts:
        addresses.append(at)
        at += len(text) + 1
    pointers = struct.pack(f"<{len(argv) + 1}I", *addresses[1:], 0)
    code = (
        b"\xbb"  # ebx = path
        + struct.pack("<I", addresses[0])
        + b"\xb9"  # ecx = the pointers
        + struct.pack("<I", _BASE + _HEADERS_BYTES + code_bytes)
        + bytes.fromhex("31 d2  b8 0b 00 00 00  cd 80")  # no environment; execve
        + bytes.fromhex("89 c7  f7 df  b8 e7 00 00 00  0f 05")  # exit_group(-eax)
    )
    return elf(code.ljust(code_bytes, b"\xcc") + pointers + b"".join(text + b"\0" for text in texts))


def out_of_reach() -> bytes:
    """Is accepted, then can't be put where it asks to be: the kernel has given up the old program by then."""
    return elf(b"", 0xFFFF_8000_0000_0000)
