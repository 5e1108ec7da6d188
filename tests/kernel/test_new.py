"""`snoopkit new`: each hook's project builds, its own test passes, its reader and `snoopkit run` see real events."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from snoopkit.cli.new import HOOKS

BIN = Path(sys.executable).parent


def snoop(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "snoopkit", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_project_builds_and_its_own_test_passes(tmp_path: Path, hook: str) -> None:
    made = snoop("new", "my-tool", "--hook", hook, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert sorted(made.stdout.split()) == sorted(
        f"my-tool/{name}"
        for name in ("README.md", "my-tool.bpf.c", "my-tool.h", "my_tool.py", "test_my_tool.py")
    )
    project = tmp_path / "my-tool"
    assert not [path for path in project.iterdir() if "@" in path.read_text()]
    built = snoop("build", "my-tool.bpf.c", "my-tool.h", cwd=project)
    assert (built.returncode, built.stderr) == (0, "")
    for check in (["check", "--select=E,F,W,B,I"], ["format", "--diff"]):
        ruff = [BIN / "ruff", *check, "-q", "--isolated", "--config=line-length=110", "."]
        assert subprocess.run(ruff, cwd=project).returncode == 0
    tested = subprocess.run([sys.executable, "test_my_tool.py"], cwd=project, capture_output=True, text=True)
    if "UnsupportedError" in tested.stderr and hook == "kprobe":
        assert "this kernel has no kprobes" in tested.stderr
        return  # which is the answer of a kernel without them
    assert (tested.returncode, tested.stdout) == (0, "ok\n"), tested.stderr


def test_its_reader_prints(tmp_path: Path) -> None:
    snoop("new", "opens", cwd=tmp_path)
    snoop("build", "opens.bpf.c", "opens.h", cwd=tmp_path / "opens")
    marker = tmp_path / "opened-by-the-test"
    reader = subprocess.Popen(
        [sys.executable, "-u", "opens.py"], cwd=tmp_path / "opens", stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    is_seen = threading.Event()

    def open_again_and_again() -> None:
        while not is_seen.wait(0.05) and reader.poll() is None:
            marker.write_text("")

    opening = threading.Thread(target=open_again_and_again, daemon=True)
    opening.start()
    try:
        assert any(str(marker) in line for line in reader.stdout), "it ended"
    finally:
        is_seen.set()
        opening.join()
        reader.send_signal(2)
        reader.communicate(timeout=20)
    assert reader.returncode == 0


def test_names_that_can_not_be(tmp_path: Path) -> None:
    for name in ("", "1st", "a b", "a.b", "é"):
        assert snoop("new", name, cwd=tmp_path).returncode == 2
    (tmp_path / "taken").mkdir()
    refused = snoop("new", "taken", cwd=tmp_path)
    assert refused.returncode == 1
    assert "taken: it is there already" in refused.stderr
    assert os.listdir(tmp_path / "taken") == []
