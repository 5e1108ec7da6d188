"""Writes BTF by hand, right or wrong, for tests that need no compiler.

Each method adds one type and returns its id; ids are given in order, from 1, so that a test can refer to a
type that it adds later.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from snoopkit import btf

ByteMember = tuple[Any, ...]  # (name, type id, bit offset) or (name, type id, bit offset, bit size)


class BtfWriter:
    def __init__(self, byteorder: str = "little") -> None:
        self.order = "<" if byteorder == "little" else ">"
        self.strings = bytearray(1)
        self.records: list[bytes] = []
        self._offsets: dict[bytes, int] = {b"": 0}

    def string(self, text: str | bytes) -> int:
        """The offset of a string, which is added if it is new."""
        raw = text.encode() if isinstance(text, str) else text
        if raw not in self._offsets:
            self._offsets[raw] = len(self.strings)
            self.strings += raw + b"\0"
        return self._offsets[raw]

    def words(self, *words: int) -> bytes:
        return struct.pack(f"{self.order}{len(words)}I", *[word & 0xFFFFFFFF for word in words])

    def raw(
        self, kind: int, name: str | bytes | int, third: int, *rest: int, parts: int = 0, flag: bool = False
    ) -> int:
        """Any record: `third` is its size or type id, `rest` the words behind; a number as name is an offset."""
        offset = name if isinstance(name, int) else self.string(name)
        self.records.append(self.words(offset, flag << 31 | kind << 24 | parts, third, *rest))
        return len(self.records)

    def integer(
        self, name: str, size: int, *, signed: bool = False, boolean: bool = False, bits: int = 0
    ) -> int:
        encoding = (btf.INT_SIGNED if signed else 0) | (btf.INT_BOOL if boolean else 0)
        return self.raw(btf.KIND_INT, name, size, encoding << 24 | (bits or 8 * size))

    def floating(self, name: str, size: int) -> int:
        return self.raw(btf.KIND_FLOAT, name, size)

    def ptr(self, type_id: int) -> int:
        return self.raw(btf.KIND_PTR, "", type_id)

    def const(self, type_id: int) -> int:
        return self.raw(btf.KIND_CONST, "", type_id)

    def volatile(self, type_id: int) -> int:
        return self.raw(btf.KIND_VOLATILE, "", type_id)

    def restrict(self, type_id: int) -> int:
        return self.raw(btf.KIND_RESTRICT, "", type_id)

    def type_tag(self, tag: str, type_id: int) -> int:
        return self.raw(btf.KIND_TYPE_TAG, tag, type_id)

    def typedef(self, name: str, type_id: int) -> int:
        return self.raw(btf.KIND_TYPEDEF, name, type_id)

    def array(self, type_id: int, index_type_id: int, count: int) -> int:
        return self.raw(btf.KIND_ARRAY, "", 0, type_id, index_type_id, count)

    def struct(self, name: str, size: int, members: Sequence[ByteMember], kind: int = btf.KIND_STRUCT) -> int:
        """The kind flag is set as soon as one member is a bit-field."""
        flag = any(len(member) > 3 for member in members)
        rest = []
        for member, type_id, offset, *bits in members:
            rest += [self.string(member), type_id, offset | (bits[0] if bits else 0) << 24]
        return self.raw(kind, name, size, *rest, parts=len(members), flag=flag)

    def union(self, name: str, size: int, members: Sequence[ByteMember]) -> int:
        return self.struct(name, size, members, btf.KIND_UNION)

    def enum(
        self,
        name: str,
        size: int,
        values: Sequence[tuple[str, int]],
        *,
        signed: bool = False,
        wide: bool = False,
    ) -> int:
        rest = []
        for constant, value in values:
            rest += [self.string(constant), value]
            if wide:
                rest.append(value >> 32)
        kind = btf.KIND_ENUM64 if wide else btf.KIND_ENUM
        return self.raw(kind, name, size, *rest, parts=len(values), flag=signed)

    def fwd(self, name: str, *, union: bool = False) -> int:
        return self.raw(btf.KIND_FWD, name, 0, flag=union)

    def func_proto(self, result: int, params: Sequence[tuple[str, int]]) -> int:
        rest = []
        for name, type_id in params:
            rest += [self.string(name), type_id]
        return self.raw(btf.KIND_FUNC_PROTO, "", result, *rest, parts=len(params))

    def func(self, name: str, type_id: int, linkage: int = btf.LINKAGE_GLOBAL) -> int:
        return self.raw(btf.KIND_FUNC, name, type_id, parts=linkage)

    def var(self, name: str, type_id: int, linkage: int = btf.LINKAGE_GLOBAL) -> int:
        return self.raw(btf.KIND_VAR, name, type_id, linkage)

    def datasec(self, name: str, size: int, variables: Sequence[tuple[int, int, int]]) -> int:
        rest = [word for variable in variables for word in variable]
        return self.raw(btf.KIND_DATASEC, name, size, *rest, parts=len(variables))

    def decl_tag(self, tag: str | bytes, type_id: int, component: int = -1) -> int:
        return self.raw(btf.KIND_DECL_TAG, tag, type_id, component)

    def blob(self, strings: bytes | None = None) -> bytes:
        types = b"".join(self.records)
        texts = bytes(self.strings) if strings is None else strings
        head = struct.pack(f"{self.order}HBBI", 0xEB9F, 1, 0, 24)
        return head + self.words(0, len(types), len(types), len(texts)) + types + texts
