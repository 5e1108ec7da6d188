"""What a start loads without a kernel: see tests/start.py; tests/kernel/test_start_live.py has the live one."""

from __future__ import annotations

from pathlib import Path

import start


def test_importing_the_toolkit_loads_nothing_else(tmp_path: Path) -> None:
    assert start.loaded(tmp_path, "import snoopkit") <= {"__future__", "snoopkit"}


def test_help_loads_little(tmp_path: Path) -> None:
    modules = start.loaded(tmp_path, "from execsnoop.cli import main; main()", "execsnoop", "--help")
    assert modules - start.HELP - start.argparse_alone(tmp_path) == set()


def test_snoopkit_itself_imports_no_command_for_its_help(tmp_path: Path) -> None:
    modules = start.loaded(tmp_path, "from snoopkit.cli import main; main()", "snoopkit", "--help")
    assert modules <= {"__future__", "snoopkit", "snoopkit.cli"}
