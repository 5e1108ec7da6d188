"""The command `execsnoop`: execs, forks and exits as a table, JSON lines or CSV."""

from __future__ import annotations

import gc
import os
import sys

import snoopkit

from . import redact, selection, views

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .command import Command


__all__ = ["main", "parser", "selftest_parser"]

_MAX_SETTLE_SECONDS = 60
_OWN_FAILURE = 125  # in front of a command, as env has it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["selftest"]:
        return _selftest(arguments[1:])
    # A start makes much that stays; to search that for cycles again and again takes a thirtieth of its time.
    collects_garbage = gc.isenabled()
    gc.disable()
    try:
        return _follow(arguments) if "--" in arguments else _watch(arguments)
    finally:
        if collects_garbage:
            gc.enable()


@snoopkit.command("execsnoop")
def _watch(argv: Sequence[str]) -> int:
    options = _watching(parser(), argv) if argv else snoopkit.defaults(_add_options)
    with snoopkit.Live(options, "execsnoop") as live:
        return _show(live)


@snoopkit.command("execsnoop", failed=_OWN_FAILURE, bad_usage=_OWN_FAILURE)
def _follow(argv: Sequence[str]) -> int:
    """Run a command, trace it on standard error; returns its status, as a shell tells it."""
    from .command import Command, CommandError, Origin, invoking_user

    at = argv.index("--")
    command_line = parser()
    options = _parsed(command_line, argv[:at])
    if not argv[at + 1 :]:
        command_line.error("-- needs a COMMAND")
    if options.subtree is not None:
        command_line.error("either --subtree or a COMMAND")
    origin = Origin()
    user = None if options.as_root else invoking_user(origin.environment)
    if options.ready_fd is not None:
        os.set_inheritable(options.ready_fd, False)
    command = Command(argv[at + 1 :], origin=origin, user=user, relays=True)
    refused: list[CommandError] = []

    @snoopkit.command("execsnoop", failed=_OWN_FAILURE)
    def show(_: Sequence[str]) -> int:
        try:
            return _show(live, command)
        except CommandError as error:
            refused.append(error)
            raise

    with snoopkit.Live(options, "execsnoop", sys.stderr.fileno()) as live:
        status = show(())
        if refused:
            return refused[0].status
        # Where the trace ended first, by a limit or a failure, the command goes on as it would have without us.
        returncode = command.wait() if command.pid else None
    if returncode is None or status == _OWN_FAILURE:
        return _OWN_FAILURE
    return returncode if returncode >= 0 else 128 - returncode


def _watching(command_line: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    options = _parsed(command_line, argv)
    for name in ("no_linger", "as_root"):
        if getattr(options, name):
            command_line.error(f"--{name.replace('_', '-')} is about a COMMAND, which comes behind --")
    return options


def _parsed(command_line: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    options = command_line.parse_args(argv)
    problem = views.problem(options)
    if problem:
        command_line.error(problem)
    return options


def _show(live: snoopkit.Live, command: Command | None = None) -> int:
    from .tracing import SETTLE_SECONDS, Trace

    options = live.options
    settle = options.settle
    if settle is None:
        is_watched = not views.waits(options) and live.output.is_terminal
        settle = 0.0 if is_watched else SETTLE_SECONDS
    output = redact.kind(live.output)
    source = Trace(
        command,
        subtree=options.subtree,
        linger=not options.no_linger,
        where=selection.where(options),
        redact=redact.is_on(options, output),
        redact_rules=options.redact_rule or (),
        failed=options.failed,
        existing=options.existing,
        columns=views.keys(options),
        settle=settle,
        buffer_bytes=options.buffer_size,
        transport=options.transport,
    )
    note = redact.note(options, output)
    if note:
        print(f"execsnoop: {note}", file=sys.stderr)
    return live.run(source, views.writer(options, live.output.fd))


def parser() -> snoopkit.CommandLine:
    """The command line, as the help, the man page and completions have it."""
    parser = snoopkit.CommandLine(
        "execsnoop",
        description="Show every process that begins, runs another program, or ends.",
        epilog="`execsnoop selftest` proves that on this machine.",
        usage="execsnoop [OPTIONS] [-- COMMAND [ARGUMENT ...]]",
        examples=[
            ("execsnoop", "every exec, fork and exit, until Ctrl-C"),
            ("execsnoop -x -u alice", "one user's, failed execs too"),
            ("execsnoop -o build.trace -- make -j8", "one command and all that it starts"),
            ("execsnoop --where 'duration > 1s'", "what ran for more than a second"),
            ("execsnoop --json | jq .argv", "one object a line, see docs/events.md"),
        ],
    )
    _add_options(parser)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"execsnoop {snoopkit.__version__}")
    _add_selection(parser.add_argument_group("selection"))
    _add_following(parser.add_argument_group("following"))
    views.add_options(parser)
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


def _add_following(group: argparse._ArgumentGroup) -> None:
    group.description = (
        "-- COMMAND runs that and shows, on standard error or in -o FILE, only it and all that it starts, until the "
        "last of them has ended; the exit status is the command's own. Under sudo it runs as who called that."
    )
    group.add_argument(
        "--subtree", type=int, metavar="PID", help="show only this process and all that comes from it"
    )
    group.add_argument("--no-linger", action="store_true", help="end with COMMAND, whatever it left behind")
    group.add_argument("--as-root", action="store_true", help="run COMMAND as root, not as who called sudo")


@snoopkit.command("execsnoop")
def _selftest(argv: Sequence[str]) -> int:
    import signal

    from . import selftest
    from .tracing import trace

    options = selftest_parser().parse_args(argv)
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


def selftest_parser() -> snoopkit.CommandLine:
    parser = snoopkit.CommandLine(
        "execsnoop selftest",
        description="Have programs do what tracers get wrong, and compare what execsnoop sees with what they and the "
        "kernel tell. Takes some seconds, during which every system call on this machine takes some 50 ns longer. "
        "The exit status is 0 if no case failed, else 1.",
        examples=[
            ("execsnoop selftest", "a row for each case"),
            ("execsnoop selftest --json | jq -r .verdict", "one word a case"),
        ],
    )
    parser.add_argument("--json", action="store_true", help="one object a case instead of a table")
    return parser


def _settle(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _MAX_SETTLE_SECONDS:
        raise ValueError
    return value


_settle.__name__ = f"number of seconds up to {_MAX_SETTLE_SECONDS}"
