"""What a number means, as text: addresses, errors, signals, durations.

A member says in the source how it is to be shown, by `SNOOPKIT_AS(ipv4)` of `<snoopkit.bpf.h>`; a user by
`--as [STRUCT.]FIELD=ipv4`, which counts more. It is for tables and eunomia's text: JSON and CSV keep the numbers.
"""

from __future__ import annotations

import errno
import signal
import sys
from ipaddress import IPv4Address, IPv6Address
from time import CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_gettime_ns, localtime, strftime

from ..errors import OptionError, PackageError
from ..layout import ArrayType, CType, EnumType, IntType, Member, PointerType, StructType, c_type
from ..stacks import StackFormat
from .clock import WallClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Literal

    from ..package import EventSpec, Package

    Format = Callable[[Any], str]
    Formats = Mapping[str, Mapping[str, Format]]  # by struct (of a sampled map also by the map) and member

__all__ = ["NAMES", "formats", "named"]

TAG = "snoopkit.as:"
STACK = "stack"
MAP_TYPE_STACK_TRACE = 7
_DURATIONS = {"duration": 1, "duration_us": 1000, "duration_ms": 1_000_000, "duration_s": 1_000_000_000}
_ADDRESSES = {"ipv4": (4,), "ipv6": (16,), "ip": (4, 16), "mac": (6, 8)}  # by how many bytes they have


def formats(package: Package, wanted: Iterable[str] = ()) -> Formats:
    """How the members of the package's events, and of its sampled maps' keys and values, are shown.

    `wanted` are the user's, each `[STRUCT.]FIELD=FORMAT`; a map's name goes for a struct with `key` and `value`.
    Members that are stack traces have a `StackFormat`.

    Raises OptionError for a field or format that there isn't, or a format that the field's type doesn't have;
    PackageError where the source asks for one.
    """
    types = {name: list(members) for name, members in _types(package)}
    found: dict[str, dict[str, Format]] = {}
    for struct in _structs(package):
        for name, format in _tagged(package, struct):
            try:
                found.setdefault(struct.name, {})[name] = _of_member(package, format, struct.member(name))
            except OptionError as error:
                raise PackageError(
                    f"struct {struct.name}: {name}: {error.message}", hint=error.hint
                ) from None
    for event in package.event_specs:
        if how := _interpreted(package, event):
            found.setdefault(event.struct.name, {}).update(how)
    for text in wanted:
        path, equals, format = text.rpartition("=")
        if not equals:
            raise OptionError(f"--as {text}: that isn't FIELD=FORMAT")
        owner, _, field = path.rpartition(".")
        places = [
            (name, member)
            for name, members in types.items()
            for member in members
            if member.name == field and owner in ("", name)
        ]
        if not places:
            known = [
                spelling
                for name, members in types.items()
                for member in members
                for spelling in (member.name, f"{name}.{member.name}")
            ]
            raise OptionError(f"--as {text}: no field {path!r}", hint=_near(path, known))
        for name, member in places:
            found.setdefault(name, {})[field] = _of_member(package, format, member)
    return found


def _of_member(package: Package, format: str, member: Member) -> Format:
    if format.partition(":")[0] == STACK:
        return _stack(package, format.partition(":")[2], member)
    return named(format, member.type, "big" if package.btf.byteorder == "big" else "little")


def _types(package: Package) -> Iterator[tuple[str, tuple[Member, ...]]]:
    for struct in _structs(package):
        yield struct.name, struct.members
    for name, spec in package.maps.items():
        if spec.sample and spec.key_type_id and spec.value_type_id:
            ids = (("key", spec.key_type_id), ("value", spec.value_type_id))
            yield name, tuple([Member(role, 0, c_type(package.btf, type_id)) for role, type_id in ids])


def _structs(package: Package) -> Iterator[StructType]:
    """Those that are shown, and those inside of them that have a name."""
    waiting: list[CType] = [event.struct for event in package.event_specs]
    for spec in package.maps.values():
        for type_id in (spec.key_type_id, spec.value_type_id) if spec.sample else ():
            if type_id:
                waiting.append(c_type(package.btf, type_id))
    seen = set()
    for found in waiting:
        while isinstance(found, ArrayType):
            found = found.element
        if not isinstance(found, StructType) or found.type_id in seen:
            continue
        seen.add(found.type_id)
        waiting += [member.type for member in found.members]
        if found.name:
            yield found


