"""The known defects of eunomia-bpf's runner that only a kernel shows to be absent; the list is in tests/build."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from build.test_kinds_golden import later
from package_writer import sample
from snoopkit import transport
from snoopkit.render.eunomia import EunomiaJson, EunomiaText
from snoopkit.sampling import Sampled

from .conftest import BPF, cover, in_child, own_mounts

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.kernel

BIN = Path(sys.executable).parent


def ecli(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "ecli", "run", "--duration", "0.2", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def sampled() -> snoopkit.Package:
    return snoopkit.build(BPF / "sampled.bpf.c")


def test_bug_07_struct_keys_keep_all_their_members(sampled: snoopkit.Package) -> None:
    with snoopkit.run(sampled, options={"target_pid": os.getpid()}) as snoop:
        os.getppid()
        (found,) = [each for lot in Sampled(snoop).finish() for each in lot if each._map == "calls"]
    key = {"pid": os.getpid(), "kind": 3}
    assert json.loads(EunomiaJson(sampled).row(found))["key"] == key
    assert json.dumps(key, separators=(",", ":")) in EunomiaText(sampled).row(found).decode()


def test_bug_08_keys_may_go_while_a_map_is_sampled(sampled: snoopkit.Package) -> None:
    stopped = threading.Event()
    with snoopkit.run(sampled, options={"target_pid": 1 << 30}) as snoop:
        table = snoop.maps["unused"]
        table[0] = 7
        keys = range(1, sampled.maps["unused"].max_entries)

        def come_and_go() -> None:
            while not stopped.is_set():
                for key in keys:
                    table[key] = key
                for key in keys:
                    del table[key]

        other = threading.Thread(target=come_and_go, daemon=True)
        other.start()
        try:
            source = Sampled(snoop)
            times = set()
            for _ in range(2000):
                for each in source.poll(0.01):
                    if each._map == "unused" and each.key == 0:
                        times.add(each._time_ns)
                if len(times) == 20:
                    break
        finally:
            stopped.set()
            other.join()
    assert len(times) == 20  # what stays was in each


def test_bug_10_an_object_with_enum64_loads(tmp_path: Path) -> None:
    package = later()
    with snoopkit.run(package) as snoop:
        assert not snoop.closed
    package.write(tmp_path / "package.json")
    done = ecli("--event", "events=later", "package.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "TIME     A      B      C      D      \n")


def rings() -> list[int]:
    """The bytes of each perf event ring that this process has mapped."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "[perf_event]" in line:
            first, last = [int(number, 16) for number in line.split(" ")[0].split("-")]
            found.append(last - first - os.sysconf("SC_PAGE_SIZE"))
    return found


def test_bug_12_what_can_be_said_has_an_effect(bursts: snoopkit.Package, tmp_path: Path) -> None:
    bursts.write(tmp_path / "package.json")
    assert "libbpf: " not in ecli("package.json", cwd=tmp_path).stderr
    for words in (["package.json", "--verbose"], ["--debug", "package.json"]):
        assert "libbpf: loading object 'bursts_bpf' from buffer\n" in ecli(*words, cwd=tmp_path).stderr
    pages = 2 * transport.DEFAULT_BYTES // os.sysconf("SC_PAGE_SIZE")
    asks = snoopkit.Package(bursts.object, bursts.meta | {"perf_buffer_pages": pages})
    for package, size in ((bursts, transport.DEFAULT_BYTES), (asks, 2 * transport.DEFAULT_BYTES)):
        with snoopkit.run(package):
            assert max(rings()) == size
    with snoopkit.run(asks, buffer_bytes=64 << 10):  # who runs it says more
        assert max(rings()) == 64 << 10


