"""Doc comments: which declaration they belong to, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from snoopkit.annotations import LICENSE, MAP, PROGRAM, VARIABLE, read
from snoopkit.errors import CompileError

KINDS = {
    "number": VARIABLE, "other": VARIABLE, "table": MAP, "events": MAP, "on_exec": PROGRAM, "on_exit": PROGRAM,
    "LICENSE": LICENSE,
}  # fmt: skip


def notes(text: str) -> dict[str, dict[str, Any]]:
    return read(text, KINDS, "x.bpf.c")


def only(text: str) -> dict[str, Any]:
    found = notes(text + "\nconst volatile int number = 0;\n")
    return found.get("number", {})


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("/// The process", {"description": "The process"}),
        ("//! The process", {"description": "The process"}),
        ("/** The process */", {"description": "The process"}),
        ("/*! The process */", {"description": "The process"}),
        ("/**\n * The process\n * to watch\n */", {"description": "The process to watch"}),
        ("/// The process\n/// to watch", {"description": "The process to watch"}),
        ("// The process", {}),
        ("/* The process */", {}),
        ("//// The process", {}),
        ("/*** The process ***/", {}),
        ("/// 10", {"description": "10"}),
        ("/// true", {"description": "true"}),
        ('/// @description "quoted"', {"description": "quoted"}),
        ("/// @description 10", {"description": "10"}),
        ("/// \\description backslash", {"description": "backslash"}),
        ("/// @description goes\n/// on", {"description": "goes\non"}),
        ("/// @value 5", {"value": 5}),
        ("/// @value 5\n/// Behind it", {"value": 5, "description": "Behind it"}),
        ("/// @value text", {"value": "text"}),
        ('/// @cmdarg {"default": 3, "short": "p"}', {"cmdarg": {"default": 3, "short": "p"}}),
        ('/// @cmdarg {"default": 3,\n///   "short": "p"}\n/// Text', {
            "cmdarg": {"default": 3, "short": "p"}, "description": "Text",
        }),
        ('/**\n * @cmdarg {\n *   "default": 3\n * }\n */', {"cmdarg": {"default": 3}}),
        ("/// Before\n/// @value 1\n/// @unknown x\n/// @param ctx y", {"value": 1, "description": "Before"}),
    ],
)  # fmt: skip
def test_what_it_says(comment: str, expected: dict[str, Any]) -> None:
    assert only(comment) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/// A\nint number;", {"number": "A"}),
        ("/// A\n\n\nint number;", {"number": "A"}),
        ("/// A\n/* between */\nint number;", {"number": "A"}),
        ("/// A\n#define X\nint number;", {}),
        ("/// A\nint unknown;\nint number;", {}),
        ("int number; ///< A\nint other;", {"number": "A"}),
        ("int number, /**< A */ other;", {"number": "A"}),
        ("/// A\nint number = other;", {"number": "A"}),
        ("/// A\nint number = 1, other = 2;", {"number": "A", "other": "A"}),
        ("/// A\nstruct { __uint(type, 4); } events SEC(\".maps\");", {"events": "A"}),
        ("/// A\nstruct t { int x; };\nstruct t table SEC(\".maps\");", {}),
        ("struct { /// A\n int x; } table SEC(\".maps\");", {}),
        ("/// A\nSEC(\"x\") int on_exec(void *ctx) { int number; return 0; }\nint other;", {"on_exec": "A"}),
        ("/// A\nSEC(\"x\") int BPF_PROG(on_exec, struct task_struct *p)\n{ return 0; }", {"on_exec": "A"}),
        ("SEC(\"x\") int on_exec(void *c) { return 0; }\n/// A\nint number;", {"number": "A"}),
        ("static int f(int number) { return 0; }\n/// A\nint other;", {"other": "A"}),
        ("#if 0\n/// A\nint number;\n#endif\n/// B\nint number;", {"number": "B"}),
        ("#if 0\n#if 1\n#else\n/// A\nint number;\n#endif\n#else\n/// B\nint number;\n#endif", {"number": "B"}),
        ("char *t = \"/// A\"; int number;", {}),
        ("/// A\nstruct __attribute__((packed)) { int x; } number;", {"number": "A"}),
        ("/// A", {}),
        ("/** A", {}),
        ("} ) ] /// A\n int number;", {"number": "A"}),
    ],
)  # fmt: skip
def test_what_it_belongs_to(text: str, expected: dict[str, str]) -> None:
    assert {name: note["description"] for name, note in notes(text).items()} == expected


def test_maps_programs_and_the_license() -> None:
    assert notes(
        """
        /// @sample {"interval": 1000, "type": "log2_hist",
        ///          "unit": "us"}
        /// @export_config "default"
        /// @interpreter {"stack_trace": {}}
        struct { __uint(type, BPF_MAP_TYPE_HASH); } table SEC(".maps");

        /// @tchook {"ifindex": 1, "attach_point": "BPF_TC_INGRESS"}
        /// @tcopts {"handle": 1, "priority": 1}
        /// @ifindex 2
        /// @flags 4
        /// @xdpopts {"old_prog_fd": 0}
        SEC("tc") int on_exec(struct __sk_buff *skb) { return 0; }

        /// @brief A tool
        /// @details It does
        /// this and that
        /// @version 1.0
        char LICENSE[] SEC("license") = "GPL";
        """
    ) == {
        "table": {
            "sample": {"interval": 1000, "type": "log2_hist", "unit": "us"},
            "export_config": "default",
            "intepreter": {"stack_trace": {}},
        },
        "on_exec": {
            "tchook": {"ifindex": 1, "attach_point": "BPF_TC_INGRESS"},
            "tcopts": {"handle": 1, "priority": 1},
            "ifindex": 2,
            "flags": 4,
            "xdpopts": {"old_prog_fd": 0},
        },
        "LICENSE": {"brief": "A tool", "details": "It does\nthis and that", "version": "1.0"},
    }


@pytest.mark.parametrize("value", ["", "text", "5", '{"default": }', "[1]"])
def test_what_must_be_an_object(value: str) -> None:
    with pytest.raises(CompileError, match=r"^x.bpf.c:3: @cmdarg: it takes a JSON object"):
        only(f"\n/// Text\n/// @cmdarg {value}")
