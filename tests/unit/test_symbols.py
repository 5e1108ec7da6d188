"""Names by address: the kernel's, an ELF file's against nm, and files that lie."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from snoopkit.errors import PackageError
from snoopkit.render.stack import Folded, stack_data, stack_lines
from snoopkit.samples import Sample
from snoopkit.stacks import Frame, Stack
from snoopkit.symbols import user
from snoopkit.symbols.files import FileSymbols
from snoopkit.symbols.kernel import KernelSymbols, are_hidden
from snoopkit.symbols.perf_map import PerfMap, _table
from snoopkit.symbols.user import UserSymbols

KALLSYMS = b"""\
ffffffff81000000 T _text
ffffffff81000000 t start_here
ffffffff81000100 t inner
ffffffff81000200 D some_data
ffffffffc0001000 t of_a_module\t[nf_tables]
ffffffffc0002000 t bpf_prog_1_x\t[bpf]
"""


def test_the_kernels_functions(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_bytes(KALLSYMS)
    symbols = KernelSymbols(str(path))

    def frame(address: int) -> tuple[str, str | None]:
        found = symbols.frame(address, address)
        return str(found), found.module

    assert frame(0xFFFFFFFF81000010) == ("_text+0x10", None)  # the first of two names, as the kernel has it
    assert frame(0xFFFFFFFF810001FF) == ("inner+0xff", None)
    assert frame(0xFFFFFFFF81000200) == ("0xffffffff81000200", None)  # data is nobody's code
    assert frame(0xFFFFFFFFC0001001) == ("of_a_module+0x1", "nf_tables")
    assert frame(0xFFFFFFFFC0002002) == ("bpf_prog_1_x+0x2", "bpf")
    assert frame(0xFFFFFFFFF0000000) == ("0xfffffffff0000000", None)  # far behind the last one
    assert frame(0xFFFF800000000000) == ("0xffff800000000000", None)
    # where a call that never returns is a function's last, it goes on in the next one
    assert str(symbols.frame(0xFFFFFFFF81000100, 0xFFFFFFFF810000FF)) == "_text+0x100"


def test_a_kernel_that_hides_its_addresses(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_bytes(b"".join(b"0000000000000000 T function%d\n" % number for number in range(1000)))
    assert are_hidden(str(path))
    assert str(KernelSymbols(str(path)).frame(1 << 63, 1 << 63)) == "0x8000000000000000"
    path.write_bytes(KALLSYMS)
    assert not are_hidden(str(path))
    assert are_hidden(str(tmp_path / "none"))


def file_symbols(data: bytes) -> FileSymbols:
    return FileSymbols(lambda offset, size: data[offset : offset + size], len(data))


def mapped_libc() -> Path:
    """The C library that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return Path(next(line.split()[5] for line in lines if "/libc.so" in line or "/libc-" in line))


