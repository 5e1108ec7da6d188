"""What has to be true of untrusted BTF before libbpf, the kernel or our own layout code may see it.

The rules are the kernel's, and stricter where libbpf 1.1 relies on something without looking. They are
looser where the kernel only refuses what libbpf repairs first: sections without size or offsets, external
variables of type void, external functions listed in a section.

Nothing here recurses, and every type and member is visited a fixed number of times.
"""

from __future__ import annotations

from snoopkit.btf import (
    INT_BOOL,
    INT_CHAR,
    INT_SIGNED,
    KIND_ARRAY,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    KIND_VOID,
    LINKAGE_EXTERN,
    POINTER_SIZE,
    SIZED_KINDS,
    TRANSPARENT_KINDS,
)
from snoopkit.errors import PackageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snoopkit.btf import Btf, Type

_INFO_BITS = 0x9F00FFFF  # kind flag, kind and number of parts; the rest is reserved
_MAX_TYPES = 1 << 20
_MAX_NAME = 512
_MAX_BYTES = 0xFFFFFFFF
# Compilers stay far below; code that follows types may then recurse.
_MAX_DEPTH = 64

_COMPOSITE = frozenset((KIND_STRUCT, KIND_UNION))
_ENUMS = frozenset((KIND_ENUM, KIND_ENUM64))
_WITH_KIND_FLAG = frozenset(
    (KIND_STRUCT, KIND_UNION, KIND_FWD, KIND_ENUM, KIND_ENUM64, KIND_DECL_TAG, KIND_TYPE_TAG)
)
_WITH_PARTS = frozenset(
    (KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_ENUM64, KIND_FUNC_PROTO, KIND_FUNC, KIND_DATASEC)
)
_TAGGABLE = frozenset((KIND_STRUCT, KIND_UNION, KIND_TYPEDEF, KIND_VAR, KIND_FUNC))
# Declarations of a program, not types that another type can be made of.
_NOT_A_TYPE = frozenset((KIND_FUNC, KIND_VAR, KIND_DATASEC, KIND_DECL_TAG))
_UNSIZED = -1


def check(btf: Btf) -> None:
    """Raise `PackageError` unless all of `btf` is sound."""
    types = btf.types
    if len(types) > _MAX_TYPES:
        raise PackageError(f"BTF: more than {_MAX_TYPES} types")
    kinds = types.kinds
    everything = list(types)
    for one in everything[1:]:
        _check_info(one, types.info(one.id), types.third_word(one.id))
        _check_name(one)
        _check_references(one, kinds)
        if one.kind == KIND_INT:
            _check_int(one, types.int_data(one.id))
    sizes = _sizes(everything, _children_first(everything, _held_by_value, "contains itself"))
    _children_first(everything, _spelled_within, "can't be written down")
    for one in everything[1:]:
        if one.kind in _COMPOSITE:
            _check_members(one, btf, sizes)
        elif one.kind == KIND_ARRAY:
            if kinds[btf.resolve(one.index_type_id)] != KIND_INT:
                raise _bad(one, "array index is not an integer")
        elif one.kind == KIND_VAR:
            _check_variable(one, btf, sizes)
        elif one.kind == KIND_DATASEC:
            _check_section(one, everything)
        elif one.kind == KIND_DECL_TAG:
            _check_tag(one, everything)


def _bad(one: Type, what: str) -> PackageError:
    return PackageError(f"BTF: type {one.id}: {what}")


# The record by itself


def _check_info(one: Type, info: int, third: int) -> None:
    kind = one.kind
    if info & ~_INFO_BITS:
        raise _bad(one, "reserved bits are set")
    if info >> 31 and kind not in _WITH_KIND_FLAG:
        raise _bad(one, f"kind {kind} has no flag")
    if info & 0xFFFF and kind not in _WITH_PARTS:
        raise _bad(one, f"kind {kind} has no parts")
    if kind in (KIND_ARRAY, KIND_FWD) and third:
        raise _bad(one, f"kind {kind} has no size")
    if kind in _ENUMS and one.size not in (1, 2, 4, 8):
        raise _bad(one, f"an enum of {one.size} bytes")
    if kind == KIND_FLOAT and one.size not in (2, 4, 8, 12, 16):
        raise _bad(one, f"a floating point number of {one.size} bytes")
    if kind in (KIND_FUNC, KIND_VAR) and one.linkage > LINKAGE_EXTERN:
        raise _bad(one, f"linkage {one.linkage} is not known")


