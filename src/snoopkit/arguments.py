"""A package's own options on the command line."""

from __future__ import annotations

from .errors import OptionError, PackageError
from .options import BOOL, ENUM, FLOAT, INT, KCONFIG, TEXT, decode, encode, listed, printable

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from .commandline import CommandLine
    from .options import OptionSpec, Value
    from .package import Package

__all__ = ["add_arguments", "collect", "parser"]

_METAVARS = {INT: "N", BOOL: "BOOL", ENUM: "NAME", FLOAT: "X", TEXT: "TEXT"}


def parser(package: Package, program: str) -> CommandLine:
    """A command line for the package's own options, with what its source says about itself: `brief` (or
    `description`) above the options, `details` below, `version`."""
    from argparse import RawDescriptionHelpFormatter
    from re import compile

    from .commandline import CommandLine

    doc = package.doc
    found = CommandLine(
        program,
        description=_paragraph(doc.get("brief") or doc.get("description")),
        epilog=_paragraph(doc.get("details")),
        formatter_class=RawDescriptionHelpFormatter,
    )
    found._negative_number_matcher = compile(r"-\.?\d")  # argparse's own takes -0x1 and -1e3 for options
    if doc.get("version"):
        version = _paragraph(f"{package.name} {doc['version']}")
        found.add_argument("--version", action="version", version=version or "")
    add_arguments(found, package)
    return found


def _paragraph(text: str | None) -> str | None:
    """Lines as they were written, each made harmless."""
    if not text:
        return None
    text = "\n".join(map(printable, text.split("\n")))
    # argparse fills in names only where it finds this one
    return text.replace("%", "%%") if "%(prog)" in text else text


def add_arguments(parser: ArgumentParser, package: Package) -> None:
    """Give `parser` an option for each of the package's. A name that `parser` already has gets `set-` in front."""
    from argparse import SUPPRESS, ArgumentTypeError

    group = parser.add_argument_group("options of this program") if package.options else parser
    taken = set(parser._option_string_actions)
    wanted = {f"--{spec.long}" for spec in package.options.values()}

    def add(spec: OptionSpec, prefix: str = "", short: bool = True, **more: Any) -> None:
        long = f"--{prefix}{spec.long}"
        if long in taken:
            long = f"--set-{prefix}{spec.long}"
        if long in taken:
            long = f"--set-{prefix}{spec.name}"
        if long in taken:
            raise PackageError(f"option {spec.name!r}: no name is left for it on the command line")
        names = [long]
        dashed = long.replace("_", "-")
        if dashed not in taken and dashed not in wanted:
            names += [dashed] * (dashed != long)
        if short and spec.short and f"-{spec.short}" not in taken:
            names.insert(0, f"-{spec.short}")
        taken.update(names)
        group.add_argument(*names, dest=_destination(spec), default=SUPPRESS, **more)

    def reader(spec: OptionSpec) -> Any:
        def read_value(text: str) -> Value:
            try:
                return decode(spec, encode(spec, text))
            except OptionError as error:
                raise ArgumentTypeError(str(error)) from None

        return read_value

    for spec in package.options.values():
        text = spec.help.replace("%", "%%")
        if spec.form != BOOL or spec.section == KCONFIG:
            about = f" ({_about(spec)})".replace("%", "%%")
            add(spec, type=reader(spec), metavar=_metavar(spec), help=text + about)
        elif spec.default:
            add(spec, "disable-", action="store_const", const=False, help=f"{text} (default: on)")
        elif spec.declared:
            add(spec, "enable-", action="store_const", const=True, help=f"{text} (default: off)")
        else:
            add(spec, action="store_const", const=True, help=text)


def _metavar(spec: OptionSpec) -> str:
    return f"{_METAVARS[spec.element.form]},…" if spec.element is not None else _METAVARS[spec.form]


def _about(spec: OptionSpec) -> str:
    """The type, the names that an enumeration has, and the default."""
    parts = [printable(spec.type)]
    choices = spec.element.choices if spec.element is not None else spec.choices
    if choices:
        parts.append(listed(choices))
    default = spec.default
    if isinstance(default, list):
        default = ",".join(map(str, default))
    if default is None:
        parts.append("default: what this kernel has")
    elif default != "":
        parts.append(f"default: {printable(str(default))}")
    return "; ".join(parts)


def collect(package: Package, namespace: Namespace) -> dict[str, Value]:
    """The values that were given on the command line, by the variables' names."""
    return {
        name: getattr(namespace, _destination(spec))
        for name, spec in package.options.items()
        if hasattr(namespace, _destination(spec))
    }


def _destination(spec: OptionSpec) -> str:
    return f"option {spec.name}"
