"""A package becomes an object in the kernel: sized, its options set, loaded, and every refusal explained.

`open` never touches the kernel, `load` does.
"""

from __future__ import annotations

import errno as errnos
import os
from struct import unpack
from sys import byteorder

from . import _core, features
from .elf import SHN_UNDEF
from .errors import LoadError, PackageError, UnsupportedError
from .options import encode, initial_values, kernel_config, printable

TYPE_CHECKING = False  # not from typing: importing that costs start-up time
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from .elf import Elf
    from .errors import KernelError
    from .options import OptionSpec, Value
    from .package import Package

__all__ = ["Object", "explained", "open"]

MAP_TYPE_ARRAY = 2
_EVENT_MAP_WIDTHS = {
    4: 4,
    27: 0,
}  # what the kernel wants of a perf event array's and a ring buffer's key and value

_ROOT_HINT = "run as root, or with these capabilities"
_MODULES_HINT = "it may be in a kernel module: only with CAP_SYS_ADMIN those are searched"
_NOT_FOUND = (  # libbpf's words for what no BTF has
    "not found in kernel or module BTFs",
    "failed to find kernel BTF type ID",
    "failed to resolve CO-RE relocation",
)
_MOST_TELLING_LINES = 4


def open(
    package: Package,
    *,
    options: Mapping[str, Value] | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    kernel_log: bool = False,
    btf: str | os.PathLike[str] | None = None,
    by_extract: bool = False,
) -> Object:
    """The package's object, ready to load.

    `options` are values for the package's own options by name; `enable` names programs that their section switches
    off (`SEC("?…")`), `disable` others that shall not be loaded either; `kernel_log` has the verifier explain accepted
    programs too; `btf` is a file with the running kernel's BTF, for a kernel that doesn't tell its own. Arrays that the
    source gave no size get an element for each possible CPU. `by_extract`: libbpf is to see only those of the kernel's
    types that the programs touch, if that can be; its refusals don't say what they would if it saw all.

    Raises OptionError, PackageError for an object that libbpf refuses, ValueError for an unknown program, OSError where
    `btf` isn't there.
    """
    if package.btf.byteorder != byteorder:
        raise PackageError(
            f"open: {package.name}: it was compiled for {package.btf.byteorder}-endian machines",
            hint=f"this one is {byteorder}-endian: compile the source here",
        )
    patches = initial_values(package, options or {})
    path = None
    if btf is not None:
        os.stat(btf)  # libbpf looks only where a program needs it
        path = os.fsencode(btf)
    config = kernel_config(package, options or {}).encode("utf-8", "surrogateescape") or None
    enable, disable = list(enable), list(disable)
    found = None
    if by_extract and btf is None:
        from .kernel_types import extract

        loaded = {name for name, spec in package.programs.items() if not spec.optional}
        found = extract(package, (loaded | set(enable) & package.programs.keys()) - set(disable))
    if found is None:
        core = _core.Object.open(package.object, package.name, kernel_log, path, config)
    else:
        core = _core.Object.open(
            found.object, package.name, kernel_log, None, config, found.types, found.attach_ids
        )
    try:
        for section, places in patches.items():
            _patch(core, section, places)
        for map in core.maps.values():
            if map.type == MAP_TYPE_ARRAY and map.max_entries == 0:
                map.max_entries = features.possible_cpus()
            width = _EVENT_MAP_WIDTHS.get(map.type)
            if width is not None and (map.key_size, map.value_size) != (width, width):
                map.redefine(map.type, width, width, map.max_entries)  # `__type(value, struct …)` is for us
        for names, is_on in ((enable, True), (disable, False)):
            for name in names:
                if name not in core.programs:
                    raise ValueError(
                        f"the package has no program {name!r}; it has {', '.join(core.programs)}"
                    )
                core.programs[name].autoload = is_on
    except BaseException:
        core.close()
        raise
    return Object(core, package.name, _compares_types(package.elf), found is not None)


def _compares_types(elf: Elf) -> bool:
    """Whether the object has relocations against the kernel's types (CO-RE), or asks for functions of the kernel."""
    extra = elf.section(".BTF.ext")
    header = extra.data[:32] if extra is not None else b""
    if len(header) == 32:
        header_bytes, relocations_bytes = unpack(elf.prefix + "4xI20xI", header)
        if header_bytes >= 32 and relocations_bytes:
            return True
    return any(symbol.name and symbol.section == SHN_UNDEF for symbol in elf.symbols)


