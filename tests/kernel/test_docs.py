"""The Python in docs/python.md does what the page says: every block is run, in order, as one program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
EXAMPLE = ROOT / "examples" / "opens"

# Runs each block with the names of those before it, and says what it printed and how it failed.
_DRIVER = """
import contextlib, io, json, pathlib, sys, traceback
blocks = json.loads(pathlib.Path(sys.argv[1]).read_text())
names = {"__name__": "__main__"}
said = []
for line, code in blocks:
    output = io.StringIO()
    failure = None
    try:
        with contextlib.redirect_stdout(output):
            exec(compile("\\n" * line + code, "python.md", "exec"), names)
    except BaseException:
        failure = traceback.format_exc()
    said.append((output.getvalue(), failure))
pathlib.Path(sys.argv[2]).write_text(json.dumps(said))
"""


class Block(NamedTuple):
    line: int  # of the fence, from 1
    code: str
    output: str | None  # what the page shows below it


def blocks() -> list[Block]:
    text = PAGE.read_text()
    fence = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in fence.finditer(text)]


BLOCKS = blocks()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str | None]]:
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    questions, report = folder / "blocks.json", folder / "answers.json"
    questions.write_text(json.dumps([(block.line, block.code) for block in BLOCKS]))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _DRIVER, questions, report],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return [(said, failure) for said, failure in json.loads(report.read_text())]


def matches(shown: str, said: str) -> bool:
    """Whether that is what the page shows, in which an ellipsis stands for whatever differs."""
    return re.fullmatch(re.escape(shown).replace("…", ".*"), said) is not None


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=lambda n: f"line-{BLOCKS[n].line}")
def test_a_block_does_what_the_page_shows(number: int, answers: list[tuple[str, str | None]]) -> None:
    block = BLOCKS[number]
    said, failure = answers[number]
    assert failure is None, failure
    assert matches(block.output or "", said), f"it prints\n{said}"


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) > 20
    assert PAGE.read_text().count("```python") == len(BLOCKS)