def _check_int(one: Type, data: int) -> None:
    if data & ~0x0FFF00FF or one.encoding not in (0, INT_SIGNED, INT_CHAR, INT_BOOL):
        raise _bad(one, "integer encoding is not known")
    if one.size not in (1, 2, 4, 8, 16) or not one.bits or one.bits + one.bit_offset > 8 * one.size:
        raise _bad(one, f"an integer of {one.bits} bits from bit {one.bit_offset} in {one.size} bytes")


def _check_name(one: Type) -> None:
    kind, name = one.kind, one.name
    if kind in (KIND_DECL_TAG, KIND_TYPE_TAG):
        good = bool(name)
    elif len(name) > _MAX_NAME:
        good = False
    elif kind in (KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_ENUM64):
        good = not name or _is_identifier(name)
    elif kind in (KIND_TYPEDEF, KIND_FWD):
        good = _is_identifier(name)
    elif kind in (KIND_FUNC, KIND_VAR):  # compilers put dots into the names of what they split or move
        good = _is_identifier(name.replace(".", "_"))
    elif kind in (KIND_INT, KIND_FLOAT):  # "long unsigned int"
        good = _is_identifier(name.replace(" ", "_"))
    elif kind == KIND_DATASEC:
        good = bool(name) and name.isascii() and name.isprintable()
    else:
        good = not name
    if not good:
        raise _bad(one, f"kind {kind} can't have this name")
    parts: Sequence[str] = ()
    if kind in _COMPOSITE:
        parts = [member.name for member in one.members if member.name]
    elif kind in _ENUMS:
        parts = [name for name, _ in one.values]
    elif kind == KIND_FUNC_PROTO:
        parts = [name for name, _ in one.params if name]
    for name in parts:
        if len(name) > _MAX_NAME or not _is_identifier(name):
            raise _bad(one, "the name of one of its parts is not an identifier")


def _is_identifier(name: str) -> bool:
    return name.isidentifier() and name.isascii()


# What it refers to


def _check_references(one: Type, kinds: bytes) -> None:
    kind = one.kind
    used: Sequence[int] = ()
    if kind in TRANSPARENT_KINDS or kind in (KIND_PTR, KIND_VAR):
        used = (one.type_id,)
    elif kind == KIND_ARRAY:
        used = (one.type_id, one.index_type_id)
    elif kind in _COMPOSITE:
        used = [member.type_id for member in one.members]
    elif kind == KIND_FUNC_PROTO:
        used = [type_id for _, type_id in one.params]
        _check_parameters(one)
        used.append(one.type_id)
    elif kind == KIND_FUNC:
        if one.type_id >= len(kinds) or kinds[one.type_id] != KIND_FUNC_PROTO:
            raise _bad(one, f"a function whose type {one.type_id} is not a prototype")
    elif kind == KIND_DECL_TAG:
        if one.type_id >= len(kinds) or kinds[one.type_id] not in _TAGGABLE:
            raise _bad(one, f"a declaration tag on type {one.type_id}, which can't have one")
    elif kind == KIND_DATASEC:
        for type_id, _, _ in one.variables:
            if type_id >= len(kinds) or kinds[type_id] not in (KIND_VAR, KIND_FUNC):
                raise _bad(one, f"section with type {type_id}, which is not a variable")
    for type_id in used:
        if type_id >= len(kinds) or kinds[type_id] in _NOT_A_TYPE:
            raise _bad(one, f"refers to {type_id}, which is not a type")


def _check_parameters(one: Type) -> None:
    """Void is only good as the last parameter, without a name: it means "and any more"."""
    for _, type_id in one.params[:-1]:
        if type_id == KIND_VOID:
            raise _bad(one, "a parameter of type void")
    if one.params and one.params[-1][1] == KIND_VOID and one.params[-1][0]:
        raise _bad(one, "a parameter of type void")


# Chains and sizes


def _held_by_value(one: Type) -> Sequence[int]:
    """Types whose size this type's depends on."""
    if one.kind in TRANSPARENT_KINDS or one.kind in (KIND_ARRAY, KIND_VAR):
        return (one.type_id,)
    return [member.type_id for member in one.members]


def _spelled_within(one: Type) -> Sequence[int]:
    """Types that have to be written out to write this one in C; a name ends it."""
    kind = one.kind
    if kind == KIND_FUNC_PROTO:
        return (one.type_id, *[type_id for _, type_id in one.params])
    if kind in (KIND_PTR, KIND_ARRAY):
        return (one.type_id,)
    if kind in TRANSPARENT_KINDS and kind != KIND_TYPEDEF:
        return (one.type_id,)
    if one.name:
        return ()
    return [member.type_id for member in one.members]


