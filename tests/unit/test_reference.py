"""docs/reference.md is what the docstrings say, and every public name has one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import execsnoop
import snoopkit
import snoopkit.render

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_the_docstrings_say() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference.py", "-"], capture_output=True, text=True, check=True
    ).stdout
    written = (ROOT / "docs" / "reference.md").read_text()
    assert made == written, "tools/reference.py makes it anew"


def test_every_public_name_says_what_it_is() -> None:
    silent = []
    for module in (snoopkit, snoopkit.render, execsnoop):
        for name in module.__all__:
            thing = getattr(module, name)
            if not thing.__doc__:
                silent.append(name)
            # a writer's methods are described once, in the module
            if inspect.isclass(thing) and module is not snoopkit.render:
                silent += [
                    f"{name}.{member}"
                    for member, value in vars(thing).items()
                    if not member.startswith("_")
                    and (inspect.isroutine(value) or isinstance(value, (property, classmethod, staticmethod)))
                    and not inspect.getdoc(value)
                ]
    assert silent == []
