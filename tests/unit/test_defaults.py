"""A command line without arguments means the same with argparse and without."""

from __future__ import annotations

import argparse

import pytest

import snoopkit
from execsnoop import cli


def test_execsnoop_without_arguments() -> None:
    assert vars(snoopkit.defaults(cli._add_options)) == vars(cli.parser().parse_args([]))


@pytest.mark.parametrize(
    ("names", "declared"),
    [
        (("-a", "--as-it-is"), {}),
        (("--on",), {"action": "store_true"}),
        (("--off",), {"action": "store_false"}),
        (("--const",), {"action": "store_const", "const": 3}),
        (("--list",), {"action": "append"}),
        (("--list",), {"action": "append", "default": []}),
        (("-n",), {"type": int, "default": 4}),
        (("--x",), {"dest": "y", "choices": ("a", "b"), "default": "a"}),
        (("--version",), {"action": "version", "version": "1"}),
    ],
)
def test_each_kind_of_option(names: tuple, declared: dict) -> None:
    def declare(parser: argparse.ArgumentParser) -> None:
        parser.add_argument_group("a group").add_argument(*names, **declared)

    parser = argparse.ArgumentParser()
    declare(parser)
    assert vars(snoopkit.defaults(declare)) == vars(parser.parse_args([]))


def test_of_two_options_with_one_name_the_first_has_the_default() -> None:
    def declare(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--format", default="table")
        parser.add_argument("--json", action="store_const", const="json", dest="format")

    assert snoopkit.defaults(declare).format == "table"
