"""docs/annotations.md: the source that it shows builds, and its package has the options that the page promises."""

from __future__ import annotations

from pathlib import Path

import pytest

import snoopkit
from snoopkit import arguments

PAGE = Path(__file__).parents[2] / "docs" / "annotations.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> snoopkit.Package:
    source = tmp_path_factory.mktemp("page") / "calls.bpf.c"
    source.write_text(PAGE.read_text().split("```c\n")[1].split("```")[0])
    return snoopkit.build(source)


def test_its_options(package: snoopkit.Package) -> None:
    assert {
        spec.name: (spec.long, spec.short, spec.type, spec.default, spec.help)
        for spec in package.options.values()
    } == {
        "target_pid": ("target_pid", "p", "int", 0, "Only this process (0: all)"),
        "least": ("at_least", None, "unsigned int", 2, "At least so many"),
        "without": (
            "without",
            None,
            "unsigned short[8]",
            [39, 110, 0, 0, 0, 0, 0, 0],
            "Numbers of system calls that don't count",
        ),
        "CONFIG_HZ": ("CONFIG_HZ", None, "int", None, "Ticks a second, if not what the kernel says"),
    }


def test_its_command_line(package: snoopkit.Package, capsys: pytest.CaptureFixture[str]) -> None:
    parser = arguments.parser(package, "calls")
    given = parser.parse_args(["-p", "0x10", "--at-least", "017", "--without", "1,2", "--CONFIG_HZ", "100"])
    assert arguments.collect(package, given) == {
        "target_pid": 16,
        "least": 15,
        "without": [1, 2, 0, 0, 0, 0, 0, 0],
        "CONFIG_HZ": 100,
    }
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Counts system calls" in text
    assert "By process, and how many came at once." in text
    assert "At least so many (unsigned int; default: 2)" in text
    assert "(int; default: what this kernel has)" in text


def test_its_sample(package: snoopkit.Package) -> None:
    assert package.maps["spreads"].sample == {
        "interval": 1000, "type": "log2_hist", "unit": "calls", "clear_map": True,
    }  # fmt: skip