def _children_first(
    types: Sequence[Type], children_of: Callable[[Type], Sequence[int]], fault: str
) -> Sequence[int]:
    """All ids, each after its children; refuses loops and what is nested too deep."""
    unseen, waiting = 0, -1
    depth = [unseen] * len(types)
    order = []
    for root in types:
        if depth[root.id] != unseen:
            continue
        children = children_of(root)
        if not children:  # most types
            depth[root.id] = 1
            order.append(root.id)
            continue
        depth[root.id] = waiting
        stack = [(root.id, children, 0)]
        while stack:
            type_id, children, done = stack.pop()
            while done < len(children) and depth[children[done]] > unseen:
                done += 1
            if done < len(children):
                child = children[done]
                if depth[child] == waiting:
                    raise _bad(types[child], fault)
                depth[child] = waiting
                stack.append((type_id, children, done))
                stack.append((child, children_of(types[child]), 0))
                continue
            depth[type_id] = 1 + max([depth[child] for child in children], default=0)
            if depth[type_id] > _MAX_DEPTH:
                raise _bad(types[type_id], f"nested more than {_MAX_DEPTH} deep")
            order.append(type_id)
    return order


def _sizes(types: Sequence[Type], order: Sequence[int]) -> Sequence[int]:
    """Size in bytes of each type, or `_UNSIZED`."""
    sizes = [_UNSIZED] * len(types)
    for type_id in order:
        one = types[type_id]
        if one.kind == KIND_PTR:
            sizes[type_id] = POINTER_SIZE
        elif one.kind in SIZED_KINDS:
            sizes[type_id] = one.size
        elif one.kind in TRANSPARENT_KINDS:
            sizes[type_id] = sizes[one.type_id]
        elif one.kind == KIND_ARRAY:
            if sizes[one.type_id] == _UNSIZED:
                raise _bad(one, "an array of something without a size")
            sizes[type_id] = one.count * sizes[one.type_id]
            if sizes[type_id] > _MAX_BYTES:
                raise _bad(one, "an array of more than 4 GB")
    return sizes


def _check_members(one: Type, btf: Btf, sizes: Sequence[int]) -> None:
    end = 8 * one.size
    for number, member in enumerate(one.members):
        size = sizes[member.type_id]
        if size == _UNSIZED:
            raise _bad(one, f"member {number} has no size")
        bits = 8 * size
        if member.bit_size:
            base = btf.types[btf.resolve(member.type_id)]
            if base.kind != KIND_INT and base.kind not in _ENUMS:
                raise _bad(one, f"member {number} is a bit-field, but neither integer nor enum")
            if member.bit_size > bits:
                raise _bad(one, f"member {number} is a bit-field wider than its type")
            bits = member.bit_size
        elif member.bit_offset % 8:
            raise _bad(one, f"member {number} doesn't begin at a byte")
        if member.bit_offset + bits > end or (one.kind == KIND_UNION and member.bit_offset):
            raise _bad(one, f"member {number} lies outside")


def _check_variable(one: Type, btf: Btf, sizes: Sequence[int]) -> None:
    if sizes[one.type_id] == _UNSIZED:
        kind = btf.types.kinds[btf.resolve(one.type_id)]
        if one.linkage != LINKAGE_EXTERN or kind not in (KIND_VOID, KIND_FWD):
            raise _bad(one, "a variable without a size")


def _check_section(one: Type, types: Sequence[Type]) -> None:
    for type_id, offset, size in one.variables:
        if types[type_id].kind == KIND_FUNC and types[type_id].linkage != LINKAGE_EXTERN:
            raise _bad(one, f"a section with function {type_id}, which is not external")
        # A compiler leaves the section's size at 0 and libbpf fills it in.
        if one.size and offset + size > one.size:
            raise _bad(one, f"variable {type_id} lies outside its section")


def _check_tag(one: Type, types: Sequence[Type]) -> None:
    target = types[one.type_id]
    if target.kind in _COMPOSITE:
        parts = len(target.members)
    elif target.kind == KIND_FUNC:
        parts = len(types[target.type_id].params)
    else:
        parts = 0
    if not -1 <= one.component < parts:
        raise _bad(one, f"a declaration tag on part {one.component} of type {one.type_id}, which has {parts}")
