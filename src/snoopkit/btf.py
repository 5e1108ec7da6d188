"""BTF, the type description that compilers put into BPF objects and the kernel publishes about itself.

`Btf.parse` reads the BTF of a package's object, which is untrusted, and checks *everything* in it before
anybody else sees a byte: libbpf 1.1 follows name offsets, type ids and type chains without looking and
crashes the process on bad ones. `Btf.from_kernel` reads the running kernel's own BTF, which is large and
trusted: only what keeps this reader itself safe is checked, and a type is built when it is asked for.

Sizes are bytes unless a name says bits. Every refusal is a `PackageError` that begins with "BTF: ".
"""

from __future__ import annotations

import sys

from snoopkit.errors import PackageError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KIND_VOID = 0
KIND_INT = 1
KIND_PTR = 2
KIND_ARRAY = 3
KIND_STRUCT = 4
KIND_UNION = 5
KIND_ENUM = 6
KIND_FWD = 7
KIND_TYPEDEF = 8
KIND_VOLATILE = 9
KIND_CONST = 10
KIND_RESTRICT = 11
KIND_FUNC = 12
KIND_FUNC_PROTO = 13
KIND_VAR = 14
KIND_DATASEC = 15
KIND_FLOAT = 16
KIND_DECL_TAG = 17
KIND_TYPE_TAG = 18
KIND_ENUM64 = 19

INT_SIGNED = 1
INT_CHAR = 2
INT_BOOL = 4

LINKAGE_STATIC = 0
LINKAGE_GLOBAL = 1
LINKAGE_EXTERN = 2

POINTER_SIZE = 8

#: What `Btf.resolve` looks through: kinds that give a type another name or a qualifier, and the same size.
TRANSPARENT_KINDS = frozenset((KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT, KIND_TYPE_TAG))

_MAGIC = 0xEB9F
_HEADER_SIZE = 24
_MAX_SIZE = 16 << 20  # the kernel's own limit for the BTF of an object

#: Bytes that a declaration tag may have, and any other name less.
MAX_TAG = 4096

# Words behind the three that every type record begins with: a fixed number, and so many for each of `vlen`.
_FIXED_WORDS = (0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0)
_EACH_WORDS = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)


class Member:
    """One member of a struct or union; `bit_size` is 0 unless it is a bit-field."""

    __slots__ = ("bit_offset", "bit_size", "name", "type_id")

    def __init__(self, name: str, type_id: int, bit_offset: int, bit_size: int) -> None:
        self.name = name
        self.type_id = type_id
        self.bit_offset = bit_offset
        self.bit_size = bit_size


class Type:
    """One type record. What a kind doesn't have keeps its empty value.

    `type_id` is the type referred to: a pointer's target, an array's element, a prototype's result.
    `variables` are a section's `(type_id, offset_bytes, size_bytes)`; a compiler leaves the offsets at 0.
    `component` is the member or parameter that a declaration tag is on, -1 for the whole.
    """

    __slots__ = (
        "bit_offset",
        "bits",
        "component",
        "count",
        "encoding",
        "id",
        "index_type_id",
        "is_union_fwd",
        "kind",
        "linkage",
        "members",
        "name",
        "params",
        "signed",
        "size",
        "type_id",
        "values",
        "variables",
    )

    def __init__(self, type_id: int, kind: int, name: str) -> None:
        self.id = type_id
        self.kind = kind
        self.name = name
        self.size = 0
        self.type_id = 0
        self.count = 0
        self.index_type_id = 0
        self.signed = False
        self.encoding = 0
        self.bits = 0
        self.bit_offset = 0
        self.members: tuple[Member, ...] = ()
        self.values: tuple[tuple[str, int], ...] = ()
        self.params: tuple[tuple[str, int], ...] = ()
        self.is_union_fwd = False
        self.linkage = 0
        self.variables: tuple[tuple[int, int, int], ...] = ()
        self.component = -1

    def __repr__(self) -> str:
        return f"<Type {self.id} kind {self.kind} {self.name!r}>"


