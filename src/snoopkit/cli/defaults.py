"""What a command line without arguments means, found without argparse: importing that takes longer than loading the
programs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

__all__ = ["defaults"]

_UNSAID = {"store_true": False, "store_false": True}  # all others: None


def defaults(declare: Callable[[argparse.ArgumentParser], object]) -> argparse.Namespace:
    """The options as `parse_args([])` gives them, if `declare` adds them to a parser, and that has no positionals."""
    namespace: Any = _Namespace()
    parser: Any = _Listener(namespace)
    declare(parser)
    found: argparse.Namespace = namespace
    return found


class _Namespace:
    """The options, each an attribute."""


class _Listener:
    """Is told of options as a parser is, and keeps their defaults only."""

    def __init__(self, namespace: _Namespace) -> None:
        self._namespace = namespace

    def add_argument(self, *names: str, **declared: Any) -> None:
        action = declared.get("action", "store")
        if action in ("help", "version"):
            return
        long = next((name for name in names if name.startswith("--")), names[0])
        name = declared.get("dest") or long.lstrip("-").replace("-", "_")
        if not hasattr(self._namespace, name):
            setattr(self._namespace, name, declared.get("default", _UNSAID.get(action)))

    def add_argument_group(self, *_: object, **__: object) -> _Listener:
        return self

    add_mutually_exclusive_group = add_argument_group
