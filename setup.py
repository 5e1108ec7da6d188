"""The native modules and libbpf's BPF headers; what else there is to say stands in pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

LIBBPF = "libbpf >= 1.1"
WANTED = "snoopkit needs libbpf 1.1 or later with its headers (Debian: apt-get install libbpf-dev pkg-config)"


def pkg_config(*arguments: str) -> list[str]:
    try:
        answer = subprocess.run(["pkg-config", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"pkg-config was not found: {WANTED}")
    if answer.returncode:
        sys.exit(f"{answer.stderr.strip()}\n{WANTED}")
    return answer.stdout.split()


class BuildPython(build_py):
    """A wheel carries libbpf's own BPF headers, so that whoever installs it can compile with clang alone.

    A checkout uses the system's, and the headers are never committed.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        source = Path(*pkg_config("--variable=includedir", "libbpf"), "bpf")
        target = Path(self.build_lib, "snoopkit", "include", "bpf")
        target.mkdir(parents=True, exist_ok=True)
        for header in sorted(source.glob("*.h")):
            shutil.copyfile(header, target / header.name)


# Line numbers for a crash report; full debug information and -O3 double the time of a build for nothing.
FLAGS = ["-O2", "-g1"]

core = Extension(
    "snoopkit._core",
    ["src/snoopkit/_core.pyx"],
    extra_compile_args=[*FLAGS, *pkg_config("--cflags", LIBBPF)],
    extra_link_args=pkg_config("--libs", LIBBPF),
)
decode = Extension("snoopkit._decode", ["src/snoopkit/_decode.pyx"], extra_compile_args=FLAGS)

setup(
    ext_modules=cythonize([core, decode], language_level=3),
    cmdclass={"build_py": BuildPython},
    options={"build_ext": {"parallel": 2}},
)