def _tagged(package: Package, struct: StructType) -> Iterator[tuple[str, str]]:
    """(member, format) for each that the source has an opinion on, those of anonymous structs inside too."""
    waiting = [struct.type_id]
    for type_id in waiting:
        for index, member in enumerate(package.btf.types[type_id].members):
            if not member.name and not member.bit_size:
                waiting.append(package.btf.resolve(member.type_id))
            for tag in package.btf.tags(type_id, index):
                if tag.startswith(TAG):
                    yield member.name, tag.removeprefix(TAG)


def _stack(package: Package, name: str, member: Member) -> StackFormat:
    """A number needs the map where the stack is: the one called `name`, or the only one."""
    if isinstance(member.type, IntType) and member.type.size_bytes in (4, 8):
        maps = [spec.name for spec in package.maps.values() if spec.type == MAP_TYPE_STACK_TRACE]
        if name in maps or (not name and len(maps) == 1):
            return StackFormat(name or maps[0])
        if not maps:
            raise OptionError("its number is of no stack: there is no map of type BPF_MAP_TYPE_STACK_TRACE")
        raise OptionError(f"{name!r} is no map of stacks" if name else "of which map", hint=_near(name, maps))
    if not name and _is_addresses(member.type):
        return StackFormat()
    raise OptionError(
        f"{member.type} can't be shown as {STACK}", hint="an array of __u64, or a stack's number can"
    )


def _is_addresses(ctype: CType) -> bool:
    return (
        isinstance(ctype, ArrayType)
        and isinstance(ctype.element, (IntType, PointerType))
        and ctype.element.size_bytes == 8
    )


def _interpreted(package: Package, event: EventSpec) -> dict[str, Format]:
    """The stacks of an event whose map has eunomia-bpf's annotation `@interpreter {"stack_trace": …}`."""
    spec = package.maps.get(event.map)
    how = spec.extras.get("interpreter") if spec is not None else None
    if not isinstance(how, dict):
        return {}
    how = how["stack_trace"]
    names = how.get("field_map") or {}
    members = {member.name: member.type for member in event.struct.members}
    found: dict[str, Format] = {}
    for role in ("kstack", "ustack"):
        stack = StackFormat()
        stack.size_member = names.get(f"{role}_sz", f"{role}_sz")
        stack.pid, stack.comm = (names.get("pid", "pid"),), names.get("comm", "comm")
        stack.cpu = names.get("cpu_id", "cpu_id")
        stack.has_symbols = how.get("with_symbols", True)
        stack.is_eunomia = True
        name = names.get(role, role)
        for needed in (name, stack.size_member, *stack.pid, stack.comm, stack.cpu):
            if needed not in members:
                raise PackageError(
                    f"map {event.map}: struct {event.struct.name} has no member {needed!r} for the stack trace",
                    hint="the annotation's field_map can name another one",
                )
        if not _is_addresses(members[name]):
            raise PackageError(f"map {event.map}: {members[name]} {name} isn't a stack trace")
        found[name] = stack
    return found


def named(name: str, ctype: CType, order: Literal["little", "big"] = sys.byteorder) -> Format:
    """The format of that name for values of that type, which an object of this byte order holds.

    Raises OptionError if there is none, or not for that type.
    """
    if name not in NAMES:
        raise OptionError(f"no format {name!r}", hint=_near(name, (*NAMES, STACK)))
    if name in _ADDRESSES:
        if ctype.size_bytes in _ADDRESSES[name] and (octets := _octets(ctype, order)):
            show = _mac if name == "mac" else _ip
            return lambda value: show(octets(value))
    elif isinstance(ctype, (IntType, PointerType)) and (name != "port" or ctype.size_bytes in (2, 4, 8)):
        return _of_number(name, ctype, order)
    elif name == "hex" and isinstance(ctype, ArrayType) and ctype.is_octets:
        return lambda value: bytes(value).hex()
    elif isinstance(ctype, EnumType) and name == "hex":
        return lambda value: value if isinstance(value, str) else hex(value)
    raise OptionError(f"{ctype} can't be shown as {name}")


