"""What people call a container, by the id that its control group has: its runtime keeps that in a file.

Whatever stands in such a file is a stranger's text: it is read up to a limit, from regular files only, and what makes
no sense is no name.
"""

from __future__ import annotations

import os
import stat
from time import monotonic

from .filters.lexer import near
from .identity import container, is_id, may_be_id
from .procfs import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from .identity import Container

    Signature = tuple[int, int, int]
    # One's pid; and its arguments, if it is one that tells by them.
    Monitor = tuple[int, list[str] | None]
    # A file, what reads a name there, and whose runtime's it is; None where several have it in common.
    Place = tuple[str, Callable[[str, str], str | None], str | None]

__all__ = ["Containers"]

_DOCKER = "/var/lib/docker/containers"
_STORAGES = ("/var/lib/containers/storage", "/run/containers/storage")
_TASKS = (
    "/run/containerd/io.containerd.runtime.v2.task",
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task",
)
# Of containers that are kept, and of those that are gone with their end.
_LISTS = ("containers.json", "volatile-containers.json")
# Who stays with a container as long as it runs, as the kernel's 15 bytes have it: Podman's and CRI-O's, containerd's.
_CONMON, _SHIM = "conmon", "containerd-shim"
# By nerdctl: in folder/names/namespace a file for each name, with its container's id.
_NERDCTL = "/var/lib/nerdctl"
# What a container is called by nerdctl, by Kubernetes, and the one that holds a pod together.
_ANNOTATIONS = ("nerdctl/name", "io.kubernetes.cri.container-name", "io.kubernetes.cri.sandbox-name")

_MAX_FILE_BYTES = 8 << 20
_MAX_NAME_BYTES = 255
_MAX_REMEMBERED = 4_096
_RENAMED_SECONDS = 1.0
_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.05, 5.0


class _Known:
    """What was found of one container, in which file as it was then, and when to look again."""

    __slots__ = ("due", "name", "retry_seconds", "runtime", "signature", "source")

    def __init__(self) -> None:
        self.name: str | None = None
        self.runtime: str | None = None
        self.source: str | None = None
        self.signature: Signature | None = None
        self.due = 0.0
        self.retry_seconds = _RETRY_SECONDS


class Containers:
    """The containers that control groups tell of, with their names.

    A name is remembered, and noticed to have changed within a second; a container that has none is asked for again,
    ever less often. `root` stands before the paths where runtimes keep their files.
    """

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._known: dict[str, _Known] = {}
        self._lists: dict[str, tuple[Signature | None, dict[str, str]]] = {}
        self._monitors: list[Monitor] = []
        self._monitors_due = 0.0

    def of(self, *paths: Sequence[str]) -> Container | None:
        """`id`, `runtime` and `name` of the container that one of the groups' paths tells of, as `identity.container`
        takes them. `name` is None where nobody knows it."""
        found = container(*paths)
        if found is None:
            return None
        id = found["id"]
        assert id is not None
        if is_id(id):
            known = self._look_up(id)
            found["name"] = known.name
            found["runtime"] = found["runtime"] or known.runtime
        else:
            found["name"] = id  # other runtimes have the name itself in the group
        return found

    def running(self) -> list[Container]:
        """All that have a process now."""
        found = {}
        for process in processes():
            one = self.of(*process.groups())
            if one is not None:
                found[one["id"]] = one
        return list(found.values())

    def missing(self, names: Iterable[str]) -> list[str]:
        """A sentence for each name, or beginning of an id, that no running container has."""
        running = self.running()
        known = sorted({name for one in running if (name := one["name"])})
        why = "" if os.geteuid() == 0 else "; what most are called only root can read"
        return [
            f"no container called {name!r} is running: it is shown once it is{why}{near(name, known)}"
            for name in names
            if not any(name == one["name"] or _begins(one["id"], name) for one in running)
        ]

    def _look_up(self, id: str) -> _Known:
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = _Known()
            if len(self._known) > _MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
        if known.due <= (now := monotonic()):
            self._look(id, known, now)
        return known

    def _look(self, id: str, known: _Known, now: float) -> None:
        known.due = now + _RENAMED_SECONDS
        if known.name is not None:
            signature = _signature(known.source) if known.source is not None else None
            if signature is None or signature == known.signature:
                return  # nothing is new, or the container is gone and leaves its name
        for path, read, runtime in self._places(id):
            signature = _signature(path)
            if signature is not None and (name := read(path, id)) is not None:
                known.name, known.runtime = name, runtime
                known.source, known.signature = path, signature
                return
        if known.name is None:
            known.name = self._told_to_monitor(id)
        if known.name is None:
            known.due = now + known.retry_seconds
            known.retry_seconds = min(2 * known.retry_seconds, _MAX_RETRY_SECONDS)

    def _places(self, id: str) -> Iterator[Place]:
        """Where its name may stand."""
        root = self._root
        yield f"{root}{_DOCKER}/{id}/config.v2.json", _in_docker, "docker"
        for storage in _STORAGES:
            for folder in _folders(root + storage):
                if folder.endswith("-containers"):
                    for name in _LISTS:
                        yield f"{root}{storage}/{folder}/{name}", self._in_list, None
        for folder in _folders(root + _NERDCTL):
            names = f"{root}{_NERDCTL}/{folder}/names"
            yield from ((f"{names}/{namespace}", _in_folder, "containerd") for namespace in _folders(names))
        for tasks in _TASKS:
            for namespace in _folders(root + tasks):
                yield from _of_bundle(f"{root}{tasks}/{namespace}/{id}/config.json", root)
        # Elsewhere: who stays with the container knows.
        for pid, argv in self._who_stays():
            own_root = f"/proc/{pid}/root"
            if argv is None:
                yield from _of_bundle(f"/proc/{pid}/cwd/../{id}/config.json", own_root)
            elif _after(argv, "-c") == id and (bundle := _after(argv, "-b")):
                folder = bundle.removesuffix(f"/{id}/userdata")
                for name in _LISTS:
                    yield f"{own_root}{folder}/{name}", self._in_list, None

    def _who_stays(self) -> list[Monitor]:
        """The monitors, looked for during a tenth of the time at most: whoever asks has events to read."""
        if self._monitors_due <= (began := monotonic()):
            self._monitors = list(_monitors())
            self._monitors_due = began + 10 * (monotonic() - began)
        return self._monitors

    def _told_to_monitor(self, id: str) -> str | None:
        """As Podman told it to the one that stays with the container, at its start."""
        for _, argv in self._who_stays():
            if argv is not None and _after(argv, "-c") == id:
                return _checked(_after(argv, "-n"))
        return None

    def _in_list(self, path: str, id: str) -> str | None:
        """From a list of the library that Podman, Buildah and CRI-O have in common."""
        signature = _signature(path)
        before = self._lists.get(path)
        if before is None or before[0] != signature:
            before = self._lists[path] = signature, _listed(_json(path))
            if len(self._lists) > _MAX_REMEMBERED:
                del self._lists[next(iter(self._lists))]
        return before[1].get(id)


