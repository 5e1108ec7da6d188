"""Containers by name, with real runtimes: Podman, and Docker where a machine has its engine. Each keeps what is its own
in a folder of the test's."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import execsnoop
from kernel.watching import Command, marker, of, programs, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execsnoop import ProcessEvent

__all__ = ["marker", "programs"]  # fixtures

pytestmark = [pytest.mark.own_root, pytest.mark.heavy]

ENGINES = ["podman", *(["docker"] if shutil.which("dockerd") else [])]
SECONDS = 60
# For what else the machine does in seconds.
ROOM: dict[str, Any] = {"buffer_bytes": 16 << 20}


class Engine:
    """`call` gives what a command of the runtime prints."""

    runtime: str

    def __init__(self, folder: Path, group: str, root: Path) -> None:
        self.group = group
        self.root = root
        self.command: list[str] = []

    def call(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [*self.command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == status, done.stderr
        return done.stdout.strip()

    def run(self, name: str, how: str, *words: str) -> str:
        """What a new container prints; its id where `how` is --detach."""
        options = [how, "--name", name, "--network", "none", "--cgroup-parent", self.group]
        # No more than anybody has: the machine may not let us have what they do by default.
        options += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
        return self.call("run", *options, *self.image(), *words)

    def image(self) -> list[str]:
        raise NotImplementedError

    def remove(self, *ids: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Podman(Engine):
    runtime = "podman"

    def __init__(self, folder: Path, group: str, root: Path) -> None:
        super().__init__(folder, group, root)
        places = {"root": folder / "storage", "runroot": folder / "run", "tmpdir": folder / "tmp"}
        # Its locks would else be the machine's.
        settings = folder / "containers.conf"
        settings.write_text('[engine]\nlock_type = "file"\n')
        self.command = ["env", f"CONTAINERS_CONF={settings}", "podman"]
        self.command += [f"--{name}={path}" for name, path in places.items()]
        self.command += ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--runtime=runc"]
        self.command += ["--events-backend=none"]

    def image(self) -> list[str]:
        return ["--rootfs", str(self.root)]

    def remove(self, *ids: str) -> None:
        self.call("rm", "--force", "--time=0", *ids)

    def close(self) -> None:
        self.remove("--all")


class Docker(Engine):
    runtime = "docker"

    def __init__(self, folder: Path, group: str, root: Path) -> None:
        super().__init__(folder, group, root)
        socket = f"unix://{folder}/socket"
        self.command = ["docker", "--host", socket]
        places = {"data-root": folder / "data", "exec-root": folder / "run", "pidfile": folder / "pid"}
        options = [f"--{name}={path}" for name, path in places.items()]
        options += ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]
        self.log = (folder / "log").open("w+")
        self.daemon = subprocess.Popen(
            ["dockerd", f"--host={socket}", *options], stdout=self.log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + SECONDS
        while subprocess.run([*self.command, "version"], capture_output=True, timeout=SECONDS).returncode:
            assert time.monotonic() < deadline and self.daemon.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        tar = subprocess.run(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE, check=True)
        subprocess.run([*self.command, "import", "-", "tiny"], input=tar.stdout, check=True, timeout=SECONDS)

    def image(self) -> list[str]:
        return ["tiny"]

    def remove(self, *ids: str) -> None:
        self.call("rm", "--force", *ids)

    def close(self) -> None:
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(SECONDS)
        self.log.close()


def remove_groups(path: str) -> None:
    """What a runtime leaves of its control groups; who stayed with a container takes a moment longer to leave."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    groups = [Path(fields[1] + path) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]
    deadline = time.monotonic() + 20
    while any(group.exists() for group in groups):
        assert time.monotonic() < deadline, groups
        for group in groups:
            for folder, *_ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        time.sleep(0.05)


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp(request.param)
    root, group = folder / "rootfs", f"/snooptest-{os.getpid()}"
    root.mkdir()
    shutil.copy(programs["leaf"], root / "leaf")
    made = {"podman": Podman, "docker": Docker}[request.param](folder, group, root)
    try:
        yield made
    finally:
        made.close()
        remove_groups(group)


