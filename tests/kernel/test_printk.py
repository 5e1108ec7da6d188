"""What programs print, with their names: all of it, in order, and nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from snoopkit import features
from snoopkit.events import Event, Lost
from snoopkit.merging import Merged
from snoopkit.messages import Message
from snoopkit.printk import Printed, tracing
from snoopkit.render.eunomia import EunomiaJson, EunomiaText
from snoopkit.render.writers import writer

from .conftest import BPF, NOBODY, become, cover, in_child, own_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

SNOOPKIT = Path(sys.executable).parent / "snoopkit"

STRANGER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
const volatile int target_pid = 0;
SEC("raw_tp/sys_enter") int stranger(struct bpf_raw_tracepoint_args *ctx)
{
    if (bpf_get_current_pid_tgid() >> 32 == target_pid)
        bpf_printk("a stranger said %d", 1);
    return 0;
}
"""


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.build(BPF / "printk.bpf.c")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> snoopkit.Package:
    source = tmp_path_factory.mktemp("stranger") / "stranger.bpf.c"
    source.write_text(STRANGER)
    return snoopkit.build(source)


def instances() -> set[str]:
    path = features.tracefs()
    assert path is not None
    return {name for name in os.listdir(f"{path}/instances") if name.startswith("snoopkit-")}


class Run:
    """The package, and its messages."""

    def __init__(self, package: snoopkit.Package, own: dict[str, Any]) -> None:
        self.printed = Printed(package)
        assert self.printed.warnings == []
        self.snoop = snoopkit.run(package, options=own)
        self.source = Merged(self.snoop, self.snoop, [self.printed])

    def finish(self) -> list[Any]:
        return [item for lot in self.source.finish() for item in lot]

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self.printed.close()


@pytest.fixture
def run(package: snoopkit.Package) -> Iterator[Run]:
    with Run(package, {"target_pid": os.getpid()}) as run:
        yield run


def said(found: list[Any]) -> list[tuple[str | None, str]]:
    return [(item.program, item.message) for item in found if isinstance(item, Message)]


def test_every_way_to_print(run: Run) -> None:
    os.getpgid(0)
    found = run.finish()
    comm = Path("/proc/thread-self/comm").read_text().rstrip("\n")
    assert said(found) == [
        ("on_group", f"{comm}, 100% in\ntwo lines"),
        ("on_group", "-1    |     2|000000ff"),
        (None, "both 1"),
        ("on_group", "told 7"),
        ("on_group", "copied to the stack: 8"),
    ]
    assert found[2].candidates == ["on_group", "on_exit"]
    assert {(item.comm, item.tid) for item in found} == {(comm, os.getpid())}


def test_between_the_events_in_the_order_of_time(run: Run) -> None:
    found: list[Any] = []
    for _ in range(300):
        os.getppid()
        found += run.source.poll(0.001)
    deadline = monotonic() + 20
    while len(found) < 600 and monotonic() < deadline:
        found += run.source.poll(0.1)
    found += run.finish()
    times = [item._time_ns for item in found]
    # each to its own clock's grain: a message's time is told in microseconds
    assert all(later >= earlier - 1000 for earlier, later in pairwise(times))
    assert [item.number for item in found if isinstance(item, Event)] == list(range(1, 301))
    assert [text for _, text in said(found)] == [
        text for n in range(1, 301) for text in (f"before {n}", f"after {n}, with 1 2 3")
    ]
    assert not any(isinstance(item, Lost) for item in found)


def test_not_what_others_print(run: Run, stranger: snoopkit.Package) -> None:
    path = features.tracefs()
    assert path is not None
    witness = tracing.Instance(path)  # without a filter
    try:
        with snoopkit.run(stranger, options={"target_pid": os.getpid()}):
            os.getppid()
        everything = witness.read()
    finally:
        witness.close()
    assert b": a stranger said 1\n" in everything
    assert [text for _, text in said(run.finish())] == ["before 1", "after 1, with 1 2 3"]