def _patch(core: _core.Object, section: str, places: list[tuple[int, bytes]]) -> None:
    map = core.maps.get(section)
    if map is None:
        raise PackageError(f"options: the object keeps no variables in {section!r}")
    value = bytearray(map.initial_value)
    for offset, data in places:
        if offset + len(data) > len(value):
            raise PackageError(f"options: a variable reaches outside {section!r}")
        value[offset : offset + len(data)] = data
    map.initial_value = bytes(value)


class Object:
    """A package's object. `programs` and `maps` go by name; closing unloads, and detaches what is still attached.
    `by_extract` says whether libbpf sees an extract of the kernel's types only."""

    def __init__(
        self, core: _core.Object, name: str, compares_types: bool = False, by_extract: bool = False
    ) -> None:
        self._core = core
        self._compares_types = compares_types
        self.name = name
        self.by_extract = by_extract
        self.programs = core.programs
        self.maps = core.maps

    @property
    def log(self) -> str:
        """What libbpf and the verifier said so far."""
        return self._core.log

    def set(self, variable: OptionSpec, value: Value) -> None:
        """Gives a variable of the package its value, before load."""
        _patch(self._core, variable.section, [(variable.offset_bytes, encode(variable, value))])

    def load(self) -> None:
        """Creates the maps and loads the programs that are switched on.

        Raises LoadError or, where the kernel lacks something, UnsupportedError; both say what could be done.
        """
        # To find that a type or a function is nowhere, libbpf looks through the modules' too.
        modules = not self._compares_types or features.lists_modules()
        try:
            self._core.load(modules)
        except LoadError as error:
            failed = _failed_program(error.log.splitlines())
            program = self.programs.get(failed) if failed is not None else None
            refusal = _explained_load(self.name, program, self.maps, error)
            refusal.program = program.name if program is not None else None
            if not modules and any(words in error.log for words in _NOT_FOUND):
                refusal.hint = _MODULES_HINT
            raise refusal from None

    def close(self) -> None:
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def explained(stage: str, error_number: int | None) -> tuple[str, str | None] | None:
    """Cause and cure of a refusal that has to do with what this process may do; None if that isn't it."""
    if error_number not in (errnos.EPERM, errnos.EACCES):
        return None
    missing = features.missing_capabilities()
    if missing:
        return f"{stage}: not permitted: {' and '.join(missing)} missing", _ROOT_HINT
    if features.lockdown() == "confidentiality":
        return (
            f"{stage}: the kernel is locked down (confidentiality): no program may read its memory",
            "boot with lockdown=integrity or without lockdown",
        )
    return None


def _explained_load(
    name: str, program: _core.Program | None, maps: Mapping[str, _core.Map], error: LoadError
) -> KernelError:
    log, number = error.log, error.errno
    lines = log.splitlines()
    stage = f"load: {name}" if program is None else f"load: program {program.name} ({program.section})"
    verdict = _verdict(lines)
    if not verdict or features.missing_capabilities():
        permission = explained(stage, number)
        if permission is not None:
            return LoadError(permission[0], errno=number, hint=permission[1], log=log)
    if any("valid kernel BTF" in line or "loading vmlinux BTF" in line for line in lines):
        return _with_log(
            UnsupportedError(
                f"{stage}: this kernel doesn't describe its types: no {features.KERNEL_BTF}",
                feature="kernel BTF",
                errno=number,
                hint="a kernel built with CONFIG_DEBUG_INFO_BTF=y is needed",
            ),
            log,
        )
    if program is not None and verdict:
        text = "; ".join(verdict)
        return LoadError(
            f"{stage}: the verifier refuses it: {text}",
            errno=number,
            hint="--debug shows its whole log",
            log=log,
        )
    if program is not None:
        unsupported = _unsupported_program(program, lines, number)
        if unsupported is not None:
            return _with_log(unsupported, log)
    if any("ulimit -l" in line for line in lines):
        return LoadError(
            f"{stage}: locked memory is limited",
            errno=number,
            hint="raise RLIMIT_MEMLOCK (ulimit -l)",
            log=log,
        )
    if any("failed to parse target BTF" in line for line in lines):
        return LoadError(
            f"load: {name}: what was given as this kernel's BTF isn't that",
            errno=number,
            hint=f"it is the file {features.KERNEL_BTF} of the kernel that runs",
            log=log,
        )
    map = next((maps[found] for line in lines if (found := _failed_map(line)) in maps), None)
    if map is not None and number == errnos.EINVAL and (missing := _missing_sizes(map)):
        return LoadError(
            f"load: map {map.name}: its source doesn't give it {missing}",
            errno=number,
            hint="__uint(max_entries, …), __type(key, …), __type(value, …)",
            log=log,
        )
    told = _last_warning(lines)
    return LoadError(f"{error.message}{': ' + told if told else ''}", errno=number, log=log)


