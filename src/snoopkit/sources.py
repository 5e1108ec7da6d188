"""Where a target comes from: whatever the user names, what comes back is a checked package.

package.json                    a package, of ours or of eunomia-bpf's
x.tar                           one with the BTF of kernels that don't tell theirs: see `btfhub`
x.skel.json, x.bpf.o            a package in two files; either may be named
x.bpf.o                         an object alone
x.bpf.c                         a source, compiled, and kept for the next time
https://…                       a package or an object, fetched
-                               a package or an object on standard input
"""

from __future__ import annotations

import json
import os

from . import cache
from .btf import KIND_DATASEC, KIND_FWD, KIND_PTR, KIND_STRUCT
from .document import LARGEST_FILE_BYTES, parse_json
from .elf import Elf, strip_debug
from .errors import OptionError, PackageError
from .options import IGNORED_PREFIX
from .package import EVENT_MAP_TYPES, Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .btf import Btf

    Path = str | os.PathLike[str]

__all__ = ["read"]

# Part of a kept package's name: raise it whenever the same source would give another package.
_FORMAT = 1
_FOREIGN = (  # how other files begin, and what to do with them
    (b"\0asm", "a WebAssembly module", "its BPF object can be run, if you have that"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it and name the package in it"),
    (b"PK\3\4", "a zip archive", "unpack it and name the package in it"),
    (b"<", "a web page or XML", "was the download refused?"),
    (b"bpf_object:", "a package in YAML", "make it JSON: ecc writes that without -y"),
    (b"meta:", "a package in YAML", "make it JSON: ecc writes that without -y"),
)


def read(
    target: Path,
    *,
    header: Path | None = None,
    events: Mapping[str, str] | None = None,
    btf: Path | None = None,
) -> Package:
    """The package that `target` names: see above.

    `header` is a C source's own header, by default the one beside it of the same name; `btf` a kernel's BTF to compile
    it against. `events` goes from an event map's name to the struct of its records, for objects that don't tell.

    Raises PackageError for what isn't a sound package, CompileError for a source that can't be compiled, OptionError
    for `events` that can't be, OSError where a file can't be read.
    """
    path = os.fspath(target)
    if path.endswith(".c"):
        package = _compiled(path, header, btf)
    elif header is not None:
        raise OptionError(f"{path}: only a C source has a header to be compiled with")
    else:
        package = _found(path)
    return _with_events(package, events) if events else package


def kernel_btf(target: Path) -> str | None:
    """The path of this kernel's BTF where the kernel doesn't tell it and the tar archive `target` has it. It is good as
    long as this process is there. Errors as above."""
    from . import btfhub

    path = os.fspath(target)
    if os.path.exists(btfhub.KERNEL_BTF) or not os.path.isfile(path):
        return None
    data = _bytes(path)
    found = btfhub.kernel_btf(data) if data[257:262] == b"ustar" else None
    if found is None:
        return None
    kept = f"/proc/self/fd/{os.memfd_create('btf')}"
    with open(kept, "wb") as file:
        file.write(found)
    return kept


def _found(path: str) -> Package:
    if path == "-":
        import sys

        return _parsed(sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1), "standard input", None)
    if "://" in path and not os.path.exists(path):
        from .fetch import fetch

        return _parsed(fetch(path), path, None)
    if os.path.isdir(path):
        inside = os.path.join(path, "package.json")
        raise PackageError(
            f"{path}: a folder", hint=f"name {inside if os.path.exists(inside) else 'a file in it'}"
        )
    return _parsed(_bytes(path), path, path)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(LARGEST_FILE_BYTES + 1)


def _parsed(data: bytes, shown: str, path: str | None) -> Package:
    """What `data` is, its own first bytes say; `path` is where other files may stand beside it."""
    if data[:4] == b"\x7fELF":
        skeleton = _beside(path, (".bpf.o", ".o"), (".skel.json",))
        if skeleton is not None:
            return _joined(data, _bytes(skeleton), skeleton)
        return _of_object(data, shown)
    for begin, what, cure in _FOREIGN:
        if data.lstrip()[:16].startswith(begin):
            raise PackageError(f"{shown}: {what}, not a package", hint=cure)
    if data[257:262] == b"ustar":
        from . import btfhub

        return Package.parse(btfhub.package_json(data))
    if not data.strip():
        raise PackageError(f"{shown}: empty")
    document = parse_json(data)
    if isinstance(document, dict) and "bpf_skel" in document and "bpf_object" not in document:
        found = _beside(path, (".skel.json", ".json"), (".bpf.o", ".o"))
        if found is None:
            raise PackageError(
                f"{shown}: a skeleton; the object that it describes isn't beside it",
                hint="that is NAME.bpf.o for NAME.skel.json",
            )
        return _joined(_bytes(found), data, shown)
    return Package.parse(data)


def _beside(path: str | None, endings: tuple[str, ...], others: tuple[str, ...]) -> str | None:
    for ending in endings if path is not None else ():
        if path is not None and path.endswith(ending):
            base = path.removesuffix(ending)
            return next((base + other for other in others if os.path.isfile(base + other)), None)
    return None


def _joined(object: bytes, skeleton: bytes, shown: str) -> Package:
    meta = parse_json(skeleton)
    if not isinstance(meta, dict):
        raise PackageError(f"{shown}: it isn't a JSON object with bpf_skel")
    return Package(object, meta)


