"""The native modules. What else there is to say about the distribution stands in pyproject.toml."""

import subprocess

from Cython.Build import cythonize
from setuptools import Extension, setup


def pkg_config(*arguments: str) -> list[str]:
    return subprocess.run(["pkg-config", *arguments], check=True, capture_output=True, text=True).stdout.split()


core = Extension(
    "snoopkit._core",
    ["src/snoopkit/_core.pyx"],
    extra_compile_args=pkg_config("--cflags", "libbpf >= 1.1"),
    extra_link_args=pkg_config("--libs", "libbpf >= 1.1"),
)
decode = Extension("snoopkit._decode", ["src/snoopkit/_decode.pyx"])

setup(ext_modules=cythonize([core, decode], language_level=3))
