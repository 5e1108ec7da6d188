"""The names of containers, out of files as the runtimes write them and as nobody should."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from execsnoop import containers
from execsnoop.containers import Containers
from execsnoop.procfs import Process

# As dockerd 20.10 wrote them for a container with `--name shop`.
RECORDED = Path(__file__).parents[1] / "golden/containers"
ID = json.loads((RECORDED / "config.v2.json").read_text())["ID"]
OTHER = ID[::-1]
DOCKER = f"var/lib/docker/containers/{ID}/config.v2.json"
STORAGE = "var/lib/containers/storage/overlay-containers"
TASKS = "run/containerd/io.containerd.runtime.v2.task"


def put(root: Path, path: str, content: Any) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def found(root: Path, id: str = ID, group: str = "") -> tuple[str | None, str | None] | None:
    one = Containers(str(root)).of([id, *group.split("/")])
    return (one["name"], one["runtime"]) if one else None


def stored(id: str, *names: str) -> list[dict[str, Any]]:
    return [{"id": OTHER}, {"id": id, "names": list(names), "image": "", "metadata": '{"name":"first"}'}]


def test_dockers(tmp_path: Path) -> None:
    put(tmp_path, DOCKER, (RECORDED / "config.v2.json").read_text())
    assert found(tmp_path) == ("shop", "docker")
    assert found(tmp_path, OTHER) == (None, None)


def test_dockers_that_keeps_its_data_elsewhere(tmp_path: Path) -> None:
    bundle = (RECORDED / "config.json").read_text().replace("/var/lib/docker", "/srv/data")
    put(tmp_path, f"{TASKS}/moby/{ID}/config.json", bundle)
    assert found(tmp_path) == (None, None)
    put(tmp_path, f"srv/data/containers/{ID}/config.v2.json", (RECORDED / "config.v2.json").read_text())
    assert found(tmp_path) == ("shop", "docker")


@pytest.mark.parametrize("name", ["containers.json", "volatile-containers.json"])
@pytest.mark.parametrize("place", [STORAGE, "run/containers/storage/vfs-containers"])
def test_podmans_and_cri_os(tmp_path: Path, place: str, name: str) -> None:
    put(tmp_path, f"{place}/{name}", stored(ID, "web", "also"))
    assert found(tmp_path) == ("web", None)
    assert found(tmp_path, f"libpod-{ID}.scope") == ("web", "podman")
    assert found(tmp_path, f"crio-{ID}") == ("web", "cri-o")


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({"nerdctl/name": "web", "nerdctl/namespace": "default"}, "web"),
        ({"io.kubernetes.cri.container-name": "app", "io.kubernetes.cri.sandbox-name": "pod"}, "app"),
        ({"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-name": "pod"}, "pod"),
        ({"name": "web"}, None),
        (["nerdctl/name"], None),
    ],
)
def test_containerds(tmp_path: Path, annotations: Any, name: str | None) -> None:
    put(tmp_path, f"{TASKS}/k8s.io/{ID}/config.json", {"annotations": annotations})
    assert found(tmp_path) == (name, "containerd" if name else None)


def test_nerdctls_own_word_is_the_last(tmp_path: Path) -> None:
    put(tmp_path, f"{TASKS}/default/{ID}/config.json", {"annotations": {"nerdctl/name": "before"}})
    put(tmp_path, "var/lib/nerdctl/1935db59/names/default/other", OTHER)
    put(tmp_path, "var/lib/nerdctl/1935db59/names/default/after", f"{ID}\n")
    assert found(tmp_path) == ("after", "containerd")


def test_other_runtimes_have_it_in_the_group() -> None:
    one = Containers("/no/such")
    assert one.of(["web", "lxc"]) == {"id": "web", "runtime": "lxc", "name": "web"}
    assert one.of(["machine-web.scope"]) == {"id": "web", "runtime": "systemd-nspawn", "name": "web"}
    assert one.of(["user.slice"]) is None


@pytest.mark.parametrize("place", [f"{STORAGE}/containers.json", DOCKER])
def test_another_name_is_noticed(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(containers, "monotonic", lambda: now)

    def content(name: str) -> Any:
        return {"ID": ID, "Name": f"/{name}"} if place == DOCKER else stored(ID, name)

    file = put(tmp_path, place, content("before"))
    one = Containers(str(tmp_path))

    def name() -> str | None:
        told = one.of([ID])
        assert told is not None
        return told["name"]

    assert name() == "before"
    file.unlink()
    put(tmp_path, place, content("behind"))
    assert name() == "before", "nothing is asked for each event"
    now += 1.1
    assert name() == "behind"
    file.unlink()
    now += 1.1
    assert name() == "behind", "who is gone keeps the name"


def test_who_has_none_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 100.0, 0
    monkeypatch.setattr(containers, "monotonic", lambda: now)
    one = Containers(str(tmp_path))
    places = one._places

    def counted(id: str) -> Any:
        nonlocal asked
        asked += 1
        return places(id)

    monkeypatch.setattr(one, "_places", counted)
    for _ in range(3_000):
        assert one.of([ID]) == {"id": ID, "runtime": None, "name": None}
        now += 0.01
    assert 5 < asked < 20, "ever less often"
    put(tmp_path, DOCKER, {"ID": ID, "Name": "/late"})
    now += 5
    assert one.of([ID]) == {"id": ID, "runtime": "docker", "name": "late"}


def test_who_stays_with_a_container_knows_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman's storage may be anywhere, a user's home included."""
    folder = tmp_path / "home/storage/overlay-containers"
    bundle = f"{folder}/{ID}/userdata"
    argv = [
        "/usr/bin/conmon",
        "--api-version",
        "1",
        "-c",
        ID,
        "-u",
        ID,
        "-b",
        bundle,
        "-n",
        "told",
        "--",
        "-n",
        "x",
    ]
    monkeypatch.setattr(containers, "_monitors", lambda: iter([(os.getpid(), argv)]))
    assert found(tmp_path) == ("told", None)
    put(folder, "containers.json", stored(ID, "kept"))
    assert found(tmp_path) == ("kept", None)
    assert found(tmp_path, OTHER) == (None, None)


