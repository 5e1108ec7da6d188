"""Mutated sources: what their comments say is read, or refused with file and line; never anything else."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from snoopkit import anchors
from snoopkit.annotations import LICENSE, MAP, PROGRAM, STRUCT, VARIABLE, places, read
from snoopkit.errors import CompileError

KINDS = {"limit": VARIABLE, "table": MAP, "on_exec": PROGRAM, "LICENSE": LICENSE, "event": STRUCT}
SOURCE = """
/// @export
struct event { int pid; char comm[16]; };
/** A limit,
 *  in bytes
 *  @cmdarg {"default": 5, "long": "limit",
 *           "short": "l"} */
const volatile int limit = 3, other; ///< behind it
/// @sample {"interval": 1000, "type": "log2_hist"}
/// @interpreter {"stack_trace": {}}
struct { __uint(type, 1); } table SEC(".maps");
#if 0
/// @value "no"
#endif
//! @tchook {"ifindex": 1}
SEC("tc") int BPF_PROG(on_exec, void *ctx) { return '"' + sizeof("/// } \\" "); }
/// @brief A tool
/// @details lines
/// of text
char LICENSE[] SEC("license") = "GPL";
"""
PIECES = st.sampled_from(
    [
        "///",
        "/**",
        "*/",
        "/*",
        "@",
        "@cmdarg",
        "@export",
        "{",
        "}",
        "(",
        ")",
        '"',
        "'",
        "\\",
        "\n",
        "#if 0",
        "#endif",
    ]
    + [";", "=", ",", "struct", "limit", "null", "1e999", "\0", "é", "\ud800", " "]
)
CHANGES = st.lists(st.tuples(st.integers(0, len(SOURCE)), st.integers(0, 30), PIECES), min_size=1, max_size=6)


def mutated(changes: list[tuple[int, int, str]]) -> str:
    text = SOURCE
    for at, length, piece in changes:
        text = text[:at] + piece + text[at + length :]
    return text


@given(CHANGES)
def test_mutants_are_read_or_refused_by_their_line(changes: list[tuple[int, int, str]]) -> None:
    text = mutated(changes)
    try:
        found = read(text, KINDS, "x.bpf.c")
    except CompileError as error:
        place = re.match(r"x\.bpf\.c:(\d+): @\w+: ", str(error))
        assert place and 1 <= int(place[1]) <= text.count("\n") + 1
        return
    assert set(found) <= set(KINDS)
    for name, line in places(text, KINDS).items():
        assert name in KINDS and 1 <= line <= text.count("\n") + 1


@given(CHANGES)
def test_anchors_change_no_line(changes: list[tuple[int, int, str]]) -> None:
    text = mutated(changes)
    placed = anchors.place(text)
    assert placed.count("\n") == text.count("\n")
    assert anchors.clean(placed).replace(" ", "") == text.replace(" ", "")
