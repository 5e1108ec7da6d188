"""Options as the program in the kernel sees them: of every C type the least, the greatest, and what was compiled in."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import snoopkit

from .conftest import BPF, do_until_it_ends

BIN = Path(sys.executable).parent

COMPILED = {
    "s8": -1, "u8": 200, "letter": ord("x"), "s16": -2, "u16": 50000, "s32": -3, "u32": 4_000_000_000, "slong": -4,
    "ulong": 5, "s64": -6, "u64": (1 << 64) - 1, "s128": -7, "u128": 8, "typed8": 9, "typed16": 10, "typed32": 11,
    "typed64": 12, "owner": 13, "length": 14, "flag": False, "was_true": True, "level": "LOW", "mode": "ON",
    "single": 1.5, "ratio": -0.25, "text": "abc", "ports": [1, 2, 3], "data": 15, "zero": 0,
}  # fmt: skip
BITS = {
    "s8": -8, "u8": 8, "letter": -8, "s16": -16, "u16": 16, "s32": -32, "u32": 32, "slong": -64, "ulong": 64,
    "s64": -64, "u64": 64, "s128": -128, "u128": 128, "typed8": 8, "typed16": 16, "typed32": 32, "typed64": 64,
    "owner": 32, "length": 64, "data": -32, "zero": -32,
}  # fmt: skip
"""Of the integers; negative ones are signed."""


def least(bits: int) -> int:
    return -(1 << -bits - 1) if bits < 0 else 0


def greatest(bits: int) -> int:
    return (1 << -bits - 1) - 1 if bits < 0 else (1 << bits) - 1


LEAST = {name: least(bits) for name, bits in BITS.items()} | {
    "flag": False, "was_true": False, "level": "LOW", "mode": "OFF", "single": -3.4028234663852886e38,
    "ratio": -sys.float_info.max, "text": "", "ports": [0, 0, 0],
}  # fmt: skip
GREATEST = {name: greatest(bits) for name, bits in BITS.items()} | {
    "flag": True, "was_true": True, "level": "HIGH", "mode": "ON", "single": struct.unpack("<f", b"\1\0\0\0")[0],
    "ratio": sys.float_info.min, "text": "1234567", "ports": [65535, 65535, 65535],
}  # fmt: skip


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.build(BPF / "globals.bpf.c", BPF / "globals.h")


def seen(package: snoopkit.Package, options: dict[str, Any]) -> dict[str, Any]:
    """What the program has in its variables."""
    with snoopkit.run(package, options={"target_pid": os.getpid(), **options}) as snoop:
        os.getppid()
        (event,) = snoop.poll(10)
        values: dict[str, Any] = event._asdict()
        return values


def typed(value: Any) -> str:
    """As somebody might type it: numbers in hex, and octal where they are small."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{'-' if value < 0 else ''}0{abs(value):o}" if abs(value) < 1 << 16 else f"{value:#x}"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def test_what_was_compiled_in_stays(package: snoopkit.Package) -> None:
    assert {name: spec.default for name, spec in package.options.items()} == COMPILED | {"target_pid": 0}
    assert seen(package, {}) == COMPILED


@pytest.mark.parametrize("values", [LEAST, GREATEST], ids=["least", "greatest"])
@pytest.mark.parametrize("form", ["value", "text"])
def test_every_type_to_its_edge(package: snoopkit.Package, values: dict[str, Any], form: str) -> None:
    given = values if form == "value" else {name: typed(value) for name, value in values.items()}
    assert seen(package, given) == values


def test_one_beyond_is_refused_before_anything_is_loaded(package: snoopkit.Package) -> None:
    for name, bits in BITS.items():
        for value in (least(bits) - 1, greatest(bits) + 1, hex(greatest(bits) + 1)):
            with pytest.raises(snoopkit.OptionError, match=f"holds {least(bits)} to {greatest(bits)}$"):
                snoopkit.run(package, options={name: value})


def as_typed(package: snoopkit.Package, folder: Path, command: str, *options: str) -> Any:
    """What a command's JSON says of the event that this process caused; or, refused, status and message."""
    package.write(folder / "package.json")
    process = subprocess.Popen(
        [BIN / command, "run", "--json", "--max-events", "1", "--duration", "30", "package.json"]
        + ["--target_pid", str(os.getpid()), *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    do_until_it_ends(process, os.getppid)
    output, messages = process.communicate()
    return json.loads(output) if process.returncode == 0 else (process.returncode, messages)


@pytest.mark.parametrize("command", ["snoopkit", "ecli"])
def test_on_the_command_line(package: snoopkit.Package, command: str, tmp_path: Path) -> None:
    line = [
        "--u32",
        "4294967295",
        "--s64",
        "-0x8000000000000000",
        "--u16=0177777",
        "--flag",
        "--level",
        "HIGH",
    ]
    line += ["--disable-was_true", "--single", "-1e3", "--text", "a b", "--ports", "1,0x2", "--data", "7"]
    found = as_typed(package, tmp_path, command, *line)
    found = found["data"] if command == "snoopkit" else found
    expected = COMPILED | {"s128": "-7", "u128": "8"}  # as JSON has them
    expected |= {"u32": (1 << 32) - 1, "s64": -(1 << 63), "u16": 65535, "flag": True, "was_true": False}
    expected |= {"level": "HIGH", "single": -1000.0, "text": "a b", "ports": [1, 2, 0], "data": 7}
    if command == "ecli":
        expected |= {"level": "HIGH(100)", "mode": "ON(2147483647)"}
    assert found == expected


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--u32", "4294967296", "option u32: '4294967296' is refused: an unsigned int holds 0 to 4294967295"),
        ("--s8", "-129", "option s8: '-129' is refused: a signed char holds -128 to 127"),
        ("--owner", "-1", "option owner: '-1' is refused: an owner_t holds 0 to 4294967295"),
        ("--level", "LOUD", "it takes one of LOW, NORMAL, HIGH, or a number"),
        ("--text", "12345678", "a char[8] has room for 7 bytes"),
        ("--ports", "1,2,3,4", "a __u16[3] has room for 3, these are 4"),
        ("--single", "1e39", "a float can't hold it"),
        ("--typed64", "ten", "it takes a whole number: decimal, 0x… or octal 0…"),
    ],
)
def test_what_does_not_fit_is_bad_usage(
    package: snoopkit.Package, option: str, value: str, says: str, tmp_path: Path
) -> None:
    status, message = as_typed(package, tmp_path, "ecli", option, value)
    assert status == 2
    assert says in message
