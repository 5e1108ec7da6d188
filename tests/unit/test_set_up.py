"""The set-up scripts, as far as they can be tried without changing the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
COMMANDS = ("snoopkit", "execsnoop", "ecc", "ecli")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts alone, in a folder whose name has a space."""
    top = tmp_path / "a copy"
    shutil.copytree(TOP / "tools", top / "tools")
    shutil.copy(TOP / "Makefile", top)
    return top


def call(
    checkout: Path, *command: str, path: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PREFIX": str(checkout.parent / "prefix"), **environment}
    if path is not None:
        variables["PATH"] = path
    return subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True, timeout=60)


def test_install_links_the_commands_and_uninstall_takes_them_away(checkout: Path) -> None:
    binaries = checkout.parent / "prefix/bin"
    pages = checkout.parent / "prefix/share/man/man1"
    for _ in range(2):  # a second time changes nothing
        assert call(checkout, "tools/link.sh", "install").returncode == 0
        links = {link.name: os.readlink(link) for link in binaries.iterdir()}
        assert links == {name: f"{checkout.resolve()}/.venv/bin/{name}" for name in COMMANDS}
        links = {page.name: os.readlink(page) for page in pages.iterdir()}
        folder = f"{checkout.resolve()}/.venv/share/man/man1"
        assert links == {f"{name}.1": f"{folder}/{name}.1" for name in COMMANDS}
    for _ in range(2):
        assert call(checkout, "tools/link.sh", "uninstall").returncode == 0
        assert [*binaries.iterdir(), *pages.iterdir()] == []


@pytest.mark.parametrize("kind", ["file", "link", "broken link"])
def test_install_never_touches_what_is_not_ours(checkout: Path, kind: str) -> None:
    binaries = checkout.parent / "prefix/bin"
    binaries.mkdir(parents=True)
    stranger = binaries / "ecc"
    if kind == "file":
        stranger.write_text("theirs")
    else:
        stranger.symlink_to("/bin/true" if kind == "link" else "/nowhere/.venv/bin/ecc")
    before = stranger.lstat()
    result = call(checkout, "tools/link.sh", "install")
    assert result.returncode == 1
    assert f"{stranger} is not ours" in result.stderr
    assert [path.name for path in binaries.iterdir()] == ["ecc"], "all four or none"
    assert call(checkout, "tools/link.sh", "uninstall").returncode == 0
    assert stranger.lstat() == before


def test_help_lists_every_target(checkout: Path) -> None:
    shown = call(checkout, "make", "--no-print-directory").stdout
    targets = next(line for line in (TOP / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert [line.split()[0:2] for line in shown.splitlines()] == [
        ["make", name] for name in targets.split()[1:]
    ]


@pytest.fixture
def few_tools(tmp_path: Path) -> Path:
    """A PATH with the little that the script itself needs, on a machine that lacks the rest."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "grep", "id", "cat", "sed"):
        (folder / name).symlink_to(shutil.which(name) or "")
    return folder


def test_without_apt_the_missing_packages_are_named(checkout: Path, few_tools: Path) -> None:
    result = call(checkout, "tools/setup.sh", "run", path=str(few_tools))
    assert result.returncode == 1
    for name in ("gcc", "pkg-config", "libbpf-dev"):
        assert name in result.stderr
    assert not (checkout / ".venv").exists()


def test_without_root_the_command_for_root_is_named(checkout: Path, few_tools: Path) -> None:
    (few_tools / "id").unlink()
    for name, body in (("id", "echo 1000"), ("apt-get", 'echo "apt-get was called"; exit 1')):
        (few_tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (few_tools / name).chmod(0o755)
    result = call(checkout, "tools/setup.sh", "build", path=str(few_tools))
    assert result.returncode == 1
    assert "apt-get install -y" in result.stderr
    assert " gcc " in result.stderr
    assert " clang" in result.stderr
    assert "apt-get was called" not in result.stdout + result.stderr


def test_an_unknown_level_is_a_usage_error(checkout: Path) -> None:
    result = call(checkout, "tools/setup.sh")
    assert result.returncode == 2
    assert "tools/setup.sh run" in result.stderr


def test_nothing_but_the_standard_library_is_needed_at_run_time() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == []
