"""A process event as text: for people in several views, for programs as JSON lines and CSV. A view is loaded when it is
chosen."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable
    from typing import Protocol

    from ..model import ProcessEvent
    from .look import Look

    class Writer(Protocol):
        def header(self) -> bytes: ...
        def row(self, event: ProcessEvent) -> bytes: ...


__all__ = ["add_options", "keys", "problem", "waits", "writer"]

_MAX_TOP = 1_000
# What is for people's eyes, by the name that argparse gives it; and how it is typed where that isn't the same.
_LOOKS = (
    "time",
    "timestamp",
    "utc",
    "print_uid",
    "names",
    "quote",
    "max_args",
    "wrap",
    "width",
    "color",
    "top",
)
_SPELLINGS = {
    "time": "-T",
    "timestamp": "-t",
    "print_uid": "-U",
    "quote": "-q",
    "max_args": "--max-args",
    "failed": "-x",
}


def add_options(parser: ArgumentParser) -> None:
    """The options that choose a view and its look."""
    group = parser.add_argument_group("views")
    view = group.add_mutually_exclusive_group()
    _add_view(view, "joined", "a line for each process that has ended: how, and what it took")
    _add_view(view, "tree", "execs indented by parentage, and under each how it ended")
    _add_view(view, "shell", "each exec as a line that a shell can run again")
    group.add_argument(
        "--columns",
        type=_columns,
        metavar="KEY[,KEY]",
        help="show these keys of the JSON lines, or all; cgroup, container, namespaces, exe, cwd and capabilities are "
        "collected only if they are named here or in a filter",
    )
    group.add_argument("-T", "--time", action="store_true", help="the time as HH:MM:SS")
    group.add_argument("-t", "--timestamp", action="store_true", help="the seconds since the start")
    group.add_argument("--utc", action="store_true", help="the time in UTC")
    group.add_argument(
        "-U", "--print-uid", action="store_true", help="the user id, in each view and on a narrow screen too"
    )
    group.add_argument("--names", action="store_true", help="names of users and groups for their numbers")
    group.add_argument("-q", "--quote", action="store_true", help="each argument in double quotes")
    group.add_argument(
        "--max-args", type=_count, metavar="N", help="show at most N arguments, the name counted"
    )
    group.add_argument(
        "--wrap", action="store_true", help="continue long rows on the next line (default on a terminal: cut)"
    )
    group.add_argument(
        "--width",
        type=_width,
        metavar="N",
        help="cut or wrap at N columns (default: the terminal's; 0, and elsewhere: never)",
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colours (default: on a terminal, unless NO_COLOR is set)",
    )
    group.add_argument(
        "--top", type=_top, metavar="N", help="end with the N most spawned, slowest and most often failed"
    )


def _add_view(group: argparse._MutuallyExclusiveGroup, name: str, help: str) -> None:
    group.add_argument(f"--{name}", action="store_const", const=name, dest="view", default="table", help=help)


def problem(options: Namespace) -> str | None:
    """What doesn't go together in these options: whatever one of them would say nothing to."""
    if options.format != "table":
        if options.view != "table":
            return f"--{options.view} doesn't go with --format {options.format}"
        return _unused(options, _LOOKS, f"--format {options.format}", "that is for programs")
    if options.columns is not None:
        if options.view != "table":
            return f"--columns doesn't go with --{options.view}"
        return _unused(options, ("time", "timestamp", "print_uid"), "--columns", "name its key there")
    if options.view == "shell":
        return _unused(
            options, (*_LOOKS, "failed", "existing"), "--shell", "it shows what a shell can run again"
        )
    if options.view == "joined":
        return _unused(options, ("existing",), "--joined", "it shows what has ended")
    return None


def _unused(options: Namespace, names: Iterable[str], where: str, why: str) -> str | None:
    for name in names:
        if getattr(options, name) not in (None, False, 0, "auto", "never"):
            return f"{_SPELLINGS.get(name, f'--{name}')} doesn't go with {where}: {why}"
    return None


def keys(options: Namespace) -> tuple[str, ...]:
    """The keys that are shown and may have to be collected."""
    return ("cwd", "exe") if options.view == "shell" else options.columns or ()


def waits(options: Namespace) -> bool:
    """Whether the view is for reading later, or needs the exact accounts; else rows should come at once."""
    return bool(options.format != "table" or options.view == "joined")


def writer(options: Namespace, fd: int | None = None) -> Writer:
    """The writer of the view that was chosen, for the file or terminal behind `fd`."""
    if options.format != "table":
        from .data import Csv, JsonLines

        if options.format == "json":
            return JsonLines(options.columns)
        return Csv(options.columns) if options.columns is not None else Csv()
    if options.view == "shell":
        from .shell import Shell

        return Shell()
    look = _look(options, fd)
    view = _view(options, look)
    if not (options.top or look.screen.is_terminal):
        return view
    from .totals import Totals

    return Totals(view, look, options.top or 0)


def _look(options: Namespace, fd: int | None) -> Look:
    from snoopkit.render import Screen

    from .cells import Words
    from .look import Look

    return Look(
        Screen(fd, width=options.width, color=options.color, wraps=options.wrap),
        Words(all_quoted=options.quote, most=options.max_args),
        time=options.time,
        timestamp=options.timestamp,
        utc=options.utc,
        uid=options.print_uid,
        names=options.names,
    )


def _view(options: Namespace, look: Look) -> Writer:
    if options.view == "joined":
        from .joined import Joined

        return Joined(look)
    if options.view == "tree":
        from .tree import Tree

        return Tree(look)
    from .table import Columns, Table

    return Columns(options.columns, look) if options.columns is not None else Table(look)


def _columns(text: str) -> tuple[str, ...]:
    from argparse import ArgumentTypeError

    from ..model import COLUMNS

    if text == "all":
        return COLUMNS
    keys = tuple(key.strip() for key in text.split(","))
    for key in keys:
        if key not in COLUMNS:
            raise ArgumentTypeError(f"no key {key!r}; there are {', '.join(COLUMNS)}")
    return keys


def _count(text: str) -> int:
    return _within(int(text), 1)


def _top(text: str) -> int:
    return _within(int(text), 1, _MAX_TOP)


def _width(text: str) -> int:
    return _within(int(text), 0)


def _within(value: int, least: int, most: int | None = None) -> int:
    if value < least or (most is not None and value > most):
        raise ValueError
    return value


_count.__name__, _width.__name__ = "count", "width"
_top.__name__ = f"count up to {_MAX_TOP}"
