"""Which modules a start loads, and which it may load.

A start-up time is too noisy to be held by a test; the modules that are loaded decide it, and are exact.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Of the standard library, beyond what argparse needs for itself on this Python. Small, or needed by every run.
STANDARD = {"__future__", "binascii", "encodings.ascii", "errno", "gc", "select", "signal", "time"}
# Cython's own, made when the first native module is loaded.
NATIVE = {"cython_runtime", "_cython_*"}

HELP = (
    STANDARD
    | NATIVE
    | {
        "execsnoop",
        "execsnoop.cli",
        "execsnoop.redact",
        "execsnoop.selection",
        "execsnoop.views",
        "snoopkit",
        "snoopkit._decode",
        "snoopkit.btf",
        "snoopkit.cdecl",
        "snoopkit.cli",
        "snoopkit.cli.command",
        "snoopkit.cli.live",
        "snoopkit.commandline",
        "snoopkit.errors",
        "snoopkit.events",
        "snoopkit.layout",
        "snoopkit.plans",
        "snoopkit.render",
        "snoopkit.render.output",
    }
)
# A package is JSON, and its object is compressed.
PACKAGE = {
    "_json",
    "_struct",
    "json",
    "json.decoder",
    "json.encoder",
    "json.scanner",
    "struct",
    "zlib",
}
LIVE = (
    HELP
    | PACKAGE
    | {
        "execsnoop.identity",
        "execsnoop.model",
        "execsnoop.processes",
        "execsnoop.procfs",
        "execsnoop.records",
        "execsnoop.snapshot",
        "execsnoop.stream",
        "execsnoop.tracing",
        "execsnoop.views.data",
        "snoopkit._core",
        "snoopkit.attach",
        "snoopkit.batch",
        "snoopkit.elf",
        "snoopkit.document",
        "snoopkit.features",
        "snoopkit.iterators",
        "snoopkit.kernel_ids",
        "snoopkit.kernel_types",
        "snoopkit.loader",
        "snoopkit.messages",
        "snoopkit.options",
        "snoopkit.package",
        "snoopkit.reading",
        "snoopkit.render.cells",
        "snoopkit.render.clock",
        "snoopkit.render.fitting",
        "snoopkit.render.screen",
        "snoopkit.render.writers",
        "snoopkit.samples",
        "snoopkit.session",
        "snoopkit.stacks",
        "snoopkit.targets",
        "snoopkit.transport",
    }
)
# What the first events need, which come some milliseconds after the programs are attached: nothing waits for it.
AFTERWARDS = {
    "execsnoop.processes",
    "execsnoop.records",
    "execsnoop.snapshot",
    "execsnoop.stream",
    "execsnoop.views.table",
    "snoopkit._decode",
    "snoopkit.batch",
    "snoopkit.events",
    "snoopkit.layout",
    "snoopkit.plans",
}

_ASK = """
import sys
before = set(sys.modules)
report, statement, *sys.argv = sys.argv[1:]
try:
    exec(statement)
except SystemExit as end:
    assert not end.code, end.code
with open(report, "w") as file:
    file.write("\\n".join(sorted(set(sys.modules) - before)))
"""
_ARGPARSE = "import argparse; argparse.ArgumentParser().format_help()"


def loaded(folder: Path, statement: str, *argv: str) -> set[str]:
    """The modules that a fresh interpreter loads to execute `statement` with `argv` as its command line."""
    report = folder / "modules"
    result = subprocess.run(
        [sys.executable, "-c", _ASK, str(report), statement, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    names = report.read_text().split()
    return {"_cython_*" if name.startswith("_cython_") else name for name in names}


def argparse_alone(folder: Path) -> set[str]:
    """What argparse loads for a help text, which differs from one Python to the next."""
    return loaded(folder, _ARGPARSE, "anything")
