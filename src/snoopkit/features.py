"""What this kernel, and this process on it, can do: small probes, run when something failed or somebody asks.

A probe answers yes, no, or None where it could not find out. What can't change while the process lives is remembered
once it is known; capabilities, mounts and limits are looked up each time.
"""

from __future__ import annotations

import os

from .errors import PackageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core import KernelBtf

__all__ = [
    "KERNEL_BTF",
    "boot_clock_offset",
    "capabilities",
    "has_nowhere",
    "kernel_btf",
    "kernel_types",
    "kprobes",
    "lists_modules",
    "lockdown",
    "missing_capabilities",
    "perf_event_mlock_kb",
    "perf_event_paranoid",
    "possible_cpus",
    "ring_buffer",
    "setting",
    "supports",
    "tracefs",
    "tracefs_readable",
    "unprivileged_bpf",
    "user_ring_buffer",
]

KERNEL_BTF = "/sys/kernel/btf/vmlinux"
_MAP_TYPE_RINGBUF, _MAP_TYPE_USER_RINGBUF = 27, 31
_PREFIXES = {  # of what in the kernel's BTF stands for a hook, by the kind of section
    "tp_btf": b"btf_trace_",
    "raw_tp": b"btf_trace_",
    "raw_tracepoint": b"btf_trace_",
    "iter": b"bpf_iter_",
    "iter.s": b"bpf_iter_",
}
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_CAPABILITIES = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_ADMIN": 12,
    "CAP_IPC_LOCK": 14,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

_known_btf: bool | None = None
_known_types: KernelBtf | None = None
_known_cpus: int | None = None
_known_map_types: dict[int, bool] = {}


def kernel_btf() -> bool | None:
    """Whether the kernel describes its types, which CO-RE and `tp_btf` programs need."""
    global _known_btf
    if _known_btf is None:
        _known_btf = _exists(KERNEL_BTF)
    return _known_btf


def supports(section: str) -> bool | None:
    """Whether this kernel has the hook that a program's section names, and this process can look it up; for
    `tp_btf/NAME`, `raw_tp/NAME`, `tp/CATEGORY/NAME`, `iter/NAME` and `iter.s/NAME`. A leading `?` changes nothing. It
    says nothing of permission to load or attach. None where that can't be told."""
    kind, _, name = section.removeprefix("?").partition("/")
    if kind in ("tp", "tracepoint"):
        path = tracefs()
        return path is not None and _exists(f"{path}/events/{name}") is True
    prefix = _PREFIXES.get(kind)
    if prefix is None:
        return None
    types = kernel_types()
    return types.has_name(b"%b%b" % (prefix, name.encode())) if types is not None else None


def kernel_types() -> KernelBtf | None:
    """The kernel's BTF, read once: it has a typedef `btf_trace_NAME` for each raw tracepoint, a function
    `bpf_iter_NAME` for each iterator. None if there is none, or it can't be read."""
    global _known_types
    if _known_types is None:
        from . import _core

        try:
            _known_types = _core.KernelBtf(KERNEL_BTF)
        except (OSError, PackageError):
            return None
    return _known_types


def has_nowhere(name: str) -> bool:
    """Whether neither the kernel's BTF nor a module's has a name that begins so; False if that can't be told."""
    types, folder = kernel_types(), os.path.dirname(KERNEL_BTF)
    text = name.encode()
    if types is None or types.has_name(text):
        return False
    try:
        for module in os.listdir(folder):
            if module != "vmlinux":
                with open(f"{folder}/{module}", "rb") as file:
                    if b"\0" + text in file.read():
                        return False
    except OSError:
        return False
    return True


def possible_cpus() -> int:
    """How many CPUs this machine could ever have."""
    global _known_cpus
    if _known_cpus is None:
        from . import _core

        _known_cpus = _core.possible_cpus()
    return _known_cpus


def ring_buffer() -> bool | None:
    """Whether the kernel has BPF ring buffers (5.8 and later)."""
    return _map_type(_MAP_TYPE_RINGBUF)


def user_ring_buffer() -> bool | None:
    """Whether the kernel has ring buffers that go from user space to a program (6.1 and later)."""
    return _map_type(_MAP_TYPE_USER_RINGBUF)


def _map_type(type: int) -> bool | None:
    if type not in _known_map_types:
        from . import _core

        found = _core.has_map_type(type)
        if not found and missing_capabilities():
            return None
        _known_map_types[type] = found
    return _known_map_types[type]


def tracefs() -> str | None:
    """Where a tracefs is mounted, readable or not; None if there is none. `tracepoint/` and kprobes need it."""
    for path in _TRACEFS:
        # Debugfs that only root may enter hides what is below it: that isn't known to be there.
        if _exists(path + "/events"):
            return path
        if _exists(path) and not os.access(path, os.R_OK | os.X_OK):
            return path
    return None


def tracefs_readable() -> bool:
    """Whether this process can look up tracepoints."""
    path = tracefs()
    return path is not None and os.access(path + "/events", os.R_OK | os.X_OK)


def kprobes() -> bool:
    """Whether the kernel can attach kprobes at all, by either of its interfaces."""
    path = tracefs()
    return _exists("/sys/bus/event_source/devices/kprobe") is not False or (
        path is not None and _exists(path + "/kprobe_events") is not False
    )


def capabilities() -> frozenset[str] | None:
    """The names of those effective capabilities that tracing may ask for."""
    text = _read("/proc/self/status")
    for line in (text or "").splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return frozenset(name for name, bit in _CAPABILITIES.items() if held >> bit & 1)
    return None


def missing_capabilities() -> tuple[str, ...]:
    """Which of CAP_BPF and CAP_PERFMON this process lacks; CAP_SYS_ADMIN stands for both."""
    held = capabilities()
    if held is None or "CAP_SYS_ADMIN" in held:
        return ()
    return tuple(name for name in ("CAP_BPF", "CAP_PERFMON") if name not in held)


def lists_modules() -> bool:
    """Whether this process may list the kernel's modules with their BTF: that is CAP_SYS_ADMIN's."""
    held = capabilities()
    return held is None or "CAP_SYS_ADMIN" in held


def lockdown() -> str | None:
    """ "none", "integrity" or "confidentiality"; the last refuses to read kernel memory. None if not known."""
    text = _read("/sys/kernel/security/lockdown")
    if text is None or "[" not in text:
        return None
    return text[text.index("[") + 1 : text.index("]")]


def setting(name: str) -> int | None:
    """A number among the kernel's settings, such as "net/core/bpf_jit_enable"; None if it doesn't tell."""
    text = _read(f"/proc/sys/{name}")
    return int(text) if text is not None else None


def perf_event_mlock_kb() -> int | None:
    """KiB of rings per CPU that a user without CAP_IPC_LOCK may have, beside RLIMIT_MEMLOCK."""
    return setting("kernel/perf_event_mlock_kb")


def perf_event_paranoid() -> int | None:
    """How little perf events let users do; some distributions' kernels have a 3 that CAP_PERFMON can't pass."""
    return setting("kernel/perf_event_paranoid")


def boot_clock_offset() -> float:
    """By how many seconds this process's boot clock differs from the machine's: a time namespace can have its own."""
    for line in (_read("/proc/self/timens_offsets") or "").splitlines():
        name, seconds, nanoseconds = line.split()
        if name == "boottime":
            return int(seconds) + int(nanoseconds) / 1e9
    return 0.0


def unprivileged_bpf() -> bool | None:
    """Whether users without any capability may load some programs."""
    disabled = setting("kernel/unprivileged_bpf_disabled")
    return disabled == 0 if disabled is not None else None


def _exists(path: str) -> bool | None:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
