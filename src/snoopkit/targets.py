"""Where programs go, as text: what a user may write behind `--attach PROGRAM=`, and what a package leaves open.

tracepoint:CATEGORY:NAME            uprobe:BINARY:FUNCTION[+OFFSET][:PID]       perf_event:HZ[:PID]
raw_tracepoint:NAME                 uretprobe:BINARY:FUNCTION[:PID]             xdp:INTERFACE
kprobe:FUNCTION[+OFFSET]            usdt:BINARY:PROVIDER:NAME[:PID]             tc:INTERFACE[:ingress|egress]
kretprobe:FUNCTION                                                              cgroup:PATH
"""

from __future__ import annotations

import os

from .errors import AttachError, UnsupportedError
from .options import printable

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .package import Package, ProgramSpec

__all__ = ["ACCEPTED", "XDP_REPLACE", "Target", "kind_of", "of_package", "parse"]

ACCEPTED = (
    "tracepoint:CATEGORY:NAME, raw_tracepoint:NAME, kprobe:FUNCTION, kretprobe:FUNCTION, uprobe:BINARY:FUNCTION, "
    "uretprobe:BINARY:FUNCTION, usdt:BINARY:PROVIDER:NAME, perf_event:HZ, xdp:INTERFACE, tc:INTERFACE:ingress, "
    "cgroup:PATH"
)
FORMS = {  # the fewest and the most parts behind the kind
    "tracepoint": (2, 2),
    "raw_tracepoint": (1, 1),
    "kprobe": (1, 1),
    "kretprobe": (1, 1),
    "uprobe": (2, 3),
    "uretprobe": (2, 3),
    "usdt": (3, 4),
    "perf_event": (1, 2),
    "xdp": (1, 1),
    "tc": (1, 2),
    "cgroup": (1, 1),
}
_PROBES = ("uprobe", "uretprobe", "usdt")
_CGROUP_SECTIONS = ("cgroup", "cgroup_skb", "sockops")
_TC_SECTIONS = ("tc", "classifier", "action")
_WAYS = {"BPF_TC_INGRESS": "ingress", "BPF_TC_EGRESS": "egress", "BPF_TC_CUSTOM": "custom"}
XDP_REPLACE = 16  # of its flags
_DEFAULT_HZ = 99  # beside what happens a hundred times a second
_LOOPBACK = 1  # where eunomia's runner sends what doesn't say otherwise


class Target:
    """One target: `kind`, one of `FORMS`, and its parts. `offset` and `pid` are 0 and -1 where none is given;
    `asked_for` tells what the user named from what was found for a program that may be switched off. `flags` are XDP's,
    `filter` a tc filter's handle and priority, both as the package's notes have them."""

    __slots__ = ("asked_for", "filter", "flags", "kind", "offset", "parts", "pid")

    def __init__(self, kind: str, parts: tuple[str, ...], offset: int = 0, pid: int = -1) -> None:
        self.kind = kind
        self.parts = parts
        self.offset = offset
        self.pid = pid
        self.asked_for = False
        self.flags = 0
        self.filter: tuple[int, int] | None = None

    def __str__(self) -> str:
        return ":".join((self.kind, *self.parts))


def parse(text: str, program: str) -> Target:
    """The target that `text` names, for messages about `program`. UnsupportedError for what isn't one."""
    kind, *parts = text.split(":")
    low, high = FORMS.get(kind, (1, 0))
    if kind == "cgroup" and parts:  # a path may have colons
        parts = [":".join(parts)]
    if not low <= len(parts) <= high or not all(parts) or "\0" in text:
        raise UnsupportedError(
            f"attach: program {program}: {printable(text)!r} is no target that can be given",
            feature="attach target",
            hint=f"accepted: {ACCEPTED}",
        )
    pid = -1
    if kind in (*_PROBES, "perf_event") and len(parts) == high:
        pid = _number(parts.pop(), "process id", text, program)
    offset = 0
    if kind in ("kprobe", "uprobe"):
        parts[-1], plus, more = parts[-1].partition("+")
        offset = _number(more, "offset", text, program) if plus else 0
    if kind == "perf_event":
        _number(parts[0], "frequency", text, program)
    if kind == "tc" and parts[1:] not in ([], ["ingress"], ["egress"]):
        raise AttachError(f"attach: program {program}: {printable(text)!r}: it is ingress or egress")
    return Target(kind, tuple(parts), offset, pid)


