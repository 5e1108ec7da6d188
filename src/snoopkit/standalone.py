"""A package as one file that can be executed: with all of snoopkit that it takes to run it, but for Python and libbpf.

The file is a zip archive with a line in front that has Python execute it. Native modules are loaded from memory, so
that nothing is written where it runs. They belong to one version of Python and one kind of machine: on another one it
says so.
"""

from __future__ import annotations

import io
import os
import py_compile
import sys
import tempfile
import zipfile
from importlib.util import find_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .package import Package

__all__ = ["write"]

_NATIVE = ("snoopkit._core", "snoopkit._decode")
_LEFT_OUT = ("templates", "probes", "include", "__pycache__")
_MAIN = '''\
import os
import sys

NAME, VERSION, MACHINE, NATIVE = {name!r}, {version!r}, {machine!r}, {native!r}
here = sys.version_info[:2], os.uname().machine
if here != (VERSION, MACHINE):
    wanted, found = ["Python %d.%d on %s" % (*one[0], one[1]) for one in ((VERSION, MACHINE), here)]
    sys.exit("%s: error: it was made for %s, this is %s [make it anew with ecc -s there]" % (NAME, wanted, found))

from importlib.machinery import ExtensionFileLoader
from importlib.util import spec_from_file_location


class Native:
    """Modules that the dynamic linker has to read: from memory, for it can't read archives."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in NATIVE:
            return None
        place = "/proc/self/fd/%d" % os.memfd_create(name)
        with open(place, "wb") as file:
            file.write(__loader__.get_data("native/" + name))
        return spec_from_file_location(name, place, loader=ExtensionFileLoader(name, place))


sys.meta_path.insert(0, Native)
from snoopkit import Package
from snoopkit.cli.ecli import standalone

sys.exit(standalone(Package.parse(__loader__.get_data("package.json")), NAME)())
'''


def write(package: Package, path: str | os.PathLike[str]) -> None:
    """Write `package` as an executable: its arguments are the package's own options. The same bytes for the same
    package and snoopkit. OSError where it can't be written."""
    name = os.path.basename(os.fspath(path)).split(".")[0]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:

        def add(inside: str, data: bytes) -> None:
            file.writestr(zipfile.ZipInfo(inside), data, zipfile.ZIP_DEFLATED)

        main = _MAIN.format(
            name=name, version=tuple(sys.version_info[:2]), machine=os.uname().machine, native=_NATIVE
        )
        add("__main__.py", main.encode())
        add("package.json", package.dumps())
        for module in _NATIVE:
            spec = find_spec(module)
            assert spec is not None and spec.origin is not None
            with open(spec.origin, "rb") as native:
                add(f"native/{module}", native.read())
        for inside, data in _modules():
            add(inside, data)
    with open(path, "wb") as out:
        out.write(b"#!/usr/bin/env python3\n" + archive.getvalue())
        os.fchmod(out.fileno(), os.fstat(out.fileno()).st_mode | 0o111)


def _modules() -> list[tuple[str, bytes]]:
    """(place in the archive, bytes) of each module of snoopkit's that is Python's, compiled."""
    found = []
    top = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory(prefix="snoopkit-") as scratch:
        compiled = os.path.join(scratch, "module.pyc")
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if name not in _LEFT_OUT]
            for name in files:
                if not name.endswith(".py"):
                    continue
                inside = os.path.relpath(os.path.join(folder, name), os.path.dirname(top))
                py_compile.compile(
                    os.path.join(folder, name),
                    compiled,
                    dfile=inside,
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
                with open(compiled, "rb") as file:
                    found.append((f"{inside}c", file.read()))
    return sorted(found)