def _near(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    known = list(dict.fromkeys(known))
    found = get_close_matches(word, known, n=1)
    return f"did you mean {found[0]}?" if found else f"one of {', '.join(known)}"


# Bytes in the order of memory, which for addresses is the network's


def _octets(ctype: CType, order: Literal["little", "big"]) -> Callable[[Any], bytes] | None:
    """How to have a value's bytes; None for a type that isn't made of integers."""
    if isinstance(ctype, IntType):
        size = ctype.size_bytes
        return lambda value: (value % (1 << 8 * size)).to_bytes(size, order)
    if isinstance(ctype, ArrayType) and not ctype.is_text:
        one = _octets(ctype.element, order)
        if one is None:
            return None
        return lambda value: value if isinstance(value, bytes) else b"".join(map(one, value))
    if isinstance(ctype, StructType) and ctype.members:  # struct in6_addr: a union of arrays
        first = ctype.members[0].type
        inner = _octets(first, order) if first.size_bytes == ctype.size_bytes else None
        return None if inner is None else lambda value: inner(tuple.__getitem__(value, 0))
    return None


def _ip(octets: bytes) -> str:
    return str(IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets))


def _mac(octets: bytes) -> str:
    return octets[:6].hex(":")


# Numbers


def _of_number(name: str, ctype: CType, order: Literal["little", "big"]) -> Format:
    bits = 8 * ctype.size_bytes
    if name == "port":  # the first two bytes, whatever is behind them
        return lambda value: str(int.from_bytes((value % (1 << bits)).to_bytes(bits // 8, order)[:2], "big"))
    if name in ("errno", "result"):
        show = _errno if name == "errno" else _result
        return lambda value: show(value - (1 << bits) if value >> bits - 1 > 0 else value)
    if name == "hex":
        return lambda value: hex(value % (1 << bits))
    if name in _DURATIONS:
        unit_ns = _DURATIONS[name]
        return lambda value: _duration(value * unit_ns)
    if name == "timestamp":
        return WallClock().local
    if name == "timestamp_monotonic":
        asleep_ns = clock_gettime_ns(CLOCK_BOOTTIME) - clock_gettime_ns(CLOCK_MONOTONIC)
        clock = WallClock()
        return lambda value: clock.local(value + asleep_ns)
    return _PLAIN[name]


def _errno(value: int) -> str:
    sign = "-" if value < 0 else ""
    name = errno.errorcode.get(abs(value))
    return f"{sign}{name}" if name else str(value)


def _result(value: int) -> str:
    return _errno(value) if value < 0 else str(value)


def _signal(value: int) -> str:
    if signal.SIGRTMIN < value < signal.SIGRTMAX:
        return f"SIGRTMIN+{value - signal.SIGRTMIN}"
    try:
        return signal.Signals(value).name
    except ValueError:
        return str(value)


def _syscall(value: int) -> str:
    from .syscalls import syscall_name

    return syscall_name(value) or str(value)


def _duration(ns: int) -> str:
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if abs(ns) >= size:
            whole, rest = divmod(abs(ns) * 1000 // size, 1000)
            return f"{'-' if ns < 0 else ''}{whole}.{rest:03d}{unit}"
    return f"{ns}ns"


def _unix(ns: int) -> str:
    second, rest = divmod(ns, 1_000_000_000)
    return f"{strftime('%H:%M:%S', localtime(second))}.{rest // 1_000_000:03d}"


def _device(value: int) -> str:
    """The kernel's own dev_t: twenty bits for the minor number."""
    return f"{value >> 20}:{value & 0xFFFFF}"


_PLAIN: dict[str, Format] = {
    "device": _device,
    "mode": lambda value: f"0{value:o}",
    "signal": _signal,
    "syscall": _syscall,
    "timestamp_unix": _unix,
}
NAMES = tuple(
    sorted(
        [
            *_ADDRESSES,
            *_DURATIONS,
            *_PLAIN,
            "errno",
            "hex",
            "port",
            "result",
            "timestamp",
            "timestamp_monotonic",
        ]
    )
)
