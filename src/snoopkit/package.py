"""The package file: one JSON document with the object, compressed, and what there is to know about it.

The format is eunomia-bpf's, so that packages go both ways between their tools and ours. Whatever is read is taken
for hostile: everything is bounded and checked here, once, so that neither libbpf nor a later room meets a byte that
nobody looked at. Where the meta and the object disagree, the object is right, or the package is refused.
"""

from __future__ import annotations

from . import options as option_reader
from .btf import KIND_ARRAY, KIND_DATASEC, KIND_PTR, KIND_STRUCT, Btf
from .document import LARGEST_FILE_BYTES, inflate, packed, parse_json
from .elf import Elf
from .errors import PackageError

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    import os
    from collections.abc import Container, Mapping, Sequence
    from typing import Any, BinaryIO

    from .layout import StructType, TailPart
    from .options import OptionSpec

__all__ = ["EventSpec", "MapSpec", "Package", "ProgramSpec"]

MAP_TYPE_PERF_EVENT_ARRAY, MAP_TYPE_PERCPU_ARRAY, MAP_TYPE_RINGBUF = 4, 6, 27
EVENT_MAP_TYPES = (MAP_TYPE_PERF_EVENT_ARRAY, MAP_TYPE_RINGBUF)


def is_iterator(section: str) -> bool:
    """Whether programs of this section are BPF iterators, which run when they are read."""
    return section.removeprefix("?").startswith(("iter/", "iter.s/"))


class ProgramSpec:
    """A program of the object. `optional` ones (`SEC("?…")`) are loaded only where somebody asks for them.

    `extras` are what the package says beyond: description, tchook, ifindex and so on.
    """

    __slots__ = ("extras", "is_iterator", "name", "optional", "section")

    def __init__(self, name: str, section: str, extras: dict[str, Any]) -> None:
        self.name = name
        self.section = section
        self.optional = section.startswith("?")
        self.is_iterator = is_iterator(section)
        self.extras = extras

    def __repr__(self) -> str:
        return f"<ProgramSpec {self.name} in {self.section}>"


