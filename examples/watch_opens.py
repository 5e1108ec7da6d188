"""Which files do two processes open, side by side, in one asyncio loop? Needs clang, and root to run.

sudo .venv/bin/python examples/watch_opens.py PID PID [SECONDS]
"""

import asyncio
import sys
from pathlib import Path

import snoopkit

lesson = Path(__file__).parent / "opens"


async def watch(package: snoopkit.Package, pid: int) -> None:
    async with snoopkit.run(package, options={"target_pid": pid, "closes_too": False}) as snoop:
        async for event in snoop:
            if event._struct == "lost":
                print(f"{event.count} events are missing: {event.cause}", file=sys.stderr)
            else:
                # a path may hold any byte: repr() keeps a terminal safe from it
                print(f"{event.pid} {event.access:10} {event.path!r}")


async def main(pids: list[int], seconds: float) -> None:
    package = snoopkit.build(lesson / "opens.bpf.c", lesson / "opens.h")
    _, still_watching = await asyncio.wait(
        [asyncio.create_task(watch(package, pid)) for pid in pids], timeout=seconds
    )
    for task in still_watching:
        task.cancel()  # which closes its snoop
    await asyncio.wait(still_watching)


asyncio.run(main([int(sys.argv[1]), int(sys.argv[2])], float(sys.argv[3]) if len(sys.argv) > 3 else 10.0))
