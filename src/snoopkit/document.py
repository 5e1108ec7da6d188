"""A package file's JSON and the object in it, read within bounds: whoever wrote it may mean harm."""

from __future__ import annotations

import binascii
import zlib
from _json import make_scanner  # json itself imports re, enum and functools: more than all of the rest

from .elf import LARGEST_OBJECT_BYTES
from .errors import PackageError

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LARGEST_FILE_BYTES", "inflate", "packed", "parse_json"]

LARGEST_FILE_BYTES = 96 << 20
_MOST_JSON_VALUES = 1 << 20


def parse_json(data: bytes) -> Any:
    """The JSON in `data`, bounded. PackageError."""
    if len(data) > LARGEST_FILE_BYTES:
        raise PackageError(f"package: larger than {LARGEST_FILE_BYTES} bytes")
    # A short text can ask for a thousand times its size in Python objects; base64 has none of these characters.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > _MOST_JSON_VALUES:
        raise PackageError("package: too many values")
    try:
        return _parsed(data.removeprefix(b"\xef\xbb\xbf").decode())
    except RecursionError:
        raise PackageError("package: nested too deeply") from None
    except ValueError as error:
        raise PackageError(f"package: not JSON: {error}") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


class _Rules:
    """What the native half of `json.JSONDecoder` asks that for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, staticmethod(_no_constant)


_rules: Any = _Rules
_scan = make_scanner(_rules)
_WHITESPACE = " \t\n\r"


def _parsed(text: str) -> Any:
    start = len(text) - len(text.lstrip(_WHITESPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise ValueError(f"no value at character {stop.value}") from None
    if text[end:].strip(_WHITESPACE):
        raise ValueError(f"more than one value, at character {end}")
    return value


def packed(object: bytes) -> str:
    """The text for an object's bytes: always the same. A higher level makes execsnoop's a twentieth shorter, and takes
    seven times as long."""
    return binascii.b2a_base64(zlib.compress(object, 6), newline=False).decode("ascii")


def inflate(document: dict[str, Any]) -> bytes:
    """The object's bytes in a package's document. PackageError."""
    text = document["bpf_object"]
    if not isinstance(text, str):
        from .meta import kind_of

        raise PackageError(f"bpf_object: expected text, found {kind_of(text)}")
    # Packages from before eunomia-bpf 0.3 don't say how large the object is.
    size = document.get("bpf_object_size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise PackageError("bpf_object_size: expected a size in bytes")
    bound = LARGEST_OBJECT_BYTES if size is None else size
    if bound > LARGEST_OBJECT_BYTES:
        raise PackageError(f"bpf_object_size: {size} is larger than {LARGEST_OBJECT_BYTES} bytes")
    try:
        compressed = binascii.a2b_base64(text.encode("ascii").translate(None, b" \t\r\n"), strict_mode=True)
    except ValueError as error:
        raise PackageError(f"bpf_object: not base64: {error}") from None
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(compressed, bound + 1)
    except zlib.error as error:
        raise PackageError(f"bpf_object: not a zlib stream: {error}") from None
    if len(inflated) > bound:
        raise PackageError(f"bpf_object: it inflates to more than {bound} bytes")
    if not stream.eof or stream.unused_data:
        raise PackageError("bpf_object: the zlib stream is cut off, or something follows it")
    if size is not None and len(inflated) != size:
        raise PackageError(f"bpf_object: it inflates to {len(inflated)} bytes, not to {size}")
    return inflated
