"""Against an independent count in the kernel, over work that nobody wrote for this test."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kernel.watching import Command, marker

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["marker"]  # a fixture

NOBODY = 65534
COUNT = """
BEGIN { printf("ready\\n"); }
tracepoint:sched:sched_process_exec /uid == 65534/ { @execs = count(); }
tracepoint:task:task_newtask /uid == 65534 && (args->clone_flags & 0x10000) == 0/ { @forks = count(); }
"""

SHELL = """
i=0
while [ $i -lt 150 ]; do
    i=$((i + 1))
    x=$(printf '%s\\n' c b a | sort | tr -d '\\n')
    echo $x | cat | wc -c >/dev/null
    (exit 3) | cat
    test -z "$(ls /var/empty 2>/dev/null)"
done
find /etc -maxdepth 1 -print0 2>/dev/null | xargs -0 -n 5 -P 4 ls -d >/dev/null
"""
BUILD = """
set -e
mkdir -p {folder} && cd {folder}
for i in $(seq 40); do echo "int f$i(void) {{ return $i; }}" >f$i.c; done
echo 'int main(void) {{ return 0; }}' >main.c
printf 'all: $(patsubst %%.c,%%.o,$(wildcard *.c))\\n\\tgcc -o all $^\\n%%.o: %%.c\\n\\tgcc -c -o $@ $<\\n' >Makefile
make -s -j4
"""


def watched(tmp_path: Path, command: list[str]) -> tuple[list[dict[str, Any]], dict[str, int], int]:
    """What happened to the processes of the user nobody while they run this, by us and by bpftrace; its pid."""
    counted = tmp_path / "counted"
    with counted.open("wb") as sink:
        witness = subprocess.Popen(["bpftrace", "-e", COUNT], stdout=sink)
    deadline = time.monotonic() + 60
    while b"ready" not in counted.read_bytes():
        assert time.monotonic() < deadline and witness.poll() is None
        time.sleep(0.1)
    time.sleep(1)  # that was the first of its programs
    snoop = Command("--json", output=tmp_path / "out")
    process = subprocess.Popen(
        command, user=NOBODY, group=NOBODY, extra_groups=[], stdout=subprocess.DEVNULL, cwd="/"
    )
    process.wait(timeout=120)
    time.sleep(0.3)
    data, messages = snoop.end()
    assert snoop.process.returncode == 0, messages
    witness.send_signal(signal.SIGINT)
    witness.wait(timeout=20)
    counts = dict(re.findall(rb"@(\w+): (\d+)", counted.read_bytes()))
    events = [json.loads(line) for line in data.splitlines()]
    mine = [event for event in events if event.get("uid") == NOBODY]
    return mine, {key.decode(): int(value) for key, value in counts.items()}, process.pid


WORK = ["shell", "build", *(["stress"] if shutil.which("stress-ng") else [])]


@pytest.mark.parametrize("work", WORK)
def test_counts_are_the_kernels(tmp_path: Path, marker: str, work: str) -> None:
    folder = f"/var/tmp/{marker}"
    if work == "stress":
        command = ["stress-ng", "--exec", "2", "-t", "4", "--temp-path", "/var/tmp"]
    else:
        script = SHELL if work == "shell" else BUILD.format(folder=folder)
        command = ["/bin/sh", "-c", script, marker]
    try:
        events, counted, root = watched(tmp_path, command)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kinds = Counter(event["type"] for event in events)
    assert kinds["exec"] == counted["execs"] >= 100
    assert kinds["fork"] == counted["forks"]
    # Every process that ran something ended, once; and all descend from one.
    identity = "pid", "start_boottime_ns"
    ran = {tuple(event[key] for key in identity) for event in events if event["type"] == "exec"}
    ended = Counter(tuple(event[key] for key in identity) for event in events if event["type"] == "exit")
    assert set(ended.values()) == {1}
    assert ran <= set(ended)
    made = {
        (event["child_pid"], event["child_start_boottime_ns"]) for event in events if event["type"] == "fork"
    }
    assert {pid for pid, _ in set(ended) - made} == {root}
    assert not made - set(ended)
    for event in events:
        if event["type"] == "exit":
            assert event["argv"] and ("inherited" in event) == (
                (event["pid"], event["start_boottime_ns"]) not in ran
            )