class Types:
    """The types of a BTF by their id, 0 being void; each is built when it is first asked for."""

    __slots__ = ("_built", "_names", "_positions", "_strings", "_words", "kinds")

    def __init__(self, words: memoryview, strings: bytes) -> None:
        self._words = words
        self._strings = strings
        self._names: dict[int, str] = {0: ""}
        positions = [-1]
        kinds = bytearray(1)
        position, end = 0, len(words)
        while position + 3 <= end:
            info = words[position + 1]
            kind = info >> 24 & 31
            if not 1 <= kind <= KIND_ENUM64:
                raise PackageError(f"BTF: type {len(positions)}: unknown kind {kind}")
            positions.append(position)
            kinds.append(kind)
            position += 3 + _FIXED_WORDS[kind]
            each = _EACH_WORDS[kind]
            if each:
                position += each * (info & 0xFFFF)
        if position != end:
            raise PackageError("BTF: the last type is cut short")
        self._positions = positions
        self.kinds = bytes(kinds)
        self._built: list[Type | None] = [None] * len(positions)
        self._built[0] = Type(0, KIND_VOID, "")

    def __len__(self) -> int:
        return len(self._built)

    def __iter__(self) -> Iterator[Type]:
        for type_id in range(len(self._built)):
            yield self[type_id]

    def __getitem__(self, type_id: int) -> Type:
        if type_id < 0:
            raise IndexError("BTF type ids are not negative")
        built = self._built[type_id]
        if built is None:
            built = self._built[type_id] = self._build(type_id)
        return built

    def place(self, type_id: int) -> int:
        """Where the record begins, in words."""
        return self._positions[type_id]

    def info(self, type_id: int) -> int:
        """The record's info word: number of parts, kind and kind flag."""
        return self._words[self._positions[type_id] + 1] if type_id else 0

    def third_word(self, type_id: int) -> int:
        """The record's size or type id, whichever its kind has."""
        return self._words[self._positions[type_id] + 2] if type_id else 0

    def int_data(self, type_id: int) -> int:
        """An integer's encoding word, with the bits that must be zero."""
        return self._words[self._positions[type_id] + 3]

    def name_offsets(self) -> dict[int, list[int]]:
        """Ids of the named types by the offset of their name."""
        offsets: dict[int, list[int]] = {}
        words = self._words
        for type_id, position in enumerate(self._positions):
            if type_id and (offset := words[position]):
                offsets.setdefault(offset, []).append(type_id)
        return offsets

    def offsets_of(self, name: str) -> Iterator[int]:
        """Every place in the string section where this name can be read."""
        wanted = name.encode(errors="surrogateescape") + b"\0"
        offset = self._strings.find(wanted)
        while offset >= 0:
            yield offset
            offset = self._strings.find(wanted, offset + 1)

    def name_at(self, offset: int) -> str:
        """The name at that place in the string section."""
        name = self._names.get(offset)
        if name is None:
            strings = self._strings
            # A limit, so that a million names pointing into one long string cost no more than their own length.
            end = strings.find(b"\0", offset, offset + MAX_TAG)
            if end < 0:
                raise PackageError(f"BTF: name offset {offset} is outside the strings, or the name too long")
            try:
                name = strings[offset:end].decode()
            except UnicodeDecodeError:
                raise PackageError(f"BTF: the name at offset {offset} is not UTF-8") from None
            self._names[offset] = name
        return name

    def _build(self, type_id: int) -> Type:
        words = self._words
        position = self._positions[type_id]
        kind = self.kinds[type_id]
        info, third = words[position + 1], words[position + 2]
        new = Type(type_id, kind, self.name_at(words[position]))
        first, each = position + 3, _EACH_WORDS[kind]
        parts = range(first, first + each * (info & 0xFFFF), each or 1)
        flag = bool(info >> 31)
        if kind in (KIND_STRUCT, KIND_UNION):
            new.size = third
            if flag:  # the kind flag: offset and bit-field size share a word
                places = [(words[p + 2] & 0xFFFFFF, words[p + 2] >> 24) for p in parts]
            else:
                places = [(words[p + 2], 0) for p in parts]
            new.members = tuple(
                [
                    Member(self.name_at(words[p]), words[p + 1], *place)
                    for p, place in zip(parts, places, strict=True)
                ]
            )
        elif kind == KIND_INT:
            data = words[position + 3]
            new.size = third
            new.encoding = data >> 24 & 15
            new.signed = bool(new.encoding & INT_SIGNED)
            new.bit_offset = data >> 16 & 0xFF
            new.bits = data & 0xFF
        elif kind == KIND_ENUM:
            new.size = third
            new.signed = flag
            new.values = tuple([(self.name_at(words[p]), _value(words[p + 1], 32, flag)) for p in parts])
        elif kind == KIND_ENUM64:
            new.size = third
            new.signed = flag
            new.values = tuple(
                [(self.name_at(words[p]), _value(words[p + 1] | words[p + 2] << 32, 64, flag)) for p in parts]
            )
        elif kind == KIND_ARRAY:
            new.type_id, new.index_type_id, new.count = words[position + 3 : position + 6]
        elif kind == KIND_FUNC_PROTO:
            new.type_id = third
            new.params = tuple([(self.name_at(words[p]), words[p + 1]) for p in parts])
        elif kind == KIND_DATASEC:
            new.size = third
            new.variables = tuple([(words[p], words[p + 1], words[p + 2]) for p in parts])
        elif kind == KIND_FLOAT:
            new.size = third
        elif kind == KIND_FWD:
            new.is_union_fwd = flag
        else:
            new.type_id = third
            if kind == KIND_FUNC:
                new.linkage = info & 0xFFFF
            elif kind == KIND_VAR:
                new.linkage = words[position + 3]
            elif kind == KIND_DECL_TAG:
                new.component = _value(words[position + 3], 32, True)
        return new


