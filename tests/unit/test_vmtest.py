"""The kernel matrix, as far as it can be tried without a VM: its list, its page, and what the runner reads."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vmtest_run", TOP / "vmtest/run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_lists_the_kernels_of_the_matrix(runner: ModuleType) -> None:
    lines = (TOP / "docs/kernels.md").read_text().splitlines()
    header = next(line for line in lines if line.startswith("|"))
    columns = [cell.strip() for cell in header.strip("|").split("|")][1:]
    versions = [kernel["version"] for kernel in runner.kernels()]
    assert columns[:-1] == versions, "the last column is the machine's own kernel"
    assert len(set(versions)) == len(versions)
    assert "6.1" in versions


def test_the_lists_tests_are_there(runner: ModuleType) -> None:
    for kernel in runner.kernels():
        named = [word.removeprefix("--deselect=") for word in kernel["tests"]]
        assert named and all(name.startswith("tests/kernel/") for name in named)
        for name in named:
            path, *inside = name.partition("[")[0].split("::")
            text = (TOP / path).read_text()
            assert [
                one for one in inside if not re.search(rf"^ *(def|class) {one}\b", text, re.MULTILINE)
            ] == [], name


def test_the_packages_name_is_taken_from_what_apt_says(runner: ModuleType) -> None:
    said = "linux-image-amd64\n  Depends: linux-image-6.1.0-51-amd64\n  Recommends: firmware\n"
    assert runner.first_dependency(said) == "linux-image-6.1.0-51-amd64"
    with pytest.raises(runner.Failure, match="no kernel"):
        runner.first_dependency("linux-image-amd64\n")


def test_the_status_is_the_guests(runner: ModuleType) -> None:
    assert (
        runner.status_of("[ 1.0] virtme-ng-init: script exited with code 5\r\n[ 1.1] reboot: Power down") == 5
    )
    assert runner.status_of("Kernel panic - not syncing") is None


def guest(runner: ModuleType, folder: Path, script: str, sign: str = "") -> Any:
    """A shell in a guest's place, which writes its output and its console."""
    folder.mkdir(exist_ok=True)
    with (folder / "console.log").open("wb") as log:
        process = subprocess.Popen(["sh", "-c", script], cwd=folder, stdout=log)
    return runner.Guest(folder.name, process, folder, sign)


def ended(runner: ModuleType, tmp_path: Path, script: str) -> str:
    """What is said of a guest that does this; "" if all went well."""
    one = guest(runner, tmp_path, script)
    try:
        while not one.is_done():
            time.sleep(0.01)
    except runner.Failure as failure:
        return str(failure)
    finally:
        one.end()
        assert one._process.returncode is not None
    return ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo '3 passed' >output.txt; echo script exited with code 0", ""),
        ("echo '1 failed' >output.txt; echo script exited with code 1", "pytest ended with 1"),
        ("echo script exited with code 124", "took too long"),
        ("echo Kernel panic", "came to no end; the end of "),
        ("echo x >output.txt; echo script exited with code 0; exec sleep 60", ""),  # a VM that doesn't go off
        ("sleep 60", "no sign of the guest"),
    ],
)
def test_every_end_is_told(
    runner: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    said: str,
) -> None:
    monkeypatch.setattr(runner, "POWER_OFF_SECONDS", 0.1)
    monkeypatch.setattr(runner, "BOOT_SECONDS", 1.0)
    told = ended(runner, tmp_path, script)
    assert said in told if said else not told
    if "3 passed" in script:
        assert capsys.readouterr().out == "3 passed\n"


def test_two_run_at_once_and_each_line_says_whose(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the first two waits for the other; the third begins when there is room."""
    monkeypatch.setattr(runner, "BOOT_SECONDS", 30.0)
    waits = "until test -e ../{}/output.txt; do sleep 0.01; done"
    scripts = {
        "a": f"{waits.format('b')}; printf '.\\n..' >output.txt; echo ' 3 passed' >>output.txt",
        "b": f"echo .F >output.txt; {waits.format('a')}; echo 1 failed >>output.txt",
        "c": "test -s ../a/console.log || test -s ../b/console.log && echo 2 passed >output.txt",
    }
    statuses = {"a": 0, "b": 1, "c": 0}

    def boot(kernel: dict[str, Any], seconds: int, arguments: list[str], sign: str) -> Any:
        name = kernel["version"]
        script = f"{scripts[name]}; echo script exited with code {statuses[name]}"
        return guest(runner, tmp_path / name, script, sign)

    monkeypatch.setattr(runner, "boot", boot)
    ends = runner.run([{"version": name} for name in scripts], 2, 5, [])
    assert ends == {"a": "", "b": "pytest ended with 1", "c": ""}
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert {name: [line[3:] for line in lines if line.startswith(f"{name}: ")] for name in scripts} == {
        "a": [".", ".. 3 passed"],
        "b": [".F", "1 failed"],
        "c": ["2 passed"],
    }
    assert len(lines) == 5
    assert "vmtest: a: .. 3 passed\n" in told.err and "vmtest: b: pytest ended with 1\n" in told.err


def test_whatever_happens_none_is_left(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def boot(kernel: dict[str, Any], seconds: int, arguments: list[str], sign: str) -> Any:
        if made:
            raise SystemExit(128 + 15)
        made.append(guest(runner, tmp_path / "a", "exec sleep 60", sign))
        return made[0]

    monkeypatch.setattr(runner, "boot", boot)
    with pytest.raises(SystemExit):
        runner.run([{"version": "a"}, {"version": "b"}], 2, 5, [])
    assert made[0]._process.returncode is not None


def test_only_a_qemu_is_ended_by_the_number_in_its_file(runner: ModuleType, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    one = guest(runner, tmp_path, "true")
    try:
        (tmp_path / "qemu.pid").write_text(f"{other.pid}\n")
        one.end()
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()
