"""A C header from BTF: every type of a kernel, for BPF programs to be compiled against.

BTF knows offsets and sizes but neither alignment nor order of definition nor that C has one name space for all
structs, unions and enums, and another for typedefs and enum constants. So the header

- defines each type after those it holds by value, and declares before use what it only points to;
- adds padding, or packs, until each member lies where BTF says under the compiler's own layout rules;
- gives the second type of a name the suffix ``___2``, which relocation against the running kernel ignores.
"""

from __future__ import annotations

from snoopkit.btf import (
    KIND_ARRAY,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VOID,
    POINTER_SIZE,
    TRANSPARENT_KINDS,
)
from snoopkit.cdecl import Speller
from snoopkit.errors import PackageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snoopkit.btf import Btf, Member, Type

_COMPOSITE = (KIND_STRUCT, KIND_UNION)
_ENUMS = (KIND_ENUM, KIND_ENUM64)
_MAX_NESTING = 64
_MAX_LINES = 1 << 22

_HEAD = """\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

/* The types of a kernel, written by snoopkit from its BTF. */

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

"""
#: How every header ends, so that a cut one can be told.
TAIL = """\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
"""

_BUILTIN_WORDS = frozenset(
    ("_Bool", "__int128", "char", "double", "float", "int", "long", "short", "signed", "unsigned")
)
_INT_OF_SIZE = {1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}
_MODE_OF_SIZE = {1: "QI", 2: "HI", 8: "DI"}
# The compiler's own name for a type that differs between targets: the kernel's has to get another.
_COMPILERS_OWN = "__builtin_va_list"
_KEYWORDS = frozenset(
    ("asm", "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum")
    + ("extern", "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return")
    + ("short", "signed", "sizeof", "static", "struct", "switch", "typedef", "typeof", "union", "unsigned")
    + ("void", "volatile", "while")
)


def header(btf: Btf) -> str:
    """The text of a vmlinux.h with every struct, union, enum and typedef of `btf`."""
    import gc

    # A hundred thousand new objects and no garbage: collecting would take a third of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return "".join([_HEAD, *_Writer(btf).definitions(), TAIL])
    except RecursionError:
        raise PackageError("BTF: nested too deep to write in C") from None
    finally:
        if collecting:
            gc.enable()


def definition(btf: Btf, type_id: int) -> str:
    """The C text that defines one type, and before it whatever that takes."""
    writer = _Writer(btf)
    one = btf.types[type_id]
    if one.kind in _COMPOSITE and not one.name:
        # what a program can call it is a typedef's name, if there is one
        named = [each for each, kind in enumerate(btf.types.kinds) if kind == KIND_TYPEDEF]
        type_id = next((each for each in named if btf.types.third_word(each) == type_id), type_id)
    return "".join(writer.definition_of(type_id)).replace("\n\n", "\n")


