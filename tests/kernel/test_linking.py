"""Several sources linked to one package: calls and maps go across, notes of all survive, and it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import snoopkit

from .conftest import libc

SNOOPKIT = str(Path(sys.executable).parent / "snoopkit")
HEADER = """
#include <snoopkit.bpf.h>
struct event { struct snoopkit_header header; __u32 pid; __u32 number; } SNOOPKIT_EVENT(events, 1);
"""
MAIN = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "x.h"
char LICENSE[] SEC("license") = "GPL";
/// Of this process only
const volatile __u32 target_pid = 0;
SNOOPKIT_LOSSES(losses, 2);
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4);
} events SEC(".maps");
extern __u32 next_number(void);
SEC("tracepoint/syscalls/sys_enter_getppid") int on_getppid(void *ctx)
{
    struct event event = {.header = {.type = 1}};

    event.pid = bpf_get_current_pid_tgid() >> 32;
    if (event.pid != target_pid)
        return 0;
    event.number = next_number();
    snoopkit_output(ctx, &events, &losses, &event.header, sizeof(event));
    return 0;
}
"""
HELPER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
/// How far apart
const volatile __u32 step = 3;
__u32 number = 0;
__u32 next_number(void) { return __sync_fetch_and_add(&number, step) + step; }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.h").write_text(HEADER)
    (tmp_path / "main.bpf.c").write_text(MAIN)
    (tmp_path / "helper.bpf.c").write_text(HELPER)
    return tmp_path


def build(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SNOOPKIT, "build", *names], cwd=folder, capture_output=True, text=True)


def test_calls_go_across_and_it_runs(folder: Path) -> None:
    built = build(folder, "main.bpf.c", "helper.bpf.c", "x.h")
    assert (built.returncode, built.stdout, built.stderr) == (0, "package.json\n", "")
    package = snoopkit.Package.read(folder / "package.json")
    assert package.name == "main_bpf"
    assert list(package.programs) == ["on_getppid"]
    helps = {name: spec.help for name, spec in package.options.items()}
    assert (helps["target_pid"], helps["step"]) == ("Of this process only", "How far apart")
    with snoopkit.run(package, options={"target_pid": os.getpid(), "step": 5}) as snoop:
        for _ in range(4):
            libc.getppid()
        found = [event.number for lot in snoop.finish() for event in lot]
    assert found == [5, 10, 15, 20]


TWO = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "two.h"
char LICENSE[] SEC("license") = "GPL";
SWITCH
const volatile __u32 NAME_pid = 0;
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4);
} NAME_events SEC(".maps");
SEC("tracepoint/syscalls/sys_enter_getppid") int on_NAME(void *ctx)
{
    struct NAME event = {.header = {.type = 1}, .number = NUMBER};

    if (bpf_get_current_pid_tgid() >> 32 == NAME_pid)
        snoopkit_output(ctx, &NAME_events, 0, &event.header, sizeof(event));
    return 0;
}
"""
TWO_HEADER = """
#include <snoopkit.bpf.h>
struct first { struct snoopkit_header header; __u32 number; __u32 pad; } SNOOPKIT_EVENT(first_events, 1);
struct second { struct snoopkit_header header; __u32 number; __u32 pad; } SNOOPKIT_EVENT(second_events, 1);
"""


def two(folder: Path, *switches: str) -> snoopkit.Package:
    (folder / "two.h").write_text(TWO_HEADER)
    for number, (name, switch) in enumerate(zip(("first", "second"), switches, strict=True)):
        text = TWO.replace("NAME", name).replace("NUMBER", str(number)).replace("SWITCH", switch)
        (folder / f"{name}.bpf.c").write_text(text)
    return snoopkit.build([folder / "first.bpf.c", folder / "second.bpf.c"], folder / "two.h")


@pytest.mark.parametrize("transport", ["perf", "ring"])
def test_either_transport_where_each_source_can(tmp_path: Path, transport: str) -> None:
    package = two(tmp_path, "SNOOPKIT_TRANSPORT;", "SNOOPKIT_TRANSPORT;")
    assert [spec.offset_bytes for spec in package.ring_switches] == sorted(
        {spec.offset_bytes for spec in package.ring_switches}
    )
    assert len(package.ring_switches) == 2
    own = {"first_pid": os.getpid(), "second_pid": os.getpid()}
    with snoopkit.run(package, options=own, transport=transport) as snoop:
        for _ in range(3):
            libc.getppid()
        found = [(event._struct, event.number) for lot in snoop.finish() for event in lot]
        assert snoop.lost == 0
    assert sorted(found) == [("first", 0)] * 3 + [("second", 1)] * 3


def test_one_source_that_cannot_keeps_all_from_it(tmp_path: Path) -> None:
    package = two(tmp_path, "SNOOPKIT_TRANSPORT;", "")
    assert package.ring_switches == ()
    with pytest.raises(snoopkit.UnsupportedError):
        snoopkit.run(package, transport="ring")


def test_no_source_is_misuse() -> None:
    with pytest.raises(ValueError, match="no source is given"):
        snoopkit.build([])


def test_the_same_bytes_from_any_folder(folder: Path) -> None:
    build(folder, "main.bpf.c", "helper.bpf.c", "x.h")
    first = (folder / "package.json").read_bytes()
    done = subprocess.run(
        [SNOOPKIT, "build", *(folder / name for name in ("main.bpf.c", "helper.bpf.c", "x.h"))],
        cwd="/",
        check=True,
    )
    assert done.returncode == 0
    assert (folder / "package.json").read_bytes() == first


def test_sources_that_do_not_fit_together(folder: Path) -> None:
    (folder / "again.bpf.c").write_text(HELPER)
    failed = build(folder, "main.bpf.c", "helper.bpf.c", "again.bpf.c", "x.h")
    assert failed.returncode == 1
    assert "link: the sources don't fit together" in failed.stderr
    assert str(folder) not in failed.stderr
    assert not (folder / "package.json").exists()


def test_a_header_alone_is_no_source(folder: Path) -> None:
    failed = build(folder, "x.h")
    assert failed.returncode == 1
    assert "x.h: there is no source" in failed.stderr