def _begins(id: str | None, text: str) -> bool:
    return id is not None and may_be_id(text) and id.startswith(text)


def _listed(data: Any) -> dict[str, str]:
    names = {}
    for one in data if isinstance(data, list) else ():
        if isinstance(one, dict) and isinstance(one.get("names"), list) and one["names"]:
            name = _checked(one["names"][0])
            if name is not None and isinstance(one.get("id"), str):
                names[one["id"]] = name
    return names


def _in_docker(path: str, id: str) -> str | None:
    data = _json(path)
    if not isinstance(data, dict) or data.get("ID") != id:
        return None
    name = data.get("Name")
    return _checked(name.removeprefix("/")) if isinstance(name, str) else None


def _in_folder(path: str, id: str) -> str | None:
    """The file whose text is the id."""
    for name in _folders(path)[:_MAX_REMEMBERED]:
        if _text(f"{path}/{name}", len(id) + 1).strip() == id.encode():
            return _checked(name)
    return None


def _of_bundle(path: str, root: str) -> Iterator[Place]:
    """From what containerd was told to run: it says its name, or where Docker keeps that."""
    data = _json(path) if os.path.exists(path) else None
    if not isinstance(data, dict):
        return
    annotations = data.get("annotations")
    if isinstance(annotations, dict):
        found = [name for key in _ANNOTATIONS if (name := _checked(annotations.get(key))) is not None]
        if found:
            yield path, lambda path, id: found[0], "containerd"
    mounts = data.get("mounts")
    for mount in mounts if isinstance(mounts, list) else ():
        source = mount.get("source") if isinstance(mount, dict) else None
        if isinstance(source, str) and source.startswith("/") and "/containers/" in source:
            yield f"{root}{os.path.dirname(source)}/config.v2.json", _in_docker, "docker"


def _monitors() -> Iterator[Monitor]:
    for process in processes():
        if process.comm == _SHIM:
            yield process.pid, None
        elif process.comm == _CONMON and (argv := process.arguments()):
            yield process.pid, argv


def _after(argv: list[str], option: str) -> str | None:
    """The value of the first such option."""
    return dict(zip(reversed(argv[:-1]), reversed(argv[1:]), strict=True)).get(option)


def _checked(name: Any) -> str | None:
    """A name that a container can have; None for anything else."""
    if isinstance(name, str) and name.isascii() and name.isprintable() and 0 < len(name) <= _MAX_NAME_BYTES:
        return name
    return None


def _folders(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _signature(path: str) -> Signature | None:
    """What is another one after the file was written or replaced; None where there is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def _json(path: str) -> Any:
    """What stands in a file; None if that is no JSON, too large, or out of reach."""
    import json

    try:
        return json.loads(_text(path, _MAX_FILE_BYTES))
    except (ValueError, RecursionError):
        return None


def _text(path: str, most_bytes: int) -> bytes:
    """All of a file; nothing of one that is longer, out of reach or no regular file."""
    data = bytearray()
    try:
        with open(path, "rb", buffering=0, opener=_opener) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                while len(data) <= most_bytes and (part := file.read(1 << 16)):
                    data += part
    except (OSError, ValueError):
        return b""
    return bytes(data) if len(data) <= most_bytes else b""


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