RELOCATED = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
char LICENSE[] SEC("license") = "GPL";
struct task_struct { int tgid; } __attribute__((preserve_access_index));
int tgid;
SEC("raw_tp/sys_enter") int program(void *ctx)
{
	tgid = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), tgid);
	return 0;
}
"""


def test_bug_17_the_names_of_files_and_objects_end_where_they_end(tmp_path: Path) -> None:
    """Whatever their length: what stands behind them in memory is no part of them. And --btf is what is read."""
    (tmp_path / "x.bpf.c").write_text(RELOCATED)
    package = snoopkit.build(tmp_path / "x.bpf.c")
    path = tmp_path / "b"
    shutil.copy("/sys/kernel/btf/vmlinux", path)
    for length in (1, 2, 7, 8, 15, 16, 17):
        path = path.rename(tmp_path / ("b" * length))
        with snoopkit.run(package, btf=path) as snoop:
            os.getppid()
            assert snoop.globals.tgid
    path.write_bytes(b"no BTF")
    with pytest.raises(snoopkit.LoadError) as caught:
        snoopkit.run(package, btf=path)
    names = set(re.findall(rf"{path}[^':\s]*", caught.value.log))
    assert names == {str(path)}
    assert "what was given as this kernel's BTF isn't that" in str(caught.value)
    package.write(tmp_path / "package.json")
    done = ecli("--btf", "absent", "package.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "ecli: error: absent: No such file or directory\n")


def test_error_02_a_kernel_without_btf_gets_it_from_the_package(tmp_path: Path) -> None:
    """That is eunomia-bpf's tar archive, which ecc -b makes of a copy of BTFHub's."""
    (tmp_path / "x.bpf.c").write_text(RELOCATED)
    about, kernel = platform.freedesktop_os_release(), os.uname()
    folder = tmp_path / "hub" / about["ID"] / about["VERSION_ID"] / kernel.machine
    folder.mkdir(parents=True)
    shutil.copy("/sys/kernel/btf/vmlinux", folder / f"{kernel.release}.btf")
    subprocess.run(
        [BIN / "ecc", "-b", "--btfhub-archive", "hub", "x.bpf.c"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )

    def without_btf() -> list[Any]:
        own_mounts()
        for path in ("/sys/kernel/btf", "/boot", "/lib/modules", "/usr/lib/debug"):
            if os.path.isdir(path):
                cover(path)
        return [
            (done.returncode, done.stderr)
            for done in (ecli(name, cwd=tmp_path) for name in ("x.tar", "package.json"))
        ]

    (good, said), (bad, told) = in_child(without_btf, 60)
    assert (good, said[:9]) == (0, "events=0 ")
    assert bad == 1
    assert "/sys/kernel/btf/vmlinux" in told


def test_error_01_without_a_header_it_runs_and_says_what_is_missing(tmp_path: Path) -> None:
    shutil.copy(BPF / "globals.bpf.c", tmp_path)
    shutil.copy(BPF / "globals.h", tmp_path)
    done = subprocess.run(
        [BIN / "ecc", "globals.bpf.c"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    says = "warning: map events: the package doesn't say what its records are (--event events=STRUCT does)\n"
    assert f"ecc: {says}" in done.stderr
    done = ecli("package.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"ecli: {says}" in done.stderr


MAPS: dict[str, tuple[str, str]] = {
    "max_entries": ("BPF_MAP_TYPE_HASH); __type(key, int); __type(value, int", "max_entries"),
    "sizes": ("BPF_MAP_TYPE_STACK_TRACE); __uint(max_entries, 16", "a key and a value"),
    "a value": ("BPF_MAP_TYPE_HASH); __uint(max_entries, 16); __type(key, int", "a value"),
}


@pytest.mark.parametrize("what", MAPS)
def test_error_03_a_map_without_sizes_is_named(tmp_path: Path, what: str) -> None:
    definition, missing = MAPS[what]
    (tmp_path / "x.bpf.c").write_text(
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
        f'struct {{ __uint(type, {definition}); }} table SEC(".maps");\n'
        'SEC("raw_tp/sys_enter") int program(void *ctx) { return 0; }\n'
    )
    done = ecli("x.bpf.c", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"ecli: error: load: map table: its source doesn't give it {missing} "
        "(__uint(max_entries, …), __type(key, …), __type(value, …))\n"
    )


def test_error_06_an_object_for_other_machines_is_named() -> None:
    order: Any = {"little": "big", "big": "little"}[sys.byteorder]
    with pytest.raises(snoopkit.PackageError, match=f"it was compiled for {order}-endian machines"):
        snoopkit.run(snoopkit.Package(*sample(order)))


def test_correction_08_options_count_on_either_side_of_the_package(
    bursts: snoopkit.Package, tmp_path: Path
) -> None:
    bursts.write(tmp_path / "package.json")
    for words in (["-j", "package.json"], ["package.json", "-j"], ["package.json", "--json"]):
        done = ecli(*words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "")  # a table would have a header
    assert ecli("package.json", cwd=tmp_path).stdout.startswith("TIME ")
