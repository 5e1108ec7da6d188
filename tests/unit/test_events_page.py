"""docs/events.md and its JSON Schema say what the model has: no key more, none less, in its order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import events
import jsonschema
import pytest

from execsnoop import model

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SCHEMA = json.loads((DOCS / "events.schema.json").read_text())
LINES = (ROOT / "tests/golden/recipes.jsonl").read_text().splitlines()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_both_files_are_what_the_tool_makes() -> None:
    assert events.schema() == SCHEMA, "tools/events.py makes it anew"
    assert events.page() == (DOCS / "events.md").read_text(), "tools/events.py makes it anew"


def test_every_key_of_the_model_is_described_and_no_other() -> None:
    assert set(events.KEYS) == set(model.COLUMNS)
    assert set(events.EVENTS) == set(model._KEYS)
    described = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "events.md").read_text(), re.MULTILINE))
    assert described == set(model.COLUMNS)


@pytest.mark.parametrize("event", model._KEYS)
def test_the_schema_has_a_type_s_keys_in_their_order(event: str) -> None:
    found = list(SCHEMA["$defs"][event]["properties"])
    assert found == [*model._KEYS[event], "incomplete", "raw"]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_recorded_build_fits() -> None:
    for line in LINES:
        VALIDATOR.validate(json.loads(line))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "spawn"},
        {"time": "2026-11-26 12:00:00"},
        {"pid": "1"},
        {"argv": "make"},
        {"flags": ["odd"]},
        {"surplus": 1},
        {"errno": 2},
        {"incomplete": {"argv": "lazy"}},
    ],
)
def test_what_is_no_event_does_not_fit(change: dict[str, object]) -> None:
    sound = next(json.loads(line) for line in LINES if '"exec"' in line)
    VALIDATOR.validate(sound)
    assert not VALIDATOR.is_valid({**sound, **change})


def test_a_line_without_its_time_does_not_fit() -> None:
    sound = json.loads(LINES[0])
    del sound["time"]
    assert not VALIDATOR.is_valid(sound)
