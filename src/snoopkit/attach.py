"""Loaded programs to their hooks, and what to say where a hook isn't there."""

from __future__ import annotations

import errno as errnos

from . import features
from .errors import AttachError, UnsupportedError
from .loader import explained
from .options import printable

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from ._core import Link, Program
    from .errors import KernelError
    from .loader import Object

__all__ = ["Links", "attach_all"]

MAP_TYPE_PROG_ARRAY = 3
_ACCEPTED = "tracepoint:CATEGORY:NAME, raw_tracepoint:NAME"
_MOUNT_HINT = "mount -t tracefs tracefs /sys/kernel/tracing"


class Links:
    """What one run attached; `close` detaches it, the last first. That can take 80 ms a program: print before."""

    def __init__(self) -> None:
        self._links: list[Link] = []

    def add(self, link: Link) -> None:
        self._links.append(link)

    def __len__(self) -> int:
        return len(self._links)

    def close(self) -> None:
        while self._links:
            self._links.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach_all(object: Object, targets: Mapping[str, str] | None = None) -> Links:
    """Attaches every program that is switched on, where its section says or else where `targets` (program name to
    target) sends it. If one fails, those before it are detached again. In a package with a program array, a program
    whose section names no target is there for tail calls: it stays loaded and is not attached.

    Raises AttachError, or UnsupportedError for hooks and targets that can't be had.
    """
    targets = targets or {}
    for name in targets:
        if name not in object.programs:
            known = ", ".join(object.programs)
            raise AttachError(
                f"attach: program {name}: the package has no such program", hint=f"it has {known}"
            )
        if not object.programs[name].autoload:
            raise AttachError(f"attach: program {name}: it is switched off")
    links = Links()
    has_tail_calls = any(map.type == MAP_TYPE_PROG_ARRAY for map in object.maps.values())
    try:
        for program in object.programs.values():
            target = targets.get(program.name)
            if program.autoload and (target or "/" in program.section or not has_tail_calls):
                links.add(_attach(program, target))
    except BaseException:
        links.close()
        raise
    return links


def _attach(program: Program, target: str | None) -> Link:
    if target is None:
        kind, _, rest = program.section.partition("/")
        names = rest.split("/")
    else:
        kind, *names = target.split(":")
        if (kind, len(names)) not in (("tracepoint", 2), ("raw_tracepoint", 1)) or not all(names):
            raise UnsupportedError(
                f"attach: program {program.name}: {printable(target)!r} is no target that can be given",
                feature="attach target",
                hint=f"accepted: {_ACCEPTED}",
            )
    try:
        if target is None:
            return program.attach()
        if kind == "tracepoint":
            return program.attach_tracepoint(*names)
        return program.attach_raw_tracepoint(*names)
    except AttachError as error:
        raise _explained(program, kind, names, error) from None


def _explained(program: Program, kind: str, names: list[str], error: AttachError) -> KernelError:
    stage = f"attach: program {program.name} ({printable(program.section)})"
    number = error.errno
    hook = printable("/".join(names))
    if number == errnos.EOPNOTSUPP:
        return UnsupportedError(
            f"{stage}: this kind of program can't be attached without being told where",
            feature=f"section {printable(program.section)}",
            errno=number,
            hint=f"targets that can be given: {_ACCEPTED}",
        )
    if kind in ("kprobe", "kretprobe", "ksyscall", "kretsyscall") and not features.kprobes():
        return UnsupportedError(f"{stage}: this kernel has no kprobes", feature="kprobe", errno=number)
    permission = explained(stage, number)
    if kind in ("tracepoint", "tp", "kprobe", "kretprobe"):
        path = features.tracefs()
        if path is None:
            return AttachError(f"{stage}: no tracefs is mounted", errno=number, hint=_MOUNT_HINT)
        if kind in ("tracepoint", "tp") and not features.tracefs_readable():
            return AttachError(
                f"{stage}: {path} can't be read",
                errno=number,
                hint="run as root, or let this user read it; raw tracepoints need no tracefs",
            )
    if permission is not None:
        return AttachError(permission[0], errno=number, hint=permission[1])
    if kind in ("tracepoint", "tp", "raw_tracepoint", "raw_tp") and number == errnos.ENOENT:
        word = "tracepoint" if kind in ("tracepoint", "tp") else "raw tracepoint"
        return AttachError(f"{stage}: this kernel has no {word} {hook}", errno=number)
    if kind in ("kprobe", "kretprobe", "ksyscall", "kretsyscall") and number in (errnos.ENOENT, errnos.ESRCH):
        return AttachError(f"{stage}: this kernel has no function {hook} to probe", errno=number)
    if number == errnos.EPERM:
        return UnsupportedError(f"{stage}: this kernel refuses {kind} programs", feature=kind, errno=number)
    told = getattr(error, "log", "").strip().splitlines()
    cause = error.message.rpartition(": ")[2]
    more = f" [{printable(told[-1].removeprefix('libbpf: '))}]" if told else ""
    return AttachError(f"{stage}: {cause}{more}", errno=number)
