"""The committed packages are what their sources give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import snoopkit

SRC = Path(__file__).parents[2] / "src"


@pytest.mark.skipif(
    not shutil.which("clang-14"), reason="the committed bytes are those of Debian 12's clang-14"
)
@pytest.mark.parametrize(
    ("folder", "source", "header"),
    [("execsnoop/bpf", "execsnoop.bpf.c", "execsnoop.h"), ("snoopkit/probes", "probes.bpf.c", None)],
)
def test_a_shipped_package_is_what_its_sources_give(
    tmp_path: Path, folder: str, source: str, header: str | None
) -> None:
    sources = SRC / folder
    for file in (*sources.glob("*.c"), *sources.glob("*.h")):
        shutil.copy(file, tmp_path)
    package = snoopkit.build(tmp_path / source, tmp_path / header if header else None, clang="clang-14")
    package.write(tmp_path / "package.json")
    made, shipped = (tmp_path / "package.json").read_bytes(), (sources / "package.json").read_bytes()
    assert made == shipped, "the sources have changed since it was compiled: make prebuilt"
