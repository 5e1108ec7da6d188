"""Which events are wanted: `--where 'uid == 1000 and duration > 1s and argv ~ "gcc"'`. See docs/filters.md.

lexer    text → tokens, and the error that points at a place
keys     what an event's keys are, and what may be compared with them
tree     tokens' meaning → a function for events
parser   tokens → tree
bounds   tree → what the kernel's side can decide
"""

from __future__ import annotations

from .bounds import bounds
from .lexer import FilterError, quoted
from .parser import tree
from .tree import wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import ProcessEvent

__all__ = ["Filter", "FilterError", "quoted"]


class Filter:
    """`matches(event)` says whether an event is wanted; notices of loss always are. `columns` are the keys of
    `COLUMNS` that it reads, `kernel_options` what the package is told to leave out already, `containers` and `cgroups`
    the names and paths of those that it asks for.

    Raises FilterError, a ValueError, for a text that is no filter.
    """

    def __init__(self, text: str) -> None:
        root = tree(text)
        self.text = text
        self.columns = frozenset(key.column for key in root.all_keys())
        self.kernel_options = bounds(root).options()
        self.containers = wanted(root, "container.name")
        self.cgroups = wanted(root, "cgroup")
        self._test = root.test()

    def matches(self, event: ProcessEvent) -> bool:
        return event.type == "lost" or self._test(event)

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"
