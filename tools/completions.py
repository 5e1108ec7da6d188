#!/usr/bin/env python3
"""Makes shell completions from the parsers: `tools/completions.py FOLDER` writes them below FOLDER, where bash, zsh and
fish look for them below /usr/local/share."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("execsnoop", "snoopkit", "ecc", "ecli")
PLACES = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}


class Words:
    """What may be typed behind one command: `options` with their help and what each takes."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.actions = [
            action for action in parser._actions if action.option_strings and action.help != argparse.SUPPRESS
        ]
        self.options = [option for action in self.actions for option in action.option_strings]


def choices(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def brief(action: argparse.Action) -> str:
    """The beginning of an option's help, up to the first comma or the like, without what a shell could read in it."""
    text = " ".join((action.help or "").replace("%%", "%").split())
    for mark in ("; ", ": ", ", ", " (", ". "):
        text = text.split(mark)[0]
    return "".join(c for c in text if c not in "[]'\"`\\:$")


def of(name: str) -> tuple[Words | None, dict[str, Words]]:
    """A command's own words, and those of its subcommands."""
    found = {full: Words(parser) for full, parser in commands.parsers().items() if full.split()[0] == name}
    own = found.pop(name, None)
    return own, {full.split()[1]: words for full, words in found.items()}


def bash(name: str) -> str:
    own, below = of(name)
    lines = [
        f"_{name}()",
        "{",
        '    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options=""',
        "    COMPREPLY=()",
        '    case "${COMP_WORDS[1]}:$before" in',
    ]
    for subcommand, words in below.items():
        lines += _bash_values(f"{subcommand}:", words)
    if own:
        lines += _bash_values("*:", own)
    lines += ["    esac", '    case "${COMP_WORDS[1]}" in']
    for subcommand, words in below.items():
        lines.append(f'        {subcommand}) options="{" ".join(words.options)}" ;;')
    lines += [f'        *) options="{" ".join(own.options) if own else ""}" ;;', "    esac"]
    if below:
        lines += [
            "    if ((COMP_CWORD == 1)) && [[ $word != -* ]]; then",
            f'        mapfile -t COMPREPLY < <(compgen -W "{" ".join(below)}" -- "$word")',
            "        return",
            "    fi",
        ]
    return "\n".join(
        [
            *lines,
            "    if [[ $word == -* ]]; then",
            '        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")',
            "    fi",
            "}",
            f"complete -o default -F _{name} {name}",
            "",
        ]
    )


def _bash_values(prefix: str, words: Words) -> Iterator[str]:
    for action in words.actions:
        if takes_value(action):
            pattern = "|".join(f"{prefix}{option}" for option in action.option_strings)
            found = choices(action)
            reply = (
                f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(found)}" -- "$word"); return'
                if found
                else "return"
            )
            yield f"        {pattern}) {reply} ;;"


def zsh(name: str) -> str:
    own, below = of(name)
    lines = [f"#compdef {name}", ""]
    if below:
        lines += ["if ((CURRENT > 2)); then", "    case $words[2] in"]
        for subcommand, words in below.items():
            lines += [
                f"        {subcommand})",
                "            shift words; ((CURRENT--))",
                f"            _arguments -S {_zsh_specs(words)} '*:file:_files'",
                "            return ;;",
            ]
        lines += ["    esac", "fi"]
        lines += [
            "if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then",
            f"    compadd {' '.join(below)}",
            "fi",
        ]
    if own:
        lines.append(f"_arguments -S {_zsh_specs(own)} '*:file:_files'")
    return "\n".join([*lines, ""])


def _zsh_specs(words: Words) -> str:
    specs = []
    for action in words.actions:
        value = ""
        if takes_value(action):
            found = choices(action)
            value = f":value:({' '.join(found)})" if found else ":value:_files"
        specs += [shlex.quote(f"{option}[{brief(action)}]{value}") for option in action.option_strings]
    return " ".join(specs)


def fish(name: str) -> str:
    own, below = of(name)
    lines = []
    for subcommand, words in below.items():
        lines.append(f"complete -c {name} -n __fish_use_subcommand -a {subcommand}")
        condition = f"-n {shlex.quote(f'__fish_seen_subcommand_from {subcommand}')} "
        lines += _fish_options(name, words, condition)
    lines += _fish_options(name, own, "") if own else []
    return "\n".join([*lines, ""])


def _fish_options(name: str, words: Words, condition: str) -> Iterator[str]:
    for action in words.actions:
        forms = [f"-l {o[2:]}" if o.startswith("--") else f"-s {o[1:]}" for o in action.option_strings]
        value = ""
        if takes_value(action):
            found = choices(action)
            value = f" -x -a {shlex.quote(' '.join(found))}" if found else " -r"
        yield f"complete -c {name} {condition}{' '.join(forms)}{value} -d {shlex.quote(brief(action))}"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


def main() -> None:
    (folder,) = sys.argv[1:]
    for shell, make in SHELLS.items():
        for name in NAMES:
            path = Path(folder, PLACES[shell].format(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(make(name))


if __name__ == "__main__":
    main()
