"""Numbers shown as what they mean, from a program's own declarations and by --as, through the commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit.render.formats import formats

from .conftest import BPF, do_until_it_ends

pytestmark = pytest.mark.kernel

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.build(BPF / "peers.bpf.c")


def test_the_source_says_how_and_the_user_otherwise(package: snoopkit.Package) -> None:
    found = formats(package, ["code=signal"])["peer"]
    assert {name: format(9) for name, format in found.items()} == {
        "address": "9.0.0.0",
        "port": "2304",
        "code": "SIGKILL",
    }
    assert formats(package, ["peer.address=hex"])["peer"]["address"](9) == "0x9"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cod=hex", "no field 'cod' (did you mean code?)"),
        ("peer.prt=hex", "no field 'peer.prt' (did you mean peer.port?)"),
        ("code=sigal", "no format 'sigal' (did you mean signal?)"),
        ("code", "isn't FIELD=FORMAT"),
    ],
)
def test_what_there_is_not(package: snoopkit.Package, text: str, says: str) -> None:
    with pytest.raises(snoopkit.OptionError, match=re.escape(says)):
        formats(package, [text])


def first_rows(package: snoopkit.Package, folder: Path, *arguments: str) -> list[str]:
    """What a command prints until this process's call was seen."""
    package.write(folder / "package.json")
    process = subprocess.Popen(
        [BIN / arguments[0], "run", *arguments[1:], "--max-events", "1", "--duration", "30"]
        + [folder / "package.json", "--target_pid", str(os.getpid())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    do_until_it_ends(process, os.getppid)
    output, messages = process.communicate()
    assert process.returncode == 0, messages
    return output.splitlines()


@pytest.mark.parametrize("command", ["snoopkit", "ecli"])
def test_rows_have_the_meaning(package: snoopkit.Package, command: str, tmp_path: Path) -> None:
    header, row = first_rows(package, tmp_path, command, "--as", "code=signal")
    assert header.split() == ["TIME", "ADDRESS", "PORT", "CODE"]
    assert row.split()[1:] == ["127.0.0.1", "80", "SIGKILL"]


def test_json_keeps_the_numbers(package: snoopkit.Package, tmp_path: Path) -> None:
    (line,) = first_rows(package, tmp_path, "snoopkit", "--json", "--as", "code=signal")
    data: dict[str, Any] = json.loads(line)["data"]
    assert data == {"address": 0x0100007F, "port": 0x5000, "code": 9}


def test_what_there_is_not_is_bad_usage(package: snoopkit.Package, tmp_path: Path) -> None:
    package.write(tmp_path / "package.json")
    result = subprocess.run(
        [BIN / "snoopkit", "run", "--as", "code=sigal", tmp_path / "package.json"],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "snoopkit run: error: no format 'sigal' (did you mean signal?)\n"
