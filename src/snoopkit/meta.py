"""The types of everything in a package's meta, so that nobody who reads it has to look again.

The table below says what each key that anybody reads must hold. Other keys are let through: eunomia's tools and
their users add their own. A message names the place: `meta.bpf_skel.maps[2].name`.
"""

from __future__ import annotations

from .errors import PackageError

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Check = Callable[[Any, str], None]

__all__ = ["check", "kind_of"]

_KINDS = {
    str: "text",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
}
_LARGEST_ID = (1 << 32) - 1


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return _KINDS.get(type(value), "null")


def check(meta: object) -> None:
    """Raises PackageError at the first key that doesn't hold what it must."""
    _META(meta, "meta")


def _wrong(path: str, expected: str, value: object) -> PackageError:
    return PackageError(f"{path}: expected {expected}, found {kind_of(value)}")


def _anything(value: Any, path: str) -> None:
    pass


def _text(value: Any, path: str) -> None:
    if type(value) is not str:
        raise _wrong(path, "text", value)
    if "\0" in value:
        raise PackageError(f"{path}: text with a NUL in it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PackageError(f"{path}: text with half of a character in it") from None


def _name(value: Any, path: str) -> None:
    _text(value, path)
    if not value.isascii() or not value.isidentifier() or len(value) > 255:
        raise PackageError(f"{path}: {value!r} isn't a name in C")


def _object_name(value: Any, path: str) -> None:
    _text(value, path)
    if not value.isascii() or not f"_{value}".isidentifier() or not 0 < len(value) <= 255:
        raise PackageError(f"{path}: {value!r} isn't a name for an object")


def _flag(value: Any, path: str) -> None:
    if type(value) is not bool:
        raise _wrong(path, "true or false", value)


def _number(low: int, high: int) -> Check:
    def check_number(value: Any, path: str) -> None:
        if type(value) is not int:
            raise _wrong(path, "an integer", value)
        if not low <= value <= high:
            raise PackageError(f"{path}: {value} isn't between {low} and {high}")

    return check_number


def _one_of(*allowed: str | int) -> Check:
    def check_choice(value: Any, path: str) -> None:
        if type(value) not in (str, int) or value not in allowed:
            raise PackageError(f"{path}: expected one of {', '.join(map(str, allowed))}")

    return check_choice


def _value(value: Any, path: str) -> None:
    """What a variable may be set to; an array by a list."""
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (str, bool, int, float)):
            raise _wrong(path, "a number, text, a boolean, or a list of these", item)


def _list(each: Check) -> Check:
    def check_list(value: Any, path: str) -> None:
        if type(value) is not list:
            raise _wrong(path, "a list", value)
        for index, item in enumerate(value):
            each(item, f"{path}[{index}]")

    return check_list


