"""The command `execsnoop`: execs, forks and exits as a table, JSON lines or CSV."""

from __future__ import annotations

import sys

import snoopkit

from . import redact, selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


__all__ = ["main", "parser"]

_MAX_SETTLE_SECONDS = 60


@snoopkit.command("execsnoop")
def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    if argv and argv[0] == "selftest":
        return _selftest(argv[1:])
    options = parser().parse_args(argv)

    with snoopkit.Live(options, "execsnoop") as live:
        from .tracing import SETTLE_SECONDS, trace
        from .views import writer

        settle = options.settle
        if settle is None:
            is_watched = options.format == "table" and options.output is None and sys.stdout.isatty()
            settle = 0.0 if is_watched else SETTLE_SECONDS
        source = trace(
            where=selection.where(options),
            redact=redact.is_on(options, "live"),
            redact_rules=options.redact_rule or (),
            failed=options.failed,
            existing=options.existing,
            columns=options.columns or (),
            settle=settle,
            buffer_bytes=options.buffer_size,
            transport=options.transport,
        )
        return live.run(source, writer(options.format, options.columns))


def parser() -> argparse.ArgumentParser:
    """The command line, as the help, the man page and completions have it."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="execsnoop",
        description="Show every process that begins, runs another program, or ends.",
        epilog="`execsnoop selftest` proves that on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"execsnoop {snoopkit.__version__}")
    _add_selection(parser.add_argument_group("selection"))
    _add_views(parser.add_argument_group("views"))
    redact.add_options(parser.add_argument_group("secrets"))
    snoopkit.add_live_options(parser)
    group = parser.add_argument_group("collection")
    group.add_argument(
        "--transport", choices=("perf", "ring"), help="how events come from the kernel (default: perf)"
    )
    group.add_argument(
        "--settle",
        type=_settle,
        metavar="SECONDS",
        help="hold output back that long for the kernel's exact accounts of processes that ended "
        "(default: 0 for a table on a terminal, else 0.15)",
    )
    return parser


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-x",
        "--failed",
        action="store_true",
        help="show failed execs too; meanwhile every system call on this machine takes some 50 ns longer "
        "(90 ns where there is no tracefs)",
    )
    group.add_argument(
        "--existing", action="store_true", help="show the processes that are there already, first"
    )
    selection.add_options(group)


def _add_views(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--columns",
        type=_columns,
        metavar="KEY[,KEY]",
        help="show these keys of the JSON lines, or all; cgroup, container, namespaces, exe, cwd and capabilities are "
        "collected only if they are named here or in a filter",
    )


def _selftest(argv: Sequence[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(
        prog="execsnoop selftest",
        description="Have programs do what tracers get wrong, and compare what execsnoop sees with what they and the "
        "kernel tell. Takes some seconds, during which every system call on this machine takes some 50 ns longer.",
    )
    parser.add_argument("--json", action="store_true", help="one object a case instead of a table")
    options = parser.parse_args(argv)

    import signal

    from . import selftest
    from .tracing import trace

    # So that it tidies up after itself.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with trace(failed=True, columns=selftest.COLUMNS) as source:
        rows = selftest.run(source)
    if options.json:
        for row in rows:
            print(snoopkit.render.json(row.as_dict()).decode())
    else:
        print(selftest.table(rows), end="")
    return int(any(row.failed for row in rows))


def _columns(text: str) -> tuple[str, ...]:
    from argparse import ArgumentTypeError

    from .model import COLUMNS

    if text == "all":
        return COLUMNS
    keys = tuple(key.strip() for key in text.split(","))
    for key in keys:
        if key not in COLUMNS:
            raise ArgumentTypeError(f"no key {key!r}; there are {', '.join(COLUMNS)}")
    return keys


def _settle(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _MAX_SETTLE_SECONDS:
        raise ValueError
    return value


_settle.__name__ = f"number of seconds up to {_MAX_SETTLE_SECONDS}"
