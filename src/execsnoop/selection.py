"""The options that choose events. Each is short for a text in the filters' language, so that nothing is decided in two
places."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["add_options", "where"]

_FAILED = 'status != 0 or type == "exec_failed"'


def add_options(group: argparse._ArgumentGroup) -> None:
    def add(*names: str, key: Callable[[str], str], metavar: str, help: str) -> None:
        """An option that may be given several times; `key` makes a filter of its value."""
        group.add_argument(*names, action="append", type=_checked(key), metavar=metavar, help=help)

    add(
        "--where",
        key=lambda text: text,
        metavar="FILTER",
        help="show only what the filter selects, as in 'uid == 1000 and duration > 1s and argv ~ \"gcc\"'; the options "
        "below select less still, but one of them given twice selects what either does",
    )
    add("-u", "--uid", key=_equals("uid"), metavar="UID|NAME", help="processes of this user")
    add("-g", "--gid", key=_equals("gid"), metavar="GID|NAME", help="processes of this group")
    add("-n", "--name", key=_contains("comm"), metavar="NAME", help="a comm with NAME in it")
    add("-l", "--line", key=_contains("argv"), metavar="LINE", help="arguments with LINE in them")
    add("--pid", key=_equals("pid"), metavar="PID", help="this process, by its number in the PID column")
    add("--ppid", key=_equals("ppid"), metavar="PID", help="the children of this process")
    add("-c", "--cgroup", key=_in_cgroup, metavar="PATH", help="processes in this control group or below it")
    add(
        "--container",
        key=_in_container,
        metavar="NAME|ID",
        help="processes in this container: its name, or the first digits of its id; if it isn't there yet, once it is",
    )
    group.add_argument(
        "--failed-only",
        action="store_true",
        help="exits with a status other than 0, or by a signal; with -x failed execs too",
    )
    add(
        "--min-duration",
        key=lambda text: f"duration >= {text}",
        metavar="TIME",
        help="exits after 1s, 200ms, …",
    )


def where(options: argparse.Namespace) -> str | None:
    """One filter for all that was chosen; None if nothing was."""
    parts: list[str] = list(options.where or ())
    for name in ("uid", "gid", "name", "line", "pid", "ppid", "cgroup", "container", "min_duration"):
        alternatives = getattr(options, name)
        if alternatives:
            parts.append(" or ".join(alternatives))
    if options.failed_only:
        parts.append(_FAILED)
    return parts[0] if len(parts) == 1 else " and ".join(f"({part})" for part in parts) or None


def _checked(key: Callable[[str], str]) -> Callable[[str], str]:
    """For argparse: the filter that an option's value is short for."""

    def checked(value: str) -> str:
        from argparse import ArgumentTypeError

        from .filters import Filter, FilterError

        text = key(value)
        try:
            Filter(text)
        except FilterError as error:
            raise ArgumentTypeError(str(error) if text == value else error.message) from None
        return text

    return checked


def _equals(key: str) -> Callable[[str], str]:
    def text(value: str) -> str:
        from .filters import quoted

        return f"{key} == {value if value.isdigit() else quoted(value)}"

    return text


def _contains(key: str) -> Callable[[str], str]:
    def text(value: str) -> str:
        import re

        from .filters import quoted

        return f"{key} ~ {quoted(re.escape(value))}"

    return text


def _in_cgroup(path: str) -> str:
    from .filters import quoted

    return f"cgroup in {quoted(_hierarchy_path(path))}"


def _hierarchy_path(path: str) -> str:
    """A control group's path in its hierarchy, also if it was given as the path of its folder."""
    from os.path import commonpath

    from .identity import hierarchies

    if not path.startswith("/"):
        return f"/{path}"
    for folder, root in hierarchies():
        if commonpath((folder, path)) == folder:
            return f"{root.rstrip('/')}/{path[len(folder) :].strip('/')}"
    return path


def _in_container(name: str) -> str:
    from .filters import quoted
    from .identity import may_be_id

    if not name:
        from argparse import ArgumentTypeError

        raise ArgumentTypeError("a container has a name, or an id")

    named = f"container.name == {quoted(name)}"
    return f'{named} or container.id ~ "^{name}"' if may_be_id(name) else named
