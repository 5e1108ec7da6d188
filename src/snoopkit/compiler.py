"""From a C source to a package: find clang, give it what a BPF program needs, make the meta from what comes out.

The same source, clang, vmlinux.h and libbpf headers give the same bytes from any folder: clang runs in the
source's own folder and is told to call it `.`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile

from . import anchors
from .arches import known_arch, system_headers, target_arch
from .errors import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .package import Package

    Path = str | os.PathLike[str]

__all__ = [
    "build",
    "compile_package",
    "compile_sources",
    "find_clang",
    "object_name",
    "own_header",
]

_OLDEST_CLANG = 14  # knows declaration tags
# To the compiler itself: before 16 the driver wants to be told that this may be removed one day, since then it may not.
_ZERO_INIT = ("-Xclang", "-ftrivial-auto-var-init=zero")
_VERSION = re.compile(rb"clang version (\d+)\.")
_EVENT_MACRO = b"SNOOPKIT_EVENT("  # of snoopkit.bpf.h
_PLACE_IN_DIAGNOSTICS = re.compile(
    r"^((?:In file included from |\s+from )?)([^\s:][^:\n]*)(?=:\d+)", re.MULTILINE
)


def build(
    source: Path | Sequence[Path],
    header: Path | None = None,
    *,
    cflags: Sequence[str] = (),
    clang: str | None = None,
    btf: Path | None = None,
    vmlinux: Path | None = None,
    include: Sequence[Path] = (),
    define: Sequence[str] = (),
    arch: str | None = None,
) -> Package:
    """Compile `source`, whose events are the structs of `header`, to a package; several sources are linked.

    `btf` is a file with a kernel's BTF, and `vmlinux` a vmlinux.h, to use in place of the running kernel's; one
    beside the source goes before both. `include` and `define` are clang's -I and -D, `cflags` go to it as they are.
    `arch` is the architecture to compile for, this machine's if None: "x86", "arm64" or whatever else libbpf's headers
    know; a source that includes vmlinux.h needs that architecture's then. What clang warned of stands in the package's
    `warnings`. Raises CompileError, and ValueError for an architecture that isn't known.
    """
    package, diagnostics = compile_sources(
        [source] if isinstance(source, (str, os.PathLike)) else source,
        header,
        cflags=cflags,
        clang=clang,
        btf=btf,
        vmlinux=vmlinux,
        include=include,
        define=define,
        arch=arch,
    )
    if diagnostics:
        package.warnings += (diagnostics,)
    return package


def compile_sources(sources: Sequence[Path], header: Path | None = None, **how: Any) -> tuple[Package, str]:
    """As `compile_package`, for one source or several, which are linked."""
    if not sources:
        raise ValueError("no source is given")
    several = len(sources) > 1
    done = [compile_package(source, header, is_part=several, **how) for source in sources]
    package = done[0][0]
    if several:
        from .linker import link

        package = link([part for part, _ in done], object_name(sources[0]))
    return package, "".join([diagnostics for _, diagnostics in done])


def own_header(source: Path) -> str | None:
    """The header of the same name beside a source that includes it."""
    path = os.fspath(source)
    name = os.path.basename(path).removesuffix(".c").removesuffix(".bpf") + ".h"
    header = os.path.join(os.path.dirname(path), name)
    if not os.path.isfile(header) or not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        return header if f'"{name}"' in file.read() else None


def compile_package(
    source: Path,
    header: Path | None = None,
    *,
    cflags: Sequence[str] = (),
    clang: str | None = None,
    btf: Path | None = None,
    vmlinux: Path | None = None,
    include: Sequence[Path] = (),
    define: Sequence[str] = (),
    arch: str | None = None,
    header_only: bool = False,
    is_part: bool = False,
    is_own: bool = False,
    log: Callable[[str], None] | None = None,
    files: set[str] | None = None,
) -> tuple[Package, str]:
    """As `build`; returns clang's warnings beside the package, tells `log` which command it runs, and adds the paths of
    what clang read to `files`.

    `header_only` says that the source is itself the header: the package has its structs and no program. `is_part`, that
    it will be linked with others: it may be without programs, and needs the header only if it includes it.
    `is_own`, that nobody named the header: one that defines no struct isn't it.
    """
    arch = target_arch() if arch is None else known_arch(arch)
    source = os.fspath(source)
    header = source if header_only else header
    header = os.fspath(header) if header is not None else None
    for path in (source, header):
        if path is not None and not os.path.isfile(path):
            raise CompileError(f"{path}: there is no such file")
    compiler = find_clang(clang)
    with tempfile.TemporaryDirectory(prefix="snoopkit-") as scratch:
        job = _Job(compiler, source, header, scratch, log, is_part, arch)
        job.flags += [f"-D{text}" for text in define]
        for folder in include:
            job.include(folder)
        job.flags += cflags
        if header_only:
            job.flags += ["-x", "c"]  # clang makes something else of a file that is called .h
        data = job.run(vmlinux, btf)
        if files is not None:
            files |= job.files()
        if is_part and not job.includes_header():
            header = None
    from .packaging import package_of

    return package_of(data, object_name(source), source, header, is_part, is_own), job.diagnostics


def object_name(source: Path) -> str:
    """What a source's outputs are called: its file name up to the first dot."""
    return os.path.basename(os.fspath(source)).split(".")[0]


