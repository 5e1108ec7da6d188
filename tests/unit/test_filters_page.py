"""Each filter that docs/filters.md shows is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from execsnoop.filters import Filter

PAGE = Path(__file__).parents[2] / "docs" / "filters.md"
FILTERS = [
    line
    for block in re.findall(r"^```filter\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("text", [*FILTERS, *re.findall(r"--where '(.*)'", PAGE.read_text())])
def test_a_filter_of_the_page(text: str) -> None:
    Filter(text)


def test_the_page_has_some() -> None:
    assert len(FILTERS) > 15
