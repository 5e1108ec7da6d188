"""The plan by which `_decode` reads a struct: its layout as nested tuples of plain integers and strings."""

from __future__ import annotations

from .errors import PackageError
from .layout import ArrayType, EnumType, FloatType, IntType, PointerType, StructType, locate

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from typing import Any

    from .layout import CType, Member, TailPart

    Step = tuple[int, str, int, int, int, int, int, Any]
    Plan = tuple[str, int, tuple[Step, ...]]
    EventPlan = tuple[str, int, int, tuple[Step, ...], tuple[int, int] | None]

__all__ = ["Forms", "event_plan", "plan"]

# A step is (op, name, offset_bytes, size_bytes, bit_offset, bit_size, count, detail). `detail` is, by op:
# ENUM a dict from number to name (ENUM_CUT: from its low half); TEXT and the tails of text `bytes` where that is
# what they become; ARRAY one step with offset 0, repeated every `size_bytes`; STRUCT a plan.

(
    OP_UNSIGNED,
    OP_SIGNED,
    OP_BOOL,
    OP_FLOAT,
    OP_POINTER,
    OP_ENUM,
    OP_ENUM_SIGNED,
    OP_ENUM_CUT,
    OP_TEXT,
    OP_OCTETS,
    OP_ARRAY,
    OP_STRUCT,
) = range(12)
OP_TAIL_TEXT, OP_TAIL_STRINGS, OP_TAIL_OCTETS, OP_TAIL_ARRAY = range(12, 16)


class Forms:
    """What arrays of bytes become in Python.

    `text` is "str", a char array up to its first NUL with surrogateescape for what isn't UTF-8, or "bytes", the same
    undecoded; `u8` is "list", numbers for an array of unsigned char, or "bytes", all of it. Anything else raises
    ValueError.
    """

    __slots__ = ("text", "u8")

    def __init__(self, text: str = "str", u8: str = "list") -> None:
        if text not in ("str", "bytes"):
            raise ValueError(f"text is 'str' or 'bytes', not {text!r}")
        if u8 not in ("list", "bytes"):
            raise ValueError(f"u8 is 'list' or 'bytes', not {u8!r}")
        self.text = bytes if text == "bytes" else None
        self.u8 = u8 == "bytes"


DEFAULT_FORMS = Forms()


def plan(struct: StructType, forms: Forms = DEFAULT_FORMS) -> Plan:
    """(name, size_bytes, steps) for one struct; see the comment above for a step."""
    return (struct.name, struct.size_bytes, tuple(_step(member, forms) for member in struct.members))


def _step(member: Member, forms: Forms) -> Step:
    op, size, count, detail = _operation(member.type, forms, member.bit_size)
    return (op, member.name, member.offset_bytes, size, member.bit_offset, member.bit_size, count, detail)


def _operation(ctype: CType, forms: Forms, bit_size: int = 0) -> tuple[int, int, int, Any]:
    size = ctype.size_bytes
    if isinstance(ctype, IntType):
        return (OP_BOOL if ctype.is_bool else OP_SIGNED if ctype.signed else OP_UNSIGNED, size, 1, None)
    if isinstance(ctype, PointerType):
        return (OP_POINTER, size, 1, None)
    if isinstance(ctype, EnumType):
        op = OP_ENUM_CUT if ctype.is_cut else OP_ENUM_SIGNED if ctype.signed else OP_ENUM
        return (op, size, 1, ctype.names(bit_size))
    if isinstance(ctype, FloatType):
        return (OP_FLOAT, size, 1, None)
    if isinstance(ctype, ArrayType):
        if ctype.is_text:
            return (OP_TEXT, size, 1, forms.text)
        if ctype.is_octets and forms.u8:
            return (OP_OCTETS, size, 1, None)
        inner_op, inner_size, inner_count, inner_detail = _operation(ctype.element, forms)
        return (
            OP_ARRAY,
            ctype.element.size_bytes,
            ctype.count,
            (inner_op, "", 0, inner_size, 0, 0, inner_count, inner_detail),
        )
    if isinstance(ctype, StructType):
        return (OP_STRUCT, size, 1, plan(ctype, forms))
    raise TypeError(f"no plan for {ctype!r}")


def event_plan(
    struct: StructType,
    *,
    tail_member: str | None = None,
    tail_parts: tuple[TailPart, ...] = (),
    size_member: str | None = None,
    forms: Forms = DEFAULT_FORMS,
) -> EventPlan:
    """How to read one event: (name, fixed_size_bytes, size_bytes, steps, where its true size stands).

    Without a tail a record has at least the struct's size. With one it has at least the fixed part; the tail's
    parts follow one another from the tail member's offset, and a step for each stands in the tail member's place:
    its count is the offset of its length and its bit_size the length's width in bytes. Without declared parts the
    tail is what is left of the record. The true size stands at (offset, width), or is what arrived.

    Raises PackageError where paths, lengths or the tail don't fit the struct.
    """
    whole = plan(struct, forms)
    where = None
    if size_member is not None:
        where = _unsigned(struct, size_member)
    if tail_member is None:
        return (whole[0], whole[1], whole[1], whole[2], where)
    tail = locate(struct, tail_member)
    if not struct.members or struct.members[-1].name != tail_member or not isinstance(tail.type, ArrayType):
        raise PackageError(
            f"struct {struct.name!r}: its tail {tail_member!r} is not its last member, an array"
        )
    steps = list(whole[2][:-1])
    if not tail_parts:
        op, _, offset, size, _, _, _, detail = whole[2][-1]
        if op == OP_TEXT:
            steps.append((OP_TAIL_TEXT, tail_member, offset, 0, 0, 0, 0, detail))
        elif op == OP_OCTETS:
            steps.append((OP_TAIL_OCTETS, tail_member, offset, 0, 0, 0, 0, None))
        elif op == OP_ARRAY:
            steps.append((OP_TAIL_ARRAY, tail_member, offset, size, 0, 0, 0, detail))
        else:
            raise PackageError(f"struct {struct.name!r}: a tail can't be of type {tail.type}")
    names = {step[1] for step in steps}
    for part in tail_parts:
        if part.name in names:
            raise PackageError(f"struct {struct.name!r}: two members are called {part.name!r}")
        names.add(part.name)
        at, width = _unsigned(struct, part.size_member)
        if at + width > tail.offset_bytes:
            raise PackageError(f"struct {struct.name!r}: the length {part.size_member!r} stands in the tail")
        op = OP_TAIL_STRINGS if part.form == "strings" else OP_TAIL_TEXT
        steps.append((op, part.name, tail.offset_bytes, 0, 0, width, at, forms.text))
    return (whole[0], tail.offset_bytes, whole[1], tuple(steps), where)


def _unsigned(struct: StructType, path: str) -> tuple[int, int]:
    member = locate(struct, path)
    if not isinstance(member.type, IntType) or member.bit_size or member.type.size_bytes > 8:
        raise PackageError(f"struct {struct.name!r}: {path!r} is not a plain integer")
    return (member.offset_bytes, member.type.size_bytes)
