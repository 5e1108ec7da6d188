"""`ecc` and `snoopkit build` as they are typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

import snoopkit
from snoopkit import sources
from snoopkit.arches import target_arch
from snoopkit.btf import Btf

LESSON = Path(__file__).parents[2] / "examples" / "execsnoop"


def command(
    name: str, *arguments: str, cwd: Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    module, _, rest = name.partition(" ")
    code = f"import sys; from snoopkit.cli{'.ecc' if module == 'ecc' else ''} import main; sys.exit(main())"
    environment = {**os.environ, **({"PATH": path} if path is not None else {})}
    return subprocess.run(
        [sys.executable, "-c", code, *rest.split(), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    for name in ("execsnoop.bpf.c", "execsnoop.h"):
        shutil.copy(LESSON / name, tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_lessons_command(lesson: Path) -> None:
    done = command("ecc", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "Compiling bpf object...",
        "Packing ebpf object and config into package.json...",
    ]
    assert files(lesson) == [
        "execsnoop.bpf.c", "execsnoop.bpf.o", "execsnoop.h", "execsnoop.skel.json", "package.json",
    ]  # fmt: skip
    package = snoopkit.Package.read(lesson / "package.json")
    assert package.events["events"].name == "event"
    assert (lesson / "execsnoop.bpf.o").read_bytes() == package.object
    assert json.loads((lesson / "execsnoop.skel.json").read_text()) == package.meta
    assert package.meta["bpf_skel"]["obj_name"] == "execsnoop_bpf"


def test_outputs_go_where_they_are_wanted(lesson: Path) -> None:
    (lesson / "out").mkdir()
    done = command("ecc", "execsnoop.bpf.c", "execsnoop.h", "-o", "out", "-n", "-v", cwd=lesson)
    assert done.returncode == 0
    assert files(lesson / "out") == ["execsnoop.bpf.o", "execsnoop.skel.json"]
    assert "-target bpf" in done.stderr
    done = command("ecc", "execsnoop.bpf.c", "-o", "absent", cwd=lesson)
    assert (done.returncode, done.stderr) == (1, "ecc: error: absent: there is no such folder\n")


def test_yaml_says_the_same(lesson: Path) -> None:
    assert command("ecc", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson).returncode == 0
    (lesson / "yaml").mkdir()
    done = command("ecc", "execsnoop.bpf.c", "execsnoop.h", "-y", "-o", "yaml", cwd=lesson)
    assert done.returncode == 0
    assert files(lesson / "yaml") == ["execsnoop.bpf.o", "execsnoop.skel.yaml", "package.yaml"]
    for name in ("execsnoop.skel", "package"):
        found = yaml.safe_load((lesson / "yaml" / f"{name}.yaml").read_text())
        assert found == json.loads((lesson / f"{name}.json").read_text())


def alone(lesson: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python that has no snoopkit but what is in the file."""
    return subprocess.run(
        [sys.executable, "-I", "-S", *words], cwd=lesson, capture_output=True, text=True, timeout=60
    )


