"""Runs kernel tests on the kernels of kernels.toml, each booted under QEMU; see README.md beside this file.

    run.py [--kernel VERSION]... [PYTEST ARGUMENTS]

Two kernels run at once. Exit status: 0 if pytest ended with 0 on every kernel, 1 if not. As each ends, its name and
pytest's own count are told.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "snoopkit/vmtest"
RESULTS = TOP / ".cache/vmtest"  # each checkout has its own: two may run at once
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

BOOT_SECONDS = 240
TEST_SECONDS = 1800
POWER_OFF_SECONDS = 20
CPUS = 2
MEMORY = "2G"


class Failure(Exception):
    """Why a kernel's tests couldn't be run."""


def say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"vmtest: {text}\n")


def kernels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((HERE / "kernels.toml").read_text())["kernel"]
    return found


# --- the kernel's package -----------------------------------------------------------------------------------


class Apt:
    """apt for one suite, with lists of its own: the machine's sources stay as they are."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        folder = CACHE / "apt" / suite
        (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
        self.sources = folder / "sources.list"
        options = {
            "Dir::Etc::SourceList": self.sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": 3,
        }
        self.options = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def __call__(self, program: str, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [program, "-q", *self.options, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=cwd,
        )
        if done.returncode:
            raise Failure(f"{program} {shlex.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def update(self) -> None:
        targets = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=True
        ).stdout
        mirror = next((line for line in targets.splitlines() if line.rstrip("/").endswith("/debian")), None)
        if mirror is None:
            raise Failure("apt's sources have no Debian archive")
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        self.sources.write_text(f"deb {signed}{mirror} {self.suite} main\n")
        self("apt-get", "update")

    def newest(self, package: str) -> tuple[str, str]:
        """Name and version of the package with the kernel itself, to which the given one only leads."""
        name = first_dependency(self("apt-cache", "depends", package))
        shown = self("apt-cache", "show", "--no-all-versions", name)
        return name, re.findall(r"^Version: (\S+)$", shown, re.MULTILINE)[0]


def first_dependency(text: str) -> str:
    """The kernel that `apt-cache depends` names."""
    found = re.search(r"^\s*Depends: (linux-image-\S+)$", text, re.MULTILINE)
    if found is None:
        raise Failure(f"no kernel in what apt-cache depends says: {text.strip()}")
    return found[1]


def fetched(kernel: dict[str, Any]) -> Path:
    """The folder with boot/ and lib/modules/ of the newest kernel, or without a network of the one that is here."""
    store = CACHE / "kernels" / kernel["version"]
    store.mkdir(parents=True, exist_ok=True)
    here = [folder for folder in store.iterdir() if not folder.name.startswith(".")]
    apt = Apt(kernel["suite"])
    try:
        apt.update()
        name, version = apt.newest(kernel["package"])
    except Failure as failure:
        if not here:
            raise
        say(f"{failure}; taking {here[0].name}, which is here")
        return here[0]
    folder = store / f"{name}_{version}"
    if folder in here:
        return folder
    say(f"fetching {name} {version}")
    with tempfile.TemporaryDirectory(prefix=".", dir=store) as scratch:
        apt("apt-get", "download", name, cwd=Path(scratch))
        (archive,) = Path(scratch).glob("*.deb")
        subprocess.run(["dpkg", "-x", archive, Path(scratch) / "unpacked"], check=True)
        (Path(scratch) / "unpacked").rename(folder)
    for older in here:
        shutil.rmtree(older)
    return folder


# --- the VM -------------------------------------------------------------------------------------------------


def command(image: Path, results: Path, seconds: int) -> list[str]:
    """What boots `image`, which stands beside its configuration, and runs the tests there. timeout(1) leads the process
    group, and ends it if we can't."""
    guest = ["sh", HERE / "guest.sh", TOP, image.parent, results, seconds]
    root = "local,id=cached_root,path=/,security_model=none,readonly=on,multidevs=remap"
    qemu = ["-pidfile", str(results / "qemu.pid"), "-fsdev", root]
    qemu += ["-device", "virtio-9p-pci,fsdev=cached_root,mount_tag=cached_root"]
    # Emulated at once, a CPU may keep the translation of code that the other's kernel has changed meanwhile: a guest
    # that switched tracepoints died of a breakpoint that was gone ("Oops: int3"; QEMU before 8.1). So they take turns.
    qemu += ["-accel", "tcg,thread=single"]
    # virtme-ng has a serial bus for each stream, and QEMU polls two queues for each of their 31 ports all the time.
    qemu += ["-global", "virtio-serial-device.max_ports=2"]
    return [
        *("timeout", "--kill-after=5", str(BOOT_SECONDS + seconds + POWER_OFF_SECONDS)),
        *("nice", "-n", "10", str(TOP / ".venv/bin/vng"), "--verbose", "--disable-kvm"),
        *(
            "--cpus",
            str(CPUS),
            "--memory",
            MEMORY,
            "--append",
            "mitigations=off",
            "--run",
            str(image),
            "--rwdir",
            str(results),
        ),
        *(f"--qemu-opts={shlex.join(qemu)}", "--exec", shlex.join(map(str, guest))),
    ]


def compile_programs(folder: Path) -> None:
    """What the tests run under their traces; an emulated compiler would take minutes."""
    folder.mkdir()
    code = "import pathlib, sys; from kernel import watching; watching.compile_programs(pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, folder], env={**os.environ, "PYTHONPATH": f"{TOP}/tests"}, check=True
    )
    (folder / "examples").mkdir()
    for source in sorted((TOP / "examples").glob("*/*.bpf.c")):
        package = folder / "examples" / f"{source.parent.name}.json"
        command = [TOP / ".venv/bin/snoopkit", "build", source, "-o", package]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def status_of(console: str) -> int | None:
    """What the guest's script ended with, as virtme-ng's init tells on the console."""
    found = re.search(r"script exited with code (\d+)", console)
    return int(found[1]) if found else None


class Output:
    """A file that grows in the guest, shown here meanwhile: by whole lines where `sign` stands before each."""

    def __init__(self, path: Path, sign: str = "") -> None:
        self.path = path
        self.sign = sign
        self.shown_bytes = 0

    def show(self, is_whole: bool = False) -> bool:
        """Whether there is anything yet; with `is_whole` the last line needs no end."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.shown_bytes)
                data = file.read()
        except FileNotFoundError:
            return False
        if self.sign and not is_whole:
            data = data[: data.rfind(b"\n") + 1]
        self.shown_bytes += len(data)
        text = data.decode(errors="replace")
        if self.sign:
            text = "".join(f"{self.sign}{line}\n" for line in text.splitlines())
        sys.stdout.write(text)
        sys.stdout.flush()
        return self.shown_bytes > 0

    def last_line(self) -> str:
        """What pytest says in the end."""
        lines = self.path.read_text(errors="replace").split("\n") if self.path.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "nothing")


class Guest:
    """A kernel that boots, and the tests on it. Whoever made it must call `end`."""

    def __init__(self, version: str, process: subprocess.Popen[bytes], results: Path, sign: str = "") -> None:
        self.version = version
        self.output = Output(results / "output.txt", sign)
        self._process = process
        self._console = results / "console.log"
        self._pid_file = results / "qemu.pid"
        self._began = time.monotonic()
        self._ended: float | None = None

    def is_done(self) -> bool:
        """Whether pytest ended, with 0; shows what it said since. Failure for any other end."""
        is_off = self._process.poll() is not None
        now = time.monotonic()
        if not self.output.show(is_off) and now - self._began > BOOT_SECONDS:
            raise Failure(f"no sign of the guest within {BOOT_SECONDS} s; {last_words(self._console)}")
        status = status_of(self._console.read_text(errors="replace"))
        if status is None and not is_off:
            return False
        self._ended = self._ended or now
        if not is_off and now - self._ended <= POWER_OFF_SECONDS:
            return False
        if status is None:
            raise Failure(f"the guest came to no end; {last_words(self._console)}")
        if status:
            raise Failure(f"pytest ended with {status}" if status != 124 else "the tests took too long")
        return True

    def end(self) -> None:
        """No QEMU of ours is left, whatever happened before."""
        try:
            pid = int(self._pid_file.read_text())
            if "qemu" in Path(f"/proc/{pid}/comm").read_text():
                os.kill(pid, signal.SIGTERM)
                self._process.wait(5)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            pass  # it has gone, was never there, or doesn't listen
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # timeout(1) hands it to its whole group
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def boot(kernel: dict[str, Any], seconds: int, arguments: list[str], sign: str) -> Guest:
    results = RESULTS / kernel["version"]
    folder = fetched(kernel)
    (image,) = (folder / "boot").glob("vmlinuz-*")
    shutil.rmtree(results, ignore_errors=True)
    (results / "home").mkdir(parents=True)
    compile_programs(results / "programs")
    # Not on the guest's command line: the kernel has 2 KB for it, and with more it doesn't boot.
    (results / "arguments").write_text(shlex.join(arguments or kernel["tests"]))
    say(f"booting {folder.name}, without KVM; console and output are kept in {results}")
    environment = {
        **os.environ,
        "PATH": f"{TOP}/.venv/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
        "HOME": str(results / "home"),
        "TMPDIR": str(results / "home"),
    }
    with (results / "console.log").open("wb") as log:
        process = subprocess.Popen(
            command(image, results, seconds),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=results,
            env=environment,
        )
    return Guest(kernel["version"], process, results, sign)


def run(chosen: list[dict[str, Any]], abreast: int, seconds: int, arguments: list[str]) -> dict[str, str]:
    """How it ended on each kernel, by its version; "" where pytest ended with 0."""
    waiting, running, ends = chosen[:], list[Guest](), dict[str, str]()
    try:
        while waiting or running:
            if waiting and len(running) < abreast:
                kernel = waiting.pop(0)
                sign = f"{kernel['version']}: " if len(chosen) > 1 else ""
                try:
                    running.append(boot(kernel, seconds, arguments, sign))
                except (Failure, subprocess.CalledProcessError) as failure:
                    ends[kernel["version"]] = str(failure)
            for guest in running[:]:
                try:
                    if not guest.is_done():
                        continue
                    ends[guest.version] = ""
                except Failure as failure:
                    ends[guest.version] = str(failure)
                running.remove(guest)
                guest.end()
                say(f"{guest.version}: {ends[guest.version] or guest.output.last_line()}")
            time.sleep(0.5)
    finally:
        for guest in running:
            guest.end()
    return ends


def last_words(console: Path) -> str:
    lines = console.read_text(errors="replace").splitlines()[-15:]
    return "\n    ".join([f"the end of {console}:", *lines])


def main() -> int:
    every = kernels()
    versions = [kernel["version"] for kernel in every]
    parser = argparse.ArgumentParser(description="Runs kernel tests on other kernels, booted under QEMU.")
    parser.add_argument(
        "--kernel",
        action="append",
        choices=versions,
        help="only this one; may be given more than once",
    )
    parser.add_argument("--abreast", type=int, default=2, help="how many kernels run at once (default: 2)")
    parser.add_argument("--seconds", type=int, default=TEST_SECONDS, help="for the tests of one kernel")
    chosen, arguments = parser.parse_known_args()
    if os.uname().machine != "x86_64":
        parser.error("the kernels of the list are for x86-64")
    for path in (TOP, CACHE):
        if len(str(path).split()) != 1:
            parser.error(f"{path}: a kernel's command line can't hold a path with a space")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))

    kernels_chosen = [kernel for kernel in every if kernel["version"] in (chosen.kernel or versions)]
    ends = run(kernels_chosen, max(chosen.abreast, 1), chosen.seconds, arguments)
    for version, failure in ends.items():
        if failure:
            say(f"failed on {version}: {failure}")
    return 1 if any(ends.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