def find_clang(wanted: str | None = None) -> str:
    """The path of clang: the one asked for, else `clang` on the PATH, else the newest clang-NN there.

    Raises CompileError if there is none.
    """
    if wanted is not None:
        found = shutil.which(wanted)
        if found is None:
            raise CompileError(f"clang: {wanted!r} isn't a program that can be run")
        return found
    found = shutil.which("clang")
    if found is not None:
        return found
    versions = set()
    for folder in os.get_exec_path():
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        versions |= {int(name[6:]) for name in names if re.fullmatch(r"clang-\d+", name)}
    for version in sorted(versions, reverse=True):
        found = shutil.which(f"clang-{version}")
        if found is not None:
            return found
    raise CompileError(
        "clang: not found, and a C source needs it",
        hint="install it (apt install clang, dnf install clang) or name it with --clang",
    )


# ---------------------------------------------------------------------------------------------------------------
# Running clang


class _Job:
    """One compilation. All that it writes goes into `scratch`, a private folder."""

    def __init__(
        self,
        clang: str,
        source: str,
        header: str | None,
        scratch: str,
        log: Callable[[str], None] | None,
        is_part: bool,
        arch: str,
    ) -> None:
        self.is_part = is_part
        self.arch = arch
        self.clang = clang
        self.log = log
        self.scratch = scratch
        self.user_folder = os.path.dirname(source)
        self.folder = os.path.realpath(self.user_folder or ".")
        self.source_name = os.path.basename(source)
        self.source_path = os.path.join(self.folder, self.source_name)
        self.header = header
        self.header_path = _in_real_folder(header) if header is not None else None
        self.flags: list[str] = []
        self.diagnostics = ""

    def include(self, folder: Path) -> None:
        """Search a folder, under a name that stays the same if it moves together with the source."""
        self.flags.append(f"-I{os.path.relpath(os.path.realpath(folder), self.folder)}")

    def run(self, vmlinux: Path | None, btf: Path | None) -> bytes:
        """Compile; returns the object. Raises CompileError with clang's diagnostics."""
        self.overlay()
        kernel: list[str] = []
        if not os.path.exists(os.path.join(self.folder, "vmlinux.h")) and (
            vmlinux is not None
            or btf is not None
            or (self.arch == target_arch() and self.mentions(b"vmlinux.h"))
        ):
            kernel = self.kernel_types(vmlinux, btf)
        status, text = self.clang_once(kernel)
        if status and not kernel and "'vmlinux.h' file not found" in text:
            # An inner header wants it, or another architecture's is to be told apart from one that is only spoken of.
            kernel = self.kernel_types(vmlinux, btf)
            status, text = self.clang_once(kernel)
        self.diagnostics = self.in_users_words(text)
        if status or not os.path.exists(self.output):
            _check_version(self.clang)
            raise CompileError(
                f"{os.path.join(self.user_folder, self.source_name)}: clang refuses it",
                hint=_hint(text),
                diagnostics=self.diagnostics,
            )
        if self.header is not None and not self.is_part and not self.includes_header():
            raise CompileError(
                f"{self.header}: {os.path.join(self.user_folder, self.source_name)} doesn't include it",
                hint="the event's struct must be the one that the program fills",
            )
        with open(self.output, "rb") as file:
            data = file.read()
        # Asking for it would be another 30 ms: the debugging information tells.
        made_by = _VERSION.search(data)
        _check_version(self.clang, int(made_by[1]) if made_by is not None else None)
        return data

    @property
    def output(self) -> str:
        return os.path.join(self.scratch, "object.o")

    def overlay(self) -> None:
        """Put the copy with anchors in the header's place; without a header the source itself may tag its events."""
        path = self.header_path
        if path is None:
            from . import skeleton

            if not self.mentions(skeleton.EVENT_TAG.encode()) and not self.mentions(_EVENT_MACRO):
                return
            path = self.source_path
        copy = os.path.join(self.scratch, "anchored.h")
        with open(path, encoding="latin-1", newline="") as file:
            text = anchors.place(file.read())
        with open(copy, "w", encoding="latin-1", newline="") as file:
            file.write(text)
        overlay = os.path.join(self.scratch, "overlay.json")
        root = {"type": "file", "name": path, "external-contents": copy}
        with open(overlay, "w", encoding="utf-8") as file:
            try:
                # As YAML, which knows no pairs of surrogates, so that nothing may be escaped.
                json.dump(
                    {"version": 0, "use-external-names": False, "roots": [root]}, file, ensure_ascii=False
                )
            except UnicodeEncodeError:
                raise CompileError(f"{path!a}: the name isn't UTF-8, and clang can't be told of it") from None
        self.flags += ["-ivfsoverlay", overlay]

    def mentions(self, text: bytes) -> bool:
        for path in (self.source_path, self.header_path):
            if path is not None:
                with open(path, "rb") as file:
                    if text in file.read():
                        return True
        return False

    def kernel_types(self, vmlinux: Path | None, btf: Path | None) -> list[str]:
        """The flag for a folder with vmlinux.h and nothing else."""
        if vmlinux is not None:
            if not os.path.isfile(vmlinux):
                raise CompileError(f"{os.fspath(vmlinux)}: there is no such file")
            folder = os.path.join(self.scratch, "kernel")
            os.makedirs(folder, exist_ok=True)
            os.symlink(os.path.abspath(vmlinux), os.path.join(folder, "vmlinux.h"))
        else:
            if btf is None and self.arch != target_arch():
                source = os.path.join(self.user_folder, self.source_name)
                raise CompileError(
                    f"{source}: it includes vmlinux.h, and the one at hand is this machine's own "
                    f"({target_arch()}), not one of {self.arch}",
                    hint="give one with --vmlinux, or such a kernel's BTF with --btf",
                )
            from .vmlinux import cached_header

            folder = cached_header(os.fspath(btf) if btf is not None else None)
        return [f"-I{folder}", f"-ffile-prefix-map={folder}=."]

    def clang_once(self, kernel: list[str]) -> tuple[int, str]:
        command = [self.clang, "-g", "-O2", "-target", "bpf", "-mcpu=v3"]
        command += [f"-D__TARGET_ARCH_{self.arch}", "-Wno-unknown-attributes", *_ZERO_INIT]
        command.append("-fno-stack-protector")  # some distributions switch it on; BPF has none
        command += ["-fdebug-compilation-dir=.", "-MD", "-MF", os.path.join(self.scratch, "object.d")]
        command += ["-I.", *self.flags, *_headers(), *kernel, *system_headers(self.arch)]
        command += ["-c", self.source_name, "-o", self.output]
        if self.log is not None:
            import shlex

            self.log(shlex.join(command))
        try:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                # clang believes PWD, and must not call the folder by another name than the overlay does
                env={**os.environ, "PWD": self.folder, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise CompileError(f"clang: {self.clang!r} can't be run: {error.strerror}") from None
        with process:
            from . import btf_check, packaging  # noqa: F401  what is needed next, while clang works

            _, text = process.communicate()
        return process.returncode, text.decode("utf-8", "replace")

    def includes_header(self) -> bool:
        return any(path == self.header_path or _same_file(path, self.header_path) for path in self.files())

    def files(self) -> set[str]:
        """The paths of all that clang read."""
        with open(os.path.join(self.scratch, "object.d"), encoding="utf-8", errors="surrogateescape") as file:
            rule = file.read().partition(": ")[2].replace("\\\n", " ")
        words = re.findall(r"(?:\\.|[^\s\\])+", rule)
        names = [re.sub(r"\\(.)", r"\1", word).replace("$$", "$") for word in words]
        return {os.path.normpath(os.path.join(self.folder, name)) for name in names}

    def in_users_words(self, text: str) -> str:
        """Diagnostics with names as seen from where the user stands, and without anchors."""

        def renamed(match: re.Match[str]) -> str:
            return match[1] + os.path.normpath(os.path.join(self.user_folder, match[2]))

        text = _PLACE_IN_DIAGNOSTICS.sub(renamed, text)
        return anchors.clean(text)


def _in_real_folder(path: str) -> str:
    return os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))


