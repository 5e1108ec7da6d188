"""Every recipe of docs/recipes.md, run in their order on a recorded stream, prints what the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/recipes.md").read_text()
RECIPES = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copy(ROOT / "tests/golden/recipes.jsonl", folder / "events.jsonl")
    return folder


def test_every_recipe_has_its_output() -> None:
    assert len(RECIPES) == PAGE.count("```sh") > 5


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_recipe_prints_what_the_page_shows(number: int, folder: Path) -> None:
    command, shown = RECIPES[number]
    result = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", shown)
