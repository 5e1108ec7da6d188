"""`snoopkit stubs`: mypy accepts right uses of a package and refuses wrong ones; the names are those of real events."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import snoopkit
from snoopkit import events
from snoopkit.stubs import module

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
OPENS = ROOT / "examples" / "opens" / "opens.bpf.c"
SHIPPED = ROOT / "src" / "execsnoop" / "bpf" / "package.json"
RIGHT = """
import opens_types

with opens_types.run("package.json", options={"target_pid": 1, "closes_too": False}) as snoop:
    for event in snoop:
        if event._struct == "lost":
            number: int = event.count
        elif event._struct == "opened":
            path: str = event.path
            when: int = event.header.boottime_ns + event._time_ns
            writes: bool = event.access == "WRITE"
        else:
            descriptor: int = event.fd
    opens: int = snoop.maps["by_process"][1].opens
"""
WRONG = {
    "a member that no event has": (
        RIGHT.replace("event.fd", "event.descriptor"),
        'has no attribute "descriptor"',
    ),
    "another event's member": (RIGHT.replace("event.fd", "event.path"), '"Closed" has no attribute "path"'),
    "a wrong type": (RIGHT.replace("descriptor: int", "descriptor: str"), "Incompatible types in assignment"),
    "an enum's name": (RIGHT.replace('"WRITE"', '"WRITES"'), "Non-overlapping equality check"),
    "an option that isn't there": (RIGHT.replace("target_pid", "pid"), 'expected "Options | None"'),
    "an option's type": (
        RIGHT.replace('"target_pid": 1', '"target_pid": "1"'),
        'expected "Options | None"',
    ),
    "a map that isn't there": (
        RIGHT.replace('"by_process"', '"by_pid"'),
        'TypedDict "Maps" has no key "by_pid"',
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    subprocess.run([BIN / "snoopkit", "stubs", OPENS, "-o", folder / "opens_types.py"], check=True)
    return folder


def checked(folder: Path, text: str) -> str:
    (folder / "use.py").write_text(text)
    done = subprocess.run(
        [BIN / "mypy", "--strict", "--config-file=", "use.py", "opens_types.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT / "src")},
    )
    return done.stdout + done.stderr


def test_a_right_use(folder: Path) -> None:
    assert checked(folder, RIGHT).startswith("Success: ")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_use(folder: Path, name: str) -> None:
    text, words = WRONG[name]
    found = checked(folder, text)
    assert "Found 1 error in 1 file" in found, found
    assert words in found


def test_it_can_be_imported(folder: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", "import opens_types"], cwd=folder, check=True)


def test_members_are_those_of_real_events() -> None:
    """Tails, nested structs and everything else that execsnoop's package has."""
    package = snoopkit.Package.read(SHIPPED)
    members = {}
    for node in ast.parse(module(package)).body:
        if isinstance(node, ast.ClassDef):
            named = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            lines = {ast.unparse(line.target): ast.unparse(line.annotation) for line in named}
            place = lines.get("_map"), lines.get("_struct")
            members[place] = [name for name in lines if not name.startswith("_")]
    _, types = events.decoder(package, list(package.events))
    assert len(types) > 3
    for (map_name, struct), compiled in types.items():
        place = f"Literal[{map_name!r}]", f"Literal[{struct!r}]"
        assert members[place] == list(compiled.cls._fields)
