"""What every map has."""

from __future__ import annotations

from .values import has_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .. import _core
    from .values import Codec

NEW_ONLY, KNOWN_ONLY, LOCK = 1, 2, 4  # the kernel's BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK
MISSING: Any = object()


class Map:
    """What every map has. `type` is the kernel's number for its type, `key_type` and `value_type` are the layouts of
    its keys and values, None where only their size is known, and `raw` is the same map in bytes."""

    _what = "has no entries to look at from here"

    def __init__(self, raw: _core.Map, key: Codec, value: Codec) -> None:
        self.raw = raw
        self.name = raw.name
        self.type = raw.type
        self.key_type = key.type
        self.value_type = value.type
        self._key = key
        self._value = value
        self._flags = LOCK if has_lock(value.type) else 0

    @property
    def max_entries(self) -> int:
        """How many entries the map can hold."""
        return self.raw.max_entries

    def __repr__(self) -> str:
        told = [
            codec.type.spelling if codec.type is not None else f"{codec.size_bytes} bytes"
            for codec in (self._key, self._value)
            if codec.size_bytes
        ]
        return f"<{type(self).__name__} {self.name}{': ' if told else ''}{' → '.join(told)}>"

    # Python's own errors for these would not say why.

    def _refusal(self) -> TypeError:
        return TypeError(f"map {self.name} (type {self.type}) {self._what}")

    def __getitem__(self, key: Any) -> Any:
        raise self._refusal()

    def __setitem__(self, key: Any, value: Any) -> None:
        raise self._refusal()

    def __delitem__(self, key: Any) -> None:
        raise self._refusal()

    def __contains__(self, key: object) -> bool:
        raise self._refusal()

    def __iter__(self) -> Iterator[Any]:
        raise self._refusal()

    def __len__(self) -> int:
        raise self._refusal()

    def __bool__(self) -> bool:
        return True


class EventMap(Map):
    """A perf event array or a ring buffer: its records are the events of the `Snoop`."""

    _what = "carries records, which are read as events"
