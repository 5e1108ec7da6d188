"""Containers by the names that runtimes give their control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from execsnoop import identity
from execsnoop.identity import container, path

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        (f"/system.slice/docker-{ID}.scope", (ID, "docker")),
        (f"/docker/{ID}", (ID, "docker")),
        (f"/docker/{ID}/init.scope", (ID, "docker")),
        (f"/docker/{OTHER}/docker/{ID}", (ID, "docker")),
        (f"/machine.slice/libpod-{ID}.scope/container", (ID, "podman")),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", (ID, "containerd")),
        (f"/kubepods/besteffort/pod1/{ID}", (ID, None)),
        (f"/kubepods.slice/crio-{ID}.scope", (ID, "cri-o")),
        ("/lxc.payload.web/system.slice", ("web", "lxc")),
        ("/lxc/web", ("web", "lxc")),
        ("/machine.slice/machine-web.scope/payload", ("web", "systemd-nspawn")),
        ("/system.slice/docker.service", None),
        (f"/x/{ID[:-1]}", None),
        (f"/x/{ID[:-1]}G", None),
    ],
)
def test_names_of_runtimes(text: str, expected: tuple[str, str | None] | None) -> None:
    names = [name for name in reversed(text.split("/")) if name]
    assert path(names) == text
    assert container(names) == ({"id": expected[0], "runtime": expected[1]} if expected else None)


def test_either_hierarchy_tells() -> None:
    assert container([], [ID, "docker"]) == {"id": ID, "runtime": "docker"}


def test_a_group_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two/here/inner").mkdir(parents=True)
    mounts = [(f"{tmp_path}/one", "/"), (f"{tmp_path}/two", "/"), (f"{tmp_path}/part", "/other/part")]
    monkeypatch.setattr(identity, "hierarchies", lambda: mounts)
    there = ["/", "/here", "/here/inner"]
    (tmp_path / "part/inner").mkdir(parents=True)
    assert identity.missing_groups([*there, "/other/part", "/other/part/inner"]) == []
    said = ["no control group '/nope' is there: its processes are shown once it is"]
    assert identity.missing_groups(["/nope"]) == said
    monkeypatch.setattr(identity, "hierarchies", lambda: mounts[2:])
    assert identity.missing_groups(["/nope"]) == [], "nobody here can tell"
