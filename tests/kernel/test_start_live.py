"""What a live run loads: see tests/start.py."""

from __future__ import annotations

from pathlib import Path

import start


def test_a_live_run_loads_little(tmp_path: Path) -> None:
    statement = "from execsnoop.cli import main; main()"
    modules = start.loaded(tmp_path, statement, "execsnoop", "--json", "--duration", "0.1", "-o", "/dev/null")
    assert "snoopkit._core" in modules, "it did run"
    assert modules - start.LIVE - start.argparse_alone(tmp_path) == set()


_UNTIL_IT_ATTACHES = """
import sys
from snoopkit import attach
attach.attach_all = lambda *_: sys.exit()
from execsnoop.cli import main
main()
"""


def test_what_events_need_is_loaded_once_the_programs_are_attached(tmp_path: Path) -> None:
    modules = start.loaded(tmp_path, _UNTIL_IT_ATTACHES, "execsnoop")
    assert "snoopkit.transport" in modules, "it did load"
    assert modules & start.AFTERWARDS == set()


# SIGALRM comes when it is running and has it send itself SIGTERM, which ends it in order.
_FOR_TWO_SECONDS = """
import _signal, os
_signal.signal(_signal.SIGALRM, lambda *_: os.kill(os.getpid(), _signal.SIGTERM))
_signal.alarm(2)
from execsnoop.cli import main
main()
"""


def test_without_arguments_nothing_large_of_the_standard_library_is_loaded(tmp_path: Path) -> None:
    modules = start.loaded(tmp_path, _FOR_TWO_SECONDS, "execsnoop")
    assert "snoopkit._core" in modules, "it did run"
    assert modules & {"argparse", "collections", "enum", "functools", "json", "re", "signal"} == set()
