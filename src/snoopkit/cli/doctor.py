"""`snoopkit doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import json

from ..commandline import CommandLine
from ..options import printable
from .command import DONE, FAILED, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..doctor import Finding

__all__ = ["main"]

MARKS = {True: "yes", False: "NO", None: "?"}


def parser() -> CommandLine:
    parser = CommandLine(
        "snoopkit doctor",
        description="Try what this machine can do. Each kind of program is loaded, attached to something harmless, and "
        "detached again. The exit status is 0 if execsnoop can run as it is, else 1.",
        examples=[
            ("snoopkit doctor", "what works, and what to do about the rest"),
            ("snoopkit doctor --json | jq .hooks", "each kind of program"),
        ],
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    return parser


@command("snoopkit doctor")
def main(argv: Sequence[str]) -> int:
    """Try what this machine can do. 0 if execsnoop can run as it is, else 1."""
    args = parser().parse_args(argv)
    from .. import doctor

    found = {"machine": list(doctor.machine()), "hooks": list(doctor.hooks()), "tools": [_execsnoop()]}
    if args.json:
        print(
            json.dumps({key: [_data(one) for one in findings] for key, findings in found.items()}, indent=2)
        )
    else:
        for key, findings in found.items():
            _print(key, findings)
    return DONE if found["tools"][0].ok else FAILED


def _execsnoop() -> Finding:
    """Whether execsnoop, with nothing asked of it, attaches."""
    from execsnoop import trace

    from ..doctor import Finding
    from ..errors import SnoopkitError

    try:
        with trace():
            pass
    except (SnoopkitError, OSError) as error:
        return Finding(
            "execsnoop", False, getattr(error, "message", str(error)), getattr(error, "hint", None)
        )
    return Finding("execsnoop", True, "attaches every program that it needs")


def _data(finding: Finding) -> dict[str, Any]:
    return {"name": finding.name, "ok": finding.ok, "detail": finding.detail, "cure": finding.cure}


def _print(title: str, findings: list[Finding]) -> None:
    print(f"{title}:")
    width = max(len(one.name) for one in findings)
    for one in findings:
        print(f"  {one.name:{width}}  {MARKS[one.ok]:3}  {printable(one.detail)}")
        if one.cure:
            print(f"  {'':{width}}       → {printable(one.cure)}")
