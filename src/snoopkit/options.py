"""A package's own options: one for each of its global variables that a value can be typed for; `arguments` has them
on the command line.

What an option is called and what it says comes from the package's meta; its type, place and initial value come from
the object's own BTF and ELF, which a package can't lie about. A variable that isn't set keeps its initialiser,
unless the package declares a default.
"""

from __future__ import annotations

import struct

from .btf import (
    KIND_ARRAY,
    KIND_CONST,
    KIND_DATASEC,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_INT,
    KIND_RESTRICT,
    KIND_TYPE_TAG,
    KIND_VOLATILE,
)
from .cdecl import type_name
from .elf import SHT_NOBITS
from .errors import OptionError, PackageError

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .btf import Btf, Type
    from .elf import Elf
    from .package import Package

    Scalar = int | float | bool | str | bytes
    Value = Scalar | Sequence[Scalar]

__all__ = [
    "KCONFIG",
    "OptionSpec",
    "encode",
    "initial_values",
    "kernel_config",
    "printable",
]

INT, BOOL, ENUM, FLOAT, TEXT, LIST = "int", "bool", "enum", "float", "text", "list"
KCONFIG = ".kconfig"
IGNORED_PREFIX = "__eunomia_dummy"
_QUALIFIERS = (KIND_CONST, KIND_VOLATILE, KIND_RESTRICT, KIND_TYPE_TAG)
_LONGEST_LIST = 64  # elements of an array that can still be typed
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_INT_BOOL, _INT_CHAR, _INT_SIGNED = 4, 2, 1


class OptionSpec:
    """One option. `type` is the variable's type in C, `default` the value it has if nobody sets it; None: what this
    kernel was configured with (an `extern` variable in `.kconfig`).

    `section` and `offset_bytes` say where its `size_bytes` bytes stand; `declared` is whether `default` comes from
    the package's annotations, so that it must be written even if nobody asks for the option. `form` is "int",
    "bool", "enum", "float", "text" or "list"; `choices` are an enum's names and numbers, `element` is what a list,
    of up to `count`, consists of. What a list leaves out is zero.
    """

    __slots__ = (
        "byteorder",
        "choices",
        "count",
        "declared",
        "default",
        "element",
        "form",
        "help",
        "long",
        "name",
        "offset_bytes",
        "section",
        "short",
        "signed",
        "size_bytes",
        "type",
    )

    def __init__(self, name: str, type: str, form: str, size_bytes: int, byteorder: str) -> None:
        self.name = name
        self.type = type
        self.form = form
        self.size_bytes = size_bytes
        self.byteorder = byteorder
        self.signed = False
        self.choices: dict[str, int] = {}
        self.element: OptionSpec | None = None
        self.count = 1
        self.section = ""
        self.offset_bytes = 0
        self.default: Value | None = 0
        self.declared = False
        self.help = ""
        self.long = name
        self.short: str | None = None

    def __repr__(self) -> str:
        return f"<OptionSpec {self.name}: {self.type} = {self.default!r}>"


def encode(spec: OptionSpec, value: Value) -> bytes:
    """The variable's bytes for `value`: a Python value, or the text that somebody typed.

    Raises OptionError if the type can't hold it, exactly: no value is cut, wrapped or rounded to fit.
    """
    if spec.element is not None:
        return _encode_list(spec, spec.element, value)
    if spec.form == TEXT:
        return _encode_text(spec, value)
    if spec.form == FLOAT:
        return _encode_float(spec, value)
    number = _number(spec, value)
    try:
        return number.to_bytes(spec.size_bytes, _order(spec), signed=spec.signed)
    except OverflowError:
        low = -(1 << (8 * spec.size_bytes - 1)) if spec.signed else 0
        high = (1 << (8 * spec.size_bytes - spec.signed)) - 1
        raise _refused(spec, value, f"{_one(spec)} holds {low} to {high}") from None


def _encode_list(spec: OptionSpec, element: OptionSpec, value: Value) -> bytes:
    if isinstance(value, str):
        value = value.split(",") if value.strip() else []
    if not isinstance(value, (list, tuple)):
        raise _refused(spec, value, "it takes a list, with commas between")
    if len(value) > spec.count:
        raise _refused(spec, value, f"{_one(spec)} has room for {spec.count}, these are {len(value)}")
    return b"".join([encode(element, item) for item in value]).ljust(spec.size_bytes, b"\0")


def _encode_text(spec: OptionSpec, value: Value) -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        raise _refused(spec, value, "it takes text")
    if b"\0" in value:
        raise _refused(spec, value, "text can't hold a NUL")
    if len(value) >= spec.size_bytes:
        raise _refused(spec, value, f"{_one(spec)} has room for {spec.size_bytes - 1} bytes")
    return value.ljust(spec.size_bytes, b"\0")


def _encode_float(spec: OptionSpec, value: Value) -> bytes:
    order = "<" if spec.byteorder == "little" else ">"
    try:
        if isinstance(value, (bool, bytes)) or not isinstance(value, (int, float, str)):
            raise ValueError
        return struct.pack(order + ("f" if spec.size_bytes == 4 else "d"), float(value))
    except ValueError:
        raise _refused(spec, value, "it takes a number") from None
    except OverflowError:
        raise _refused(spec, value, f"{_one(spec)} can't hold it") from None


