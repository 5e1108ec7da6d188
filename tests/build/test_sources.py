"""Whatever the user names becomes a package, or a message that says what it is and what to do."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import snoopkit
from snoopkit import compiler, sources
from snoopkit.errors import CompileError, OptionError, PackageError

ECC = str(Path(sys.executable).parent / "ecc")
SOURCE = """
#include <linux/types.h>
#include <snoopkit.bpf.h>
#include "inner/y.h"
#include "x.h"
struct {
    __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4);
} events SEC(".maps");
SEC("raw_tp/sys_enter") int on_call(void *ctx)
{
    struct NAME event = {1, Y};
    bpf_perf_event_output(ctx, &events, -1ULL, &event, sizeof(event));
    return 0;
}
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source, its header and one more; and a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    (folder / "inner").mkdir(parents=True)
    return write(folder / "x.bpf.c", "event")


def write(path: Path, struct: str) -> Path:
    path.write_text(
        SOURCE.replace("#include <linux/types.h>", "#include <linux/bpf.h>").replace("NAME", struct)
    )
    (path.parent / "x.h").write_text(f"struct {struct} {{ int one, two; }};\n")
    (path.parent / "inner" / "y.h").write_text("#define Y 2\n")
    return path


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were really compiled."""
    done: list[str] = []
    real = compiler.compile_package

    def counted(source: Any, *arguments: Any, **more: Any) -> Any:
        done.append(os.path.basename(source))
        return real(source, *arguments, **more)

    monkeypatch.setattr(compiler, "compile_package", counted)
    return done


def struct_of(package: snoopkit.Package) -> str:
    return package.events["events"].name


def test_a_package(source: Path) -> None:
    built = snoopkit.build(source, source.parent / "x.h")
    built.write(source.parent / "package.json")
    assert sources.read(source.parent / "package.json").dumps() == built.dumps()


def test_a_source_finds_its_header_and_is_compiled_once(source: Path, compilations: list[str]) -> None:
    built = snoopkit.build(source, source.parent / "x.h")
    compilations.clear()
    for _ in range(3):
        assert sources.read(source).dumps() == built.dumps()
    assert compilations == ["x.bpf.c"]


CHANGES = {
    "source": lambda folder: (folder / "x.bpf.c").write_text(
        (folder / "x.bpf.c").read_text() + "\n// more\n"
    ),
    "header": lambda folder: (folder / "x.h").write_text("struct event { int one, two, three; };\n"),
    "included": lambda folder: (folder / "inner" / "y.h").write_text("#define Y 3\n"),
    "a header that may hide another": lambda folder: (folder / "new.h").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_it_is_compiled_anew(source: Path, compilations: list[str], change: str) -> None:
    sources.read(source)
    CHANGES[change](source.parent)
    changed = sources.read(source)
    assert compilations == ["x.bpf.c"] * 2
    assert changed.dumps() == snoopkit.build(source, source.parent / "x.h").dumps()


def test_what_others_may_have_written_is_not_believed(source: Path, compilations: list[str]) -> None:
    sources.read(source)
    (kept,) = (source.parents[1] / "cache" / "snoopkit" / "built").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.parent.stat().st_mode & 0o077 == 0
    kept.chmod(0o666)
    sources.read(source)
    assert len(compilations) == 2
    kept.parent.chmod(0o777)
    sources.read(source)
    sources.read(source)
    assert len(compilations) == 4
    assert kept.stat().st_mode & 0o077 == 0, "written anew while the folder was ours"


def test_a_kept_package_that_is_cut_off_is_made_anew(source: Path, compilations: list[str]) -> None:
    sources.read(source)
    (kept,) = (source.parents[1] / "cache" / "snoopkit" / "built").iterdir()
    kept.write_bytes(kept.read_bytes()[:20])
    assert struct_of(sources.read(source)) == "event"
    kept.write_bytes(kept.read_bytes()[:-20])
    assert struct_of(sources.read(source)) == "event"
    assert len(compilations) == 3


def test_warnings_are_kept_too(source: Path) -> None:
    source.write_text(source.read_text().replace("return 0;", "int unused_result; return unused_result;"))
    first, second = sources.read(source), sources.read(source)
    assert first.warnings == second.warnings


def ecc(source: Path) -> None:
    subprocess.run([ECC, "x.bpf.c", "x.h"], cwd=source.parent, check=True, capture_output=True)
    (source.parent / "package.json").unlink()


@pytest.mark.parametrize("name", ["x.skel.json", "x.bpf.o"])
def test_a_skeleton_and_its_object(source: Path, name: str) -> None:
    ecc(source)
    package = sources.read(source.parent / name)
    assert package.dumps() == snoopkit.build(source, source.parent / "x.h").dumps()


def test_a_skeleton_alone(source: Path) -> None:
    ecc(source)
    (source.parent / "x.bpf.o").unlink()
    with pytest.raises(PackageError, match=r"x\.skel\.json: a skeleton; the object .* isn't beside it"):
        sources.read(source.parent / "x.skel.json")


def test_an_object_alone(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ecc(source)
    (source.parent / "x.skel.json").unlink()
    path = source.parent / "x.bpf.o"
    package = sources.read(path)
    assert (package.name, struct_of(package)) == ("x_bpf", "event")
    assert list(package.programs) == ["on_call"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert struct_of(sources.read("-")) == "event"


def test_an_object_that_does_not_tell_its_event(source: Path) -> None:
    write(source, "other")
    ecc(source)
    (source.parent / "x.skel.json").unlink()
    path = source.parent / "x.bpf.o"
    silent = sources.read(path)
    assert silent.events == {}
    (warning,) = silent.warnings
    assert "events" in warning
    assert "--event events=STRUCT" in warning
    package = sources.read(path, events={"events": "other"})
    assert struct_of(package) == "other"
    assert package.warnings == ()


def test_events_that_can_not_be(source: Path) -> None:
    for events, words in (
        ({"none": "event"}, r"'none' is no event map of the object \(it has events\)"),
        ({"events": "none"}, r"the object has no struct 'none' \(it has .*event"),
    ):
        with pytest.raises(OptionError, match=words):
            sources.read(source, events=events)


def test_ecc_of_old_says_its_event_by_a_dummy(source: Path) -> None:
    """As eunomia-bpf's ecc leaves it in the object: a pointer to the struct, in .bss."""
    write(source, "other")
    dummy = "const volatile struct other *__eunomia_dummy_other_ptr __attribute__((unused)) = 0;\n"
    source.write_text(source.read_text() + dummy)
    package = snoopkit.build(source)
    (source.parent / "y.bpf.o").write_bytes(package.object)
    assert struct_of(sources.read(source.parent / "y.bpf.o")) == "other"


