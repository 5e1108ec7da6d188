"""The command `execsnoop`: execs and exits as a table, JSON lines or CSV."""

from __future__ import annotations

import snoopkit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["main"]


@snoopkit.command("execsnoop")
def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="execsnoop", description="Show every process that runs another program, and every one that ends."
    )
    parser.add_argument("--version", action="version", version=f"execsnoop {snoopkit.__version__}")
    snoopkit.add_live_options(parser)
    options = parser.parse_args(argv)

    with snoopkit.Live(options, "execsnoop") as live:
        from .rows import writer
        from .stream import trace

        return live.run(trace(buffer_bytes=options.buffer_size), writer(options.format))
