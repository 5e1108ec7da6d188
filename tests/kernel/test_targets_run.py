"""`snoopkit run` and `ecli run` of every form that a target has: each prints the event that this test causes."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import do_until_it_ends

BIN = Path(sys.executable).parent
OPENS = Path(__file__).parents[2] / "examples" / "opens"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's source, and all that ecc makes of it; the object alone has a folder of its own."""
    folder = tmp_path_factory.mktemp("targets")
    for path in OPENS.iterdir():
        shutil.copy(path, folder)
    subprocess.run([BIN / "ecc", "opens.bpf.c", "opens.h"], cwd=folder, check=True, capture_output=True)
    (folder / "alone").mkdir()
    shutil.copy(folder / "opens.bpf.o", folder / "alone")
    return folder


def test_a_program_of_its_own_runs(folder: Path, tmp_path: Path) -> None:
    subprocess.run(
        [BIN / "ecc", "-s", "opens.bpf.c", "opens.h", "-o", tmp_path],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "opens.out", "-j", "--target_pid", str(os.getpid())],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        for _ in range(400):
            (tmp_path / "opened").write_text("")
            if select.select([process.stdout], [], [], 0.05)[0]:
                break
        process.send_signal(signal.SIGINT)
        output, messages = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, messages
    assert json.loads(output.splitlines()[0])["pid"] == os.getpid()


@pytest.mark.parametrize("command", ["snoopkit", "ecli"])
@pytest.mark.parametrize(
    "target", ["package.json", "opens.bpf.c", "opens.bpf.o", "opens.skel.json", "alone/opens.bpf.o", "-"]
)
def test_an_event_comes(folder: Path, target: str, command: str, tmp_path: Path) -> None:
    own = ["--target_pid", str(os.getpid())]
    with (folder / "package.json").open("rb") as package:
        process = subprocess.Popen(
            [BIN / command, "run", "--json", "--max-events", "1", "--duration", "30", target, *own],
            cwd=folder,
            stdin=package,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        do_until_it_ends(process, lambda: (tmp_path / "opened").write_text(""))
    output, messages = process.communicate()
    assert process.returncode == 0, messages
    line = json.loads(output)
    assert (line["data"] if command == "snoopkit" else line)["pid"] == os.getpid()
