"""Which commands does this machine run, and how often do they fail? Needs root, no clang.

sudo .venv/bin/python examples/count_execs.py [SECONDS]
"""

import sys
import time
from collections import Counter

import execsnoop

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
runs: Counter[str] = Counter()
failures: Counter[str] = Counter()

with execsnoop.trace() as trace:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for event in trace.poll(left):
            if event.type == "exec":
                runs[event.comm] += 1
            elif event.type == "exit" and event.status:
                failures[event.comm] += 1
    lost = trace.lost

print(f"{'RUNS':>6} {'FAILED':>6} COMMAND")
for command, count in runs.most_common():
    print(f"{count:6} {failures[command]:6} {command!r}")
if lost:
    print(f"{lost} events are missing", file=sys.stderr)
