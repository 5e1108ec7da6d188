"""A forked child and its parent's Snoop: whatever the child does with its copy, the parent gets every event."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import snoopkit
from snoopkit import _core

from .conftest import BPF, in_child, program_id, wait_unloaded

pytestmark = pytest.mark.kernel

# Two programs, one of them at a tracepoint (a perf event's link), and two maps.
PARENT = """
import gc, json, os, sys
import snoopkit

way, path = sys.argv[1:]
snoop = snoopkit.run(
    path, options={"target_pid": os.getpid(), "extra_every": 10}, enable=["on_getppid"]
)

def call():
    for _ in range(100):
        os.getppid()

call()
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    if way == "closes":
        snoop.close()
        snoop.close()
    elif way == "forgets":
        del snoop
        gc.collect()
    elif way == "is killed":
        os.kill(os.getpid(), 9)
    sys.exit(7)  # the usual way, in which Python takes everything apart

assert os.waitpid(pid, 0)[1] == (9 if way == "is killed" else 7 << 8)
call()
with snoop:
    events = [event for lot in snoop.finish() for event in lot]
    print(json.dumps([sum(event._struct == name for event in events) for name in ("burst", "extra")]
        + [snoop.lost]))
"""


@pytest.mark.parametrize("way", ["closes", "forgets", "ends", "is killed"])
def test_the_parent_gets_every_event(bursts: snoopkit.Package, way: str, tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    bursts.write(tmp_path / "bursts.json")
    done = subprocess.run(
        [sys.executable, "-X", "dev", tmp_path / "parent.py", way, tmp_path / "bursts.json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [400, 40, 0]


@pytest.mark.parametrize("transport", ["perf", "ring"])
def test_the_child_is_told(transport: str) -> None:
    package, live = snoopkit.build(BPF / "calls.bpf.c", BPF / "calls.h"), _core.live_handles()
    with snoopkit.run(package, options={"target_pid": os.getpid()}, transport=transport) as snoop:
        os.getppid()
        losses, reader = snoop.maps["losses"], snoop._reading.reader()
        number = program_id(snoop._loaded().programs["on_call"].fd)
        before = snoop.globals.parents_sent

        def use() -> list[str]:
            told = []
            for attempt in (
                lambda: snoop.poll(0),
                lambda: next(iter(snoop)),
                lambda: next(snoop.batches()),
                lambda: next(snoop.finish()),
                snoop.fileno,
                reader.drain,
                lambda: losses[0],
                lambda: snoop.maps["losses"][0],
                lambda: snoop.globals.parents_sent,
            ):
                with pytest.raises(
                    RuntimeError, match="the parent's, which opened it before the fork"
                ) as error:
                    attempt()
                told.append(str(error.value))
            snoop.close()
            with pytest.raises(ValueError, match="closed"):
                snoop.poll(0)
            # what it opens itself is its own
            with snoopkit.run(package, options={"target_pid": os.getpid()}, transport=transport) as own:
                os.getppid()
                assert len([event for lot in own.finish() for event in lot]) == 1 and own.lost == 0
            assert _core.live_handles() == live
            return told

        assert len(in_child(use)) == 9
        os.getppid()
        assert snoop.globals.parents_sent == before + 1
        assert len([event for lot in snoop.finish() for event in lot]) == 2 and snoop.lost == 0
    wait_unloaded([number])


def test_a_child_that_closed_its_copy_keeps_nothing_loaded(bursts: snoopkit.Package) -> None:
    """Else the parent couldn't detach while the child lives."""
    go, told = os.pipe(), os.pipe()
    snoop = snoopkit.run(bursts, options={"target_pid": os.getpid()}, enable=["on_getppid"])
    numbers = [program_id(program.fd) for program in snoop._loaded().programs.values()]
    pid = os.fork()
    if pid == 0:
        try:
            snoop.close()
            os.write(told[1], b"x")
            os.read(go[0], 1)
        finally:
            os._exit(0)
    try:
        os.read(told[0], 1)
        snoop.close()
        wait_unloaded(numbers)
    finally:
        os.write(go[1], b"x")
        os.waitpid(pid, 0)
        for fd in go + told:
            os.close(fd)
