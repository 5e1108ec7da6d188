"""Every process that runs another program, and every one that ends, on the whole machine.

    with execsnoop.trace() as trace:
        for event in trace:
            print(event.type, event.pid, event.argv, event.exit_code)

Each public name is imported when it is first used.
"""

from __future__ import annotations

_HOMES = {"CommandError": "command", "ProcessEvent": "model", "Trace": "tracing", "trace": "tracing"}

__all__ = ["CommandError", "ProcessEvent", "Trace", "trace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .command import CommandError as CommandError
    from .model import ProcessEvent as ProcessEvent
    from .tracing import Trace as Trace, trace as trace


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'execsnoop' has no attribute {name!r}")
    module = __import__(f"execsnoop.{home}", fromlist=[name])
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
