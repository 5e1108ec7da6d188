"""The man pages: well-formed by mandoc's judgement, and with every option of the parsers."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import commands
import man
import pytest


@pytest.mark.parametrize("name", man.NAMES)
def test_mandoc_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.1"
    path.write_text(man.page(name))
    result = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("name", man.NAMES)
def test_every_option_is_shown(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.1"
    path.write_text(man.page(name))
    result = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=200", path], capture_output=True, text=True, timeout=60
    )
    words = set(
        subprocess.run(["col", "-b"], input=result.stdout, capture_output=True, text=True).stdout.split()
    )
    shown = {word.strip(",") for word in words}
    for full, parser in commands.parsers().items():
        if full.split()[0] == name:
            for action in parser._actions:
                if action.help != argparse.SUPPRESS:
                    assert set(action.option_strings) <= shown, full
