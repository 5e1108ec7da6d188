"""Loaded programs to their hooks, and what to say where a hook isn't there."""

from __future__ import annotations

import errno as errnos
import os

from . import _core, features
from .errors import AttachError, UnsupportedError
from .loader import explained
from .options import printable
from .package import is_iterator
from .targets import ACCEPTED, XDP_REPLACE, kind_of

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from ._core import Link, Program
    from .errors import KernelError
    from .loader import Object
    from .targets import Target

__all__ = ["Links", "attach_all", "attach_iterator", "prepare"]

MAP_TYPE_PROG_ARRAY = 3
TCX_INGRESS, TCX_EGRESS = 46, 47  # ways to attach, since 6.6
XDP_IF_NOEXIST, XDP_GENERIC, XDP_DRIVER = 1, 2, 4  # of its flags
_PLACE_HINTS = {
    "xdp": "name a network interface: --iface eth0",
    "tc": "name a network interface: --iface eth0",
    "cgroup": "name a cgroup's folder: --cgroup /sys/fs/cgroup/NAME",
}
_KPROBES = ("kprobe", "kretprobe", "ksyscall", "kretsyscall")
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


def prepare(object: Object, targets: Mapping[str, Target]) -> None:
    """What the kernel must know of the targets when the programs are loaded."""
    for name, target in targets.items():
        if target.kind == "tc":
            object.programs[name].expect_attach_type(
                TCX_EGRESS if target.parts[1:] == ("egress",) else TCX_INGRESS
            )


def attach_all(object: Object, targets: Mapping[str, Target] | None = None) -> Links:
    """Attaches every program that is switched on, where `targets` (by the program's name) sends it, or else its
    section. If one fails, those before it are detached again. In a package with a program array, a program whose
    section names no target is there for tail calls: it stays loaded and is not attached. Nor is an iterator, which runs
    when it is read.

    Raises AttachError, or UnsupportedError for hooks and targets that can't be had.
    """
    targets = targets or {}
    for name, target in targets.items():
        if target.asked_for and not object.programs[name].autoload:
            raise AttachError(f"attach: program {name}: it is switched off")
    links = Links()
    has_tail_calls = any(map.type == MAP_TYPE_PROG_ARRAY for map in object.maps.values())
    try:
        for program in object.programs.values():
            place = targets.get(program.name)
            if not program.autoload or (is_iterator(program.section) and not place):
                continue
            if place or "/" in program.section or not has_tail_calls:
                _attach(program, place, links)
    except BaseException:
        links.close()
        raise
    return links


def attach_iterator(program: Program) -> Link:
    """An iterator's link, which is there to be read; errors as above."""
    try:
        return program.attach()
    except AttachError as error:
        kind, _, name = program.section.partition("/")
        raise _refused(program, kind, [name], error) from None


def _attach(program: Program, target: Target | None, links: Links) -> None:
    if target is not None:
        kind, names = target.kind, list(target.parts)
    else:
        kind, _, rest = program.section.partition("/")
        names = rest.split("/")
    try:
        if target is None:
            links.add(program.attach())
        elif kind == "perf_event":
            for cpu in _core.online_cpus() if target.pid < 0 else [-1]:
                links.add(program.attach_clock(int(names[0], 0), cpu, target.pid))
        elif kind == "tc":
            links.add(_attach_tc(program, _interface(program, names[0]), target))
        elif kind == "xdp":
            links.add(_attach_xdp(program, _interface(program, names[0]), target.flags))
        elif kind == "cgroup":
            links.add(_attach_cgroup(program, names[0]))
        else:
            links.add(_attach_by_name(program, target))
    except AttachError as error:
        if error.errno is None:
            raise
        raise _refused(program, kind, names, error) from None


def _attach_by_name(program: Program, target: Target) -> Link:
    names = [os.fsencode(part) for part in target.parts]
    match target.kind:
        case "tracepoint":
            return program.attach_tracepoint(*names)
        case "raw_tracepoint":
            return program.attach_raw_tracepoint(*names)
        case "kprobe" | "kretprobe":
            return program.attach_kprobe(names[0], target.offset, target.kind == "kretprobe")
        case "usdt":
            return program.attach_usdt(names[0], names[1], names[2], target.pid)
        case _:
            binary, function = names
            return program.attach_uprobe(
                binary, function, target.offset, target.pid, target.kind == "uretprobe"
            )


def _attach_tc(program: Program, interface: int, target: Target) -> Link:
    """By link, which leaves with its process whatever happens; before 6.6, and where the package chose handle and
    priority, which links don't have, as a filter of the clsact qdisc."""
    if target.parts[1:] == ("custom",):
        raise UnsupportedError(
            f"attach: program {program.name}: BPF_TC_CUSTOM needs a parent, which no package can name",
            feature="BPF_TC_CUSTOM",
            hint=f"--attach {program.name}=tc:INTERFACE:ingress sends it elsewhere",
        )
    is_egress = target.parts[1:] == ("egress",)
    if target.filter is not None:
        return program.attach_filter(interface, is_egress, *target.filter)
    try:
        return program.attach_interface(interface)
    except AttachError as error:
        if error.errno != errnos.EINVAL:
            raise
    return program.attach_filter(interface, is_egress)