def _number(text: str, what: str, target: str, program: str) -> int:
    try:
        number = int(text, 0)
        if not 0 <= number < 1 << 31 or (what == "frequency" and not number):
            raise ValueError
    except ValueError:
        raise AttachError(
            f"attach: program {program}: {printable(target)!r}: {printable(text)!r} is no {what}"
        ) from None
    return number


def kind_of(section: str) -> str:
    """A program's kind, from its section: "tracepoint", "raw_tracepoint", "tp_btf", "xdp", "tc", "cgroup" and so on."""
    kind = section.removeprefix("?").partition("/")[0]
    kind = {"tp": "tracepoint", "raw_tp": "raw_tracepoint"}.get(kind, kind)
    if kind in _TC_SECTIONS:
        return "tc"
    if kind in _CGROUP_SECTIONS:
        return "cgroup"
    return kind.partition(".")[0]  # "xdp.frags", "uprobe.s"


def of_package(
    package: Package,
    attach: Mapping[str, str] | None = None,
    *,
    interface: str | None = None,
    cgroup: str | os.PathLike[str] | None = None,
    pid: int | None = None,
) -> dict[str, Target]:
    """The targets of those programs that libbpf can't send anywhere by their section alone.

    `attach` goes from a program's name to its target, as text, and is all that counts then. Of the others, XDP and tc
    programs go to `interface`, else where the package's notes send them, in the way that these say; cgroup programs to
    `cgroup`; `pid` narrows uprobes, USDT probes and sampling to one process. Raises AttachError for a program that the
    package doesn't have, and for options that no program has a use for.
    """
    targets = {}
    for name, text in (attach or {}).items():
        if name not in package.programs:
            raise AttachError(
                f"attach: program {name}: the package has no such program",
                hint=f"it has {', '.join(package.programs)}",
            )
        targets[name] = parse(text, name)
        targets[name].asked_for = True
    cgroup = os.fspath(cgroup) if cgroup is not None else None
    unused = {"--iface": interface, "--cgroup": cgroup, "--pid": pid}
    for program in package.programs.values():
        kind = targets[program.name].kind if program.name in targets else kind_of(program.section)
        if kind in ("xdp", "tc"):
            unused["--iface"] = None
        elif kind == "cgroup":
            unused["--cgroup"] = None
        elif kind in (*_PROBES, "perf_event"):
            unused["--pid"] = None
        if program.name in targets:
            if pid is not None and kind in (*_PROBES, "perf_event") and targets[program.name].pid < 0:
                targets[program.name].pid = pid
            continue
        found = _default(program, kind, package, interface, cgroup, -1 if pid is None else pid)
        if found is not None:
            targets[program.name] = found
    for option, value in unused.items():
        if value is not None:
            raise AttachError(f"attach: {option} {value}: the package has no program that could use it")
    return targets


def _default(
    program: ProgramSpec, kind: str, package: Package, interface: str | None, cgroup: str | None, pid: int
) -> Target | None:
    section = program.section.removeprefix("?")
    if kind == "xdp":
        place = interface or _noted_interface(program.extras.get("ifindex"), package)
        if not place:
            return None
        target = Target("xdp", (place,))
        target.flags = program.extras.get("flags") or 0
        if (program.extras.get("xdpopts") or {}).get("old_prog_fd"):
            target.flags |= XDP_REPLACE
        return target
    if kind == "tc":
        hook = program.extras.get("tchook") or {}
        place = interface or _noted_interface(hook.get("ifindex"), package)
        if not place:
            return None
        target = Target("tc", (place, _WAYS[hook.get("attach_point", "BPF_TC_INGRESS")]))
        chosen = program.extras.get("tcopts")
        if chosen is not None:
            target.filter = chosen.get("handle", 1), chosen.get("priority", 1)
        return target
    if kind == "cgroup":
        return Target("cgroup", (cgroup,)) if cgroup else None
    if kind == "perf_event":
        return Target("perf_event", (str(_DEFAULT_HZ),), 0, pid)
    if kind in _PROBES and pid >= 0 and "/" in section:
        target = parse(f"{kind}:{section.partition('/')[2]}", program.name)
        target.pid = pid
        return target
    return None


def _noted_interface(index: object, package: Package) -> str | None:
    if isinstance(index, int):
        return str(index)
    return None if "snoopkit" in package.meta else str(_LOOPBACK)