def test_looking_for_them_takes_a_tenth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with many processes it is slow, and the rings fill meanwhile."""
    now = looked = 0.0

    def slowly() -> Any:
        nonlocal now, looked
        now += 0.2
        looked += 0.2
        return iter(())

    monkeypatch.setattr(containers, "monotonic", lambda: now)
    monkeypatch.setattr(containers, "_monitors", slowly)
    one = Containers(str(tmp_path))
    for number in range(2_000):
        assert one.of([f"{number:064x}"]) is not None
        now += 0.01
    assert 0.05 * now < looked < 0.15 * now


def test_what_runs_is_compared_with_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    running = [
        {"id": ID, "runtime": "docker", "name": "shop"},
        {"id": "web-1", "runtime": "lxc", "name": "web-1"},
        {"id": OTHER, "runtime": None, "name": None},
    ]
    one = Containers()
    monkeypatch.setattr(one, "running", lambda: running)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert one.missing(["shop", "web-1", ID[:6], OTHER]) == []
    said = "no container called {!r} is running: it is shown once it is"
    assert one.missing(["shpo"]) == [said.format("shpo") + "; did you mean shop?"]
    assert one.missing(["web-", ID[:5]]) == [
        said.format("web-") + "; did you mean web-1?",
        said.format(ID[:5]),
    ]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert one.missing(["else"]) == [said.format("else") + "; what most are called only root can read"]


# --- what a stranger may have put there -------------------------------------------------------------------

BAD = [
    "",
    "{",
    "[" * 100_000,
    f'{{"ID":"{ID}","Name":{"9" * 5_000}}}',
    *(
        json.dumps({"ID": ID, "Name": name})
        for name in (None, 1, [], "/", "", "a b\n", "\x1b[2J", "é", "\ud800", "x" * 300)
    ),
    json.dumps({"ID": OTHER, "Name": "/thief"}),
    json.dumps([ID]),
    "\xff",
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("path", [DOCKER, f"{STORAGE}/containers.json", f"{TASKS}/moby/{ID}/config.json"])
def test_what_makes_no_sense_is_no_name(tmp_path: Path, path: str, text: str) -> None:
    put(tmp_path, path, text)
    assert found(tmp_path) == (None, None)


def test_no_file_holds_us_up(tmp_path: Path) -> None:
    file = tmp_path / DOCKER
    file.parent.mkdir(parents=True)
    os.mkfifo(file)
    began = time.monotonic()
    assert found(tmp_path) == (None, None)
    file.unlink()
    file.symlink_to("/dev/zero")
    assert found(tmp_path) == (None, None)
    file.unlink()
    file.symlink_to(file)
    assert found(tmp_path) == (None, None)
    file.unlink()
    with file.open("w") as large:
        large.truncate(1 << 34)
    assert found(tmp_path) == (None, None)
    assert time.monotonic() - began < 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([ID, "/etc", "/a/containers/b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["ID", "Name", "id", "names", "annotations", "mounts", "source", "nerdctl/name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([DOCKER, f"{STORAGE}/containers.json", f"{TASKS}/moby/{ID}/config.json"]), JSON)
def test_whatever_stands_there(tmp_path: Path, path: str, content: Any) -> None:
    put(tmp_path, path, content)
    told = found(tmp_path)
    assert told is not None
    name = told[0]
    assert name is None or (name.isascii() and name.isprintable())


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_MAX_REMEMBERED", 10)
    monkeypatch.setattr(containers, "_monitors", lambda: iter(()))
    one = Containers(str(tmp_path))
    for number in range(100):
        assert one.of([f"{number:064x}"]) is not None
    assert len(one._known) == 10


def test_a_process_s_groups() -> None:
    process = Process(os.getpid())
    try:
        unified, memory = process.groups()
    finally:
        process.close()
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    assert "/" + "/".join(reversed(unified)) == paths.get("", "/")
    assert memory == [name for name in reversed(paths.get("memory", "").split("/")) if name]
