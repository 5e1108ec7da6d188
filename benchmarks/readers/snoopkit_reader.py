"""snoopkit as a user has it: `READER FORM PACKAGE PID BUFFER_BYTES`, as reader.h says.

FORM is what becomes of the events: "objects", one typed object for each, "numpy", arrays, or "json", lines of text.
"""

import json
import resource
import select
import sys

import snoopkit


def usage() -> tuple[int, int]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int((used.ru_utime + used.ru_stime) * 1e9), used.ru_nvcsw


def consume(form: str, batch: snoopkit.Batch) -> int:
    """Make of a batch what is wanted; returns the number of events."""
    if form == "objects":
        return sum(type(event) is not snoopkit.Lost for event in batch.events())
    if form == "numpy":
        return len(batch.to_numpy())
    return batch.json().count(b"\n") - len(batch.losses)


def main(form: str, package: str, pid: str, buffer_bytes: str) -> None:
    received = lost = 0
    if form == "numpy":
        import numpy  # noqa: F401 - what importing costs is not the events' cost
    ended = select.poll()
    ended.register(0, select.POLLIN)
    with snoopkit.run(package, options={"targ_pid": int(pid)}, buffer_bytes=int(buffer_bytes)) as snoop:
        print("ready", flush=True)
        cpu_ns, switches = usage()
        while not ended.poll(0):
            received += consume(form, next(snoop.batches(0.1)))
        for batch in snoop.finish_batches():
            received += consume(form, batch)
        lost = snoop.lost
        after_ns, after_switches = usage()
    result = {
        "received": received,
        "lost": lost,
        "cpu_ns": after_ns - cpu_ns,
        "switches": after_switches - switches,
    }
    print(json.dumps(result))


main(*sys.argv[1:])