def _unsupported_program(
    program: _core.Program, lines: list[str], number: int | None
) -> UnsupportedError | None:
    """A program of a kind, or for a hook, that this kernel doesn't have."""
    stage = f"load: program {program.name} ({program.section})"
    kind, _, target = program.section.partition("/")
    if any("missing BPF prog type" in line for line in lines):
        cause = f"{printable(program.section)!r} is no section that libbpf knows"
    elif number == errnos.ESRCH or any("failed to find kernel BTF type ID" in line for line in lines):
        cause = f"this kernel has no {printable(target) or kind} to attach it to"
    elif number in (errnos.EPERM, errnos.EINVAL, errnos.EOPNOTSUPP, errnos.ENOTSUP):
        cause = f"this kernel refuses {kind} programs"
    else:
        return None
    return UnsupportedError(
        f"{stage}: {cause}",
        feature=printable(program.section),
        errno=number,
        hint="another kind of program may do" if number == errnos.EPERM else None,
    )


def _with_log(error: UnsupportedError, log: str) -> UnsupportedError:
    error.__dict__["log"] = log
    return error


def _failed_program(lines: list[str]) -> str | None:
    """libbpf: "prog 'NAME': failed to load: -22" (or: "failed to find …", "… prepare load attributes …")."""
    for line in reversed(lines):
        start = line.find("prog '")
        if start >= 0 and ("fail" in line or "missing BPF prog type" in line):
            return line[start + 6 : line.find("'", start + 6)]
    return None


def _failed_map(line: str) -> str:
    """libbpf: "map 'NAME': failed to create: Invalid argument(-22)"."""
    after = line.partition("map '")[2]
    name, quote, rest = after.partition("'")
    return name if quote and rest.startswith(": failed to create") else ""


def _missing_sizes(map: _core.Map) -> str:
    """What a map needs and hasn't got; few kinds need less."""
    sizes = {"max_entries": map.max_entries, "a key": map.key_size, "a value": map.value_size}
    return " and ".join([what for what, size in sizes.items() if not size])


def _verdict(lines: list[str]) -> list[str]:
    """The verifier's last words, and the line of source that they are about."""
    begin = end = -1
    for number, line in enumerate(lines):
        if line.endswith("-- BEGIN PROG LOAD LOG --"):
            begin = number
        elif line.startswith("-- END PROG LOAD LOG --"):
            end = number
    if begin < 0 or end < begin:
        return []
    log = [line for line in lines[begin + 1 : end] if line.strip()]
    while log and (log[-1].startswith(("processed ", "verification time", "stack depth", "mark_precise"))):
        log.pop()
    source = next((line[1:].strip() for line in reversed(log) if line.startswith(";")), None)
    words: list[str] = []
    for line in reversed(log):
        if line.startswith(";") or len(words) == _MOST_TELLING_LINES or _is_trace(line):
            break
        words.insert(0, printable(line))
    if not words and log:
        words = [printable(log[-1])]
    if source:
        words.append(f"at `{printable(source)}`")
    return words


def _is_trace(line: str) -> bool:
    """An instruction ("12: (85) call …"), or the state of registers before or after one ("R1=…")."""
    number, colon, _ = line.partition(":")
    return bool(colon) and (number.isdigit() or number.startswith("from "))


def _last_warning(lines: list[str]) -> str:
    told = [line for line in lines if line.startswith("libbpf: ") and "failed to load object" not in line]
    return printable(told[-1].removeprefix("libbpf: ")) if told else ""