def test_a_stripped_library_against_nm() -> None:
    path = mapped_libc()
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", "-S", path], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    names: dict[int, set[str]] = {}
    for line in listed.splitlines():
        address, *_, kind, name = line.split()
        if kind in "TWi" and len(line.split()) == 4:
            names.setdefault(int(address, 16), set()).add(name.partition("@")[0])
    symbols = file_symbols(path.read_bytes())
    assert len(names) > 1000
    for address, known in names.items():
        found = symbols.find(address)
        assert found is not None
        assert (found[0] in known, found[1]) == (True, address)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of a few KB that has all that is looked at."""
    folder = tmp_path_factory.mktemp("elf")
    (folder / "x.c").write_text("int f(void) { return 1; } int g(void) { return f(); }\n")
    command = ["clang", "-shared", "-fPIC", "-nostdlib", "-o", "x.so", "x.c"]
    subprocess.run(command, check=True, cwd=folder, timeout=60)
    return (folder / "x.so").read_bytes()


def test_a_small_file(small: bytes) -> None:
    symbols = file_symbols(small)
    found = {symbols.find(address) for address in range(1 << 16)} - {None}
    assert {"f", "g"} <= {name for name, _ in found if name}
    with pytest.raises(PackageError, match="not an ELF file"):
        file_symbols(b"#!/bin/sh\n")
    for size in range(0, len(small), 97):  # cut off anywhere
        try:
            file_symbols(small[:size]).find(4096)
        except PackageError:
            pass


@settings(max_examples=500)
@given(st.data())
def test_a_file_that_lies(small: bytes, data: st.DataObject) -> None:
    """An error, or an answer, and neither for long nor with much memory."""
    bad = bytearray(small)
    table = int.from_bytes(small[40:48], "little")
    places = st.one_of(
        st.integers(16, 400), st.integers(table, len(small) - 1), st.integers(0, len(small) - 1)
    )
    for _ in range(data.draw(st.integers(1, 8))):
        bad[data.draw(places)] = data.draw(st.integers(0, 255))
    try:
        symbols = file_symbols(bytes(bad))
    except PackageError:
        return
    for offset in (0, 4096, 1 << 63):
        address = symbols.address(offset)
        found = symbols.find(address) if address is not None else None
        assert found is None or isinstance(found[0], str)
    assert symbols.size_bytes < 8 * len(small)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch, small: bytes, tmp_path: Path) -> None:
    monkeypatch.setattr(user, "_MOST_FILES", 3)
    symbols = UserSymbols()
    for number in range(10):
        path = tmp_path / str(number)
        path.write_bytes(small)
        fd = os.open(path, os.O_RDONLY)
        symbols._read(fd)
        os.close(fd)
    assert len(symbols._files) == 3
    monkeypatch.setattr(user, "_CACHE_BYTES", 1)
    fd = os.open(path, os.O_RDONLY)
    path.write_bytes(small + b"x")
    symbols._read(fd)
    os.close(fd)
    assert len(symbols._files) == 1
    monkeypatch.setattr(user, "_MOST_PROCESSES", 2)
    for pid in (1, os.getpid(), os.getppid(), os.getpid()):
        symbols.frames(pid, [4096], 0)
    assert len(symbols._processes) == 2


def test_an_own_function_by_its_address() -> None:
    import ctypes

    address = ctypes.cast(ctypes.CDLL(None).getppid, ctypes.c_void_p).value
    assert address is not None
    (frame,) = UserSymbols().frames(os.getpid(), [address + 1], 1 << 62)
    assert str(frame) == "getppid+0x1"
    assert frame.module is not None and "libc" in frame.module


class TestPerfMap:
    def test_lines(self) -> None:
        table = _table(
            b"1000 10 one\n0x2000 20 py::f:/x y.py\nrubbish\nffffffffffffffff 2 far\n1000 8 two\n3000"
        )
        assert table.find(0x1007) == ("two", 0x1000)  # the later one
        assert table.find(0x1008) is None
        assert table.find(0x201F) == ("py::f:/x y.py", 0x2000)
        assert len(table) == 2

    def test_it_grows_and_has_an_owner(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = Path(f"/tmp/perf-{os.getpid()}.map")
        monkeypatch.setattr("snoopkit.symbols.perf_map._AGAIN_SECONDS", 0)
        try:
            path.write_text("1000 10 one\n")
            found = PerfMap(os.getpid(), os.getuid())
            assert found.find(0x1001) == ("one", 0x1000)
            with path.open("a") as file:
                file.write("2000 10 two\n")
            assert found.find(0x2001) == ("two", 0x2000)
            if os.getuid() == 0:
                os.chown(path, 65534, 65534)
                assert PerfMap(os.getpid(), 0).find(0x1001) is None  # anybody may have written it
            path.unlink()
            path.symlink_to("/etc/passwd")
            assert PerfMap(os.getpid(), os.getuid()).find(0x1001) is None
        finally:
            path.unlink(missing_ok=True)


STACK = Stack(
    Sample(0, "places", 7, 3),
    {
        "kernel": [Frame(0xFFFFFFFF81000005, "vfs_read", 5), Frame(0xFFFFFFFFC0000001, "f", 1, "mod")],
        "user": [
            Frame(0x1001, "a;b\n", 1, "/x/y", 0x401),
            Frame(0x2000, None, None, "/x/y", 0x1400),
            Frame(0x3000),
        ],
        "none": None,
        "taken": None,
    },
    comm="x;y",
    count=3,
    errors={"none": 14, "taken": 17},
)


def test_lines_of_frames() -> None:
    assert stack_lines(STACK) == [
        "vfs_read+0x5 [kernel]",
        "f+0x1 [mod]",
        "a;b\\x0a+0x1 [/x/y]",
        "y+0x1400 [/x/y]",
        "0x3000",
        "taken: missed: its place in the map of stacks is taken",
    ]


def test_frames_in_json() -> None:
    found = stack_data(STACK)
    assert found["none"] is None
    assert found["kernel"][1] == {
        "address": "0xffffffffc0000001",
        "kernel": True,
        "symbol": "f",
        "offset": 1,
        "module": "mod",
    }
    assert found["user"][1:] == [
        {"address": "0x2000", "kernel": False, "module": "/x/y", "module_offset": 0x1400},
        {"address": "0x3000", "kernel": False},
    ]


def test_folded() -> None:
    def package(clears: bool) -> Any:
        return SimpleNamespace(maps={"places": SimpleNamespace(sample={"clear_map": clears})})

    cleared, kept = Folded(package(True)), Folded(package(False))
    row = b"x:y;[unknown];[y];a:b\\x0a;f;vfs_read;[missed] 3\n"
    assert [cleared.row(STACK) for _ in range(2)] == [row, row]
    assert [kept.row(STACK) for _ in range(2)] == [row, b""]
    STACK.count = 5
    assert kept.row(STACK) == row.replace(b"3\n", b"2\n")
    STACK.count = 3
