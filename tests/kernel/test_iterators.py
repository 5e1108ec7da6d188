"""BPF iterators: read whenever somebody asks, their records decoded as those of rings are."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from snoopkit import _core

from .conftest import BPF, in_child, program_id, wait_unloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

SNOOPKIT = Path(sys.executable).parent / "snoopkit"


@pytest.fixture(scope="session")
def package() -> snoopkit.Package:
    return snoopkit.build(BPF / "iterators.bpf.c", BPF / "iterators.h")


def run(package: snoopkit.Package, *enable: str, **options: Any) -> snoopkit.Snoop:
    return snoopkit.run(package, options={"target_pid": os.getpid(), **options}, enable=enable)


@pytest.fixture
def children() -> Iterator[list[int]]:
    """Three that wait."""
    processes = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(3)]
    for process in processes:  # until it is `cat`
        while Path(f"/proc/{process.pid}/comm").read_text() != "cat\n":
            pass
    yield sorted(process.pid for process in processes)
    for process in processes:
        process.communicate()


def own_children() -> list[int]:
    """/proc's word for it."""
    lists = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return sorted(int(pid) for pids in lists for pid in pids)


def start_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_records_of_one_size(package: snoopkit.Package, children: list[int]) -> None:
    assert list(package.iterators) == ["each_process", "each_kind"] and list(package.events) == ["calls"]
    with run(package) as snoop:
        before_ns = _core.boottime_ns()
        batch = snoop.iterate("each_process")
        events = batch.events()
        again = snoop.iterate("each_process").events()
    assert sorted(event.pid for event in events) == children == own_children()
    assert len(batch) == 3 and batch.lost == 0 and snoop.lost == 0
    assert {(event.ppid, event.comm) for event in events} == {(os.getpid(), "cat")}
    assert {(event._struct, event._map, event._cpu) for event in events} == {("process", "each_process", -1)}
    assert all(before_ns <= event._time_ns < before_ns + 10**10 for event in events)
    hertz = os.sysconf("SC_CLK_TCK")
    assert {event.pid: event.start_boottime_ns * hertz // 10**9 for event in events} == {
        pid: start_ticks(pid) for pid in children
    }
    assert [tuple(event) for event in again] == [tuple(event) for event in events]


def test_records_of_several_kinds_and_sizes(package: snoopkit.Package, children: list[int]) -> None:
    with run(package) as snoop:
        batch = snoop.iterate("each_kind")
    events = batch.events()
    assert [event._struct for event in events] == ["named", "thread"] * 3
    assert sorted(event.pid for event in events[::2]) == children
    assert all(event.name == "cat" for event in events[::2])
    assert all(event.pid == event.tid for event in events[1::2])
    assert sorted(batch.to_numpy("thread")["tid"].tolist()) == children
    lines = [json.loads(line) for line in batch.json().splitlines()]
    assert [line["struct"] for line in lines] == ["named", "thread"] * 3
    assert {line["map"] for line in lines} == {"each_kind"}


def test_it_is_new_each_time_and_rings_go_on(package: snoopkit.Package) -> None:
    with run(package) as snoop:
        assert snoop.iterate("each_process").events() == []
        assert not snoop.iterate("each_process")
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            (event,) = snoop.iterate("each_process").events()
            assert event.pid == process.pid
            process.communicate()
        assert snoop.read_iterator("each_process") == b""
        (call,) = [event for lot in snoop.finish() for event in lot]
        assert (call._struct, call.pid) == ("call", process.pid)
        assert not snoop.iterate("each_process")  # although all else is detached


def test_more_than_one_read_gives(package: snoopkit.Package, children: list[int]) -> None:
    """The kernel's buffer has 32 KB."""
    with run(package, copies=500) as snoop:
        data = snoop.read_iterator("each_process")
        events = snoop.iterate("each_process").events()
    assert len(data) == 3 * 500 * 32
    assert sorted(event.pid for event in events) == [pid for pid in children for _ in range(500)]


def test_text(package: snoopkit.Package, children: list[int]) -> None:
    with run(package, "as_text") as snoop:
        lines = snoop.read_iterator("as_text").decode().splitlines()
        assert sorted(lines) == sorted(f"{pid} of {os.getpid()}" for pid in children)
        with pytest.raises(ValueError, match="doesn't say what program 'as_text' would write"):
            snoop.iterate("as_text")


def test_what_it_is_not_asked_for(package: snoopkit.Package) -> None:
    with run(package) as snoop:
        for name in ("no_such", "on_exec"):
            with pytest.raises(ValueError, match=f"no iterator '{name}'"):
                snoop.read_iterator(name)
        with pytest.raises(ValueError, match="as_text is switched off"):
            snoop.read_iterator("as_text")
    with pytest.raises(ValueError, match="closed"):
        snoop.iterate("each_process")


def test_a_record_that_the_kernel_has_no_room_for(package: snoopkit.Package) -> None:
    with run(package, "too_long") as snoop:
        with pytest.raises(snoopkit.AttachError, match="iterate: program too_long") as error:
            snoop.read_iterator("too_long")
        assert error.value.errno == errno.E2BIG


@pytest.mark.parametrize("false_bytes", [1 << 31, -28 % (1 << 32)], ids=["beyond the end", "negative"])
def test_a_size_that_is_not_true(package: snoopkit.Package, children: list[int], false_bytes: int) -> None:
    with (
        run(package, false_bytes=false_bytes) as snoop,
        pytest.raises(snoopkit.DecodeError, match="iterator each_kind: a record of"),
    ):
        snoop.iterate("each_kind")


