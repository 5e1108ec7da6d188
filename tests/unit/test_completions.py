"""Completions, asked of the shells themselves."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import completions
import pytest

if TYPE_CHECKING:
    from pathlib import Path


def shell(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def in_bash(folder: Path, name: str, *words: str) -> set[str]:
    path = folder / "bash"
    path.write_text(completions.bash(name))
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _$1; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return set(shell("bash", "-c", script, "bash", str(path), name, *words).split())


def in_fish(folder: Path, line: str) -> set[str]:
    path = folder / "fish"
    path.write_text(completions.fish(line.split()[0]))
    found = shell("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", str(path), line)
    return {row.split("\t")[0] for row in found.splitlines()}


def in_zsh(folder: Path, line: str) -> str:
    """What zsh shows on its screen when it lists the completions of a line."""
    name = line.split()[0]
    (folder / f"_{name}").write_text(completions.zsh(name))
    script = f"""
        zmodload zsh/zpty
        zpty shell zsh -f
        zpty -w shell 'PS1=; unset zle_bracketed_paste; fpath=({folder} $fpath); autoload -U compinit; compinit -u -D'
        zpty -w shell 'LISTMAX=1000; setopt no_list_beep; print rea''dy'
        zpty -r -m shell seen '*ready*'
        zpty -w -n shell $'{line}\\t\\t'
        sleep 1.5
        while zpty -r -t shell part; do print -r -- $part; done
        zpty -d shell
    """
    return shell("zsh", "-f", "-c", script)


class TestBash:
    def test_options(self, tmp_path: Path) -> None:
        assert in_bash(tmp_path, "execsnoop", "--fo") == {"--format"}
        assert {"--where", "--redact", "-u"} <= in_bash(tmp_path, "execsnoop", "-")
        assert in_bash(tmp_path, "ecc", "--add") == {"--additional-cflags"}

    def test_values(self, tmp_path: Path) -> None:
        assert in_bash(tmp_path, "execsnoop", "--format", "") == {"table", "json", "csv"}
        assert in_bash(tmp_path, "snoopkit", "new", "--hook", "t") == {"tracepoint", "tp_btf"}

    def test_subcommands(self, tmp_path: Path) -> None:
        assert in_bash(tmp_path, "snoopkit", "b") == {"build"}
        assert in_bash(tmp_path, "snoopkit", "build", "--vm") == {"--vmlinux"}
        assert in_bash(tmp_path, "execsnoop", "self") == {"selftest"}


class TestFish:
    def test_options_and_values(self, tmp_path: Path) -> None:
        assert in_fish(tmp_path, "execsnoop --form") == {"--format"}
        assert in_fish(tmp_path, "execsnoop --format ") == {"table", "json", "csv"}

    def test_subcommands(self, tmp_path: Path) -> None:
        assert "build" in in_fish(tmp_path, "snoopkit bu")
        assert in_fish(tmp_path, "snoopkit build --vm") == {"--vmlinux"}


class TestZsh:
    def test_options(self, tmp_path: Path) -> None:
        assert "--format" in in_zsh(tmp_path, "execsnoop --form")

    def test_subcommands(self, tmp_path: Path) -> None:
        assert "--vmlinux" in in_zsh(tmp_path, "snoopkit build --vm")

    @pytest.mark.parametrize("name", completions.NAMES)
    def test_every_one_is_sound(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / name
        path.write_text(completions.zsh(name))
        shell("zsh", "-n", str(path))
