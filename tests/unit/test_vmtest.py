"""The kernel matrix, as far as it can be tried without a VM: its list, its page, and what the runner reads."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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
        paths = [word for word in kernel["tests"] if word.startswith("tests/")]
        assert paths
        for path in paths:
            assert (TOP / path.partition("::")[0]).exists(), path


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


def ended(runner: ModuleType, tmp_path: Path, script: str) -> str:
    """What is said of a guest that does this; "" if all went well."""
    console, output = tmp_path / "console.log", tmp_path / "output.txt"
    with console.open("wb") as log:
        process = subprocess.Popen(["sh", "-c", script], cwd=tmp_path, stdout=log)
    try:
        runner.watch(process, console, runner.Output(output))
    except runner.Failure as failure:
        return str(failure)
    finally:
        runner.end(process, tmp_path / "qemu.pid")
        assert process.returncode is not None
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


def test_only_a_qemu_is_ended_by_the_number_in_its_file(runner: ModuleType, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    done = subprocess.Popen(["true"])
    try:
        (tmp_path / "qemu.pid").write_text(f"{other.pid}\n")
        runner.end(done, tmp_path / "qemu.pid")
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()
        done.wait()
