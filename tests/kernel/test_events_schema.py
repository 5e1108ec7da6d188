"""What execsnoop writes, of every type and with every column, fits the JSON Schema that it is documented by."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema

from execsnoop import model

from .test_commands import EXECSNOOP

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/events.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
WORK = rb"""
/bin/true "$(printf '\377\376 name')"
(exit 3)
/no/such/program
sh -c 'kill -KILL $$'
"""


def checked(output: bytes) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        VALIDATOR.validate(line)
        order = [*model._KEYS[line["type"]], "incomplete", "raw"]
        assert list(line) == [key for key in order if key in line]
    return lines


def test_every_type_with_every_column(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as shell:
        assert shell.stdin
        read, write = os.pipe()
        options = ["--json", "--columns", "all", "-x", "--existing", "--subtree", str(shell.pid)]
        options += ["--ready-fd", str(write), "--duration", "60", "-o", str(output)]
        with subprocess.Popen([*EXECSNOOP, *options], pass_fds=[write], stderr=subprocess.PIPE) as process:
            os.close(write)
            assert os.read(read, 1) == b"\n"
            os.close(read)
            shell.stdin.write(WORK)
            shell.stdin.close()
            shell.wait(timeout=60)
            _, messages = process.communicate(timeout=120)
        assert process.returncode == 0, messages
    lines = checked(output.read_bytes())
    types = Counter(line["type"] for line in lines)
    assert set(types) == {"exec", "exec_failed", "fork", "exit", "existing"}
    assert sum("raw" in line for line in lines) == 2, "the strange argument, at the exec and at the exit"
    asked = {"cgroup", "namespaces", "exe", "cwd", "capabilities"}
    assert all(asked <= set(line) for line in lines if line["type"] == "exec")


def test_loss_fits_too(tmp_path: Path) -> None:
    output = tmp_path / "out"
    storm = f"i=0; while [ $i -lt 400 ]; do /bin/true {shlex.quote('x' * 900)} & i=$((i+1)); done; wait"
    options = ["--json", "--columns", "all", "--buffer-size", "4K", "-o", str(output)]
    result = subprocess.run([*EXECSNOOP, *options, "--", "sh", "-c", storm], capture_output=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert any(line["type"] == "lost" for line in checked(output.read_bytes()))
