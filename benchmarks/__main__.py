"""What snoopkit costs against its peers, in one run: `make bench`, `make bench-quick`, or parts of them by ARGS.

Prints a table and writes a result file: every figure with its peer's, measured in turns within this run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from . import build, peers
from .measure import Row, Sitting, table
from .rows import FAMILIES, QUICK

HERE = Path(__file__).resolve().parent


def machine() -> dict[str, object]:
    with open("/proc/cpuinfo") as file:
        models = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
    release = platform.freedesktop_os_release()
    return {
        "kernel": platform.release(),
        "cpu": ", ".join(sorted(models)),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": release["PRETTY_NAME"],
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def numbers(text: str) -> list[int]:
    chosen = [int(number) for number in text.split(",")]
    for number in chosen:
        if not any(number in family.NUMBERS for family in FAMILIES):
            raise argparse.ArgumentTypeError(f"there is no row {number}")
    return chosen


def result_file(directory: Path, date: str, kernel: str) -> Path:
    return directory / f"{date}-{kernel}.json"


def measured(sitting: Sitting, wanted: list[int]) -> list[Row]:
    rows = []
    for family in FAMILIES:
        if set(family.NUMBERS) & set(wanted):
            began = time.monotonic()
            rows += family.measure(sitting)
            sitting.note(f"{family.__name__.rpartition('.')[2]}: {time.monotonic() - began:.0f} s")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rows 1, 2, 4 and 6, in under a minute")
    parser.add_argument("--rows", type=numbers, metavar="N[,N]", help="only these rows, and their families'")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each comparison")
    parser.add_argument(
        "-o", metavar="FILE", help="where to write the result (default: results/DATE-KERNEL.json)"
    )
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("bench: loading programs into the kernel needs root")
    sitting = Sitting(max(options.rounds or (5 if options.quick else 15), 2), options.quick)
    here, date = machine(), time.strftime("%Y-%m-%d", time.gmtime())
    build.build()
    rows = measured(
        sitting, options.rows or (QUICK if options.quick else [n for f in FAMILIES for n in f.NUMBERS])
    )
    print(table(rows))
    if here["load"] > 0.5:
        sitting.note(
            f"the machine was busy before (load {here['load']:.1f} on {here['cpus']} CPUs): trust ratios only"
        )
    output = Path(options.o) if options.o else None
    if output is None and not options.quick and not options.rows:
        output = HERE / f"results/{date}-{here['kernel']}.json"
    if output is not None:
        result = {
            "date": date,
            "machine": here,
            "peers": peers.versions(),
            "rounds": sitting.rounds,
            "rows": [row.as_dict() for row in rows],
        }
        output.parent.mkdir(exist_ok=True)
        output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        sitting.note(f"written: {output}")


main()
