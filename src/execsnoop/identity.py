"""Whose a process is: the container that its control group belongs to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Container = dict[str, str | None]

__all__ = ["container", "hierarchies", "is_id", "may_be_id", "missing_groups", "path"]

_HEX = frozenset("0123456789abcdef")
_ID_DIGITS = 64
_MIN_ID_DIGITS = 6  # fewer are rather a name
# What runtimes call their groups, before the container's id.
_PREFIXES = {
    "docker-": "docker",
    "libpod-": "podman",
    "cri-containerd-": "containerd",
    "nerdctl-": "containerd",
    "crio-": "cri-o",
}
# The name of the group above, where a runtime uses the bare id.
_PARENTS = {"docker": "docker", "libpod_parent": "podman", "lxc": "lxc"}


def path(names: Sequence[str]) -> str:
    """The path of which these are the names from the leaf to the root."""
    return "/" + "/".join(reversed(names))


def hierarchies() -> list[tuple[str, str]]:
    """Where control groups are mounted, and which of them that folder is."""
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    return [
        (fields[4], fields[3]) for fields in mounts if fields[fields.index("-") + 1] in ("cgroup", "cgroup2")
    ]


def missing_groups(paths: Iterable[str]) -> list[str]:
    """A sentence for each control group that would be in a hierarchy that is mounted here, but isn't."""
    import os

    found = []
    for path in paths:
        folders = [
            folder + path.removeprefix(root.rstrip("/"))
            for folder, root in hierarchies()
            if f"{path}/".startswith(f"{root.rstrip('/')}/")
        ]
        if folders and not any(map(os.path.isdir, folders)):
            found.append(f"no control group {path!r} is there: its processes are shown once it is")
    return found


def container(*paths: Sequence[str]) -> Container | None:
    """`id` and `runtime` of the innermost container that one of the groups' paths tells of, each the names from the
    leaf to the root; None if it is in none. The runtime is None where only the id gives it away."""
    for names in paths:
        for level, name in enumerate(names):
            above = names[level + 1] if level + 1 < len(names) else ""
            found = _named(name, above)
            if found is not None:
                return {"id": found[0], "runtime": found[1]}
    return None


def _named(name: str, above: str) -> tuple[str, str | None] | None:
    plain = name.removesuffix(".scope")
    for prefix, runtime in _PREFIXES.items():
        if plain.startswith(prefix) and is_id(plain.removeprefix(prefix)):
            return plain.removeprefix(prefix), runtime
    if name.startswith("lxc.payload."):
        return name.removeprefix("lxc.payload."), "lxc"
    if name.startswith("machine-") and name.endswith(".scope"):
        return plain.removeprefix("machine-"), "systemd-nspawn"
    if above == "lxc":
        return name, "lxc"
    if is_id(plain):
        return plain, "containerd" if above.startswith("cri-containerd") else _PARENTS.get(above)
    return None


def is_id(text: str) -> bool:
    """Whether that is an id as most runtimes make them, and no name."""
    return len(text) == _ID_DIGITS and _HEX.issuperset(text)


def may_be_id(text: str) -> bool:
    """Whether someone may mean an id by its first digits."""
    return _MIN_ID_DIGITS <= len(text) <= _ID_DIGITS and _HEX.issuperset(text)