@pytest.fixture
def container(engine: Engine) -> Iterator[Callable[[str], str]]:
    """Starts a container that sleeps; gives its id."""
    ids = []

    def start(name: str) -> str:
        ids.append(engine.run(name, "--detach", "/leaf", "sleep", "600000"))
        return ids[-1]

    yield start
    for id in ids:
        engine.remove(id)


def ran(events: Sequence[ProcessEvent], marker: str) -> list[ProcessEvent]:
    """The execs of the program in the containers, not of the runtime's own that have its arguments too."""
    return [event for event in of(events, "exec", marker) if event.argv and event.argv[0] == "/leaf"]


def test_one_that_runs_by_its_name(engine: Engine, container: Callable[[str], str], marker: str) -> None:
    id = container("snooptest-web")
    container("snooptest-other")
    script = "; ".join(
        shlex.join([*engine.command, "exec", name, "/leaf", marker, name, "exit", "3"])
        for name in ("snooptest-web", "snooptest-other")
    )
    options = ROOM | {"where": 'container.name == "snooptest-web"'}
    events, _ = watch("sh", "-c", script, status=3, options=options)
    (event,) = ran(events, marker)
    assert event.argv is not None and event.argv[2] == "snooptest-web"
    assert event.container == {"id": id, "runtime": engine.runtime, "name": "snooptest-web"}
    assert {one.container["id"] for one in events if one.container} == {id}


def test_one_that_is_there_only_later(engine: Engine, marker: str, tmp_path: Path) -> None:
    command = Command(
        "--json",
        "--columns",
        "all",
        "--buffer-size",
        "16M",
        "--container",
        "snooptest-later",
        output=tmp_path / "out",
    )
    for name in ("snooptest-late", "snooptest-later"):
        engine.run(name, "--rm", "/leaf", marker, name, "exit", "0")
    data, messages = command.end()
    events = [json.loads(line) for line in data.splitlines()]
    assert {event["container"]["name"] for event in events} == {"snooptest-later"}
    (begun,) = [event for event in events if event["type"] == "exec" and event["argv"][0] == "/leaf"]
    assert begun["argv"][2] == "snooptest-later"
    (end,) = [event for event in events if event["type"] == "exit" and event["pid"] == begun["pid"]]
    assert end["exit_code"] == 0
    assert "warning: no container called 'snooptest-later' is running: it is shown once it is" in messages


def test_one_that_gets_another_name(engine: Engine, container: Callable[[str], str], marker: str) -> None:
    id = container("snooptest-before")
    execute = [*engine.command, "exec", id, "/leaf", marker]
    steps = [
        [*execute, "exit", "0"],
        [*engine.command, "rename", id, "snooptest-after"],
        ["sleep", "1.5"],  # a name may be a second old
        [*execute, "exit", "0"],
    ]
    script = " && ".join(shlex.join(step) for step in steps)
    events, _ = watch("sh", "-c", script, options=ROOM | {"columns": ["container"]})
    names = [event.container["name"] for event in ran(events, marker) if event.container]
    assert names == ["snooptest-before", "snooptest-after"]


def test_who_was_there_before(engine: Engine, container: Callable[[str], str]) -> None:
    id = container("snooptest-there")
    options = ROOM | {"existing": True, "where": 'container.name == "snooptest-there" and type == existing'}
    events, _ = watch("true", options=options)
    assert [event.argv for event in events] == [["/leaf", "sleep", "600000"]]
    assert events[0].container == {"id": id, "runtime": engine.runtime, "name": "snooptest-there"}


def test_a_name_that_is_nearly_one(engine: Engine, container: Callable[[str], str]) -> None:
    container("snooptest-shop")
    with execsnoop.trace(where='container.name == "snooptest-shp"') as trace:
        assert trace.warnings == [
            "no container called 'snooptest-shp' is running: it is shown once it is; did you mean snooptest-shop?"
        ]
