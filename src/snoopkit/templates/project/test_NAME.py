"""@NAME@ sees what this test does. Needs root: python -m pytest, or python test_@IDENTIFIER@.py."""

import os
import tempfile
import time
from pathlib import Path

import snoopkit

HERE = Path(__file__).parent


@TRIGGER@

def test_it_is_seen() -> None:
    package = snoopkit.build(HERE / "@NAME@.bpf.c", HERE / "@NAME@.h")
    with tempfile.TemporaryDirectory() as folder, snoopkit.run(package) as snoop:
        path = os.path.join(folder, "seen")
        trigger(path)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for event in snoop.poll(0.1):
                assert event._struct == "event", event
                if path in event.text:
                    return
    raise AssertionError(f"nothing about {path} within ten seconds")


if __name__ == "__main__":
    test_it_is_seen()
    print("ok")