class Btf:
    """The types of one object or kernel. Make one by `parse` or `from_kernel`."""

    __slots__ = ("_offsets", "_sizes", "_tags", "byteorder", "types")

    def __init__(self, byteorder: str, types: Types) -> None:
        self.byteorder = byteorder
        self.types = types
        self._sizes: dict[int, int] = {}
        self._offsets: dict[int, list[int]] | None = None
        self._tags: dict[tuple[int, int], list[str]] | None = None

    @classmethod
    def parse(cls, data: bytes, trusted: bool = False) -> Btf:
        """Read an object's BTF; raises `PackageError` unless every byte of it can be relied on, or it is trusted."""
        if len(data) > _MAX_SIZE:
            raise PackageError(f"BTF: larger than {_MAX_SIZE >> 20} MB")
        btf = cls._read(bytes(data))
        if not trusted:
            from snoopkit import btf_check

            btf_check.check(btf)
        return btf

    @classmethod
    def from_kernel(cls, path: str = "/sys/kernel/btf/vmlinux") -> Btf:
        """Read the running kernel's BTF.

        `UnsupportedError` if there is none or it can't be read, `PackageError` if the file isn't BTF.
        """
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.readall()
        except OSError as error:
            raise UnsupportedError(
                f"kernel BTF: {path}: {error.strerror}",
                feature="kernel BTF",
                errno=error.errno,
                hint="the kernel must be built with CONFIG_DEBUG_INFO_BTF; for building,"
                " --btf FILE or --vmlinux FILE stand in for it",
            ) from None
        return cls._read(data)

    @classmethod
    def _read(cls, data: bytes) -> Btf:
        """Header, sections and the bounds of every type record."""
        if len(data) < _HEADER_SIZE:
            raise PackageError("BTF: shorter than its header")
        byteorder = "little" if data[0] == _MAGIC & 0xFF else "big"
        magic, version, header_size, types_at, types_size, strings_at, strings_size = (
            int.from_bytes(data[start:end], "little" if byteorder == "little" else "big")
            for start, end in ((0, 2), (2, 3), (4, 8), (8, 12), (12, 16), (16, 20), (20, 24))
        )
        if magic != _MAGIC:
            raise PackageError("BTF: not BTF (its first two bytes say so)")
        if version != 1:
            raise PackageError(f"BTF: version {version} is not known")
        if header_size < _HEADER_SIZE or header_size % 4 or header_size > len(data):
            raise PackageError(f"BTF: a header of {header_size} bytes")
        if types_at % 4 or types_size % 4:
            raise PackageError("BTF: the type section is not aligned")
        if types_at + types_size > strings_at or header_size + strings_at + strings_size > len(data):
            raise PackageError("BTF: its sections overlap or lie outside")
        start = header_size + strings_at
        strings = data[start : start + strings_size]
        if not strings or strings[0] or strings[-1]:
            raise PackageError("BTF: the string section doesn't begin and end with a NUL")
        start = header_size + types_at
        words = memoryview(data)[start : start + types_size].cast("I")
        if byteorder != sys.byteorder:
            from array import array

            swapped = array("I", words)
            swapped.byteswap()
            words = memoryview(swapped)
        return cls(byteorder, Types(words, strings))

    def __len__(self) -> int:
        return len(self.types)

    def __repr__(self) -> str:
        return f"<Btf of {len(self.types)} types, {self.byteorder} endian>"

    def resolve(self, type_id: int) -> int:
        """The type behind typedefs, qualifiers and type tags."""
        types = self.types
        if not 0 <= type_id < len(types):
            raise PackageError(f"BTF: no type {type_id}")
        kinds = types.kinds
        steps = 0
        while kinds[type_id] in TRANSPARENT_KINDS:
            type_id = types.third_word(type_id)
            steps += 1
            if type_id >= len(kinds) or steps > len(kinds):
                raise PackageError(f"BTF: no type {type_id}, or it is only another name of itself")
        return type_id

    def size_of(self, type_id: int) -> int:
        """Size in bytes; `PackageError` for what has none: void, functions, types only declared."""
        size = self._sizes.get(type_id)
        if size is None:
            size = 1
            current = self.resolve(type_id)
            if self.types.kinds[current] == KIND_VAR:
                current = self.resolve(self.types[current].type_id)
            steps = 0
            while self.types.kinds[current] == KIND_ARRAY:
                array_type = self.types[current]
                size *= array_type.count
                current = self.resolve(array_type.type_id)
                steps += 1
                if steps > len(self):
                    raise PackageError(f"BTF: type {type_id} is an array of itself")
            kind = self.types.kinds[current]
            if kind == KIND_PTR:
                size *= POINTER_SIZE
            elif kind in SIZED_KINDS:
                size *= self.types[current].size
            else:
                raise PackageError(f"BTF: type {type_id} has no size")
            self._sizes[type_id] = size
        return size

    def find(self, name: str, *kinds: int) -> int | None:
        """The id of the first type of this name, of one of these kinds if any are given; None if there is none."""
        if not name:
            return None
        if self._offsets is None:
            self._offsets = self.types.name_offsets()
        found = [
            type_id
            for offset in self.types.offsets_of(name)
            for type_id in self._offsets.get(offset, ())
            if not kinds or self.types.kinds[type_id] in kinds
        ]
        return min(found, default=None)

    def tags(self, type_id: int, component: int = -1) -> tuple[str, ...]:
        """Declaration tags on a type, a variable or a function, or on its member or parameter `component`."""
        if self._tags is None:
            self._tags = {}
            for tag_id, kind in enumerate(self.types.kinds):
                # With the kind flag the record stands for some other attribute, not for a tag.
                if kind == KIND_DECL_TAG and not self.types.info(tag_id) >> 31:
                    tag = self.types[tag_id]
                    self._tags.setdefault((tag.type_id, tag.component), []).append(tag.name)
        return tuple(self._tags.get((type_id, component), ()))


#: Kinds whose record states their size.
SIZED_KINDS = frozenset((KIND_INT, KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_FLOAT, KIND_DATASEC, KIND_ENUM64))


def _value(raw: int, bits: int, signed: bool) -> int:
    return raw - (1 << bits) if signed and raw >> bits - 1 else raw