def test_a_program_of_its_own(lesson: Path) -> None:
    assert command("ecc", "-s", "-y", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson).returncode == 0
    made = lesson / "execsnoop.out"
    first = made.read_bytes()
    assert os.access(made, os.X_OK)
    done = alone(lesson, "execsnoop.out", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: execsnoop [-h]")
    assert alone(lesson, "execsnoop.out", "-V").stdout == "execsnoop_bpf 0.1.0\n"
    done = alone(lesson, "execsnoop.out", "--no-such")
    assert (done.returncode, done.stdout) == (2, "")
    elsewhere = "import runpy, sys; sys.version_info = (3, 9, 1); runpy.run_path('execsnoop.out', run_name='__main__')"
    done = alone(lesson, "-c", elsewhere)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("execsnoop: error: it was made for Python ")
    assert "this is Python 3.9 on " in done.stderr
    assert command("ecc", "-s", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson).returncode == 0
    assert made.read_bytes() == first
    assert command("ecc", "-s", "-n", "execsnoop.bpf.c", cwd=lesson).returncode == 2


def test_with_the_btf_of_other_kernels(lesson: Path) -> None:
    done = command("ecc", "-b", "--btfhub-archive", "absent", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson)
    assert done.returncode == 1
    assert (
        "ecc: error: absent: there is no such folder (git clone --depth 1 https://github.com/" in done.stderr
    )
    machine = os.uname().machine
    for place, is_packed in (("one/1.0", True), ("two/2", False)):
        folder = lesson / "hub" / place / machine
        folder.mkdir(parents=True)
        shutil.copy("/sys/kernel/btf/vmlinux", folder / "5.4.0-1.btf")
        if is_packed:
            with tarfile.open(folder / "5.4.0-1.btf.tar.xz", "w:xz", preset=0) as archive:
                archive.add(folder / "5.4.0-1.btf", "5.4.0-1.btf")
            (folder / "5.4.0-1.btf").unlink()
    (lesson / "hub" / "one" / "1.0" / "other").mkdir()
    (lesson / "hub" / "one" / "1.0" / "other" / "4.btf").write_text("of another kind of machine")
    done = command("ecc", "-b", "--btfhub-archive", "hub", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson)
    assert done.returncode == 0, done.stderr
    with tarfile.open(lesson / "execsnoop.tar") as found:
        assert found.getnames() == [
            "package.json",
            f"btfhub-archive/one/1.0/{machine}/5.4.0-1.btf",
            f"btfhub-archive/two/2/{machine}/5.4.0-1.btf",
            "execsnoop",
        ]
        pieces = [found.extractfile(name).read() for name in found.getnames()]  # type: ignore[union-attr]
    assert pieces[0] == (lesson / "package.json").read_bytes()
    assert pieces[3] == (lesson / "execsnoop.bpf.o").read_bytes()
    for piece in pieces[1:3]:
        assert len(Btf.parse(piece)) < 100
    assert (
        sources.read(lesson / "execsnoop.tar").sha256 == snoopkit.Package.read(lesson / "package.json").sha256
    )
    (lesson / "hub" / "two" / "2" / machine / "5.4.0-1.btf").write_text("no BTF")
    done = command("ecc", "-b", "--btfhub-archive", "hub", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson)
    assert done.returncode == 1
    assert "5.4.0-1.btf: bpftool: " in done.stderr


def test_a_header_alone(lesson: Path) -> None:
    (lesson / "x.h").write_text(
        "struct inner { int a; };\nstruct event { struct inner inner; char text[4]; };\n"
    )
    assert command("ecc", "x.h", "--header-only", cwd=lesson).returncode == 0
    meta = json.loads((lesson / "x.skel.json").read_text())
    assert [found["name"] for found in meta["export_types"]] == ["event", "inner"]
    assert meta["bpf_skel"]["progs"] == []
    done = command("ecc", "x.h", cwd=lesson)
    assert done.returncode == 1


def test_headers_of_a_workspace(lesson: Path) -> None:
    include = lesson / "space" / "include" / "vmlinux" / target_arch()
    include.mkdir(parents=True)
    (include / "extra.h").write_text("#define FROM_WORKSPACE 1\n")
    source = (lesson / "execsnoop.bpf.c").read_text()
    (lesson / "execsnoop.bpf.c").write_text(f"#include <extra.h>\n{source}")
    arguments = ("execsnoop.bpf.c", "execsnoop.h", "--llvm-strip-bin", "llvm-strip-99")
    assert "'extra.h' file not found" in command("ecc", *arguments, cwd=lesson).stderr
    assert command("ecc", *arguments, "-w", "space", cwd=lesson).returncode == 0
    done = command("ecc", *arguments, "-w", "nowhere", cwd=lesson)
    assert done.returncode == 1
    assert done.stderr.endswith("ecc: error: nowhere: it has no folder `include`\n")


def test_flags_for_clang(lesson: Path) -> None:
    (lesson / "execsnoop.h").write_text(
        "#if A + B == 3\nstruct event { int pid, ppid, uid; char comm[8]; };\n#endif\n"
    )
    assert command("ecc", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson).returncode == 1
    done = command(
        "ecc", "-a=-DA=1", "--additional-cflags=-DB=2", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson
    )
    assert done.returncode == 0
    done = command("ecc", "-c", "absent-clang", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson)
    assert done.stderr.endswith("ecc: error: clang: 'absent-clang' isn't a program that can be run\n")


def test_failures_leave_nothing(lesson: Path) -> None:
    (lesson / "execsnoop.h").write_text("struct event { nonsense a; };\n")
    before = files(lesson)
    done = command("ecc", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson)
    assert (done.returncode, done.stdout, files(lesson)) == (1, "", before)
    assert "execsnoop.h:1:16: error: unknown type name 'nonsense'" in done.stderr
    assert done.stderr.endswith("ecc: error: execsnoop.bpf.c: clang refuses it\n")
    done = command("ecc", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson, path=str(lesson))
    assert (done.returncode, files(lesson)) == (1, before)
    assert "ecc: error: clang: not found" in done.stderr


def test_bad_usage_and_help(tmp_path: Path) -> None:
    assert command("ecc", cwd=tmp_path).returncode == 2
    assert command("ecc", "--no-such", "x.bpf.c", cwd=tmp_path).returncode == 2
    assert command("ecc", "--help", cwd=tmp_path).returncode == 0
    assert command("ecc", "-V", cwd=tmp_path).stdout == f"ecc (snoopkit {snoopkit.__version__})\n"
    assert command("snoopkit build", "--help", cwd=tmp_path).returncode == 0
    assert command("snoopkit build", "a", "--btf", "x", "--vmlinux", "y", cwd=tmp_path).returncode == 2


def test_snoopkit_build(lesson: Path) -> None:
    done = command("snoopkit build", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson)
    assert (done.returncode, done.stdout, done.stderr) == (0, "package.json\n", "")
    folder = str(lesson)
    done = command("snoopkit build", f"{folder}/execsnoop.bpf.c", f"{folder}/execsnoop.h", cwd=Path("/"))
    assert done.stdout == f"{folder}/package.json\n"
    first = (lesson / "package.json").read_bytes()
    done = command(
        "snoopkit build",
        "execsnoop.bpf.c",
        "execsnoop.h",
        "-o",
        "other.json",
        "-v",
        "-I",
        ".",
        "-D",
        "X",
        cwd=lesson,
    )
    assert (done.stdout, "-target bpf" in done.stderr) == ("other.json\n", True)
    assert (lesson / "other.json").read_bytes() == first
    assert command("ecc", "execsnoop.bpf.c", "execsnoop.h", cwd=lesson).returncode == 0
    assert (lesson / "package.json").read_bytes() == first


def test_snoopkit_build_takes_the_header_beside_a_source(lesson: Path) -> None:
    done = command("snoopkit build", "execsnoop.bpf.c", "execsnoop.h", "-o", "named.json", cwd=lesson)
    assert done.returncode == 0
    done = command("snoopkit build", "execsnoop.bpf.c", cwd=lesson)
    assert (done.returncode, done.stdout, done.stderr) == (0, "package.json\n", "")
    assert (lesson / "package.json").read_bytes() == (lesson / "named.json").read_bytes()
    # One that defines no struct says nothing of events, and one that isn't included is another program's.
    for header, included in (("#define NUMBER 5\n", '#include "x.h"\n'), ("struct event { int a; };\n", "")):
        (lesson / "x.h").write_text(header)
        (lesson / "x.bpf.c").write_text(
            f"#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n{included}"
            'SEC("raw_tp/sys_enter") int program(void *ctx) { return 0; }\n'
        )
        done = command("snoopkit build", "x.bpf.c", "-o", "x.json", cwd=lesson)
        assert (done.returncode, done.stdout, done.stderr) == (0, "x.json\n", "")
        assert snoopkit.Package.read(lesson / "x.json").meta["export_types"] == []


def test_snoopkit_build_refuses(lesson: Path) -> None:
    done = command("snoopkit build", "absent.bpf.c", cwd=lesson)
    assert (done.returncode, done.stderr) == (
        1,
        "snoopkit build: error: absent.bpf.c: there is no such file\n",
    )
    done = command("snoopkit build", "execsnoop.bpf.c", "execsnoop.h", "-o", "absent/x.json", cwd=lesson)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("absent/x.json: No such file or directory\n")


def test_without_a_header_it_warns(lesson: Path) -> None:
    done = command("ecc", "execsnoop.bpf.c", cwd=lesson)
    assert done.returncode == 0
    assert "warning: map events: the package doesn't say what its records are" in done.stderr