def _number(spec: OptionSpec, value: Value) -> int:
    if spec.form == BOOL:
        if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
            return int(value.lower() in _TRUE)
        if isinstance(value, int) and value in (0, 1):
            return int(value)
        raise _refused(spec, value, "it takes true or false")
    if isinstance(value, str):
        text = value.strip()
        if text in spec.choices:
            return spec.choices[text]
        try:
            if not text.isascii():
                raise ValueError
            return int(text, _base(text))
        except ValueError:
            pass
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    if spec.form == ENUM:
        raise _refused(spec, value, f"it takes one of {listed(spec.choices)}, or a number")
    raise _refused(spec, value, "it takes a whole number: decimal, 0x… or octal 0…")


def _base(text: str) -> int:
    """As C reads a number: 0x is hexadecimal, a leading 0, or Python's 0o, octal."""
    digits = text.lstrip("+-").lower()
    if digits.startswith("0x"):
        return 16
    return 8 if len(digits) > 1 and digits.startswith("0") else 10


def decode(spec: OptionSpec, raw: bytes) -> Value:
    if spec.element is not None:
        return [
            _scalar(spec.element, raw[at : at + spec.element.size_bytes])
            for at in range(0, len(raw), spec.element.size_bytes)
        ]
    return _scalar(spec, raw)


def _scalar(spec: OptionSpec, raw: bytes) -> Scalar:
    if spec.form == TEXT:
        return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    if spec.form == FLOAT:
        order = "<" if spec.byteorder == "little" else ">"
        unpacked: float = struct.unpack(order + ("f" if spec.size_bytes == 4 else "d"), raw)[0]
        return unpacked
    number = int.from_bytes(raw, _order(spec), signed=spec.signed)
    if spec.form == BOOL:
        return bool(number)
    if spec.form == ENUM:
        return next((name for name, known in spec.choices.items() if known == number), number)
    return number


def _order(spec: OptionSpec) -> Any:  # int.to_bytes wants a literal type
    return spec.byteorder


def _one(spec: OptionSpec) -> str:
    """One of its type, in words."""
    return f"{'an' if spec.type.startswith(('unsigned', 'a', 'e', 'i', 'o')) else 'a'} {spec.type}"


def _refused(spec: OptionSpec, value: Value, cause: str) -> OptionError:
    return OptionError(f"option {spec.name}: {value!r} is refused: {cause}")


def initial_values(package: Package, values: Mapping[str, Value]) -> dict[str, list[tuple[int, bytes]]]:
    """What to write before load: for each section (offset in bytes, bytes), declared defaults first.

    Raises OptionError for a name that the package doesn't have and for a value that doesn't fit.
    """
    for name in values:
        if name not in package.options:
            known = ", ".join(package.options) or "none"
            raise OptionError(f"option {name!r}: the package has no such option", hint=f"it has: {known}")
    patches: dict[str, list[tuple[int, bytes]]] = {}
    for name, spec in package.options.items():
        if spec.section == KCONFIG:
            continue
        value = values.get(name, spec.default if spec.declared else None)
        if value is not None:
            data = encode(spec, value)
            patches.setdefault(spec.section, []).append((spec.offset_bytes, data))
    return patches


def kernel_config(package: Package, values: Mapping[str, Value]) -> str:
    """What to tell libbpf of the kernel's configuration, in its own form: a line for each such option that is set."""
    lines = []
    for name, spec in package.options.items():
        value = values.get(name, spec.default)
        if spec.section == KCONFIG and value is not None:
            lines.append(f"{name}={_as_config(spec, encode(spec, value))}\n")
    return "".join(lines)


def _as_config(spec: OptionSpec, raw: bytes) -> str:
    value = decode(spec, raw)
    if spec.form == TEXT:
        return f'"{value}"'
    if spec.form == BOOL:
        return "y" if value else "n"
    return {"TRI_NO": "n", "TRI_YES": "y", "TRI_MODULE": "m"}.get(str(value), str(value))


# ---------------------------------------------------------------------------------------------------------------
# From the package


def read(elf: Elf, btf: Btf, section_name: str, variable: Mapping[str, Any], path: str) -> OptionSpec | None:
    """The option for one variable of meta's data_sections; None if no value can be typed for its type.

    `path` is where the variable stands in the meta, for messages. Raises PackageError if the object has no such
    variable or if the declared default doesn't fit it.
    """
    name = variable["name"]
    type_id = _variable_type(btf, section_name, name)
    if section_name == KCONFIG and type_id is not None:
        return _setting(btf, name, type_id, variable, path)
    section = elf.section(section_name)
    if type_id is None or section is None:
        raise PackageError(f"{path}.name: the object has no variable {name!r} in {section_name!r}")
    symbol = next((s for s in elf.symbols if s.name == name and s.section == section.index), None)
    if symbol is None:
        raise PackageError(f"{path}.name: the object has no symbol {name!r} in {section_name!r}")
    spec = _typed(btf, name, type_id)
    if spec is None:
        return None
    spec.section, spec.offset_bytes = section_name, symbol.value
    if spec.offset_bytes + spec.size_bytes > section.size:
        raise PackageError(f"{path}.name: {name!r} reaches outside {section_name!r}")
    raw = bytes(spec.size_bytes)
    if section.type != SHT_NOBITS:
        raw = section.data[spec.offset_bytes : spec.offset_bytes + spec.size_bytes]
    spec.default = decode(spec, raw)
    _describe(spec, variable, path)
    return spec


