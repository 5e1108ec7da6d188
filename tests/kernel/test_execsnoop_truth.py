"""Against an independent count in the kernel, over work that nobody wrote for this test."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel.watching import Command, marker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

__all__ = ["marker"]  # a fixture

SOURCE = Path(__file__).parents[2] / ".cache/dash_0.5.12.orig.tar.gz"

# The count confines itself to one user, who has no other processes. Once its last probe answers, all are there.
COUNT = """
tracepoint:sched:sched_process_exec /uid == USER/ { @execs = count(); }
tracepoint:task:task_newtask /uid == USER && (args->clone_flags & 0x10000) == 0/ { @forks = count(); }
tracepoint:sched:sched_process_exec /uid == SCOUT/ { printf("ready\\n"); }
"""
SHELL = """
i=0
while [ $i -lt $1 ]; do
    i=$((i + 1))
    x=$(printf '%s\\n' c b a | sort | tr -d '\\n')
    echo $x | cat | wc -c >/dev/null
    (exit 3) | cat
    test -z "$(ls /var/empty 2>/dev/null)"
done
find /etc -maxdepth 1 -print0 2>/dev/null | xargs -0 -n 5 -P 4 ls -d >/dev/null
"""


@pytest.fixture
def user() -> int:
    """A user id that nothing else on the machine has, nor the one after it."""
    return 1_000_000_000 + 2 * os.getpid()


@pytest.fixture
def folder(user: int, marker: str) -> Iterator[Path]:
    """A folder of the user's from which programs can be run."""
    path = Path("/var/tmp") / marker
    path.mkdir()
    os.chown(path, user, user)
    yield path
    shutil.rmtree(path)


def shell(folder: Path, rounds: int = 150) -> list[str]:
    return ["/bin/sh", "-c", SHELL, "sh", str(rounds)]


def short_shell(folder: Path) -> list[str]:
    return shell(folder, rounds=10)


def build(folder: Path) -> list[str]:
    assert SOURCE.exists(), "tools/sources.sh fetches it"
    with tarfile.open(SOURCE) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    owner = folder.stat().st_uid
    for path in [top, *top.rglob("*")]:
        os.chown(path, owner, owner)
    return ["/bin/sh", "-c", f"cd {top} && ./configure -q && make -s -j2 && test -x src/dash"]


def stress(folder: Path) -> list[str]:
    return ["stress-ng", "--exec", "2", "-t", "4", "--temp-path", str(folder)]


class Witness:
    """bpftrace, counting what `user` does from now on."""

    def __init__(self, user: int, output: Path) -> None:
        self._output = output
        program = COUNT.replace("USER", str(user)).replace("SCOUT", str(user + 1))
        with output.open("wb") as sink:
            self._process = subprocess.Popen(["bpftrace", "-e", program], stdout=sink)
        deadline = time.monotonic() + 120
        while b"ready" not in output.read_bytes():
            assert time.monotonic() < deadline and self._process.poll() is None
            subprocess.run(["/bin/true"], user=user + 1, group=user + 1, extra_groups=[], check=True)
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> dict[str, int]:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(timeout=120) == 0
        return {name: int(count) for name, count in re.findall(r"@(\w+): (\d+)", self._output.read_text())}


def watched(
    command: list[str], user: int, tmp_path: Path
) -> tuple[list[dict[str, Any]], dict[str, int], int]:
    """What the user's processes did while they ran this, by us and by the witness; and the pid of the first."""
    with Witness(user, tmp_path / "counted") as witness:
        snoop = Command("--json", output=tmp_path / "out")
        process = subprocess.Popen(
            command, user=user, group=user, extra_groups=[], stdout=subprocess.DEVNULL, cwd="/"
        )
        assert process.wait(timeout=240) == 0
        time.sleep(0.3)
        data, messages = snoop.end()
        assert snoop.process.returncode == 0, messages
        events = [json.loads(line) for line in data.splitlines()]
        return [event for event in events if event.get("uid") == user], witness.end(), process.pid


@pytest.mark.parametrize(
    "work",
    [
        short_shell,
        pytest.param(shell, marks=pytest.mark.heavy),
        pytest.param(build, marks=pytest.mark.heavy),
        stress,
    ],
)
def test_counts_are_the_kernels(
    tmp_path: Path, user: int, folder: Path, work: Callable[[Path], list[str]]
) -> None:
    events, counted, root = watched(work(folder), user, tmp_path)
    kinds = Counter(event["type"] for event in events)
    assert kinds["exec"] == counted["execs"] >= 20
    assert kinds["fork"] == counted["forks"] >= 20
    # Every process that ran something ended, once; and all descend from one.
    identity = "pid", "start_boottime_ns"
    ran = {tuple(event[key] for key in identity) for event in events if event["type"] == "exec"}
    ended = Counter(tuple(event[key] for key in identity) for event in events if event["type"] == "exit")
    assert set(ended.values()) == {1}
    assert ran <= set(ended)
    made = {
        (event["child_pid"], event["child_start_boottime_ns"]) for event in events if event["type"] == "fork"
    }
    assert len(made) == kinds["fork"]
    assert {pid for pid, _ in set(ended) - made} == {root}
    assert not made - set(ended)
    assert {tuple(event[key] for key in identity) for event in events if event["type"] == "fork"} <= set(
        ended
    )
    for event in events:
        if event["type"] == "exit":
            assert event["argv"] and ("inherited" in event) == (
                (event["pid"], event["start_boottime_ns"]) not in ran
            )