class MapSpec:
    """A map that the object's source declares. `type` is the kernel's number, sizes are in bytes; 0 entries are
    left to the loader. The type ids are BTF's, 0 where the source gave only a size."""

    __slots__ = (
        "extras",
        "ident",
        "key_size",
        "key_type_id",
        "max_entries",
        "name",
        "type",
        "value_size",
        "value_type_id",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.ident = name
        self.type = 0
        self.key_size = 0
        self.value_size = 0
        self.max_entries = 0
        self.key_type_id = 0
        self.value_type_id = 0
        self.extras: dict[str, Any] = {}

    @property
    def sample(self) -> dict[str, Any] | None:
        """How the map is to be looked at from time to time, if it is: see `sampling`."""
        return self.extras.get("sample")

    def __repr__(self) -> str:
        return f"<MapSpec {self.name} of type {self.type}>"


class EventSpec:
    """One type of event that comes out of one map, or that an iterator writes: then `map` is the program's name.

    Where a map carries several, `kind_member` (a path such as "header.type") tells them apart by `kind_value`.
    A record may be shorter than its struct where `tail_member` is a trailing array; `tail_parts` stand in it one
    after another. `struct` is laid out when it is first asked for: the kernel gets its programs sooner.
    """

    __slots__ = ("_btf", "_parts", "_struct", "kind_member", "kind_value", "map", "tail_member", "type_id")

    def __init__(
        self,
        map: str,
        btf: Btf,
        type_id: int,
        kind_member: str | None = None,
        kind_value: int | None = None,
        tail_member: str | None = None,
        tail_parts: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.map = map
        self.type_id = type_id
        self.kind_member = kind_member
        self.kind_value = kind_value
        self.tail_member = tail_member
        self._btf = btf
        self._parts = tail_parts
        self._struct: StructType | None = None

    @property
    def struct(self) -> StructType:
        if self._struct is None:
            from .layout import struct_type

            self._struct = struct_type(self._btf, self.type_id)
        return self._struct

    @property
    def size_bytes(self) -> int:
        """The struct's."""
        return self._btf.size_of(self.type_id)

    @property
    def tail_parts(self) -> tuple[TailPart, ...]:
        from .layout import TailPart

        return tuple([TailPart(part["name"], part["size_member"], part["form"]) for part in self._parts])

    def __repr__(self) -> str:
        return f"<EventSpec {self.struct.name} from {self.map}>"


class Package:
    """A checked package: whatever there is to know of it without a kernel.

    - `name`; `doc`: what its source says about itself, by key; `warnings`: what is odd, but not wrong
    - `options`: `OptionSpec`s by name; `programs`: `ProgramSpec`s; `maps`: `MapSpec`s
    - `event_specs`: its events, as `EventSpec`s
    - `losses_map`: where the program counts its outputs; `ring_switches`: the variables that have it output to ring
      buffers, one for each source that was linked; none where it can't
    - `object`: the ELF's bytes; `meta`: the document's meta as it was; `elf` and `btf`: both already validated
    """

    def __init__(self, object: bytes, meta: dict[str, Any], *, trusted: bool = False) -> None:
        """Raises PackageError if anything in the object or the meta is malformed, or if they contradict.

        `trusted` leaves the costly half of the checks out: only for what comes with the program that reads it, and was
        checked when that was built."""
        self.object = object
        self.meta = meta
        self.elf = Elf.parse(object)
        self.btf = self.elf.btf(trusted)
        if self.btf.byteorder != self.elf.byteorder:
            raise PackageError("BTF: its byte order isn't the object's")
        if not trusted:
            from . import meta as meta_checks

            meta_checks.check(meta)
        warnings: list[str] = []
        skeleton = meta["bpf_skel"]
        self.name: str = skeleton["obj_name"]
        self.doc: dict[str, str] = skeleton.get("doc") or {}
        self.programs = _programs(self.elf, skeleton.get("progs") or [], warnings)
        self.maps = read_maps(self.btf, skeleton.get("maps") or [])
        self.options = _options(self.elf, self.btf, meta, warnings)
        own = meta.get("snoopkit") or {}
        exported = None if trusted and "events" in own else _exported(self.btf, meta)
        self.event_specs = (
            _own_events(self.btf, self.maps, self.programs, own["events"], trusted)
            if "events" in own
            else _foreign_events(self.btf, self.maps, exported, meta, warnings)
        )
        self.losses_map = _losses(self.maps, own.get("losses"))
        self.ring_switches = _ring_switches(self.elf, self.btf, own.get("ring"))
        for switch in self.ring_switches:
            self.options.pop(switch.name, None)
        self.warnings = tuple(warnings)

    @property
    def events(self) -> dict[str, StructType]:
        """The struct of the (first) event that comes through each map, by the map's name."""
        return self._first_structs(True)

    @property
    def iterators(self) -> dict[str, StructType]:
        """The struct of what each BPF iterator writes, by the program's name, where the source says so."""
        return self._first_structs(False)

    def _first_structs(self, of_maps: bool) -> dict[str, StructType]:
        found: dict[str, StructType] = {}
        for spec in self.event_specs:
            if (spec.map in self.maps) == of_maps and spec.map not in found:
                found[spec.map] = spec.struct
        return found

    @classmethod
    def read(cls, source: str | os.PathLike[str] | bytes | BinaryIO, *, trusted: bool = False) -> Package:
        """The package in a file, in an open binary file, or in bytes.

        `trusted`, for a package that is part of the program that reads it, leaves the costly half of the checks out: a
        start is 3 ms shorter, and a package that isn't sound may crash the process.
        Raises PackageError for what isn't a sound package, OSError where the file can't be read.
        """
        if isinstance(source, (bytes, bytearray, memoryview)):
            return cls.parse(bytes(source), trusted=trusted)
        if hasattr(source, "read"):
            return cls.parse(source.read(LARGEST_FILE_BYTES + 1), trusted=trusted)
        with open(source, "rb") as file:
            return cls.parse(file.read(LARGEST_FILE_BYTES + 1), trusted=trusted)

    @classmethod
    def parse(cls, data: bytes, *, trusted: bool = False) -> Package:
        """The package in `data`, a JSON document. PackageError for one that isn't sound; `trusted` as in `read`."""
        document = parse_json(data)
        if not isinstance(document, dict) or "bpf_object" not in document or "meta" not in document:
            raise PackageError("package: it isn't a JSON object with bpf_object and meta")
        meta = document["meta"]
        if not isinstance(meta, dict):
            from .meta import kind_of

            raise PackageError(f"meta: expected an object, found {kind_of(meta)}")
        return cls(inflate(document), meta, trusted=trusted)

    def dumps(self) -> bytes:
        """The package file's bytes: the same for the same object and meta."""
        document = {
            "bpf_object": packed(self.object),
            "bpf_object_size": len(self.object),
            "meta": self.meta,
        }
        from json import dumps

        return dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the package file. OSError where that can't be."""
        data = self.dumps()
        with open(path, "wb") as file:
            file.write(data)

    @property
    def sha256(self) -> str:
        """Of the package file as `dumps` gives it, in hex."""
        from hashlib import sha256

        return sha256(self.dumps()).hexdigest()

    def __repr__(self) -> str:
        return f"<Package {self.name}: {', '.join(self.programs)}>"


# ---------------------------------------------------------------------------------------------------------------
# Programs, maps, options


def _programs(elf: Elf, entries: list[dict[str, Any]], warnings: list[str]) -> dict[str, ProgramSpec]:
    programs = {}
    for symbol in elf.programs():
        section = elf.sections[symbol.section].name
        if symbol.name in programs:
            raise PackageError(f"ELF: two programs are called {symbol.name!r}")
        if not symbol.name.isascii() or not symbol.name.isidentifier() or not section.isprintable():
            raise PackageError(f"ELF: {symbol.name!r} in {section!r} isn't a name for a program")
        programs[symbol.name] = ProgramSpec(symbol.name, section, {})
    for index, entry in enumerate(entries):
        program = programs.get(entry["name"])
        if program is None:
            raise PackageError(f"meta.bpf_skel.progs[{index}].name: no program is called {entry['name']!r}")
        if entry.get("attach", program.section) != program.section:
            warnings.append(
                f"program {program.name}: its section is {program.section!r}, not {entry['attach']!r}"
            )
        program.extras = {key: value for key, value in entry.items() if key not in ("name", "attach", "link")}
    return programs


def read_maps(btf: Btf, entries: list[dict[str, Any]]) -> dict[str, MapSpec]:
    maps = {}
    datasec = btf.find(".maps", KIND_DATASEC)
    for variable_id, _, _ in btf.types[datasec].variables if datasec is not None else ():
        variable = btf.types[variable_id]
        if variable.name in maps:
            raise PackageError(f"BTF: two maps are called {variable.name!r}")
        maps[variable.name] = _map(btf, variable.name, variable.type_id)
    for entry in entries:
        spec = maps.get(entry["ident"]) or maps.get(entry["name"])
        if spec is not None:  # the others are libbpf's own: .rodata, .bss and their like
            spec.ident = entry["ident"]
            spec.extras = {k: v for k, v in entry.items() if k not in ("name", "ident", "mmaped")}
            if "intepreter" in spec.extras:
                spec.extras.setdefault("interpreter", spec.extras.pop("intepreter"))
    return maps


def _map(btf: Btf, name: str, type_id: int) -> MapSpec:
    spec = MapSpec(name)
    definition = btf.types[btf.resolve(type_id)]
    if definition.kind != KIND_STRUCT:
        raise PackageError(f"BTF: map {name!r} isn't defined by a struct")
    for member in definition.members:
        pointer = btf.types[btf.resolve(member.type_id)]
        if pointer.kind != KIND_PTR:
            continue  # `values`, a trailing array: libbpf's business
        if member.name in ("type", "key_size", "value_size", "max_entries"):
            number = btf.types[pointer.type_id]
            if number.kind != KIND_ARRAY:
                raise PackageError(f"BTF: map {name!r}: {member.name} isn't a number")
            setattr(spec, member.name, number.count)
        elif member.name in ("key", "value"):
            setattr(spec, f"{member.name}_type_id", pointer.type_id)
            setattr(spec, f"{member.name}_size", btf.size_of(pointer.type_id))
    return spec


def _options(elf: Elf, btf: Btf, meta: dict[str, Any], warnings: list[str]) -> dict[str, OptionSpec]:
    found: dict[str, OptionSpec] = {}
    longs: set[str] = set()
    own = meta.get("snoopkit") or {}
    for holder, holder_path in ((meta["bpf_skel"], "meta.bpf_skel"), (own, "meta.snoopkit")):
        for place, section in enumerate(holder.get("data_sections") or []):
            for index, variable in enumerate(section["variables"] or []):
                if variable["name"].startswith(option_reader.IGNORED_PREFIX):
                    continue
                path = f"{holder_path}.data_sections[{place}].variables[{index}]"
                spec = option_reader.read(elf, btf, section["name"], variable, path)
                if spec is None:
                    continue
                if spec.name in found:
                    raise PackageError(f"{path}.name: {spec.name!r} is there twice")
                if spec.long in longs:
                    warnings.append(f"option {spec.name}: another one is called --{spec.long} too")
                    spec.long = spec.name
                longs.add(spec.long)
                found[spec.name] = spec
    return found


# ---------------------------------------------------------------------------------------------------------------
# Events


def is_event_source(name: str, maps: Mapping[str, MapSpec], iterators: Container[str]) -> bool:
    """Whether records come by that name: through a map of events, or from an iterator, where no map has the name."""
    return maps[name].type in EVENT_MAP_TYPES if name in maps else name in iterators


def _own_events(
    btf: Btf,
    maps: dict[str, MapSpec],
    programs: dict[str, ProgramSpec],
    entries: list[dict[str, Any]],
    trusted: bool,
) -> tuple[EventSpec, ...]:
    iterators = [spec.name for spec in programs.values() if spec.is_iterator]
    specs: list[EventSpec] = []
    kinds: dict[str, set[tuple[str, int] | None]] = {}
    for index, entry in enumerate(entries):
        path = f"meta.snoopkit.events[{index}]"
        if not is_event_source(entry["map"], maps, iterators):
            raise PackageError(
                f"{path}.map: {entry['map']!r} isn't a perf event array, ring buffer or iterator of the object"
            )
        member, value = entry.get("kind_member"), entry.get("kind_value")
        if (member is None) != (value is None):
            raise PackageError(f"{path}: kind_member and kind_value need each other")
        tail, parts = entry.get("tail_member"), entry.get("tail_parts") or []
        spec = EventSpec(entry["map"], btf, entry["type_id"], member, value, tail, parts)
        if not trusted:
            _struct(btf, entry["type_id"], f"{path}.type_id")
            _check_event(spec, path)
        seen = kinds.setdefault(spec.map, set())
        kind = None if member is None or value is None else (member, value)
        if kind in seen or (seen and (kind is None or None in seen)):
            raise PackageError(f"{path}: nothing tells it from another event of map {spec.map!r}")
        seen.add(kind)
        specs.append(spec)
    return tuple(specs)


def _exported(btf: Btf, meta: dict[str, Any]) -> int | None:
    """The first exported type's id; each must be the struct of the object that it says it is."""
    exported = meta.get("export_types") or []
    first = None
    if isinstance(exported, dict):
        # Before eunomia-bpf 0.3: ids of another BTF; the struct's name leads to ours.
        names = [entry["name"] for entry in exported.get("structs") or []]
        first = next((known for name in names if (known := btf.find(name, KIND_STRUCT)) is not None), None)
    for index, entry in enumerate(exported if isinstance(exported, list) else []):
        path = f"meta.export_types[{index}]"
        struct = _struct(btf, entry["type_id"], f"{path}.type_id")
        if entry["name"] != struct.name or len(entry["members"]) != len(btf.types[struct.type_id].members):
            raise PackageError(
                f"{path}: type {entry['type_id']} of the object isn't this struct {entry['name']!r}"
            )
        first = entry["type_id"] if first is None else first
    return first


def _foreign_events(
    btf: Btf, maps: dict[str, MapSpec], first: int | None, meta: dict[str, Any], warnings: list[str]
) -> tuple[EventSpec, ...]:
    """A package of somebody else's: each event map carries the first exported type, unless it says otherwise."""
    from .layout import flexible_tail

    several = meta.get("enable_multiple_export_types", False)
    specs = []
    for spec in maps.values():
        if spec.type not in EVENT_MAP_TYPES:
            continue
        type_id = first
        config = spec.extras.get("export_config", "no_export")
        if several and config == "no_export":
            continue
        if several and isinstance(config, dict) and "btf_type_id" in config:
            type_id = config["btf_type_id"]
        if type_id is None:
            warnings.append(
                f"map {spec.name}: the package doesn't say what its records are (--event {spec.name}=STRUCT does)"
            )
            continue
        tail = flexible_tail(_struct(btf, type_id, f"map {spec.name!r}"))
        event = EventSpec(spec.name, btf, type_id, tail_member=tail)
        _check_event(event, f"map {spec.name!r}")
        specs.append(event)
    return tuple(specs)


def _struct(btf: Btf, type_id: int, path: str) -> StructType:
    if not 0 < type_id < len(btf):
        raise PackageError(f"{path}: the object's BTF has no type {type_id}")
    if btf.types[btf.resolve(type_id)].kind != KIND_STRUCT:
        raise PackageError(f"{path}: type {type_id} of the object isn't a struct")
    from .layout import struct_type

    struct = struct_type(btf, type_id)
    if not struct.members:
        raise PackageError(f"{path}: struct {struct.name!r} has no members")
    return struct


def _check_event(spec: EventSpec, path: str) -> None:
    from .layout import IntType, locate
    from .plans import event_plan

    try:
        event_plan(spec.struct, tail_member=spec.tail_member, tail_parts=spec.tail_parts)
        if spec.kind_member is None or spec.kind_value is None:
            return
        kind = locate(spec.struct, spec.kind_member)
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from None
    if not isinstance(kind.type, IntType) or kind.bit_size or kind.type.size_bytes > 8:
        raise PackageError(f"{path}.kind_member: {spec.kind_member!r} isn't a plain integer")
    if not 0 <= spec.kind_value < 1 << 8 * kind.type.size_bytes:
        raise PackageError(f"{path}.kind_value: {spec.kind_value} doesn't fit {spec.kind_member!r}")


def _losses(maps: dict[str, MapSpec], name: str | None) -> str | None:
    if name is None:
        return None
    spec = maps.get(name)
    if spec is None or spec.type != MAP_TYPE_PERCPU_ARRAY or spec.key_size != 4 or spec.value_size != 16:
        raise PackageError(
            f"meta.snoopkit.losses: {name!r} isn't a per-CPU array of {{ __u64 attempts; __u64 failed; }}"
        )
    return name


def _ring_switches(elf: Elf, btf: Btf, name: str | None) -> tuple[OptionSpec, ...]:
    """Every static variable of that name: each source that was linked has its own."""
    if name is None:
        return ()
    section = elf.section(".rodata")
    found = []
    for symbol in elf.symbols:
        if section is None or symbol.name != name or symbol.section != section.index:
            continue
        spec = option_reader.read(elf, btf, ".rodata", {"name": name}, "meta.snoopkit.ring")
        if spec is None or spec.form != option_reader.BOOL or symbol.value >= section.size:
            break
        spec.offset_bytes = symbol.value
        found.append(spec)
    else:
        if found:
            return tuple(found)
        option_reader.read(elf, btf, ".rodata", {"name": name}, "meta.snoopkit.ring")  # says what is missing
    raise PackageError(f"meta.snoopkit.ring: {name!r} isn't a const volatile bool")
