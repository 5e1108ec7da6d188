"""What this machine can do, found out by trying: each kind of program is loaded and attached, to something harmless,
and detached again.

A finding's `ok` is True, False, or None where it can't be told. What is False has its `cure`.
"""

from __future__ import annotations

import os

from . import features, session
from .errors import CompileError, KernelError, SnoopkitError
from .package import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Finding", "hooks", "machine"]

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes", "package.json")
_CLONE_NEWNET = 0x40000000
_CURES = {
    "tp_btf": "a kernel with CONFIG_DEBUG_INFO_BTF; raw tracepoints do without",
    "raw_tracepoint": "a kernel with CONFIG_BPF_EVENTS",
    "tracepoint": "mount -t tracefs tracefs /sys/kernel/tracing; raw tracepoints do without",
    "fentry": "a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS; tracepoints do without",
    "kprobe": "a kernel with CONFIG_KPROBE_EVENTS; tracepoints do without",
    "uprobe": "a kernel with CONFIG_UPROBE_EVENTS",
    "perf_event": "a kernel with CONFIG_PERF_EVENTS",
    "iter": "a kernel of 5.8 or later",
    "lsm": "a kernel with CONFIG_BPF_LSM, and bpf among those named by lsm= on its command line",
    "cgroup": "a kernel with CONFIG_CGROUP_BPF",
    "xdp": "a kernel of 5.9 or later",
    "tc": "a kernel of 6.6 or later, or one with CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS",
}


class Finding:
    """One thing looked at: `name`, `ok`, `detail` and, where it is not as it should be, `cure`."""

    __slots__ = ("cure", "detail", "name", "ok")

    def __init__(self, name: str, ok: bool | None, detail: str, cure: str | None = None) -> None:
        self.name = name
        self.ok = ok
        self.detail = detail
        self.cure = cure if ok is not True else None


def machine() -> Iterator[Finding]:
    """The machine's own state: kernel, types, compiler for BPF, limits, privileges, C compiler."""
    about = os.uname()
    yield Finding("kernel", True, f"{about.release} {about.machine}")
    yield Finding("BTF", features.kernel_btf(), features.KERNEL_BTF, "a kernel with CONFIG_DEBUG_INFO_BTF=y")
    jit = features.setting("net/core/bpf_jit_enable")
    yield Finding(
        "JIT", None if jit is None else jit > 0, "unknown" if jit is None else "on" if jit else "off",
        "sysctl net.core.bpf_jit_enable=1",
    )  # fmt: skip
    lockdown = features.lockdown()
    yield Finding(
        "lockdown",
        lockdown != "confidentiality",
        lockdown or "none",
        "boot with lockdown=integrity or without it",
    )
    missing = features.missing_capabilities()
    held = features.capabilities()
    yield Finding(
        "capabilities",
        None if held is None else not missing,
        f"{' and '.join(missing)} missing" if missing else "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN",
        "run as root, or with these",
    )
    path = features.tracefs()
    yield Finding(
        "tracefs",
        features.tracefs_readable(),
        "not mounted" if path is None else path if features.tracefs_readable() else f"{path} can't be read",
        "mount -t tracefs tracefs /sys/kernel/tracing" if path is None else "run as root",
    )
    yield from _limits()
    yield _compiler()


def _limits() -> Iterator[Finding]:
    from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, getrlimit

    paranoid = features.perf_event_paranoid()
    yield Finding(
        "perf events",
        None if paranoid is None else paranoid <= 2 or not features.missing_capabilities(),
        f"kernel.perf_event_paranoid is {paranoid}",
        "sysctl kernel.perf_event_paranoid=2",
    )
    limit = getrlimit(RLIMIT_MEMLOCK)[0]
    rings = features.perf_event_mlock_kb()
    free = limit == RLIM_INFINITY or "CAP_IPC_LOCK" in (features.capabilities() or ())
    shown = "no limit" if free else f"ulimit -l {limit >> 10}, and {rings} KiB of rings per CPU"
    yield Finding("locked memory", True, shown)


def _compiler() -> Finding:
    from .compiler import find_clang, has_headers

    try:
        clang = find_clang()
    except CompileError as error:
        return Finding("compiler", False, error.message, f"only sources need it: {error.hint}")
    if not has_headers():
        return Finding("compiler", False, f"{clang}, but no bpf/bpf_helpers.h", "apt install libbpf-dev")
    return Finding("compiler", True, clang)


def hooks() -> Iterator[Finding]:
    """For each kind of program whether it loads and attaches here."""
    package = Package.read(_PACKAGE)
    for name in package.programs:
        try:
            _try(package, name)
        except KernelError as error:
            yield Finding(name, False, _cause(error), error.hint if _is_ours(error) else _CURES[name])
        except (SnoopkitError, OSError) as error:
            yield Finding(name, None, f"not tried: {error}", "run as root")
        else:
            yield Finding(name, True, "loads and attaches")


def _cause(error: KernelError) -> str:
    """Without the stage and the program, which the finding is about anyway."""
    return error.message.partition("): ")[2] or error.message


def _is_ours(error: KernelError) -> bool:
    """Whether the cure is to be had by this user's means, not by another kernel."""
    return bool(
        error.hint and (features.missing_capabilities() or "lockdown" in error.hint or "mount" in error.hint)
    )


def _try(package: Package, name: str) -> None:
    if name in ("xdp", "tc"):
        with _OwnNetwork():
            session.run(package, enable=[name], interface="lo").close()
    elif name == "cgroup":
        with _OwnCgroup() as path:
            session.run(package, enable=[name], cgroup=path).close()
    else:
        pid = os.getpid() if name in ("uprobe", "perf_event") else None
        session.run(package, enable=[name], pid=pid).close()


class _OwnNetwork:
    """A network namespace for this thread, with an interface `lo` that nobody uses."""

    def __enter__(self) -> None:
        import ctypes

        self.libc = ctypes.CDLL(None, use_errno=True)
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if self.libc.unshare(_CLONE_NEWNET) < 0:
            os.close(self.before)
            raise OSError(ctypes.get_errno(), "a network namespace of its own can't be had")

    def __exit__(self, *error: object) -> None:
        try:
            if self.libc.setns(self.before, _CLONE_NEWNET) < 0:
                raise OSError("the way back into the network namespace is lost")
        finally:
            os.close(self.before)


class _OwnCgroup:
    """A cgroup that nobody is in."""

    def __enter__(self) -> str:
        import tempfile

        with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
        place = next((mount[1] for mount in mounts if mount[2] == "cgroup2"), None)
        if place is None:
            raise OSError("no cgroup2 hierarchy is mounted")
        self.path = tempfile.mkdtemp(prefix="snoopkit-doctor-", dir=place)
        return self.path

    def __exit__(self, *error: object) -> None:
        os.rmdir(self.path)
