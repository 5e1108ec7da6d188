"""Several sources, compiled each by itself, to one package: their objects are linked as libbpf links them.

This is the one thing on the way to a package that needs libbpf, and so the native module; it is imported only here,
when there is something to link.
"""

from __future__ import annotations

import os
import tempfile

from . import skeleton
from .btf import KIND_STRUCT
from .elf import Elf, strip_debug
from .errors import CompileError, PackageError
from .package import EVENT_MAP_TYPES, Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["link"]

_OF_PROGRAMS, _OF_MAPS, _OF_VARIABLES = ("attach", "link"), ("ident", "mmaped"), ("type", "size")


def link(packages: Sequence[Package], name: str) -> Package:
    """One package, called `name`, with the programs, maps, variables and events of all.

    Programs of one may call the global functions and use the `extern` maps of another. The whole can have either
    transport if each that has maps of events can.

    Raises CompileError, with the linker's words, where they don't fit together.
    """
    from . import _core

    with tempfile.TemporaryDirectory(prefix="snoopkit-") as scratch:
        inputs = []
        for number, package in enumerate(packages):
            inputs.append(os.path.join(scratch, f"{number}.o"))
            with open(inputs[-1], "wb") as file:
                file.write(package.object)
        output = os.path.join(scratch, "linked.o")
        try:
            _core.link_objects([os.fsencode(path) for path in inputs], os.fsencode(output))
        except PackageError as error:
            said = getattr(error, "log", "").replace(scratch + os.sep, "")
            raise CompileError(
                f"link: the sources don't fit together: {_last(said) or error.message}", diagnostics=said
            ) from None
        with open(output, "rb") as file:
            data = strip_debug(file.read())
    elf = Elf.parse(data)
    btf = elf.btf()
    exported: list[int] = []
    for package in packages:
        for entry in package.meta["export_types"]:
            type_id = btf.find(entry["name"], KIND_STRUCT)
            if type_id is not None and type_id not in exported:
                exported.append(type_id)
    meta = skeleton.meta(elf, btf, name, exported, _notes(packages))
    if not all(
        part.ring_switches
        for part in packages
        if any(spec.type in EVENT_MAP_TYPES for spec in part.maps.values())
    ):
        meta["snoopkit"].pop("ring", None)
    return Package(data, meta)


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].removeprefix("libbpf: ") if lines else ""


def _notes(packages: Sequence[Package]) -> dict[str, dict[str, Any]]:
    """What the comments of all sources say, by the name of what they stand on."""
    notes: dict[str, dict[str, Any]] = {}
    for package in packages:
        found = package.meta["bpf_skel"]
        variables = [
            variable
            for holder in (found, package.meta["snoopkit"])
            for section in holder.get("data_sections") or []
            for variable in section["variables"]
        ]
        for entries, own in (
            (found["progs"], _OF_PROGRAMS),
            (found["maps"], _OF_MAPS),
            (variables, _OF_VARIABLES),
        ):
            for entry in entries:
                said = {key: value for key, value in entry.items() if key not in ("name", *own)}
                if said:
                    notes[entry["name"]] = said
        if "doc" in found:
            notes["LICENSE"] = found["doc"]
    return notes
