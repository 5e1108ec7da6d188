"""Numbers as what they mean: every format at its edges."""

from __future__ import annotations

import re
import time

import pytest

import snoopkit
from snoopkit import layout
from snoopkit.render.formats import NAMES, named


def number(size: int, *, signed: bool = False) -> layout.IntType:
    return layout.IntType(f"int{8 * size}", size, signed=signed, is_bool=False, is_char=False)


def octets(count: int) -> layout.ArrayType:
    return layout.ArrayType(f"unsigned char[{count}]", number(1), count)


def words(count: int) -> layout.ArrayType:
    return layout.ArrayType(f"unsigned int[{count}]", number(4), count)


LOCAL6 = [0] * 15 + [1]


@pytest.mark.parametrize(
    ("name", "ctype", "value", "text"),
    [
        ("ipv4", number(4), 0x0100007F, "127.0.0.1"),
        ("ipv4", number(4, signed=True), -1, "255.255.255.255"),
        ("ipv4", octets(4), [192, 0, 2, 1], "192.0.2.1"),
        ("ip", octets(4), b"\0\0\0\0", "0.0.0.0"),
        ("ip", octets(16), LOCAL6, "::1"),
        ("ipv6", words(4), [0xB80D0120, 0, 0, 0x01000000], "2001:db8::1"),
        ("ipv6", number(16), 1 << 120, "::1"),
        ("mac", octets(6), [2, 0, 94, 16, 0, 255], "02:00:5e:10:00:ff"),
        ("mac", octets(8), [1, 2, 3, 4, 5, 6, 7, 8], "01:02:03:04:05:06"),
        ("port", number(2), 0x5000, "80"),
        ("port", number(2), 0xFFFF, "65535"),
        ("port", number(4), 0x5000, "80"),
        ("hex", number(8, signed=True), -1, "0xffffffffffffffff"),
        ("hex", number(4), 0, "0x0"),
        ("hex", octets(3), [0, 171, 255], "00abff"),
        ("errno", number(4, signed=True), -2, "-ENOENT"),
        ("errno", number(4), 2, "ENOENT"),
        ("errno", number(8), 2**64 - 13, "-EACCES"),
        ("errno", number(4, signed=True), 0, "0"),
        ("errno", number(4, signed=True), -99999, "-99999"),
        ("result", number(8, signed=True), 3, "3"),
        ("result", number(8), 2**64 - 2, "-ENOENT"),
        ("signal", number(4), 9, "SIGKILL"),
        ("signal", number(4), 0, "0"),
        ("signal", number(4), 35, "SIGRTMIN+1"),
        ("signal", number(4), 64, "SIGRTMAX"),
        ("signal", number(4), 65, "65"),
        ("syscall", number(8), 437, "openat2"),
        ("syscall", number(8), 99999, "99999"),
        ("duration", number(8), 0, "0ns"),
        ("duration", number(8), 999, "999ns"),
        ("duration", number(8), 1000, "1.000us"),
        ("duration", number(8), 1_999_999_999, "1.999s"),
        ("duration", number(8, signed=True), -1500, "-1.500us"),
        ("duration_us", number(4), 1500, "1.500ms"),
        ("duration_s", number(4), 90, "90.000s"),
        ("device", number(4), 8 << 20 | 1, "8:1"),
        ("device", number(4), 0xFFFFFFFF, "4095:1048575"),
        ("mode", number(4), 0o644, "0644"),
        ("mode", number(4), 0o100755, "0100755"),
    ],
)
def test_values(name: str, ctype: layout.CType, value: object, text: str) -> None:
    assert named(name, ctype, "little")(value) == text


def test_an_object_of_the_other_byte_order() -> None:
    assert named("ipv4", number(4), "big")(0x7F000001) == "127.0.0.1"
    assert named("port", number(2), "big")(80) == "80"


def test_an_address_inside_structs() -> None:
    union = layout.StructType("", 16, (layout.Member("u6_addr8", 0, octets(16)),), is_union=True)
    struct = layout.StructType("in6_addr", 16, (layout.Member("in6_u", 0, union),))
    assert named("ipv6", struct, "little")(((LOCAL6,),)) == "::1"


@pytest.mark.parametrize("name", ["timestamp", "timestamp_monotonic", "timestamp_unix"])
def test_times_of_each_clock(name: str) -> None:
    clock = {"timestamp": time.CLOCK_BOOTTIME, "timestamp_monotonic": time.CLOCK_MONOTONIC}
    before = int(time.time())
    text = named(name, number(8))(time.clock_gettime_ns(clock.get(name, time.CLOCK_REALTIME)))
    after = int(time.time())
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d", text)
    around = range(before - 1, after + 2)
    assert text[:8] in [time.strftime("%H:%M:%S", time.localtime(second)) for second in around]


@pytest.mark.parametrize(
    ("name", "ctype"),
    [("ipv4", number(8)), ("ipv6", octets(4)), ("mac", number(4)), ("port", number(1)), ("mode", octets(4))],
)
def test_a_format_that_the_type_does_not_have(name: str, ctype: layout.CType) -> None:
    with pytest.raises(snoopkit.OptionError, match=f"can't be shown as {name}"):
        named(name, ctype)


def test_every_name_has_a_format() -> None:
    for name in NAMES:
        types = [number(4), number(8), octets(16), octets(6)]
        assert any(_takes(name, ctype) for ctype in types)


def _takes(name: str, ctype: layout.CType) -> bool:
    try:
        return callable(named(name, ctype))
    except snoopkit.OptionError:
        return False
