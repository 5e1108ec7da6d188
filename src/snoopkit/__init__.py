"""snoopkit turns one eBPF C file and one header into a tool.

    package = snoopkit.build("x.bpf.c", "x.h")       # needs clang, no kernel
    package.write("package.json")
    with snoopkit.run(package) as snoop:              # needs a kernel with BTF, no clang
        for event in snoop:
            print(event.pid, event.comm)

The public names are those of `__all__`, and `snoopkit.render`; each is imported when it is first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOMES = {
    "AttachError": "errors",
    "Batch": "batch",
    "CommandLine": "commandline",
    "CompileError": "errors",
    "DecodeError": "errors",
    "Event": "events",
    "Live": "cli.live",
    "LoadError": "errors",
    "Lost": "events",
    "MapError": "errors",
    "OptionError": "errors",
    "OptionSpec": "options",
    "Package": "package",
    "PackageError": "errors",
    "Snoop": "session",
    "SnoopkitError": "errors",
    "StructType": "layout",
    "Symbols": "symbols",
    "UnsupportedError": "errors",
    "add_live_options": "cli.live",
    "build": "compiler",
    "command": "cli.command",
    "defaults": "cli.defaults",
    "run": "session",
    "supports": "features",
}

__all__ = sorted(_HOMES)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .batch import Batch as Batch
    from .cli.command import command as command
    from .cli.defaults import defaults as defaults
    from .cli.live import Live as Live, add_live_options as add_live_options
    from .commandline import CommandLine as CommandLine
    from .compiler import build as build
    from .errors import (
        AttachError as AttachError,
        CompileError as CompileError,
        DecodeError as DecodeError,
        LoadError as LoadError,
        MapError as MapError,
        OptionError as OptionError,
        PackageError as PackageError,
        SnoopkitError as SnoopkitError,
        UnsupportedError as UnsupportedError,
    )
    from .events import Event as Event, Lost as Lost
    from .features import supports as supports
    from .layout import StructType as StructType
    from .options import OptionSpec as OptionSpec
    from .package import Package as Package
    from .session import Snoop as Snoop, run as run
    from .symbols import Symbols as Symbols


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'snoopkit' has no attribute {name!r}")
    module = __import__(f"snoopkit.{home}", fromlist=[name])
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