class _Writer(Speller):
    def __init__(self, btf: Btf) -> None:
        super().__init__(btf)
        self._names: dict[int, str] = {}  # of tags and typedefs, where not those in BTF
        self._constants: dict[tuple[int, int], str] = {}  # of enum constants, likewise
        self._elsewhere: set[int] = set()  # declarations whose definition is another type
        self._loose_enums: list[int] = []
        self._name_everything()
        self._shapes: dict[int, tuple[int, bool]] = {}
        self._declared: set[str] = set()
        self._out: list[str] = []
        self._nesting = 0
        self._lines = 0
        self._paddings = 0

    def definitions(self) -> list[str]:
        for type_id in self._loose_enums:
            self._out.append(f"{self.body(self.btf.types[type_id])};\n\n")
        done: set[int] = set()
        for type_id, kind in enumerate(self.btf.types.kinds):
            if kind in _COMPOSITE or kind in _ENUMS:
                if type_id in self._names or self.btf.types[type_id].name:
                    self._define(type_id, done)
            elif kind == KIND_TYPEDEF:
                self._define(type_id, done)
            elif kind == KIND_FWD:
                self._declare(type_id)
        return self._out

    def definition_of(self, type_id: int) -> list[str]:
        self._define(type_id, set())
        return self._out

    # Names

    def _name_everything(self) -> None:
        types = self.btf.types
        tags = _Names()
        ordinary = _Names()
        ordinary.take(_COMPILERS_OWN)
        owners: dict[str, Type] = {}
        forward: list[Type] = []
        nameless_enums: list[int] = []
        for type_id, kind in enumerate(types.kinds):
            if kind == KIND_FWD or (kind in _ENUMS and not types[type_id].values):
                forward.append(types[type_id])
            elif kind in _COMPOSITE or kind in _ENUMS:
                one = types[type_id]
                if one.name:
                    self._rename(one, tags.take(one.name))
                    owners.setdefault(one.name, one)
                elif kind in _ENUMS:
                    nameless_enums.append(type_id)
                for number, (name, _) in enumerate(one.values):
                    taken = ordinary.take(name)
                    if taken != name:
                        self._constants[type_id, number] = taken
            elif kind == KIND_TYPEDEF:
                self._rename(types[type_id], ordinary.take(types[type_id].name))
            elif kind in (KIND_INT, KIND_FLOAT) and not _is_builtin(types[type_id]):
                self._names[type_id] = ordinary.take(types[type_id].name.replace(" ", "_"))
        for one in forward:
            owner = owners.get(one.name)
            if owner is not None and _tag_keyword(owner) == _tag_keyword(one):
                self._elsewhere.add(one.id)
                self._names[one.id] = self._names.get(owner.id, owner.name)
            else:
                self._rename(one, tags.take(one.name or "nameless"))
                owners.setdefault(one.name, one)
                if one.kind != KIND_FWD:
                    self._constants[one.id, -1] = ordinary.take(f"{one.name or 'nameless'}___empty")
        users = self._users_of(nameless_enums)
        for type_id in nameless_enums:
            if users[type_id] == [KIND_TYPEDEF]:
                continue  # written within the typedef
            if users[type_id]:  # its constants may be written once only
                self._names[type_id] = tags.take("nameless_enum")
            else:
                self._loose_enums.append(type_id)

    def _rename(self, one: Type, name: str) -> None:
        if name != one.name:
            self._names[one.id] = name

    def _users_of(self, wanted: Sequence[int]) -> dict[int, list[int]]:
        """The kinds of all types that refer to each of these."""
        users: dict[int, list[int]] = {type_id: [] for type_id in wanted}
        types = self.btf.types
        for type_id, kind in enumerate(types.kinds):
            if kind in _COMPOSITE:
                referred: Sequence[int] = [member.type_id for member in types[type_id].members]
            elif kind == KIND_FUNC_PROTO:
                one = types[type_id]
                referred = [one.type_id, *[parameter for _, parameter in one.params]]
            elif kind == KIND_ARRAY:
                referred = (types[type_id].type_id,)
            elif kind == KIND_PTR or kind in TRANSPARENT_KINDS:
                referred = (types.third_word(type_id),)
            else:
                continue
            for other in referred:
                if other in users:
                    users[other].append(kind)
        return users

    def named(self, one: Type) -> str:
        name = self._names.get(one.id)
        if name is None:
            return super().named(one)
        keyword = _tag_keyword(one)
        return f"{keyword} {name}" if keyword else name

    # Order

    def _define(self, root: int, done: set[int]) -> None:
        """Write this type, first all that it needs; no recursion, as chains of typedefs can be of any length."""
        types = self.btf.types
        opened: set[int] = set()
        stack = [root]
        while stack:
            type_id = stack[-1]
            if type_id in done:
                stack.pop()
            elif type_id in opened:
                stack.pop()
                done.add(type_id)
                self._write(types[type_id])
            else:
                opened.add(type_id)
                for other, whole in self._needs(types[type_id]):
                    if other in done or other == type_id:
                        continue
                    kind = types.kinds[other]
                    if kind == KIND_FWD or (kind in _COMPOSITE and not whole):
                        self._declare(other)
                    elif other not in opened:  # else a loop that C has no words for
                        stack.append(other)

    def _needs(self, one: Type) -> Iterator[tuple[int, bool]]:
        """Types with a name that the definition of `one` mentions, and whether it needs the whole of them."""
        types = self.btf.types
        stack: list[tuple[int, bool]]
        if one.kind == KIND_TYPEDEF:
            stack = [(one.type_id, False)]
        else:
            stack = [(member.type_id, True) for member in one.members]
        while stack:
            type_id, whole = stack.pop()
            kind = types.kinds[type_id]
            if kind == KIND_TYPEDEF:
                yield type_id, whole
                if whole:  # what is behind the name has to be there too
                    stack.append((types.third_word(type_id), True))
            elif kind in TRANSPARENT_KINDS:
                stack.append((types.third_word(type_id), whole))
            elif kind == KIND_PTR:
                stack.append((types.third_word(type_id), False))
            elif kind == KIND_ARRAY:
                stack.append((types[type_id].type_id, True))
            elif kind == KIND_FUNC_PROTO:
                stack.append((types[type_id].type_id, False))
                stack.extend([(parameter, False) for _, parameter in types[type_id].params])
            elif kind in _COMPOSITE and not types[type_id].name:
                stack.extend([(member.type_id, True) for member in types[type_id].members])
            elif kind != KIND_VOID and (kind not in (KIND_INT, KIND_FLOAT) or type_id in self._names):
                yield type_id, whole

    def _declare(self, type_id: int) -> None:
        text = self.named(self.btf.types[type_id])
        if text not in self._declared:
            self._declared.add(text)
            self._out.append(f"{text};\n\n")

    def _write(self, one: Type) -> None:
        if one.id in self._elsewhere:
            return
        if one.kind == KIND_TYPEDEF:
            text = f"typedef {self.declare(one.type_id, self.named(one))}"
        elif one.kind == KIND_INT:
            sign = "signed " if one.signed else "unsigned "
            text = f"typedef {sign}{_INT_OF_SIZE[one.size]} {self.named(one)}"
        elif one.kind == KIND_FLOAT:
            text = f"typedef struct {{ char bytes[{one.size}]; }} {self.named(one)}"
        elif one.kind in _ENUMS and not (one.name or one.id in self._names):
            return  # its typedef has it
        else:
            text = self.body(one)
            self._declared.add(self.named(one) if one.name else "")
        self._out.append(f"{text};\n\n")

    # Contents

    def body(self, one: Type) -> str:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise PackageError(f"BTF: type {one.id}: nested more than {_MAX_NESTING} deep")
        opening = _tag_keyword(one)
        name = self._names.get(one.id, one.name)
        # Only at the outermost level is a name the definition's own.
        if name and self._nesting == 1:
            opening += f" {name}"
        if one.kind in _ENUMS:
            lines = self._constant_lines(one)
            mode = _MODE_OF_SIZE.get(one.size)
            closing = f" __attribute__((mode({mode})))" if mode else ""
        else:
            lines = self._member_lines(one)
            closing = " __attribute__((packed))" if self._shape(one)[1] else ""
        self._lines += len(lines)
        if self._lines > _MAX_LINES:
            raise PackageError("BTF: takes too much text to write in C")
        self._nesting -= 1
        indent = "\t" * self._nesting
        inner = "".join([f"{indent}\t{line}\n" for line in lines])
        return f"{opening} {{\n{inner}{indent}}}{closing}"

    def _constant_lines(self, one: Type) -> list[str]:
        if not one.values:
            return [f"{self._constants[one.id, -1]} = 0,"]
        renamed = self._constants
        return [
            f"{renamed.get((one.id, number), name)} = {_literal(_fitting(value, one))},"
            for number, (name, value) in enumerate(one.values)
        ]

    def _member_lines(self, one: Type) -> list[str]:
        align, packed = self._shape(one)
        btf = self.btf
        lines: list[str] = []
        end = 0  # bits in use so far
        for member in sorted(one.members, key=_bit_offset):
            if member.bit_size and not member.name:
                continue  # padding already
            unit = 8 * btf.size_of(member.type_id)
            size = member.bit_size or unit
            if one.kind == KIND_STRUCT:
                if member.bit_offset < end:
                    return [self._pad_bytes(one.size)]  # overlapping: C has nothing like it
                if member.bit_size:
                    crosses = end // unit != (end + size - 1) // unit
                    natural = _round_up(end, unit) if crosses and not packed else end
                else:
                    natural = _round_up(end, 8 if packed else 8 * self._align(member.type_id))
                if natural != member.bit_offset:
                    self._pad(lines, end, member.bit_offset)
            end = max(end, member.bit_offset + size)
            lines.append(f"{self._member(member)};")
        if _round_up(end, 8 * align) != 8 * one.size:
            self._pad(lines, end if one.kind == KIND_STRUCT else 0, 8 * one.size)
        return lines

    def _member(self, member: Member) -> str:
        if not member.name:
            target = self.btf.types[self.btf.resolve(member.type_id)]
            if target.kind in _COMPOSITE:
                # Also a named struct without a member name, which only some C dialects have.
                return self.body(target)
        text = self.declare(member.type_id, _usable(member.name))
        return f"{text}: {member.bit_size}" if member.bit_size else text

    def _pad(self, lines: list[str], start: int, end: int) -> None:
        """Fill the bits from `start` to `end`."""
        if start % 8:
            bits = min(8 - start % 8, end - start)
            lines.append(f"unsigned char: {bits};")
            start += bits
        if end - start >= 8:
            lines.append(self._pad_bytes((end - start) // 8))
        if (end - start) % 8:
            lines.append(f"unsigned char: {(end - start) % 8};")

    def _pad_bytes(self, size: int) -> str:
        # Anonymous members share their parent's name space, so no two may be the same.
        self._paddings += 1
        return f"char ___pad{self._paddings}[{size}];"

    def _align(self, type_id: int) -> int:
        """The alignment that the compiler gives this type, in bytes."""
        types = self.btf.types
        type_id = self.btf.resolve(type_id)
        while types.kinds[type_id] == KIND_ARRAY:
            type_id = self.btf.resolve(types[type_id].type_id)
        one = types[type_id]
        if one.kind in _COMPOSITE:
            return self._shape(one)[0]
        if one.kind == KIND_PTR:
            return POINTER_SIZE
        return 1 if one.id in self._names and one.kind == KIND_FLOAT else max(one.size, 1)

    def _shape(self, one: Type) -> tuple[int, bool]:
        """Alignment of a struct or union in bytes, and whether it has to be packed for its members' places."""
        shape = self._shapes.get(one.id)
        if shape is None:
            align, packed = 1, False
            for member in one.members:
                own = self._align(member.type_id)
                align = max(align, own)
                if member.bit_size:
                    unit = 8 * self.btf.size_of(member.type_id)
                    first, last = member.bit_offset, member.bit_offset + member.bit_size - 1
                    packed = packed or first // unit != last // unit
                else:
                    packed = packed or member.bit_offset % (8 * own) != 0
            packed = packed or one.size % align != 0
            shape = self._shapes[one.id] = (1 if packed else align, packed)
        return shape


class _Names:
    """A name space of C: who comes later gets another name."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, name: str) -> str:
        count = self._taken.get(name, 0) + 1
        self._taken[name] = count
        if count == 1:
            return _usable(name)
        while (other := f"{name}___{count}") in self._taken:
            count += 1
        self._taken[name] = count
        self._taken[other] = 1
        return other


def _usable(name: str) -> str:
    return f"{name}___c" if name in _KEYWORDS else name


def _tag_keyword(one: Type) -> str:
    if one.kind == KIND_FWD:
        return "union" if one.is_union_fwd else "struct"
    if one.kind in _ENUMS:
        return "enum"
    return {KIND_STRUCT: "struct", KIND_UNION: "union"}.get(one.kind, "")


def _is_builtin(one: Type) -> bool:
    return all(word in _BUILTIN_WORDS for word in one.name.split())


def _fitting(value: int, enum: Type) -> int:
    """The number of an enumeration that clang 14 wrote, without a sign: in less than 4 bytes it can be told."""
    return value - (1 << 32) if enum.size < 4 and value >> 31 == 1 else value


def _literal(value: int) -> str:
    if value == -(1 << 63):
        return f"({value + 1}LL - 1)"
    return f"{value}ULL" if value >= 1 << 63 else str(value)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple if multiple else value


def _bit_offset(member: Member) -> int:
    return member.bit_offset
