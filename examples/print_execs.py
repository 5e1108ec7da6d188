"""Compile the lesson's program and print its events: the whole way in one file. Needs clang, and root to run.

sudo .venv/bin/python examples/print_execs.py [SECONDS]
"""

import sys
import time
from pathlib import Path

import snoopkit

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
lesson = Path(__file__).parent / "execsnoop"

package = snoopkit.build(lesson / "execsnoop.bpf.c", lesson / "execsnoop.h")
with snoopkit.run(package) as snoop:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for event in snoop.poll(left):
            if event._struct == "lost":
                print(f"{event.count} events are missing: {event.cause}", file=sys.stderr)
            else:
                # a name may hold any byte: repr() keeps a terminal safe from it
                print(f"pid {event.pid} (child of {event.ppid}, uid {event.uid}) execs: was {event.comm!r}")
