"""snoopkit as a user's program has it: `READER FORM PACKAGE PID BUFFER_BYTES`, as reader.h says.

FORM is what becomes of the events: "objects", one typed object for each, or "numpy", arrays.
"""

import json
import select
import sys

import snoopkit


def consume(form: str, batch: snoopkit.Batch) -> int:
    """Make of a batch what is wanted; returns the number of events."""
    if form == "objects":
        return sum(type(event) is not snoopkit.Lost for event in batch.events())
    return len(batch.to_numpy())


def main(form: str, package: str, pid: str, buffer_bytes: str) -> None:
    received = 0
    ended = select.poll()
    ended.register(0, select.POLLIN)
    if form == "numpy":
        import numpy  # noqa: F401  a program that wants arrays has it
    with snoopkit.run(package, options={"targ_pid": int(pid)}, buffer_bytes=int(buffer_bytes)) as snoop:
        print("ready", flush=True)
        for batch in snoop.batches(0.1):
            received += consume(form, batch)
            if ended.poll(0):
                break
        for batch in snoop.finish_batches():
            received += consume(form, batch)
        print(json.dumps({"received": received, "lost": snoop.lost}))


main(*sys.argv[1:])
