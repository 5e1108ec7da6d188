"""Every command's line: its help at 80 columns, its examples, and what a slip of the finger is answered with."""

from __future__ import annotations

import importlib
import shlex
import subprocess
from pathlib import Path

import commands
import pytest

import package_writer
import start
from snoopkit import Package, arguments
from snoopkit.cli import COMMANDS
from snoopkit.commandline import suggestion

PARSERS = commands.parsers()
BIN = Path(__file__).parents[2] / ".venv" / "bin"


def said(capsys: pytest.CaptureFixture[str], module: str, *argv: str) -> tuple[int, str]:
    try:
        status = importlib.import_module(module).main(list(argv))
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert out == ""
    return status, err


def test_every_command_is_here() -> None:
    wanted = {"execsnoop", "execsnoop selftest", "ecc", "ecli"} | {f"snoopkit {name}" for name in COMMANDS}
    assert set(PARSERS) == wanted


@pytest.mark.parametrize("name", PARSERS)
def test_help_fits_eighty_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = PARSERS[name].format_help().splitlines()
    assert [line for line in lines if len(line) > 80] == []
    monkeypatch.setenv("COLUMNS", "300")
    assert max(map(len, PARSERS[name].format_help().splitlines())) <= 100


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_says_what_it_does(name: str) -> None:
    assert [action.dest for action in PARSERS[name]._actions if not action.help] == []


EXAMPLES = [(name, typed) for name, parser in PARSERS.items() for typed, _ in parser.examples]


@pytest.mark.parametrize(("name", "typed"), EXAMPLES)
def test_an_example_is_understood(name: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = typed.split(" | ")[0].split(" && ")[0].replace("alice", "root")
    words = shlex.split(own)
    skipped = len(name.split())
    assert words[:skipped] == name.split()
    arguments = words[skipped:]
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    if name == "ecli" and arguments[0] == "run":
        arguments = arguments[1:]
    PARSERS[name].parse_args(arguments)


@pytest.mark.parametrize(
    ("module", "argv", "near"),
    [
        ("execsnoop.cli", ["--colums", "pid"], "--columns"),
        ("execsnoop.cli", ["--duratoin=5"], "--duration"),
        ("execsnoop.cli", ["selftest", "--jsn"], "--json"),
        ("snoopkit.cli", ["runn", "x.json"], "run"),
        ("snoopkit.cli", ["run", "--jsom", "x.json"], "--json"),
        ("snoopkit.cli", ["build", "--clagn", "x.bpf.c"], "--clang"),
        ("snoopkit.cli", ["doctor", "--jason"], "--json"),
        ("snoopkit.cli", ["inspect", "--heder", "x.json"], "--header"),
        ("snoopkit.cli", ["new", "--hok", "name"], "--hook"),
        ("snoopkit.cli", ["stubs", "--outptu", "x.json"], "--output"),
        ("snoopkit.cli.ecc", ["--verbos", "x.bpf.c"], "--verbose"),
        ("snoopkit.cli.ecli", ["run", "--buffersize", "x.json"], "--buffer-size"),
    ],
)
def test_the_near_name_is_suggested(
    module: str, argv: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = said(capsys, module, *argv)
    assert status == 2
    assert err.endswith(f"; did you mean {near}?\n")


@pytest.mark.parametrize("argv", [["--zzz"], ["-Z"], ["something"]])
def test_what_is_near_nothing_is_only_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, err = said(capsys, "execsnoop.cli", *argv)
    assert status == 2
    assert err.endswith(f"error: unrecognized arguments: {argv[0]}\n")


@pytest.mark.parametrize(
    ("module", "argv", "near"),
    [
        ("snoopkit.cli", ["run", "--jsom"], "--json"),
        ("snoopkit.cli", ["build", "--clagn", "x"], "--clang"),
        ("snoopkit.cli", ["inspect", "--jsom"], "--json"),
        ("snoopkit.cli.ecc", ["--verbos"], "--verbose"),
    ],
)
def test_a_wrong_option_comes_before_what_is_missing(
    module: str, argv: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = said(capsys, module, *argv)
    assert status == 2 and err.endswith(f"; did you mean {near}?\n")
    status, err = said(capsys, module, *(word for word in argv if not word.startswith("-") and word != "x"))
    assert status == 2 and ": error: the following arguments are required: " in err


def test_no_abbreviation_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    status, err = said(capsys, "execsnoop.cli", "--dura", "5")
    assert (status, "--duration?" in err) == (2, True)


def test_a_package_s_own_option_is_suggested_too(capsys: pytest.CaptureFixture[str]) -> None:
    package = Package.read(package_writer.packed(*package_writer.sample()))
    line = arguments.parser(package, "tool")
    line.add_argument("--min-us")
    with pytest.raises(SystemExit) as end:
        line.parse_args(["--mins-us", "4"])
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("; did you mean --min-us?\n")


def test_the_nearest_wins() -> None:
    assert suggestion("--formt", ["--from", "--format", "--output"]) == "; did you mean --format?"
    assert suggestion("--x", []) == ""


def test_looking_for_a_near_name_is_not_loaded_before_it_is_needed(tmp_path: Path) -> None:
    modules = start.loaded(tmp_path, "from execsnoop.cli import parser; parser().parse_args([])")
    assert "difflib" not in modules


def test_the_installed_command_answers_with_status_2() -> None:
    result = subprocess.run([BIN / "snoopkit", "biuld"], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "snoopkit: error: no command 'biuld'; did you mean build?\n"
