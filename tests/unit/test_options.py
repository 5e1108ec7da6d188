"""A package's own options: from its variables, with exact ranges, on the command line."""

from __future__ import annotations

import argparse
import struct
from typing import Any

import pytest

from package_writer import sample
from snoopkit import arguments, options
from snoopkit.errors import OptionError, PackageError
from snoopkit.package import Package


def package(byteorder: str = "little", **annotations: dict[str, Any]) -> Package:
    data, meta = sample(byteorder)
    for section in meta["bpf_skel"]["data_sections"]:
        for variable in section["variables"]:
            variable.update(annotations.get(variable["name"], {}))
    return Package(data, meta)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_types_and_initial_values(byteorder: str) -> None:
    found = package(byteorder).options
    assert {name: (spec.type, spec.default) for name, spec in found.items()} == {
        "s8": ("signed char", -1),
        "u8": ("unsigned char", 200),
        "s16": ("short", -2),
        "u16": ("__u16", 50000),
        "s32": ("int", -7),
        "u32": ("unsigned int", 1 << 31),
        "s64": ("long long", -(1 << 40)),
        "u64": ("unsigned long long", 1 << 63),
        "wide": ("unsigned __int128", 1 << 100),
        "flag": ("_Bool", True),
        "off": ("_Bool", False),
        "color": ("enum color", "GREEN"),
        "sign": ("enum sign", "MINUS"),
        "text": ("char[8]", "abc"),
        "single": ("float", 1.5),
        "ratio": ("double", -0.5),
        "count": ("unsigned long long", 0),
        "bytes": ("unsigned char[4]", [0, 0, 0, 0]),
    }
    assert (found["count"].section, found["count"].offset_bytes, found["count"].size_bytes) == (".bss", 8, 8)
    assert not any(spec.declared for spec in found.values())


RANGES = {
    "s8": (-128, 127),
    "u8": (0, 255),
    "s16": (-32768, 32767),
    "u16": (0, 65535),
    "s32": (-(1 << 31), (1 << 31) - 1),
    "u32": (0, (1 << 32) - 1),
    "s64": (-(1 << 63), (1 << 63) - 1),
    "u64": (0, (1 << 64) - 1),
    "wide": (0, (1 << 128) - 1),
}


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("name", RANGES)
def test_integers_have_exact_ranges(name: str, byteorder: Any) -> None:
    spec = package(byteorder).options[name]
    for edge, beyond in zip(RANGES[name], (RANGES[name][0] - 1, RANGES[name][1] + 1), strict=True):
        encoded = edge.to_bytes(spec.size_bytes, byteorder, signed=edge < 0)
        assert options.encode(spec, edge) == encoded
        assert options.encode(spec, str(edge)) == encoded
        assert options.encode(spec, f"{edge:#x}") == encoded
        for value in (beyond, str(beyond), f"{beyond:#x}"):
            with pytest.raises(OptionError, match=f"holds {RANGES[name][0]} to {RANGES[name][1]}$"):
                options.encode(spec, value)