def _same_file(path: str, other: str | None) -> bool:
    try:
        return other is not None and os.path.samefile(path, other)
    except OSError:
        return False


def _check_version(clang: str, version: int | None = None) -> None:
    """Raise CompileError unless it is a clang that is new enough; without `version` it is asked."""
    if version is None:
        done = subprocess.run(
            [clang, "-dumpversion"], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        match = re.match(r"(\d+)\.", done.stdout)
        if done.returncode or match is None:
            raise CompileError(f"clang: {clang!r} doesn't say which version of clang it is")
        version = int(match[1])
    if version < _OLDEST_CLANG:
        raise CompileError(
            f"clang: {clang!r} is version {version}, too old", hint=f"{_OLDEST_CLANG} or later is needed"
        )


def _headers() -> list[str]:
    """The folders that hold snoopkit.bpf.h and bpf/bpf_helpers.h; the latter is the wheel's own, in the system's
    default folder, or where pkg-config says. Whichever it is, the object's bytes don't tell."""
    own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")
    flags = ["-isystem", own, f"-ffile-prefix-map={own}=/usr/include"]
    if any(os.path.exists(f"{folder}/bpf/bpf_helpers.h") for folder in (own, "/usr/include")):
        return flags
    try:
        done = subprocess.run(
            ["pkg-config", "--variable=includedir", "libbpf"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    except OSError:
        return flags
    folder = done.stdout.strip()
    return [*flags, "-isystem", folder] if folder and not done.returncode else flags


def has_headers() -> bool:
    """Whether libbpf's headers for BPF sources are where `build` looks for them."""
    folders = [word for word in _headers() if os.path.isabs(word)] + ["/usr/include"]
    return any(os.path.exists(f"{folder}/bpf/bpf_helpers.h") for folder in folders)


def _hint(diagnostics: str) -> str | None:
    if re.search(r"'bpf/\w+\.h' file not found", diagnostics):
        return "install libbpf's headers: apt install libbpf-dev, dnf install libbpf-devel"
    if "'vmlinux.h' file not found" in diagnostics:
        return "give a vmlinux.h with --vmlinux, or a kernel's BTF with --btf"
    if "unable to create target" in diagnostics or "unknown target triple" in diagnostics:
        return "this clang was built without the BPF target: name another one with --clang"
    return None
