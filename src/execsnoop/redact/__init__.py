"""The options that hide secrets, and when they are hidden anyway. `redactor` does it, by the tables of `rules`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from snoopkit.render import Output

__all__ = ["MARK", "add_options", "is_on", "is_on_by_default", "kind", "note"]

MARK = "[redacted]"
"""What stands for a secret."""


def add_options(group: argparse._ArgumentGroup) -> None:
    """The options that hide secrets."""
    # argparse.BooleanOptionalAction would be one option less, and an import at every start.
    group.add_argument(
        "--redact",
        action="store_true",
        default=None,
        help="hide passwords, tokens and keys in arguments (default: where the output is a file or a socket)",
    )
    group.add_argument(
        "--no-redact", action="store_false", dest="redact", default=None, help="keep them, in a file too"
    )
    group.add_argument(
        "--redact-rule",
        action="append",
        type=_rule,
        metavar="NAME|/REGEX/",
        help="hide the values of options and variables of this name too, or what the regular expression finds: "
        "its group named secret, if there is one; turns --redact on",
    )


def is_on(options: argparse.Namespace, output: str) -> bool:
    """Whether the options, or else the kind of output, want secrets hidden."""
    if options.redact is None:
        return bool(options.redact_rule) or is_on_by_default(output)
    return bool(options.redact)


def kind(output: Output) -> str:
    """What sort of output that is, for `is_on`."""
    if output.is_file:
        return "recording"
    return "network" if output.is_socket else "live"


def note(options: argparse.Namespace, output: str) -> str | None:
    """What to say where secrets are hidden though nobody asked for it."""
    if options.quiet or not is_on(options, output) or is_on(options, "live"):
        return None
    what = "a file" if output == "recording" else "a socket"
    return f"secrets in arguments are hidden, as the output is {what}; --no-redact keeps them"


def _rule(text: str) -> str:
    from argparse import ArgumentTypeError

    from .redactor import Redactor

    try:
        Redactor([text])
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def is_on_by_default(output: str) -> bool:
    """Whether secrets are hidden where nobody says so, in an output that is `live` (a terminal, a pipe), a `recording`
    (a file, whoever opened it), or goes over the `network` (a socket, be it the journal's)."""
    return output != "live"
