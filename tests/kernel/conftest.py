"""What kernel tests share: packages built once, runs that trace this process only, children with fewer rights."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import snoopkit
from snoopkit import _core, attach, loader, transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

BPF = Path(__file__).parent / "bpf"

CAP_PERFMON, CAP_BPF = 38, 39
CLONE_NEWNS, CLONE_NEWNET, PR_SET_KEEPCAPS, MS_REC, MS_PRIVATE = 0x20000, 0x40000000, 8, 0x4000, 0x40000
NOBODY = 65534

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="session")
def bursts() -> snoopkit.Package:
    return snoopkit.build(BPF / "bursts.bpf.c", BPF / "bursts.h")


@pytest.fixture(scope="session")
def hooks() -> snoopkit.Package:
    return snoopkit.build(BPF / "hooks.bpf.c")


@pytest.fixture
def cgroup() -> Iterator[str]:
    """An empty one, by its path."""
    mount = next(
        line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line
    )
    path = tempfile.mkdtemp(prefix="snoopkit-test-", dir=mount)
    yield path
    os.rmdir(path)


class Record(NamedTuple):
    time_ns: int
    cpu: int
    map: int
    data: bytes

    @property
    def number(self) -> int:
        """The count that the program keeps for each CPU."""
        return int(struct.unpack_from("=Q", self.data, 8)[0])


def records(data: memoryview, index: memoryview) -> list[Record]:
    return [
        Record(time_ns, cpu, map, bytes(data[offset : offset + size]))
        for time_ns, offset, size, _, cpu, map in struct.iter_unpack("=QIIIHH", index)
    ]


class Bursts:
    """The bursts program, loaded and attached, emitting when this process calls getppid()."""

    def __init__(self, package: snoopkit.Package, buffer_bytes: int | None = None, **options: Any) -> None:
        self.package = package
        self.object = loader.open(package, options={"target_pid": os.getpid(), **options})
        try:
            self.object.load()
            self.transport = transport.open(self.object, package, buffer_bytes)
            self.links = attach.attach_all(self.object)
        except BaseException:
            self.object.close()
            raise

    def call(self, times: int, cpus: Iterable[int] | None = None) -> None:
        """Calls getppid(), on each of `cpus` at once from a thread of its own."""
        if cpus is None:
            for _ in range(times):
                os.getppid()
            return
        for thread in on_each(cpus, times):
            thread.join()

    def truth(self, kind: int = 0) -> int:
        """How many records the program tried to output, by a count that the toolkit doesn't know."""
        value = self.object.maps["truth"].lookup(kind.to_bytes(4, "little"))
        assert value is not None
        return int.from_bytes(value, "little")

    def drain(self, final: bool = True, detached: bool = False) -> list[Record]:
        batch = self.transport.drain(final, detached)
        return records(batch.data, batch.index)

    def close(self) -> None:
        self.links.close()
        self.transport.close()
        self.object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def both_cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))[:2]


def on_each(cpus: Iterable[int], times: int) -> list[threading.Thread]:
    """A thread on each, which calls getppid()."""

    def work(cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        for _ in range(times):
            os.getppid()

    threads = [threading.Thread(target=work, args=(cpu,), daemon=True) for cpu in cpus]
    for thread in threads:
        thread.start()
    return threads


def close_while_waiting(reader: _core.Reader) -> None:
    """This thread does, while another one waits for records."""
    waiter = threading.Thread(target=reader.wait, daemon=True)
    waiter.start()
    time.sleep(0.1)
    with pytest.raises(RuntimeError, match="another thread"):
        reader.drain()
    reader.close()
    waiter.join(2)
    assert not waiter.is_alive()
    assert reader.closed


def do_until_it_ends(process: subprocess.Popen[str], do: Callable[[], object]) -> None:
    """Again and again, for who knows since when it watches."""
    while process.poll() is None:
        do()
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            pass


def become(uid: int, capabilities: Iterable[int] = ()) -> None:
    """Another user, with these capabilities and no other."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    class Data(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]

    assert libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    bits = sum(1 << capability for capability in capabilities)
    words = [Data(bits >> shift & 0xFFFFFFFF, bits >> shift & 0xFFFFFFFF, 0) for shift in (0, 32)]
    header = Header(0x20080522, 0)
    assert libc.capset(ctypes.byref(header), (Data * 2)(*words)) == 0, os.strerror(ctypes.get_errno())


def own_mounts() -> None:
    """A mount namespace of this process's own, in which it may cover and unmount."""
    assert libc.unshare(CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
    assert libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0


def own_network() -> None:
    """A network namespace whose only interface is its loopback."""
    assert libc.unshare(CLONE_NEWNET) == 0
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def cover(path: str) -> None:
    """An empty file system over `path`."""
    assert libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, None) == 0, os.strerror(ctypes.get_errno())


def in_child(function: Callable[[], Any], seconds: float = 120) -> Any:
    """What `function` returns, run in a child process of its own; whatever it raises fails the test, as does taking
    longer than `seconds`: the child then shows where it is, and ends."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(readable)
            answer = function()
            os.write(writable, json.dumps(answer).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writable)
    # pytest has faulthandler show the stack of whoever aborts
    alarm = threading.Timer(seconds, os.kill, (pid, signal.SIGABRT))
    alarm.start()
    with open(readable, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    alarm.cancel()
    alarm.join()
    assert status == 0, "the child failed; its traceback is in the captured output"
    return json.loads(text)


def is_loaded(program_id: int) -> bool:
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    fd = libbpf.bpf_prog_get_fd_by_id(ctypes.c_uint32(program_id))
    if fd >= 0:
        os.close(fd)
    return bool(fd >= 0)


def program_id(fd: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("prog_id:"):
            return int(line.split()[1])
    raise AssertionError("no program behind this descriptor")


def wait_unloaded(ids: Iterable[int], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    for number in ids:
        while is_loaded(number):
            assert time.monotonic() < deadline, f"program {number} is still loaded"
            time.sleep(0.01)


@pytest.fixture
def run(bursts: snoopkit.Package) -> Iterator[Callable[..., Bursts]]:
    """Starts the bursts program with given options; whatever the test leaves is closed."""
    started: list[Bursts] = []

    def start(buffer_bytes: int | None = None, package: snoopkit.Package = bursts, **options: Any) -> Bursts:
        started.append(Bursts(package, buffer_bytes, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()