@pytest.mark.parametrize(
    "value", ["", "1.5", "0x", "08", "x", "1e3", "١", "1" * 5000, 1.0, True, b"1", None, []]
)
def test_what_is_no_integer(value: Any) -> None:
    with pytest.raises(OptionError, match="it takes a whole number"):
        options.encode(package().options["s32"], value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("s32", " 0X1f ", b"\x1f\0\0\0"),
        ("s32", "+010", b"\x08\0\0\0"),
        ("s32", "-0o17", b"\xf1\xff\xff\xff"),
        ("s32", "0", bytes(4)),
        ("flag", "true", b"\1"),
        ("flag", "No", b"\0"),
        ("flag", True, b"\1"),
        ("flag", 0, b"\0"),
        ("color", "BLUE", b"\xff\xff\xff\xff"),
        ("color", 3, b"\3\0\0\0"),
        ("color", "0x10", b"\x10\0\0\0"),
        ("sign", "MINUS", b"\xfd\xff\xff\xff"),
        ("sign", "-1", b"\xff\xff\xff\xff"),
        ("text", "1234567", b"1234567\0"),
        ("text", "", bytes(8)),
        ("text", b"\xff", b"\xff".ljust(8, b"\0")),
        ("text", "\udcff", b"\xff".ljust(8, b"\0")),
        ("text", "é", b"\xc3\xa9".ljust(8, b"\0")),
        ("single", "0.1", struct.pack("<f", 0.1)),
        ("ratio", "-1e300", struct.pack("<d", -1e300)),
        ("ratio", 2, struct.pack("<d", 2.0)),
        ("bytes", "1, 0x2,03", b"\1\2\3\0"),
        ("bytes", [255], b"\xff\0\0\0"),
        ("bytes", "", bytes(4)),
    ],
)
def test_encodes(name: str, value: Any, expected: bytes) -> None:
    assert options.encode(package().options[name], value) == expected


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("flag", "maybe", "true or false"),
        ("flag", 2, "true or false"),
        ("color", "PINK", "one of RED, GREEN, BLUE, or a number"),
        ("color", "-1", "holds 0 to"),
        ("text", "12345678", "room for 7 bytes"),
        ("text", "a\0b", "NUL"),
        ("text", 5, "takes text"),
        ("single", "1e39", "can't hold"),
        ("single", "one", "takes a number"),
        ("ratio", True, "takes a number"),
        ("ratio", [1.0], "takes a number"),
        ("bytes", "1,2,3,4,5", "room for 4, these are 5"),
        ("bytes", "1,,2", "takes a whole number"),
        ("bytes", "1,256", "holds 0 to 255"),
        ("bytes", 5, "takes a list"),
        ("s32", [1], "takes a whole number"),
    ],
)
def test_refuses(name: str, value: Any, cause: str) -> None:
    with pytest.raises(OptionError, match=cause):
        options.encode(package().options[name], value)


def test_initial_values_hold_what_is_declared_and_what_is_given() -> None:
    found = package(s32={"cmdarg": {"default": 9}}, u16={"value": 5}, text={"cmdarg": {"default": "xy"}})
    assert (found.options["s32"].default, found.options["s32"].declared) == (9, True)
    patches = options.initial_values(found, {"u16": 6, "count": 1})
    assert patches == {
        ".rodata": [
            (found.options["u16"].offset_bytes, b"\6\0"),
            (found.options["s32"].offset_bytes, b"\x09\0\0\0"),
            (found.options["text"].offset_bytes, b"xy".ljust(8, b"\0")),
        ],
        ".bss": [(8, b"\1" + bytes(7))],
    }
    assert options.initial_values(package(), {}) == {}
    with pytest.raises(OptionError, match="option 'nothing': the package has no such option"):
        options.initial_values(found, {"nothing": 1})


@pytest.mark.parametrize(
    ("name", "annotation", "place"),
    [
        ("u8", {"value": 256}, r"data_sections\[0\].variables\[1\].value: "),
        ("u8", {"cmdarg": {"default": "x"}}, r"variables\[1\].cmdarg.default: "),
        ("flag", {"value": "perhaps"}, r"variables\[9\].value: "),
        ("u8", {"cmdarg": {"long": "a b"}}, r"'a b' can't be the name of an option"),
        ("u8", {"cmdarg": {"long": "-x\x1b"}}, "can't be the name"),
        ("u8", {"cmdarg": {"short": "ab"}}, r"cmdarg.short: 'ab' isn't one letter"),
    ],
)
def test_bad_annotations(name: str, annotation: dict[str, Any], place: str) -> None:
    with pytest.raises(PackageError, match=place):
        package(**{name: annotation})


