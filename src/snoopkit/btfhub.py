"""Packages for kernels that don't describe their types: a tar archive with the package, and for each such kernel as
much of its BTF as the package's object needs.

package.json
btfhub-archive/ID/VERSION_ID/MACHINE/RELEASE.btf        ID and VERSION_ID as /etc/os-release has them
NAME                                                    the object

What these are cut from is a copy of BTFHub's archive, in which each is ID/VERSION_ID/MACHINE/RELEASE.btf.tar.xz.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile

from .document import LARGEST_FILE_BYTES
from .errors import CompileError, PackageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .package import Package

__all__ = ["data_folder", "kernel_btf", "package_json", "write"]

FOLDER = "btfhub-archive"
KERNEL_BTF = "/sys/kernel/btf/vmlinux"
_ENDINGS = (".btf.tar.xz", ".btf")
_ADDRESS = "https://github.com/aquasecurity/btfhub-archive"


def data_folder() -> str:
    """Where eunomia-bpf's tools keep their data."""
    home = os.environ.get("EUNOMIA_HOME")
    if home:
        return home
    shared = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    places = [os.path.join(place, "eunomia") for place in shared.split(":") if place]
    return next((place for place in places if os.path.isdir(place)), places[0])


def write(package: Package, archive: str, path: str, name: str) -> int:
    """Write the tar archive at `path`, `name` being the object's in it; returns of how many kernels it has the BTF.

    These are the ones of this machine's kind in the folder `archive`. Raises CompileError where there are none, or no
    bpftool, which cuts them.
    """
    if not os.path.isdir(archive):
        raise CompileError(
            f"{archive}: there is no such folder", hint=f"git clone --depth 1 {_ADDRESS} {archive}"
        )
    kernels = sorted(_kernels(archive))
    if not kernels:
        raise CompileError(f"{archive}: it has no BTF for {os.uname().machine}")
    bpftool = shutil.which("bpftool", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if bpftool is None:
        raise CompileError("bpftool: not found, and it cuts BTF", hint="install it: apt install bpftool")
    from concurrent.futures import ThreadPoolExecutor

    with tempfile.TemporaryDirectory(prefix="snoopkit-") as scratch:
        object = os.path.join(scratch, "object.o")
        with open(object, "wb") as file:
            file.write(package.object)

        def cut(number: int) -> bytes:
            return _cut(bpftool, kernels[number][1], object, os.path.join(scratch, str(number)))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pieces = list(pool.map(cut, range(len(kernels))))
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as out:

        def add(inside: str, data: bytes) -> None:
            entry = tarfile.TarInfo(inside)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))

        add("package.json", package.dumps())
        for (place, _), piece in zip(kernels, pieces, strict=True):
            add(f"{FOLDER}/{place}.btf", piece)
        add(name, package.object)
    return len(kernels)


def _kernels(archive: str) -> Iterator[tuple[str, str]]:
    """(ID/VERSION_ID/MACHINE/RELEASE, file) for each of this machine's kind."""
    for folder, _, files in os.walk(archive):
        if os.path.basename(folder) != os.uname().machine:
            continue
        for file in files:
            for ending in _ENDINGS:
                if file.endswith(ending):
                    path = os.path.join(folder, file)
                    yield os.path.relpath(path, archive).removesuffix(ending), path
                    break


def _cut(bpftool: str, path: str, object: str, scratch: str) -> bytes:
    """What the object needs of one kernel's BTF."""
    whole, piece = f"{scratch}.whole", f"{scratch}.piece"
    try:
        if path.endswith(".btf"):
            shutil.copyfile(path, whole)
        else:
            with tarfile.open(path) as packed:
                inner = next(entry for entry in packed if entry.isreg() and entry.name.endswith(".btf"))
                reader = packed.extractfile(inner)
                assert reader is not None
                with open(whole, "wb") as file:
                    shutil.copyfileobj(reader, file)
    except (tarfile.TarError, StopIteration, EOFError, OSError):
        raise CompileError(f"{path}: it can't be read") from None
    done = subprocess.run(
        [bpftool, "gen", "min_core_btf", whole, piece, object],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    os.unlink(whole)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it fails"]
        raise CompileError(f"{path}: bpftool: {said[-1]}")
    with open(piece, "rb") as file:
        return file.read()


def package_json(data: bytes) -> bytes:
    """The package's own file in such an archive. PackageError."""
    found = _member(data, "package.json")
    if found is None:
        raise PackageError("package: a tar archive without a package.json")
    return found


def kernel_btf(data: bytes) -> bytes | None:
    """The BTF of the kernel that runs, if such an archive has it. PackageError."""
    import platform

    try:
        about = platform.freedesktop_os_release()
    except OSError:
        return None
    kernel = os.uname()
    place = f"{about.get('ID')}/{about.get('VERSION_ID')}/{kernel.machine}/{kernel.release}.btf"
    return _member(data, f"{FOLDER}/{place}")


def _member(data: bytes, name: str) -> bytes | None:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                if entry.isreg() and entry.name.removeprefix("./") == name:
                    if entry.size > LARGEST_FILE_BYTES:
                        break
                    reader = archive.extractfile(entry)
                    return reader.read() if reader is not None else None
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise PackageError(f"package: not a sound tar archive: {error}") from None
    return None
