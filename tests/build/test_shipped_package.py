"""execsnoop's package is committed as compiled; it must be what its sources give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import snoopkit

SOURCES = Path(__file__).parents[2] / "src/execsnoop/bpf"


@pytest.mark.skipif(
    not shutil.which("clang-14"), reason="the committed bytes are those of Debian 12's clang-14"
)
def test_the_shipped_package_is_what_its_sources_give(tmp_path: Path) -> None:
    for source in (*SOURCES.glob("*.c"), *SOURCES.glob("*.h")):
        shutil.copy(source, tmp_path)
    package = snoopkit.build(tmp_path / "execsnoop.bpf.c", tmp_path / "execsnoop.h", clang="clang-14")
    package.write(tmp_path / "package.json")
    made, shipped = (tmp_path / "package.json").read_bytes(), (SOURCES / "package.json").read_bytes()
    assert made == shipped, "the sources have changed since it was compiled: make prebuilt"
