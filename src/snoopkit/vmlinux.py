"""vmlinux.h for a program to be compiled against, without the user having to make one.

`header` writes it from BTF. That takes about a second for a kernel, so `cached_header` keeps it in the user's
cache folder, under the kernel's build id or under the hash of the BTF file that was given instead.
"""

from __future__ import annotations

import os

from snoopkit import cache
from snoopkit.btf import Btf
from snoopkit.cheader import TAIL, header
from snoopkit.errors import CompileError, PackageError

__all__ = ["cached_header", "header"]

# Part of a cached header's name: raise it whenever `header` writes anything new.
_FORMAT = 1
_NAME = "vmlinux.h"
_NOTES = "/sys/kernel/notes"
_KERNEL_BTF = "/sys/kernel/btf/vmlinux"
_BUILD_ID_NOTE = 3


def cached_header(btf_path: str | None = None, cache_dir: str | None = None) -> str:
    """A folder that holds vmlinux.h, for the running kernel or for the BTF file `btf_path`.

    `cache_dir` stands in for ``$XDG_CACHE_HOME/snoopkit``. Where that folder can't be written, or others could
    write in it, the header is made anew in a private folder that goes away with this process.

    `UnsupportedError` if the kernel has no BTF to read, `CompileError` if the file has none.
    """
    if btf_path is None:
        data = None
        key = _build_id() or _digest(_read(_KERNEL_BTF) if os.path.exists(_KERNEL_BTF) else b"")
    else:
        data = _read(btf_path)
        key = _digest(data)
    base = cache_dir or cache.home()
    folder = os.path.join(base, f"vmlinux-{_FORMAT}-{key}")
    usable = cache.prepare(base, folder)
    if usable and _is_whole(folder):
        return folder
    text = header(Btf.from_kernel(_KERNEL_BTF) if data is None else _parse(data, str(btf_path)))
    if usable:
        try:
            cache.write(os.path.join(folder, _NAME), text.encode())
            return folder
        except OSError:
            pass  # a full or read-only disk: the header is still wanted
    folder = cache.private_folder()
    cache.write(os.path.join(folder, _NAME), text.encode())
    return folder


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CompileError(
            f"vmlinux.h: {path}: {error.strerror}", hint=f"--btf takes a file like {_KERNEL_BTF}"
        ) from None


def _parse(data: bytes, path: str) -> Btf:
    try:
        return Btf.parse(data)
    except PackageError as error:
        hint = f"--btf takes raw BTF, as {_KERNEL_BTF} is"
        if data[:4] == b"\x7fELF":
            hint += "; get a kernel image's with: objcopy --dump-section .BTF=FILE vmlinux /dev/null"
        raise CompileError(f"vmlinux.h: {path}: {error}", hint=hint) from None


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()[:40]


def _build_id() -> str | None:
    """The running kernel's build id in hex, None if it doesn't tell."""
    import sys

    try:
        with open(_NOTES, "rb") as file:
            notes = file.read()
    except OSError:
        return None
    order = sys.byteorder
    at = 0
    while at + 12 <= len(notes):
        owner_size, size, kind = (int.from_bytes(notes[at + n : at + n + 4], order) for n in (0, 4, 8))
        owner = notes[at + 12 : at + 12 + owner_size]
        at += 12 + (owner_size + 3) // 4 * 4
        if kind == _BUILD_ID_NOTE and owner == b"GNU\0":
            return notes[at : at + size].hex() or None
        at += (size + 3) // 4 * 4
    return None


def _is_whole(folder: str) -> bool:
    path = os.path.join(folder, _NAME)
    if not cache.is_private(path):
        return False
    try:
        with open(path, "rb") as file:
            file.seek(-min(len(TAIL), os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read() == TAIL.encode()
    except OSError:
        return False
