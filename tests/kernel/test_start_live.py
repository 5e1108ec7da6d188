"""What a live run loads: see tests/start.py."""

from __future__ import annotations

from pathlib import Path

import start


def test_a_live_run_loads_little(tmp_path: Path) -> None:
    statement = "from execsnoop.cli import main; main()"
    modules = start.loaded(tmp_path, statement, "execsnoop", "--json", "--duration", "0.1", "-o", "/dev/null")
    assert "snoopkit._core" in modules, "it did run"
    assert modules - start.LIVE - start.argparse_alone(tmp_path) == set()