def test_nothing_else_in_the_package() -> None:
    package = snoopkit.build(BPF / "only_iterator.bpf.c")
    with snoopkit.run(package) as snoop:
        assert snoop.read_iterator("nothing") == b"" and snoop.poll(0) == []
        assert [event for lot in snoop.finish() for event in lot] == []


def test_a_forked_child_is_told(package: snoopkit.Package) -> None:
    with run(package) as snoop:

        def use() -> list[str]:
            told = []
            for attempt in (snoop.iterate, snoop.read_iterator):
                with pytest.raises(RuntimeError, match="the parent's") as error:
                    attempt("each_process")
                told.append(str(error.value))
            return told

        assert len(in_child(use)) == 2
        assert not snoop.iterate("each_process")


def test_closing_waits_for_it(package: snoopkit.Package, children: list[int]) -> None:
    live = _core.live_handles()
    snoop = run(package, copies=500)
    numbers = [program_id(p.fd) for p in snoop._loaded().programs.values() if p.autoload]
    lengths = set()

    def read() -> None:
        try:
            while True:
                lengths.add(len(snoop.read_iterator("each_process")))
        except ValueError:
            pass  # it is closed

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    while not lengths and thread.is_alive():
        time.sleep(0.001)
    snoop.close()
    thread.join()
    assert lengths == {3 * 500 * 32} and _core.live_handles() == live
    wait_unloaded(numbers)


def test_supports() -> None:
    assert snoopkit.supports("iter/task") and snoopkit.supports("?iter.s/task")
    assert snoopkit.supports("iter/no_such_thing") is False


def test_a_struct_of_no_iterator() -> None:
    with pytest.raises(snoopkit.CompileError, match="ring buffer or iterator is called 'each_process'"):
        snoopkit.build(BPF / "iterators.bpf.c", BPF / "iterators.h", define=["each_process=another"])


TEXT = """
#include "vmlinux.h"
#include <bpf/bpf_tracing.h>
#include <snoopkit.bpf.h>

char LICENSE[] SEC("license") = "GPL";

const volatile int target_pid = 0;

#ifdef WITH_EVENTS
struct ran {
    struct snoopkit_header header;
    int pid;
} SNOOPKIT_EVENT(events, 0);

struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __uint(key_size, sizeof(u32));
    __uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
    struct ran ran = {.pid = task->tgid};

    if (task->real_parent->tgid == target_pid)
        snoopkit_output(ctx, &events, 0, &ran.header, sizeof(ran));
    return 0;
}
#endif

SEC("iter/task")
int in_words(struct bpf_iter__task *ctx)
{
    struct task_struct *task = ctx->task;

    if (task && task->pid == target_pid)
        BPF_SEQ_PRINTF(ctx->meta->seq, "here is\\ta process: %d\\n", task->tgid);
    return 0;
}

SEC("iter/task")
int unknown(struct bpf_iter__task *ctx)
{
    bpf_seq_write(ctx->meta->seq, "?", 1);
    return 0;
}

SEC("?iter/task")
int unasked(struct bpf_iter__task *ctx)
{
    BPF_SEQ_PRINTF(ctx->meta->seq, "never\\n");
    return 0;
}
"""


def run_command(package: snoopkit.Package, folder: Path, *arguments: str) -> tuple[list[str], str]:
    package.write(folder / "package.json")
    command = [SNOOPKIT, "run", *arguments, folder / "package.json", "--target_pid", str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_text_is_printed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "text.bpf.c").write_text(TEXT)
    package = snoopkit.build(tmp_path / "text.bpf.c")
    lines, messages = run_command(package, tmp_path)
    assert lines == [f"here is\\x09a process: {os.getpid()}"]
    assert "iterator unknown isn't shown: the package doesn't say what its records are" in messages
    lines, messages = run_command(package, tmp_path, "--json")
    row = json.loads(lines[0])
    assert (len(lines), list(row), row["type"]) == (1, ["type", "time", "data"], "text")
    assert row["data"] == {"program": "in_words", "line": f"here is\ta process: {os.getpid()}"}


def test_what_is_there_and_then_what_happens(tmp_path: Path) -> None:
    (tmp_path / "both.bpf.c").write_text("#define WITH_EVENTS\n" + TEXT)
    snoopkit.build(tmp_path / "both.bpf.c").write(tmp_path / "package.json")
    ready, writable = os.pipe()
    command = [
        SNOOPKIT,
        "run",
        "--json",
        "--ready-fd",
        str(writable),
        "--max-events",
        "2",
        "--duration",
        "30",
    ]
    process = subprocess.Popen(
        [*command, tmp_path / "package.json", "--target_pid", str(os.getpid())],
        pass_fds=[writable],
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(writable)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())  # before anything has happened
    with open(ready, "rb") as pipe:
        assert pipe.read() == b"\n"
    child = subprocess.Popen(["/bin/true"])
    assert child.wait(20) == 0
    output, _ = process.communicate(timeout=60)
    second = json.loads(output)
    assert (first["type"], first["data"]["program"]) == ("text", "in_words")
    assert (second["type"], second["data"]["pid"]) == ("event", child.pid)
    assert first["time"] < second["time"]
