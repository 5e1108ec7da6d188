"""What is collected only where a column asks for it, against what /proc says."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from execsnoop.model import COLUMNS, GROUPS
from kernel.watching import Command, marker, of, one, programs, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["marker", "programs"]  # fixtures

EVERYTHING = {"columns": [key for keys in GROUPS.values() for key in keys]}
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def test_nothing_of_it_is_there_unasked(programs: dict[str, str], marker: str) -> None:
    events, _ = watch(programs["leaf"], marker, "exit", "0")
    event = one(of(events, "exec", marker))
    for key in EVERYTHING["columns"]:
        assert getattr(event, key) is None


@pytest.mark.own_root
class TestPaths:
    def watched(self, programs: dict[str, str], marker: str, path: str, **how: Any) -> tuple[str, str]:
        events, _ = watch(path, marker, "exit", "0", options=EVERYTHING, **how)
        event = one(of(events, "exec", marker))
        assert event.incomplete is None and event.exe is not None and event.cwd is not None
        return event.exe, event.cwd

    def test_the_file_that_runs_and_the_folder(
        self, programs: dict[str, str], marker: str, tmp_path: Path
    ) -> None:
        link = tmp_path / "link"
        link.symlink_to(programs["leaf"])
        assert self.watched(programs, marker, "./link", cwd=tmp_path) == (programs["leaf"], str(tmp_path))

    def test_the_root(self, programs: dict[str, str], marker: str) -> None:
        assert self.watched(programs, marker, programs["leaf"], cwd="/")[1] == "/"

    def test_deep_folders_and_long_names(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        deep = tmp_path.joinpath(*["d"] * 200, "n" * 255)
        deep.mkdir(parents=True)
        shutil.copy(programs["leaf"], deep / "leaf")
        found = self.watched(programs, marker, str(deep / "leaf"), cwd=deep)
        assert found == (str(deep / "leaf"), str(deep))

    def test_across_mounts(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        (tmp_path / "bound").mkdir()
        (tmp_path / "in").mkdir()
        script = (
            f"mount --bind {Path(programs['leaf']).parent} {tmp_path}/bound && mount -t tmpfs none {tmp_path}/in"
            f" && mkdir {tmp_path}/in/here && cd {tmp_path}/in/here && {tmp_path}/bound/leaf {marker} exit 0"
        )
        events, _ = watch("unshare", "-m", "sh", "-c", script, options=EVERYTHING)
        event = one(of(events, "exec", marker))
        assert (event.exe, event.cwd) == (f"{tmp_path}/bound/leaf", f"{tmp_path}/in/here")

    def test_a_file_in_memory(self, programs: dict[str, str], marker: str) -> None:
        events, _ = watch(
            programs["execs"], "memfd", programs["leaf"], marker, "exit", "0", options=EVERYTHING
        )
        event = one([e for e in of(events, "exec", marker) if e.argv and e.argv[0] == programs["leaf"]])
        assert event.exe == "/memfd:in memory"

    def test_of_a_script_its_interpreter(self, marker: str, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/bin/sh\n:\n")
        script.chmod(0o755)
        events, _ = watch(str(script), marker, options=EVERYTHING)
        assert one(of(events, "exec", marker)).exe == os.path.realpath("/bin/sh")


@pytest.mark.own_root
class TestNamespaces:
    def test_our_own(self, programs: dict[str, str], marker: str) -> None:
        events, _ = watch(programs["leaf"], marker, "exit", "0", options=EVERYTHING)
        for event in (one(of(events, "exec", marker)), one(of(events, "exit", marker))):
            assert event.namespaces is not None and event.pid is not None
            for name in NAMESPACES:
                assert f"{name}:[{event.namespaces[name]}]" == os.readlink(f"/proc/self/ns/{name}")

    def test_others(self, programs: dict[str, str], marker: str) -> None:
        script = f"readlink /proc/self/ns/net /proc/self/ns/uts; exec {programs['leaf']} {marker} exit 0"
        events, printed = watch(
            "unshare",
            "-U",
            "-r",
            "-n",
            "-u",
            "-p",
            "-f",
            "--mount-proc",
            "sh",
            "-c",
            script,
            options=EVERYTHING,
        )
        event = one(of(events, "exec", marker))
        assert event.namespaces is not None
        told = dict(line.rstrip("]").split(":[") for line in printed.splitlines())
        assert {name: str(event.namespaces[name]) for name in told} == told
        assert event.namespaces["inner_pid"] == 1 and event.pid != 1
        for name in ("user", "pid", "mnt"):
            assert f"{name}:[{event.namespaces[name]}]" != os.readlink(f"/proc/self/ns/{name}")


def own_groups() -> dict[str, str]:
    """This process's control groups by hierarchy, "" for version 2."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    found = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def mounted_groups() -> dict[str, str]:
    """Where control groups of version 2, and those of version 1 with the memory controller, are mounted."""
    found = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found["v2"] = where
        elif kind == "cgroup" and "memory" in options.split(","):
            found["v1"] = where
    return found


