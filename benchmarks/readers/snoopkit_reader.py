"""snoopkit as a user has it, every event made a typed object: `READER PACKAGE PID BUFFER_BYTES`, as reader.h says."""

import json
import resource
import select
import sys

import snoopkit


def usage() -> tuple[int, int]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int((used.ru_utime + used.ru_stime) * 1e9), used.ru_nvcsw


def main(package: str, pid: str, buffer_bytes: str) -> None:
    received = lost = 0
    ended = select.poll()
    ended.register(0, select.POLLIN)
    with snoopkit.run(package, options={"targ_pid": int(pid)}, buffer_bytes=int(buffer_bytes)) as snoop:
        print("ready", flush=True)
        cpu_ns, switches = usage()
        while not ended.poll(0):
            received += sum(type(event) is not snoopkit.Lost for event in snoop.poll(0.1))
        for events in snoop.finish():
            received += sum(type(event) is not snoopkit.Lost for event in events)
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
