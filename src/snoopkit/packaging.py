"""From an object to its package: which struct the events are, what the comments say, the meta."""

from __future__ import annotations

from . import anchors, skeleton
from .annotations import LICENSE, MAP, PROGRAM, STRUCT, VARIABLE, places, read as read_annotations
from .btf import Btf
from .elf import Elf
from .errors import CompileError, PackageError
from .package import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["package_of"]


def package_of(
    data: bytes, object_name: str, source: str, header: str | None, is_part: bool, is_own: bool
) -> Package:
    try:
        elf = Elf.parse(data)
        section = elf.section(".BTF")
        if section is None:
            raise CompileError(f"{source}: it has neither programs nor variables")
        structs = anchors.structs(Btf.parse(section.data, trusted=True))  # clang's own
        data = anchors.remove(data)
        elf = Elf.parse(data)
        section = elf.section(".BTF")
        assert section is not None
        btf = Btf.parse(section.data, trusted=True)  # the package checks it
        if not elf.programs() and source != header and not is_part:
            raise CompileError(
                f"{source}: it has no programs", hint='a program is a function with SEC("…") in front of it'
            )
        if header is not None and (structs or not is_own):
            if not structs:
                raise CompileError(f"{header}: it defines no struct, as {source} sees it")
            text = _text(header)
            notes = read_annotations(text, dict.fromkeys((name for _, name in structs), STRUCT), header)
            marked = [name for name, keys in notes.items() if "export" in keys]
            exported = skeleton.choose(btf, structs, header, marked)
        else:
            exported = skeleton.tagged(btf)
        kinds = {"LICENSE": LICENSE}
        for names, kind in zip(skeleton.names(elf, btf), (VARIABLE, MAP, PROGRAM), strict=True):
            kinds |= dict.fromkeys(names, kind)
        text = _text(source)
        notes = read_annotations(text, kinds, source)

        def package(notes: dict[str, Any]) -> Package:
            return Package(data, skeleton.meta(elf, btf, object_name, exported, notes, is_part=is_part))

        try:
            return package(notes)
        except PackageError:
            package({})  # where that is refused too, the comments are not at fault
            for name, line in places(text, kinds).items():
                try:
                    package({name: notes.get(name, {})})
                except PackageError as error:
                    raise CompileError(f"{source}:{line}: the comment on {name}: {error}") from error
            raise
    except PackageError as error:
        raise CompileError(f"{source}: no sound package comes of it: {error}") from error


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