@pytest.mark.own_root
class TestGroups:
    ID = "0123456789abcdef" * 4

    @pytest.fixture(params=mounted_groups())
    def group(self, request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
        """A new control group as a container's, and its path."""
        where = mounted_groups()[request.param]
        name = f"docker-{self.ID}.scope"
        folder = Path(where) / f"snooptest-{os.getpid()}" / name
        folder.mkdir(parents=True)
        yield folder, f"/snooptest-{os.getpid()}/{name}"
        folder.rmdir()
        folder.parent.rmdir()

    def test_a_container(self, programs: dict[str, str], marker: str, group: tuple[Path, str]) -> None:
        folder, path = group
        script = f"echo $$ >{folder}/cgroup.procs && {programs['leaf']} {marker} exit 0; : end"
        events, _ = watch("/bin/sh", "-c", script, options=EVERYTHING)
        fork = one([e for e in events if e.type == "fork" and e.cgroup == path])
        for event in (one(of(events, "exec", marker)), one(of(events, "exit", marker)), fork):
            assert event.cgroup == path
            assert event.container == {"id": self.ID, "runtime": "docker", "name": None}

    def test_our_own(self, programs: dict[str, str], marker: str) -> None:
        events, _ = watch(programs["leaf"], marker, "exit", "0", options=EVERYTHING)
        event = one(of(events, "exec", marker))
        own = own_groups()
        assert event.cgroup in (own.get(""), own.get("memory")) and event.container is None


def test_capabilities(programs: dict[str, str], marker: str) -> None:
    def drop() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(24, 12, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_NET_ADMIN

    events, _ = watch("/bin/cat", "/proc/self/status", marker, status=1, options=EVERYTHING, preexec_fn=drop)
    event = one(of(events, "exec", marker))
    script = f"cat /proc/self/status; : {marker}"
    events, printed = watch("/bin/sh", "-c", script, options=EVERYTHING, preexec_fn=drop)
    told = {line.split(":")[0]: line.split()[1] for line in printed.splitlines() if line.startswith("Cap")}
    event = one(of(events, "exec", script))
    assert event.capabilities == {
        "inheritable": told["CapInh"],
        "permitted": told["CapPrm"],
        "effective": told["CapEff"],
        "bounding": told["CapBnd"],
        "ambient": told["CapAmb"],
    }
    assert not int(told["CapBnd"], 16) >> 12 & 1


@pytest.mark.own_root
class TestColumns:
    def run(self, programs: dict[str, str], marker: str, output: Path, *options: str) -> list[str]:
        command = Command(*options, output=output)
        subprocess.run([programs["leaf"], marker, "a b", "exit", "3"], check=False)
        data, messages = command.end()
        assert command.process.returncode == 0, messages
        return data.decode().splitlines()

    def test_of_the_table(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        lines = self.run(programs, marker, tmp_path / "out", "--columns", "pid,exit_code,exe,argv")
        assert lines[0].split() == ["PID", "EXIT_CODE", "EXE", "ARGV"]
        ran, ended = (line.split() for line in lines if marker in line)
        assert ran[1:] == [programs["leaf"], programs["leaf"], marker, "'a", "b'", "exit", "3"]
        assert ended[1:3] == ["3", programs["leaf"]]

    def test_of_json(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        lines = self.run(programs, marker, tmp_path / "out", "--json", "--columns", "argv,type,cwd")
        ran, ended = (json.loads(line) for line in lines if marker in line)
        assert list(ran) == ["type", "argv", "cwd"] and ran["cwd"] == os.getcwd()
        assert list(ended) == ["type", "argv"]

    def test_all(self, programs: dict[str, str], marker: str, tmp_path: Path) -> None:
        lines = self.run(programs, marker, tmp_path / "out", "--format", "csv", "--columns", "all")
        assert lines[0] == ",".join(COLUMNS)
        lines = self.run(programs, marker, tmp_path / "out", "--json", "--columns", "all")
        ran = json.loads(next(line for line in lines if marker in line))
        assert ran["exe"] == programs["leaf"] and len(ran["namespaces"]) == 9

    def test_a_key_that_does_not_exist(self, tmp_path: Path) -> None:
        process = subprocess.run(
            [*Command.PROGRAM, "--columns", "pid,no_such"], capture_output=True, text=True, check=False
        )
        assert process.returncode == 2 and "no_such" in process.stderr