# ---------------------------------------------------------------------------------------------------------------
# An object alone


def _of_object(data: bytes, shown: str) -> Package:
    from . import skeleton

    data = strip_debug(data)
    elf = Elf.parse(data)
    btf = elf.btf()
    name = os.path.basename(shown).split(".")[0] if shown != "standard input" else "stdin"
    return Package(data, skeleton.meta(elf, btf, name, _declared(btf)))


def _declared(btf: Btf) -> list[int]:
    """The structs that an object itself declares to be events: by tag, by ecc's dummies, or by being called `event`."""
    from . import skeleton

    found = skeleton.tagged(btf)
    if found:
        return found
    section = btf.find(".bss", KIND_DATASEC)
    for variable_id, _, _ in btf.types[section].variables if section is not None else ():
        variable = btf.types[variable_id]
        pointer = btf.types[btf.resolve(variable.type_id)]
        if variable.name.startswith(IGNORED_PREFIX) and pointer.kind == KIND_PTR:
            struct = btf.resolve(pointer.type_id)
            if btf.types[struct].kind == KIND_FWD:
                continue
            found.append(struct)
    if not found and (named := btf.find("event", KIND_STRUCT)) is not None:
        found.append(named)
    return found


def _with_events(package: Package, events: Mapping[str, str]) -> Package:
    from . import skeleton

    entries: list[dict[str, Any]] = []
    for map_name, struct_name in events.items():
        spec = package.maps.get(map_name)
        if spec is None or spec.type not in EVENT_MAP_TYPES:
            known = [name for name, spec in package.maps.items() if spec.type in EVENT_MAP_TYPES]
            raise OptionError(
                f"--event: {map_name!r} is no event map of the object",
                hint=f"it has {', '.join(known)}" if known else "it has none",
            )
        type_id = package.btf.find(struct_name, KIND_STRUCT)
        if type_id is None:
            raise OptionError(
                f"--event: the object has no struct {struct_name!r}", hint=_structs(package.btf)
            )
        entries.append({"map": map_name, **skeleton.untagged_event(package.btf, type_id)})
    own = package.meta.get("snoopkit") or {"version": skeleton.META_VERSION}
    others = [entry for entry in own.get("events") or [] if entry["map"] not in events]
    return Package(package.object, package.meta | {"snoopkit": own | {"events": others + entries}})


def _structs(btf: Btf) -> str:
    names = [t.name for t in (btf.types[i] for i in range(1, len(btf))) if t.kind == KIND_STRUCT and t.name]
    return "it has " + ", ".join(names[-10:]) + (", and others" if len(names) > 10 else "")


# ---------------------------------------------------------------------------------------------------------------
# A source
#
# What it was compiled to is kept, with the hash of every file that clang read. One entry for each source and what else
# decides: the compiler, the kernel, the names of the headers beside it, one of which could hide another.


def _compiled(path: str, header: Path | None, btf: Path | None) -> Package:
    from . import compiler

    is_own = header is None
    header = os.fspath(header) if header is not None else compiler.own_header(path)
    place = _place(path, header, btf, compiler.find_clang())
    kept = _kept(place) if place is not None else None
    if kept is not None:
        return kept
    files: set[str] = set()
    package, diagnostics = compiler.compile_package(path, header, is_own=is_own, btf=btf, files=files)
    if diagnostics:
        package.warnings += (diagnostics,)
    if place is not None:
        _keep(place, files, diagnostics, package)
    return package


def _place(path: str, header: str | None, btf: Path | None, clang: str) -> str | None:
    """The file to keep it in; None if there is no folder that only we can write in."""
    from . import __version__

    base = cache.home()
    folder = os.path.join(base, "built")
    if not os.path.isfile(path) or not cache.prepare(base, folder):
        return None
    about = os.stat(clang)
    source = os.path.realpath(path)
    beside = sorted(name for name in os.listdir(os.path.dirname(source)) if name.endswith(".h"))
    kernel = _digest(_bytes(os.fspath(btf))) if btf is not None else [os.uname().release, os.uname().version]
    decides = [
        *(_FORMAT, __version__, source, header and os.path.realpath(header), beside, kernel),
        *(os.path.realpath(clang), about.st_size, about.st_mtime_ns, os.environ.get("CPATH")),
    ]
    return os.path.join(folder, f"{_digest(json.dumps(decides).encode())}.json")


def _kept(place: str) -> Package | None:
    try:
        if not cache.is_private(place):
            return None
        head, _, body = _bytes(place).partition(b"\n")
        told = json.loads(head)
        if any(_digest(_bytes(path)) != digest for path, digest in told["files"].items()):
            return None
        package = Package.parse(body)
    except (OSError, ValueError, PackageError):
        return None
    if told["diagnostics"]:
        package.warnings += (told["diagnostics"],)
    return package


def _keep(place: str, files: set[str], diagnostics: str, package: Package) -> None:
    try:
        told = {"files": {path: _digest(_bytes(path)) for path in sorted(files)}, "diagnostics": diagnostics}
        cache.write(place, json.dumps(told).encode() + b"\n" + package.dumps())
    except OSError:
        pass  # a full disk, or a file that is gone already: the package is there all the same


def _digest(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()
