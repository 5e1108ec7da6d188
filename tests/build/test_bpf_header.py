"""snoopkit.bpf.h, as sources of every kind include it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import snoopkit
from snoopkit import compiler

INCLUDE = Path(compiler.__file__).parent / "include"
HEADER = """
#include <snoopkit.bpf.h>
#define START 1
struct start {
    struct snoopkit_header header; __u32 name_size; __u32 argv_size;
    char tail[] SNOOPKIT_TAIL("name=text[name_size],argv=strings[argv_size]");
} SNOOPKIT_EVENT(events, START);
struct stop { struct snoopkit_header header; } SNOOPKIT_EVENT(events, 0x2);
"""
SOURCE = """
#include <linux/bpf.h>
#include "x.h"
struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4);
} events SEC(".maps");
SNOOPKIT_TRANSPORT;
SNOOPKIT_LOSSES(outputs, 3);
const volatile int own = 0;
SEC("raw_tp/sched_process_exec") int on_exec(void *ctx)
{
    struct stop stop = {.header.type = 2};
    return own + snoopkit_output(ctx, &events, &outputs, &stop.header, sizeof(stop));
}
char LICENSE[] SEC("license") = "GPL";
"""


def write(folder: Path, source: str = SOURCE, header: str = HEADER) -> tuple[Path, Path]:
    (folder / "x.h").write_text(header)
    (folder / "x.bpf.c").write_text(source)
    return folder / "x.bpf.c", folder / "x.h"


def test_its_macros_are_what_meta_is_made_of(tmp_path: Path) -> None:
    package = snoopkit.build(*write(tmp_path))
    start, stop = package.event_specs
    assert (start.map, start.struct.name, start.kind_member, start.kind_value) == (
        "events", "start", "header.type", 1,
    )  # fmt: skip
    assert (stop.struct.name, stop.kind_value) == ("stop", 2)
    assert [(part.name, part.form, part.size_member) for part in start.tail_parts] == [
        ("name", "text", "name_size"),
        ("argv", "strings", "argv_size"),
    ]
    assert package.losses_map == "outputs"
    assert package.meta["snoopkit"]["ring"] == "snoopkit_ring"
    assert package.ring_switches[0].section == ".rodata"
    assert list(package.options) == ["own"]
    assert package.warnings == ()
    again = snoopkit.Package.read(package.dumps())
    assert again.ring_switches[0].offset_bytes == package.ring_switches[0].offset_bytes


def test_without_a_switch_there_is_none(tmp_path: Path) -> None:
    package = snoopkit.build(*write(tmp_path, SOURCE.replace("SNOOPKIT_TRANSPORT;\n", "")))
    assert package.ring_switches == ()
    assert "ring" not in package.meta["snoopkit"]


def test_a_switch_of_the_sources_own(tmp_path: Path) -> None:
    source = SOURCE.replace(
        "SNOOPKIT_TRANSPORT;", 'const volatile _Bool buffered SNOOPKIT_TAG("snoopkit.ring") = 0;'
    )
    package = snoopkit.build(*write(tmp_path, source))
    assert package.ring_switches[0].name == "buffered"
    assert list(package.options) == ["own"]


def test_who_only_tags_has_no_more_in_the_object(tmp_path: Path) -> None:
    source = SOURCE.replace("SNOOPKIT_TRANSPORT;\n", "").replace(
        "snoopkit_output(ctx, &events, &outputs, &stop.header, sizeof(stop))", "stop.header.type"
    )
    package = snoopkit.build(*write(tmp_path, source))
    assert {symbol.name for symbol in package.elf.symbols if symbol.name} == {
        "on_exec", "LICENSE", "events", "outputs", "own",
    }  # fmt: skip


def test_a_source_without_a_header_file(tmp_path: Path) -> None:
    source, header = write(tmp_path)
    source.write_text(SOURCE.replace('#include "x.h"', HEADER))
    header.unlink()
    assert [spec.struct.name for spec in snoopkit.build(source).event_specs] == ["start", "stop"]


def test_with_the_kernels_own_types(tmp_path: Path) -> None:
    package = snoopkit.build(*write(tmp_path, SOURCE.replace("<linux/bpf.h>", "<vmlinux.h>")))
    assert len(package.event_specs) == 2
    assert package.warnings == ()


def test_any_folder_and_any_place_of_the_header_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, header = write(tmp_path)
    first = snoopkit.build(source, header).dumps()
    assert str(tmp_path).encode() not in first
    (tmp_path / "else where").mkdir()
    assert snoopkit.build(*write(tmp_path / "else where")).dumps() == first
    shutil.copytree(INCLUDE, tmp_path / "wheel" / "include")
    if Path("/usr/include/bpf").is_dir():
        shutil.copytree("/usr/include/bpf", tmp_path / "wheel" / "include" / "bpf")
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "wheel" / "compiler.py"))
    assert snoopkit.build(source, header).dumps() == first


def test_it_goes_with_the_package() -> None:
    """A wheel has what pyproject.toml lists, and a source distribution everything under src."""
    import tomllib

    with open(Path(__file__).parents[2] / "pyproject.toml", "rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["snoopkit"]
    here = INCLUDE.parent
    assert INCLUDE / "snoopkit.bpf.h" in {path for pattern in patterns for path in here.glob(pattern)}