def _attach_xdp(program: Program, interface: int, flags: int) -> Link:
    """By link, which never replaces another program: that is what XDP_FLAGS_UPDATE_IF_NOEXIST asks for."""
    mode = flags & ~XDP_IF_NOEXIST
    if mode in (0, XDP_GENERIC, XDP_DRIVER):
        return program.attach_interface(interface, mode)
    if mode & XDP_REPLACE:
        cause = "it would replace another program, of which a package knows nothing"
    else:
        cause = "it is either generic (2) or the driver's (4), and never the hardware's"
    raise UnsupportedError(
        f"attach: program {program.name}: XDP flags {flags:#x}: {cause}",
        feature="XDP flags",
        hint=f"--attach {program.name}=xdp:INTERFACE goes without them",
    )


def _interface(program: Program, name: str) -> int:
    if name.isdigit():
        return int(name)
    from socket import if_nameindex, if_nametoindex

    try:
        return if_nametoindex(name)
    except OSError:
        known = ", ".join(known for _, known in if_nameindex())
        raise AttachError(
            f"attach: program {program.name}: there is no network interface {printable(name)}",
            hint=f"there are {known}",
        ) from None


def _attach_cgroup(program: Program, path: str) -> Link:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise AttachError(
            f"attach: program {program.name}: cgroup {printable(path)}: {error.strerror}"
        ) from None
    try:
        return program.attach_cgroup(fd)
    finally:
        os.close(fd)


def _refused(program: Program, kind: str, names: list[str], error: AttachError) -> KernelError:
    refusal = _explained(program, kind, names, error)
    refusal.program = program.name
    return refusal


def _explained(program: Program, kind: str, names: list[str], error: AttachError) -> KernelError:
    stage = f"attach: program {program.name} ({printable(program.section)})"
    number = error.errno
    hook = printable("/".join(names))
    if kind == "xdp" and hook and number == errnos.EOPNOTSUPP:
        return UnsupportedError(
            f"{stage}: the driver of {hook} has no XDP of its own",
            feature="XDP_FLAGS_DRV_MODE",
            errno=number,
            hint=f"--attach {program.name}=xdp:{hook} takes the generic one then",
        )
    if number == errnos.EOPNOTSUPP:
        return UnsupportedError(
            f"{stage}: this kind of program can't be attached without being told where",
            feature=f"section {printable(program.section)}",
            errno=number,
            hint=_PLACE_HINTS.get(kind_of(program.section), f"targets that can be given: {ACCEPTED}"),
        )
    if kind in _KPROBES and not features.kprobes():
        return UnsupportedError(f"{stage}: this kernel has no kprobes", feature="kprobe", errno=number)
    if kind in ("xdp", "tc", "cgroup") and (refused := _explained_place(stage, kind, hook, number)):
        return refused
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
    if kind in _KPROBES and number in (errnos.ENOENT, errnos.ESRCH):
        return AttachError(f"{stage}: this kernel has no function {hook} to probe", errno=number)
    if kind == "usdt" and number == errnos.ENOENT and len(names) > 2 and os.path.exists(names[0]):
        return AttachError(
            f"{stage}: {printable(names[0])} has no probe {printable(':'.join(names[1:]))}", errno=number
        )
    if number == errnos.EPERM:
        return UnsupportedError(f"{stage}: this kernel refuses {kind} programs", feature=kind, errno=number)
    told = getattr(error, "log", "").strip().splitlines()
    cause = error.message.rpartition(": ")[2]
    more = f" [{printable(told[-1].removeprefix('libbpf: '))}]" if told else ""
    return AttachError(f"{stage}: {cause}{more}", errno=number)


def _explained_place(stage: str, kind: str, place: str, number: int | None) -> KernelError | None:
    if kind == "xdp" and number in (errnos.EBUSY, errnos.EEXIST):
        return AttachError(
            f"{stage}: {place} has an XDP program already, and it stays",
            errno=number,
            hint="see: bpftool net",
        )
    if kind == "tc" and number == errnos.EEXIST:
        return AttachError(
            f"{stage}: {place} has a filter of the same handle and priority already, and it stays",
            errno=number,
            hint="see: tc filter show dev …",
        )
    if kind == "cgroup" and number in (errnos.EBADF, errnos.EINVAL):
        return AttachError(f"{stage}: {place} isn't a folder of the cgroup2 hierarchy", errno=number)
    if number == errnos.EPERM and "CAP_NET_ADMIN" not in (features.capabilities() or ("CAP_NET_ADMIN",)):
        return AttachError(f"{stage}: not permitted: CAP_NET_ADMIN missing", errno=number, hint="run as root")
    return None