def test_what_there_was_no_room_for_is_counted(
    package: snoopkit.Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_BUFFER_KB", 8)
    with Run(package, {"target_pid": os.getpid()}) as run:
        for _ in range(1000):
            os.getppid()
        found = run.finish()
    lost = sum(item.count for item in found if isinstance(item, Lost))
    assert lost > 0
    assert lost + len(said(found)) == 2000
    assert run.source.lost == lost == run.source.losses["buffer_full"]


def test_every_form(run: Run) -> None:
    message = Message(0, 1, ["on_call"], "a\x1bb", 7, "x")
    unsure = Message(0, 1, ["a", "b"], "c\udcff", 7, None)
    table, lines, rows = (writer(kind, run.snoop) for kind in ("table", "json", "csv"))
    assert table.row(message).decode().split(maxsplit=1)[1] == "printk on_call: a\\x1bb\n"
    row = json.loads(lines.row(message))
    assert list(row) == ["type", "time", "cpu", "data"]
    assert (row["type"], row["cpu"]) == ("printk", 1)
    assert row["data"] == {"program": "on_call", "tid": 7, "comm": "x", "message": "a\x1bb"}
    row = json.loads(lines.row(unsure))
    assert row["data"]["candidates"] == ["a", "b"]
    assert (row["data"]["program"], row["data"]["comm"], row["raw"]) == (None, None, {"message": "Y/8="})
    assert rows.row(message).startswith(b"printk,")
    assert EunomiaText(run.snoop.package).row(message).decode()[8:] == " on_call: a\\x1bb\n"
    assert json.loads(EunomiaJson(run.snoop.package).row(message)) == {
        "message": "a\x1bb",
        "program": "on_call",
    }


def command(package: snoopkit.Package, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`snoopkit run`, attached."""
    package.write(folder / "package.json")
    ready, writable = os.pipe()
    process = subprocess.Popen(
        [SNOOPKIT, "run", "--json", "--ready-fd", str(writable), "--duration", "60", *arguments]
        + [folder / "package.json", "--target_pid", str(os.getpid())],
        pass_fds=[writable],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writable)
    with open(ready, "rb") as pipe:
        is_ready = pipe.read() == b"\n"
    if not is_ready:
        pytest.fail(process.communicate(timeout=20)[1])
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind(package: snoopkit.Package, tmp_path: Path, number: signal.Signals) -> None:
    process = command(package, tmp_path)
    assert any(name.startswith(f"snoopkit-{process.pid}-") for name in instances())
    os.getpgid(0)
    process.send_signal(number)
    output, messages = process.communicate(timeout=20)
    assert (process.returncode, messages.count("\n")) == (0, 1)
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["data"]["program"] for row in rows] == ["on_group", "on_group", None, "on_group", "on_group"]
    assert not any(name.startswith(f"snoopkit-{process.pid}-") for name in instances())


def test_what_a_killed_one_left_goes_with_the_next(package: snoopkit.Package, tmp_path: Path) -> None:
    process = command(package, tmp_path)
    process.kill()
    process.communicate(timeout=20)
    (left,) = (name for name in instances() if name.startswith(f"snoopkit-{process.pid}-"))
    printed = Printed(package)
    try:
        assert left not in instances()
        own = [name for name in instances() if name.startswith(f"snoopkit-{os.getpid()}-")]
        assert len(own) == 1
    finally:
        printed.close()
        printed.close()
    assert not set(own) & instances()


def test_without_tracefs_events_come_all_the_same(package: snoopkit.Package) -> None:
    def child() -> list[Any]:
        own_mounts()
        for path in ("/sys/kernel/debug", "/sys/kernel/tracing"):
            if os.path.isdir(path):
                cover(path)
        printed = Printed(package)
        with snoopkit.run(package, options={"target_pid": os.getpid()}) as snoop:
            source = Merged(snoop, snoop, [printed])
            os.getppid()
            found = [item.number for lot in source.finish() for item in lot]
        return [found, *source.warnings]

    found, warning = in_child(child)
    assert found == [1]
    assert warning.endswith(
        "isn't shown: no tracefs is mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
    )


def test_without_the_right_to_it(package: snoopkit.Package) -> None:
    def child() -> list[str]:
        become(NOBODY)
        return Printed(package).warnings

    (warning,) = in_child(child)
    assert "isn't shown" in warning
    assert "Permission denied (run as root" in warning or "no tracefs is mounted" in warning