def _object(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    optional = optional or {}

    def check_object(value: Any, path: str) -> None:
        if type(value) is not dict:
            raise _wrong(path, "an object", value)
        for key, inner in required.items():
            if key not in value:
                raise PackageError(f"{path}.{key}: missing")
            inner(value[key], f"{path}.{key}")
        for key, inner in optional.items():
            if key in value:
                inner(value[key], f"{path}.{key}")

    return check_object


def _or_null(inner: Check) -> Check:
    def check_value(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check_value


def _either(by_type: dict[type, Check], expected: str) -> Check:
    def check_value(value: Any, path: str) -> None:
        inner = by_type.get(type(value))
        if inner is None:
            raise _wrong(path, expected, value)
        inner(value, path)

    return check_value


_int32 = _number(-(1 << 31), (1 << 31) - 1)
_uint32 = _number(0, _LARGEST_ID)
_type_id = _number(1, _LARGEST_ID)

_CMDARG = _object({}, {"default": _value, "long": _text, "short": _text, "help": _text})
_VARIABLE = _object(
    {"name": _name},
    {"type": _text, "description": _text, "value": _value, "cmdarg": _CMDARG},
)
_DATA_SECTIONS = _list(_object({"name": _text, "variables": _or_null(_list(_VARIABLE))}))

_SAMPLE = _object(
    {"interval": _uint32},
    {
        "type": _one_of("default_kv", "log2_hist", "linear_hist"),
        "unit": _text,
        "clear_map": _flag,
        "per_cpu": _flag,
    },
)
_CUSTOM_MEMBER = _object({"name": _text, "offset": _uint32, "btf_type_id": _type_id})
_EXPORT_CONFIG = _either(
    {
        str: _one_of("no_export", "default"),
        dict: _object({}, {"btf_type_id": _type_id, "custom_members": _list(_CUSTOM_MEMBER)}),
    },
    'text or {"btf_type_id": …}',
)
_FIELD_MAP = _object(
    {}, dict.fromkeys(("pid", "cpu_id", "comm", "kstack_sz", "ustack_sz", "kstack", "ustack"), _text)
)
_INTERPRETER = _either(
    {
        str: _one_of("default_struct"),
        dict: _object({"stack_trace": _object({}, {"field_map": _FIELD_MAP, "with_symbols": _flag})}),
    },
    'text or {"stack_trace": …}',
)
_MAP = _object(
    {"name": _text, "ident": _text},
    {
        "mmaped": _flag,
        "sample": _SAMPLE,
        "export_config": _EXPORT_CONFIG,
        "intepreter": _INTERPRETER,
        "interpreter": _INTERPRETER,
    },
)

_TCHOOK = _object(
    {},
    {"ifindex": _int32, "attach_point": _one_of("BPF_TC_INGRESS", "BPF_TC_EGRESS", "BPF_TC_CUSTOM")},
)
_PROGRAM = _object(
    {"name": _text},
    {
        "attach": _text,  # missing before eunomia-bpf 0.3
        "link": _flag,
        "description": _text,
        "tchook": _TCHOOK,
        "tcopts": _object({}, {"handle": _uint32, "priority": _number(0, 65535)}),
        "ifindex": _int32,
        "flags": _uint32,
        "xdpopts": _object({}, {"old_prog_fd": _int32}),
    },
)

_SKELETON = _object(
    {"obj_name": _object_name},
    {
        "data_sections": _or_null(_DATA_SECTIONS),
        "maps": _or_null(_list(_MAP)),
        "progs": _or_null(_list(_PROGRAM)),
        "doc": _or_null(_object({}, dict.fromkeys(("version", "brief", "details", "description"), _text))),
    },
)
_EXPORT_TYPE = _object(
    {
        "name": _text,
        "members": _list(_object({"name": _text, "type": _text})),
        "size": _uint32,
        "type_id": _type_id,
    }
)
_EXPORT_TYPES = _either(
    {list: _list(_EXPORT_TYPE), dict: _object({}, {"structs": _list(_object({"name": _text}))})},
    "a list",
)

_TAIL_PART = _object({"name": _name, "size_member": _text, "form": _one_of("text", "strings")})
_EVENT = _object(
    {"map": _text, "type_id": _type_id},
    {
        "kind_member": _or_null(_text),
        "kind_value": _or_null(_number(0, (1 << 64) - 1)),
        "tail_member": _or_null(_text),
        "tail_parts": _or_null(_list(_TAIL_PART)),
    },
)
_OWN = _object(
    {"version": _one_of(1)},
    {
        "events": _list(_EVENT),
        "losses": _or_null(_text),
        "ring": _or_null(_text),
        "data_sections": _DATA_SECTIONS,
    },
)

_META = _object(
    {"bpf_skel": _SKELETON},
    {
        "export_types": _or_null(_EXPORT_TYPES),
        "eunomia_version": _text,
        "enable_multiple_export_types": _flag,
        "poll_timeout_ms": _int32,
        "perf_buffer_pages": _uint32,
        "perf_buffer_time_ms": _uint32,
        "debug_verbose": _flag,
        "print_header": _flag,
        "snoopkit": _OWN,
    },
)
