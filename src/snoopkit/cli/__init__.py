"""The commands. `snoopkit` has one module for each of its own; `ecc` and `ecli` are eunomia-bpf's, by our means."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = {
    "build": "compile SOURCE.bpf.c and its header to a package",
    "run": "load a package, attach it and print its events",
    "doctor": "try what this machine can do",
    "new": "make a small project that builds and runs at once",
    "stubs": "write a package's events, maps and options down for type checkers",
    "inspect": "show what a package has, needs and may do",
}

EXAMPLES = [
    ("snoopkit new opens", "a small tool that runs, to change"),
    ("snoopkit build tool.bpf.c tool.h", "to package.json"),
    ("snoopkit run package.json", "its events, until Ctrl-C"),
]


def main(argv: Sequence[str] | None = None) -> int:
    """`snoopkit COMMAND …`; imports that command's module only."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(), end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from .. import __version__

        print(f"snoopkit {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        from ..commandline import suggestion

        near = suggestion(arguments[0], COMMANDS) or "; see snoopkit --help"
        print(f"snoopkit: error: no command {arguments[0]!r}{near}", file=sys.stderr)
        return 2
    module = __import__(f"snoopkit.cli.{arguments[0]}", fromlist=["main"])
    status: int = module.main(arguments[1:])
    return status


def usage() -> str:
    lines = ["usage: snoopkit COMMAND …", "", "eBPF C to packages, packages to events.", "", "commands:"]
    lines += [f"  {name:10} {what}" for name, what in COMMANDS.items()]
    lines += ["", "snoopkit COMMAND --help tells more; snoopkit --version the version.", "", "examples:"]
    width = max(len(typed) for typed, _ in EXAMPLES)
    lines += [f"  {typed:{width}}  {what}" for typed, what in EXAMPLES]
    return "\n".join(lines) + "\n"