WRONG = {
    "module.json": (b"\0asm\1\0\0\0", "a WebAssembly module"),
    "package.json.gz": (b"\x1f\x8b\x08", "compressed with gzip"),
    "page.json": (b"\n<!DOCTYPE html><html>", "a web page or XML"),
    "package.yaml": (b"bpf_object: eJzt\n", "a package in YAML"),
    "nothing.json": (b"", "empty"),
    "package.tar": (b"x" * 257 + b"ustar\0", "not a sound tar archive"),
    "text.json": (b"hello", "not JSON"),
    "list.json": (b"[]", "isn't a JSON object with bpf_object"),
    "exe.o": (b"\x7fELF" + bytes(100), "not a 64-bit object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_things_are_called_by_their_name(tmp_path: Path, name: str) -> None:
    data, words = WRONG[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PackageError, match=words):
        sources.read(tmp_path / name)


def test_wrong_places(tmp_path: Path, source: Path) -> None:
    with pytest.raises(PackageError, match=r"a folder \(name a file in it\)"):
        sources.read(tmp_path)
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(PackageError, match=r"a folder \(name .*package\.json\)"):
        sources.read(tmp_path)
    for address in ("http://example.com/package.json", "ftp://127.0.0.1/package.json"):
        with pytest.raises(PackageError, match=r"nothing is fetched by \w+ from elsewhere \(use https"):
            sources.read(address)
    with pytest.raises(FileNotFoundError):
        sources.read(tmp_path / "none.json")
    with pytest.raises(CompileError, match="there is no such file"):
        sources.read(tmp_path / "none.bpf.c")
    with pytest.raises(OptionError, match="only a C source has a header"):
        sources.read(tmp_path / "package.json", header=source.parent / "x.h")


def test_a_package_from_before_they_said_its_size(source: Path, tmp_path: Path) -> None:
    """Spec of old: no bpf_object_size, programs without `attach`, export_types with a BTF of their own."""
    package = snoopkit.build(source, source.parent / "x.h")
    document = json.loads(package.dumps())
    del document["bpf_object_size"], document["meta"]["snoopkit"], document["meta"]["eunomia_version"]
    document["meta"]["bpf_skel"]["progs"] = [{"name": "on_call", "link": True}]
    document["meta"]["export_types"] = {
        "export_btf": "nothing\nof use",
        "structs": [{"id": 7, "name": "event"}],
    }
    (tmp_path / "old.json").write_text(json.dumps(document))
    assert struct_of(sources.read(tmp_path / "old.json")) == "event"
