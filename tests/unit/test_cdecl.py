"""How types are written in C."""

from __future__ import annotations

import pytest

from btf_writer import BtfWriter
from snoopkit.btf import Btf
from snoopkit.cdecl import declaration, type_name
from snoopkit.errors import PackageError


def written(build: object, name: str = "") -> str:
    w = BtfWriter()
    assert callable(build)
    type_id = build(w)
    read = Btf.parse(w.blob())
    return declaration(read, type_id, name) if name else type_name(read, type_id)


def i32(w: BtfWriter) -> int:
    return w.integer("int", 4, signed=True)


def char(w: BtfWriter) -> int:
    return w.integer("char", 1, signed=True)


def array(w: BtfWriter, element: int, *counts: int) -> int:
    for count in reversed(counts):
        element = w.array(element, i32(w), count)
    return element


CASES = [
    (lambda w: 0, "void", "void x"),
    (lambda w: w.integer("unsigned long long", 8), "unsigned long long", "unsigned long long x"),
    (lambda w: w.floating("double", 8), "double", "double x"),
    (lambda w: array(w, char(w), 16), "char[16]", "char x[16]"),
    (lambda w: array(w, w.typedef("__u32", w.integer("unsigned int", 4)), 26), "__u32[26]", "__u32 x[26]"),
    (lambda w: array(w, i32(w), 2, 3), "int[2][3]", "int x[2][3]"),
    (lambda w: w.ptr(0), "void *", "void *x"),
    (lambda w: w.ptr(w.ptr(w.const(char(w)))), "const char **", "const char **x"),
    (lambda w: w.const(w.ptr(w.const(char(w)))), "const char *const", "const char *const x"),
    (lambda w: w.ptr(w.volatile(w.ptr(i32(w)))), "int *volatile *", "int *volatile *x"),
    (lambda w: w.restrict(w.ptr(0)), "void *restrict", "void *restrict x"),
    (lambda w: w.const(w.volatile(i32(w))), "const volatile int", "const volatile int x"),
    (lambda w: w.const(array(w, char(w), 4)), "const char[4]", "const char x[4]"),
    (lambda w: w.ptr(w.type_tag("user", w.struct("s", 0, []))), "struct s *", "struct s *x"),
    (lambda w: w.ptr(array(w, i32(w), 4)), "int (*)[4]", "int (*x)[4]"),
    (lambda w: array(w, w.ptr(i32(w)), 4), "int *[4]", "int *x[4]"),
    (lambda w: array(w, w.ptr(array(w, i32(w), 3)), 2), "int (*[2])[3]", "int (*x[2])[3]"),
    (lambda w: w.func_proto(0, []), "void (void)", "void x(void)"),
    (lambda w: w.ptr(w.func_proto(i32(w), [("", w.ptr(0))])), "int (*)(void *)", "int (*x)(void *)"),
    (
        lambda w: w.ptr(w.func_proto(i32(w), [("fmt", w.ptr(char(w))), ("", 0)])),
        "int (*)(char *fmt, ...)",
        "int (*x)(char *fmt, ...)",
    ),
    (
        lambda w: array(w, w.const(w.ptr(w.func_proto(w.ptr(0), [("n", i32(w))]))), 8),
        "void *(*const [8])(int n)",
        "void *(*const x[8])(int n)",
    ),
    (
        lambda w: w.ptr(w.func_proto(w.ptr(w.func_proto(0, [("", i32(w))])), [("sig", i32(w))])),
        "void (*(*)(int sig))(int)",
        "void (*(*x)(int sig))(int)",
    ),
    (lambda w: w.typedef("t", w.ptr(0)), "t", "t x"),
    (lambda w: w.struct("s", 0, []), "struct s", "struct s x"),
    (lambda w: w.union("u", 0, []), "union u", "union u x"),
    (lambda w: w.enum("e", 4, [("A", 1)]), "enum e", "enum e x"),
    (lambda w: w.fwd("f"), "struct f", "struct f x"),
    (lambda w: w.fwd("f", union=True), "union f", "union f x"),
    (lambda w: w.enum("", 4, [("A", 1), ("B", -2)], signed=True), "enum { A = 1, B = -2 }", None),
    (lambda w: w.struct("", 0, []), "struct { }", "struct { } x"),
    (
        lambda w: w.struct("", 8, [("a", i32(w), 0, 3), ("b", i32(w), 32, 0)]),
        "struct { int a : 3; int b; }",
        "struct { int a : 3; int b; } x",
    ),
    (
        lambda w: w.ptr(w.struct("", 8, [("", w.union("", 8, [("f", w.ptr(w.func_proto(0, [])), 0)]), 0)])),
        "struct { union { void (*f)(void); }; } *",
        "struct { union { void (*f)(void); }; } *x",
    ),
    (lambda w: w.var("counter", i32(w)), "int", "int x"),
    (lambda w: w.func("f", w.func_proto(i32(w), [("a", i32(w))])), "int (int a)", "int x(int a)"),
]


@pytest.mark.parametrize(("build", "name", "declared"), CASES)
def test_spelling(build: object, name: str, declared: str | None) -> None:
    assert written(build) == name
    if declared:
        assert written(build, "x") == declared


def test_a_type_id_that_is_not_there() -> None:
    w = BtfWriter()
    i32(w)
    read = Btf.parse(w.blob())
    for missing in (-1, 2, 1 << 40):
        with pytest.raises(PackageError, match="no type"):
            type_name(read, missing)


def test_a_type_too_long_to_write_is_refused_in_time() -> None:
    w = BtfWriter()
    one = i32(w)
    for _ in range(12):
        one = w.func_proto(one, [("a", w.ptr(one)), ("b", w.ptr(one)), ("c", w.ptr(one))])
        one = w.ptr(one)
    read = Btf.parse(w.blob())
    with pytest.raises(PackageError, match="too much text"):
        type_name(read, one)


def test_shared_anonymous_structs_are_refused_in_time() -> None:
    w = BtfWriter()
    one = w.struct("", 0, [])
    for _ in range(40):
        one = w.struct("", 0, [("a", one, 0), ("b", one, 0)])
    read = Btf.parse(w.blob())
    with pytest.raises(PackageError, match="too much text"):
        type_name(read, one)
