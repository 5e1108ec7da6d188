"""Architectures, as libbpf's headers call them in `__TARGET_ARCH_…`. The object's machine is BPF whichever it is: what
differs is where the kernel's functions have their arguments, and the kernel's types."""

from __future__ import annotations

import os

__all__ = ["ARCHES", "known_arch", "system_headers", "target_arch"]

ARCHES = ("arc", "arm", "arm64", "loongarch", "mips", "powerpc", "riscv", "s390", "sparc", "x86")
_TARGETS = {
    "x86_64": "x86",
    "aarch64": "arm64",
    "arm64": "arm64",
    "powerpc64": "powerpc",
    "ppc64le": "powerpc",
    "ppc64": "powerpc",
    "s390x": "s390",
    "mips64": "mips",
    "riscv64": "riscv",
    "loongarch64": "loongarch",
}


def target_arch() -> str:
    """This machine's architecture, as libbpf's headers and the folders of vmlinux.h call it."""
    machine = os.uname().machine
    return _TARGETS.get(machine, machine)


def known_arch(name: str) -> str:
    """`name`, if it is one of `ARCHES`; else ValueError, with the one that was perhaps meant."""
    if name in ARCHES:
        return name
    from .commandline import suggestion

    near = f"; did you mean {_TARGETS[name]}?" if name in _TARGETS else suggestion(name, ARCHES)
    raise ValueError(f"unknown architecture {name!r}{near or '; known are ' + ', '.join(ARCHES)}")


def system_headers(arch: str) -> list[str]:
    """The flags for where Debian keeps asm/types.h, which no search for target bpf finds: the architecture's own
    folder, else this machine's, where the types are the same."""
    machines = [os.uname().machine]
    if arch != target_arch():
        machines = [machine for machine, name in _TARGETS.items() if name == arch] + machines
    for machine in machines:
        folder = f"/usr/include/{machine}-linux-gnu"
        if os.path.isdir(folder):
            return ["-idirafter", folder]
    return []
