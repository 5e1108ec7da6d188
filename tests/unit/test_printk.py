"""Formats against messages, and the kernel's lines read back, hostile ones too."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given, strategies as st

from snoopkit.printk.formats import Format
from snoopkit.printk.tracing import _filter, parse


@pytest.mark.parametrize(
    ("format", "message", "fits"),
    [
        ("plain", "plain", True),
        ("plain\n", "plain", True),
        ("plain", "plain and more", False),
        ("%d runs %s", "7 runs /bin/true", True),
        ("%d runs %s", "-7 runs ", True),
        ("%d runs %s", "seven runs /bin/true", False),
        ("%u", "-1", False),
        ("%d%%", "5%", True),
        ("%d%%", "5", False),
        ("%5d|%-5d|", "    7|8    |", True),
        ("%08x %lx %llu", "000000ff ffffffffffffffff 1", True),
        ("%x", "xyz", False),
        ("%#x", "0xff", True),
        ("%p at %pI4", "00000000c3a94b0b at 127.0.0.1", True),
        ("%pks!", "a kernel's text!", True),
        ("%c%c", "ab", True),
        ("%s %s %s %s", "a b c d", True),
        ("%s %s %s %s", "a b c", False),
        ("%s", "whatever it is\n", True),
        ("%d%d%d", "123", True),
        ("a.*b", "axxb", False),
        ("long %s", "long " + "x" * 1018, True),
        ("long %s end", "long " + "x" * 1018, True),  # cut by the kernel
        ("long %s end", "long " + "x" * 1017, False),
        ("%d x%s x", "1 x", False),  # the two may not share a letter
    ],
)
def test_formats(format: str, message: str, fits: bool) -> None:
    assert Format(format, ["p"]).fits(message) is fits


@pytest.mark.parametrize(
    ("format", "anything"),
    [("%s", True), ("%s %s\n", True), ("%d", False), ("%s: %d", False), ("x%s", False)],
)
def test_what_fits_anything(format: str, anything: bool) -> None:
    assert Format(format, ["p"]).fits_anything is anything


@given(
    st.lists(
        st.one_of(st.integers(-(1 << 63), (1 << 64) - 1), st.text("ab %\n\udcff", max_size=5)), max_size=8
    )
)
def test_what_was_printed_by_a_format_fits_it(values: list[int | str]) -> None:
    text = "".join("%d, " if isinstance(value, int) else "%s; " for value in values)
    message = "".join(f"{value}, " if isinstance(value, int) else f"{value}; " for value in values)
    assert Format(f"begin {text}", ["p"]).fits(f"begin {message}")


@pytest.mark.parametrize(
    "format", ["%s" * 12, "%sa" * 12, "%d" * 12, "%5d " * 12, "%u1" * 12, "%c" * 12, "%p" * 12]
)
def test_no_format_takes_long(format: str) -> None:
    """Of the process's own time, with a thousandfold of what it takes allowed."""
    one = Format(format, ["p"])
    began = process_time()
    for message in ("a" * 1000, "1" * 1000, " " * 1000, "1" * 1000 + "x", "ab" * 500, "1 " * 500):
        one.fits(message)
    assert process_time() - began < 10


LINES = b"""\
          python-8891    [000] ...21  2278.964700: bpf_trace_printk: plain
           <...>-8892    [011] d..31  2278.964702: bpf_trace_printk: two
lines

CPU:1 [LOST 12 EVENTS]
 a-1 [000] comm-12   (     12) [001] .N...  9.000001: bpf_trace_printk: x: bpf_trace_printk: y
"""


def test_the_kernels_lines() -> None:
    assert list(parse(LINES)) == [
        (2278964700000, 0, 8891, b"python", b"plain"),
        (2278964702000, 11, 8892, None, b"two\nlines\n"),
        (1, 12),
        (9000001000, 1, 12, b"a-1 [000] comm", b"x: bpf_trace_printk: y"),
    ]


@given(st.binary(max_size=300), st.integers(0, len(LINES)))
def test_lines_that_are_none(data: bytes, at: int) -> None:
    for line in parse(LINES[:at] + data + LINES[at:]):
        assert len(line) in (2, 5)


def test_the_kernels_filter() -> None:
    assert _filter(["before ", "after ", "before "]) == 'bpf_string ~ "before *" || bpf_string ~ "after *"'
    assert _filter(['say "x"']) == 'bpf_string ~ "say *"'
    assert _filter(["x", ""]) == ""  # it may begin in any way
    assert _filter(['"']) == ""
    assert _filter([f"number {number}" for number in range(1000)]) == ""
