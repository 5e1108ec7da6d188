"""The variables of `.rodata`, `.data` and `.bss`, by name."""

from __future__ import annotations

from ..btf import KIND_DATASEC
from ..errors import MapError, UnsupportedError
from ..options import IGNORED_PREFIX
from ..plans import Forms
from .values import codec_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .. import _core
    from ..btf import Btf
    from ..loader import Object
    from ..package import Package
    from .values import Codec

READ_ONLY = 0x80  # BPF_F_RDONLY_PROG


class _Place:
    """Where a variable stands: in which map, at which byte, and of which type."""

    __slots__ = ("_btf", "_codec", "_forms", "map", "offset_bytes", "size_bytes", "type_id")

    def __init__(
        self, btf: Btf, forms: Forms, map: _core.Map, offset_bytes: int, size_bytes: int, type_id: int
    ) -> None:
        self._btf = btf
        self._forms = forms
        self._codec: Codec | None = None
        self.map = map
        self.offset_bytes = offset_bytes
        self.size_bytes = size_bytes
        self.type_id = type_id

    @property
    def codec(self) -> Codec:
        if self._codec is None:
            self._codec = codec_of(self._btf, self.type_id, self.size_bytes, self._forms)
        return self._codec


class Globals:
    """The program's global variables, live: `globals.name`, or `globals["name"]` for any name.

    Reading gives what is there now: numbers, enumerations by name, text, lists, structs as records; a variable whose
    type can't be read is bytes. Reading and writing go through the memory that the program uses, without a system
    call: aligned numbers up to 64 bits in one piece, anything larger byte by byte, so that the program may see or
    leave half of it. Writing changes the variable's own bytes and no others. What is constant for the program
    (`const`, in `.rodata`) can only be set before load, as an option: TypeError.

    `text` and `u8` are as for `typed_maps`. Iterating gives the names. AttributeError, or KeyError, for a name that the
    program doesn't have; ValueError after the object is closed.
    """

    __slots__ = ("_places",)
    _places: dict[str, _Place]

    def __init__(self, object: Object, package: Package, *, text: str = "str", u8: str = "list") -> None:
        super().__setattr__("_places", _places(object, package, Forms(text, u8)))

    def __getattr__(self, name: str) -> Any:
        try:
            place = self._places[name]
        except KeyError:
            raise AttributeError(self._unknown(name)) from None
        return _read(place)

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            place = self._places[name]
        except KeyError:
            raise AttributeError(self._unknown(name)) from None
        _write(name, place, value)

    def __getitem__(self, name: str) -> Any:
        if name not in self._places:
            raise KeyError(self._unknown(name))
        return _read(self._places[name])

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._places:
            raise KeyError(self._unknown(name))
        _write(name, self._places[name], value)

    def _unknown(self, name: str) -> str:
        return f"the program has no variable {name!r}; it has {', '.join(self._places) or 'none'}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._places})

    def __repr__(self) -> str:
        return f"<globals: {', '.join(self._places) or 'none'}>"


def _places(object: Object, package: Package, forms: Forms) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    btf, elf = package.btf, package.elf
    for name, map in object.maps.items():
        section = elf.section(name)
        datasec = btf.find(name, KIND_DATASEC)
        if section is None or datasec is None or not name.startswith((".rodata", ".data", ".bss")):
            continue
        offsets = {symbol.name: symbol.value for symbol in elf.symbols if symbol.section == section.index}
        for variable_id, _, size_bytes in btf.types[datasec].variables:
            variable = btf.types[variable_id]
            offset = offsets.get(variable.name)
            if offset is None or variable.name.startswith(IGNORED_PREFIX):
                continue
            if offset + size_bytes <= map.value_size:
                places[variable.name] = _Place(btf, forms, map, offset, size_bytes, variable.type_id)
    return places


def _read(place: _Place) -> Any:
    try:
        data = place.map.read_shared(place.offset_bytes, place.size_bytes)
    except MapError:
        # Before 5.5, and where the section has a lock or a timer, the kernel shares no memory.
        whole = place.map.lookup(bytes(4))
        if whole is None:
            raise
        data = whole[place.offset_bytes : place.offset_bytes + place.size_bytes]
    return place.codec.decode(data)


def _write(name: str, place: _Place, value: Any) -> None:
    if place.map.flags & READ_ONLY:
        raise TypeError(
            f"variable {name} is constant for the program ({place.map.name}): set it before load, as an option"
        )
    try:
        data = place.codec.encode(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"variable {name}: {error}") from None
    try:
        place.map.write_shared(place.offset_bytes, data)
    except MapError as error:
        raise UnsupportedError(
            f"write: variable {name}: the kernel shares no memory of {place.map.name}",
            feature="maps shared as memory",
            errno=error.errno,
            hint="only the whole section could be written, over what the program changes meanwhile",
        ) from None
