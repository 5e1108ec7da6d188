#!/usr/bin/env python3
"""Prints @WHAT@. Needs root."""

import sys
from pathlib import Path

import snoopkit

PACKAGE = Path(__file__).with_name("package.json")


def main() -> None:
    with snoopkit.run(PACKAGE) as snoop:
        for event in snoop:
            if event._struct == "lost":
                print(f"{event.count} events are missing: {event.cause}", file=sys.stderr)
            else:
                # a name may hold any byte: !a keeps a terminal safe from it
                print(f"{event.pid:7} {event.comm!a:18} {event.text!a}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except snoopkit.SnoopkitError as error:
        sys.exit(f"@NAME@: {error}")