def _setting(btf: Btf, name: str, type_id: int, variable: Mapping[str, Any], path: str) -> OptionSpec | None:
    spec = _typed(btf, name, type_id)
    if spec is None or spec.form in (FLOAT, LIST):
        return None
    spec.section, spec.default = KCONFIG, None
    _describe(spec, variable, path)
    return spec


def _variable_type(btf: Btf, section_name: str, name: str) -> int | None:
    datasec = btf.find(section_name, KIND_DATASEC)
    if datasec is None:
        return None
    for variable_id, _, _ in btf.types[datasec].variables:
        if btf.types[variable_id].name == name:
            return btf.types[variable_id].type_id
    return None


def _typed(btf: Btf, name: str, type_id: int) -> OptionSpec | None:
    resolved = btf.types[btf.resolve(type_id)]
    form = None
    if resolved.kind == KIND_INT and resolved.size in (1, 2, 4, 8, 16):
        form = BOOL if resolved.encoding & _INT_BOOL else INT
    elif resolved.kind in (KIND_ENUM, KIND_ENUM64):
        form = ENUM
    elif resolved.kind == KIND_FLOAT and resolved.size in (4, 8):
        form = FLOAT
    elif resolved.kind == KIND_ARRAY and resolved.count and _is_char(btf, resolved.type_id):
        form = TEXT
    elif resolved.kind == KIND_ARRAY and 0 < resolved.count <= _LONGEST_LIST:
        return _typed_list(btf, name, type_id, resolved)
    if form is None:
        return None
    size = resolved.count if form == TEXT else resolved.size
    spec = OptionSpec(name, plain_type(btf, type_id), form, size, btf.byteorder)
    spec.signed = resolved.signed and form in (INT, ENUM)
    if form == ENUM:
        spec.choices = dict(resolved.values)
    return spec


def _typed_list(btf: Btf, name: str, type_id: int, array: Type) -> OptionSpec | None:
    element = _typed(btf, name, array.type_id)
    if element is None or element.form in (TEXT, LIST):
        return None
    size_bytes = array.count * element.size_bytes
    spec = OptionSpec(name, plain_type(btf, type_id), LIST, size_bytes, btf.byteorder)
    spec.element, spec.count = element, array.count
    return spec


def plain_type(btf: Btf, type_id: int) -> str:
    """How C spells a variable's type, without const and volatile of its own or of its elements."""
    dimensions = ""
    while True:
        found = btf.types[type_id]
        if found.kind == KIND_ARRAY:
            dimensions += f"[{found.count}]"
        elif found.kind not in _QUALIFIERS:
            return type_name(btf, type_id) + dimensions
        type_id = found.type_id


def _is_char(btf: Btf, type_id: int) -> bool:
    element = btf.types[btf.resolve(type_id)]
    if element.kind != KIND_INT or element.size != 1:
        return False
    return element.name == "char" or bool(element.encoding & _INT_CHAR)


def _describe(spec: OptionSpec, variable: Mapping[str, Any], path: str) -> None:
    cmdarg = variable.get("cmdarg") or {}
    spec.long = cmdarg.get("long", spec.name)
    if not spec.long.isascii() or not spec.long.replace("-", "_").strip("_").isidentifier():
        raise PackageError(f"{path}: {spec.long!r} can't be the name of an option")
    spec.short = cmdarg.get("short")
    if spec.short is not None and not (
        len(spec.short) == 1 and spec.short.isascii() and spec.short.isalnum()
    ):
        raise PackageError(f"{path}.cmdarg.short: {spec.short!r} isn't one letter or digit")
    text = cmdarg.get("help") or variable.get("description")
    spec.help = printable(text) if text else f"Set value of `{spec.type}` variable {spec.name}"
    for key, holder in (("cmdarg.default", cmdarg.get("default")), ("value", variable.get("value"))):
        if holder is None:
            continue
        try:
            if not isinstance(holder, (bool, int, float, str)) and not (
                isinstance(holder, list) and spec.form == LIST
            ):
                raise OptionError("it is neither a number nor text")
            spec.default = decode(spec, encode(spec, holder))
        except OptionError as error:
            raise PackageError(f"{path}.{key}: {error}") from None
        spec.declared = True
        return


def printable(text: str) -> str:
    """A package's text on one line, whatever could steer a terminal escaped."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() and c < "\x7f" else ascii(c)[1:-1] for c in text
    ).strip()


def listed(choices: Mapping[str, int]) -> str:
    """An enumeration's names, as many as a line holds."""
    names = list(choices)
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
