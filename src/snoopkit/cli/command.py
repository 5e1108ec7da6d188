"""What every command does at its edge: errors become one message on stderr and an exit status."""

from __future__ import annotations

import os
import sys

from ..errors import CompileError, OptionError, SnoopkitError

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DONE = 0
FAILED = 1
BAD_USAGE = 2
INCOMPLETE = 3  # finished, but events were lost or left undecoded


def command(
    name: str, *, failed: int = FAILED, bad_usage: int = BAD_USAGE
) -> Callable[[Callable[[Sequence[str]], int | None]], Callable[..., int]]:
    """Make `run(argv) -> status` a program's main function, under the name that its messages carry.

    `failed` and `bad_usage` are the statuses of those ends, where others than 1 and 2 are wanted.
    """

    def wrap(run: Callable[[Sequence[str]], int | None]) -> Callable[..., int]:
        def main(argv: Sequence[str] | None = None) -> int:
            try:
                return run(sys.argv[1:] if argv is None else argv) or DONE
            except BrokenPipeError:
                _leave_unread()
                return DONE
            except KeyboardInterrupt:
                print(f"{name}: interrupted", file=sys.stderr)
                return failed
            except SystemExit as end:  # argparse has said what is wrong
                if end.code == BAD_USAGE:
                    return bad_usage
                raise
            except (SnoopkitError, OSError) as error:
                report(name, error)
                return bad_usage if isinstance(error, OptionError) else failed

        main.__doc__ = run.__doc__
        return main

    return wrap


def _leave_unread() -> None:
    """Whoever read our data, or our messages, has seen enough. Python would still flush them when it ends, and fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def report(name: str, error: BaseException) -> None:
    """Print an error where people look for it; clang's own diagnostics come first, as it printed them."""
    if isinstance(error, CompileError) and error.diagnostics:
        sys.stderr.write(error.diagnostics.rstrip("\n") + "\n")
    text = str(error)
    if not isinstance(error, SnoopkitError) and isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    print(f"{name}: error: {text}", file=sys.stderr)