def parse(found: Package, *words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--verbose", "-v", action="store_true")
    arguments.add_arguments(parser, found)
    return arguments.collect(found, parser.parse_args(words))


def test_on_the_command_line() -> None:
    found = package(
        s32={"cmdarg": {"long": "pid", "short": "p"}},
        flag={"cmdarg": {"default": False}},
        off={"cmdarg": {"default": True, "short": "o"}},
    )
    assert parse(found) == {}
    assert parse(found, "--pid", "-3", "--u16=0xffff", "--text", "ab", "--color", "RED") == {
        "s32": -3,
        "u16": 65535,
        "text": "ab",
        "color": "RED",
    }
    assert parse(found, "-p", "4", "--enable-flag", "--disable-off") == {"s32": 4, "flag": True, "off": False}
    assert parse(found, "-o") == {"off": False}
    assert parse(package(), "--disable-flag", "--off") == {"flag": False, "off": True}


def test_a_name_with_underscores_may_be_typed_with_dashes() -> None:
    found = package(s32={"cmdarg": {"long": "min_us"}}, flag={"cmdarg": {"long": "is_on"}})
    assert parse(found, "--min_us", "1") == parse(found, "--min-us", "1") == {"s32": 1}
    assert parse(found, "--disable-is-on") == parse(found, "--disable-is_on") == {"flag": False}
    both = package(s32={"cmdarg": {"long": "a_b"}}, s64={"cmdarg": {"long": "a-b"}})
    assert parse(both, "--a_b", "1", "--a-b", "2") == {"s32": 1, "s64": 2}


def test_a_list_on_the_command_line() -> None:
    assert parse(package(), "--bytes", "1,2") == {"bytes": [1, 2, 0, 0]}
    assert package(bytes={"cmdarg": {"default": [7]}}).options["bytes"].default == [7, 0, 0, 0]


def test_a_bad_value_on_the_command_line_says_why() -> None:
    with pytest.raises(argparse.ArgumentError, match="argument --u16: option u16: '65536' is refused"):
        parse(package(), "--u16", "65536")


def test_names_that_are_taken_and_names_that_clash() -> None:
    found = package(
        s32={"cmdarg": {"long": "verbose", "short": "v"}},
        u16={"cmdarg": {"long": "help"}},
        u32={"cmdarg": {"long": "u64"}},
    )
    assert parse(found, "--set-verbose", "1", "--set-help", "2") == {"s32": 1, "u16": 2}
    assert parse(found, "-v") == {}
    assert parse(found, "--u64", "1", "--set-u64", "2") == {"u32": 1, "u64": 2}
    assert found.warnings == ("option u64: another one is called --u64 too",)


def test_help_is_harmless_and_complete(capsys: pytest.CaptureFixture[str]) -> None:
    found = package(
        s32={"description": "100% \x1b[2Jclean\nand\u202e more"},
        u16={"cmdarg": {"help": "The port"}, "description": "unused"},
    )
    with pytest.raises(SystemExit) as ended:
        parse(found, "--help")
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "100% \\x1b[2Jclean and\\u202e more (int; default: -7)" in " ".join(text.split())
    assert "The port (__u16; default: 50000)" in text
    assert "Set value of `long long` variable s64" in " ".join(text.split())
    assert "\x1b" not in text


def test_what_the_source_says_about_itself(capsys: pytest.CaptureFixture[str]) -> None:
    data, meta = sample()
    meta["bpf_skel"]["doc"] = {
        "brief": "Does 100%",
        "details": "First %(prog)s %(x)s.\n\x1b[2JSecond.",
        "version": "2.1%",
    }
    parser = arguments.parser(Package(data, meta), "snoopkit run x.json")
    for flag, expected in (
        ("--help", "Does 100%\n"),
        ("--help", "\nFirst %(prog)s %(x)s.\n\\x1b[2JSecond."),
        ("--version", " 2.1%\n"),
    ):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args([flag])
        assert ended.value.code == 0
        assert expected in capsys.readouterr().out
