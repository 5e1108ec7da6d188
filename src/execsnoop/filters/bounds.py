"""What must be true of every event that a filter lets through, as far as the kernel's side can tell.

It may let more through: the whole filter is asked afterwards, so that both sides can't disagree.
"""

from __future__ import annotations

from functools import reduce

from .keys import Key
from .tree import All, Any_, Comparison, Membership, Under

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, TypeVar

    from .tree import Node

    Bound = TypeVar("Bound")

    Range = tuple[int, int]

__all__ = ["Bounds", "bounds"]

_MAX_ID = (1 << 32) - 1
_NOBODY = (_MAX_ID, 0)
_MAX_COMMS = 4  # comm_1 … comm_4 of the package
_COMM_BYTES = 15
_CGROUP_BYTES = 511


class Bounds:
    """`uids` and `gids` from the first to the last, one of `comms`, in the control group `cgroup` or below; None where
    anything goes."""

    def __init__(
        self,
        uids: Range | None = None,
        gids: Range | None = None,
        comms: frozenset[str] | None = None,
        cgroup: str | None = None,
    ) -> None:
        self.uids = uids
        self.gids = gids
        self.comms = comms
        self.cgroup = cgroup

    def options(self) -> dict[str, int | bool | str | bytes]:
        """Values for the package's options; {} where the kernel has nothing to decide."""
        options: dict[str, int | bool | str | bytes] = {}
        for name, ids in (("uid", self.uids), ("gid", self.gids)):
            if ids is not None:
                first, last = ids if ids[0] <= ids[1] else _NOBODY
                options[f"first_{name}"], options[f"last_{name}"] = first, last
        if self.comms is not None and len(self.comms) <= _MAX_COMMS:
            names = [_encoded(name) for name in sorted(self.comms)]
            if all(len(name) <= _COMM_BYTES and b"\0" not in name for name in names):
                options["comms"] = len(names)
                options |= {f"comm_{n}": name for n, name in enumerate(names, 1)}
        if self.cgroup:
            # As a record has it: from the leaf to the root.
            reversed_path = b"".join(name + b"/" for name in reversed(_encoded(self.cgroup[1:]).split(b"/")))
            if len(reversed_path) <= _CGROUP_BYTES and b"\0" not in reversed_path:
                options |= {"under_cgroup": reversed_path, "under_cgroup_bytes": len(reversed_path)}
        return {"selects": True, **options} if options else {}


def bounds(node: Node) -> Bounds:
    """The bounds of what a filter lets through."""
    if isinstance(node, All):
        return reduce(_both, map(bounds, node.parts))
    if isinstance(node, Any_):
        return reduce(_either, map(bounds, node.parts))
    if isinstance(node, Comparison) and not isinstance(node.other, Key):
        return _of_values(node.key, node.sign, [node.other])
    if isinstance(node, Membership) and node.is_in:
        return _of_values(node.key, "==", node.values)
    if isinstance(node, Under) and node.is_in and node.key.column == "cgroup":
        return Bounds(cgroup=node.folder)
    return Bounds()


def _both(one: Bounds, other: Bounds) -> Bounds:
    return Bounds(
        _merged(one.uids, other.uids, _overlap),
        _merged(one.gids, other.gids, _overlap),
        _merged(one.comms, other.comms, frozenset.intersection),
        one.cgroup or other.cgroup,
    )


def _merged(one: Bound | None, other: Bound | None, merge: Callable[[Bound, Bound], Bound]) -> Bound | None:
    if one is None or other is None:
        return one if other is None else other
    return merge(one, other)


def _overlap(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])


def _either(one: Bounds, other: Bounds) -> Bounds:
    return Bounds(
        _span(one.uids, other.uids),
        _span(one.gids, other.gids),
        None if one.comms is None or other.comms is None else one.comms | other.comms,
        one.cgroup if one.cgroup == other.cgroup else None,
    )


def _span(one: Range | None, other: Range | None) -> Range | None:
    if one is None or other is None:
        return None
    return min(one[0], other[0]), max(one[1], other[1])


def _of_values(key: Key, sign: str, values: Collection[Any]) -> Bounds:
    """Of one of these values; the sign is that of a comparison."""
    if key.name in ("uid", "gid"):
        ids = _ids(sign, values)
        return Bounds(uids=ids) if key.name == "uid" else Bounds(gids=ids)
    if key.name == "comm" and sign == "==":
        return Bounds(comms=frozenset(values))
    if key.name == "cgroup" and sign == "==" and len(values) == 1:
        return Bounds(cgroup=next(iter(values)).rstrip("/"))
    return Bounds()


def _ids(sign: str, values: Collection[int]) -> Range | None:
    first, last = max(min(values), 0), min(max(values), _MAX_ID)
    if sign == "==":
        return first, last
    if sign in ("<", "<="):
        return 0, last - (sign == "<")
    if sign in (">", ">="):
        return first + (sign == ">"), _MAX_ID
    return None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
