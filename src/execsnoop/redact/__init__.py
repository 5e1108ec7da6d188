"""The options that hide secrets, and when they are hidden anyway. `redactor` does it, by the tables of `rules`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

__all__ = ["MARK", "add_options", "is_on", "is_on_by_default"]

MARK = "[redacted]"
"""What stands for a secret."""


def add_options(group: argparse._ArgumentGroup) -> None:
    """The options that hide secrets."""
    # argparse.BooleanOptionalAction would be one option less, and an import at every start.
    group.add_argument(
        "--redact",
        action="store_true",
        default=None,
        help="hide passwords, tokens and keys in arguments (default: in a file; not on a terminal or in a pipe)",
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
    (a file, whoever opened it), or goes over the `network`."""
    return output != "live"
