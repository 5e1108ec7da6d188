"""The small tools of examples/: each built and run by the real command, and right about what this test causes."""

from __future__ import annotations

import errno
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import eunomia
import snoopkit

from .conftest import in_child, own_network

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

EXAMPLES = Path(__file__).parents[2] / "examples"
SNOOPKIT = Path(sys.executable).parent / "snoopkit"
GETPPID = {"x86_64": 110, "aarch64": 173}[os.uname().machine]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds an example by its name; returns the package, one that eunomia-bpf's runner would take too. In a VM they
    are there, built by the machine that it runs on."""
    folder = tmp_path_factory.mktemp("examples")
    built = os.environ.get("SNOOPKIT_TEST_PROGRAMS")

    def build(name: str) -> Path:
        if built:
            return Path(built, "examples", f"{name}.json")
        source, header = (EXAMPLES / name / f"{name}.{end}" for end in ("bpf.c", "h"))
        package = folder / f"{name}.json"
        if not package.exists():
            headers = [header] if header.exists() else []
            command = [SNOOPKIT, "build", source, *headers, "-o", package]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert (done.returncode, done.stderr) == (0, "")
            assert eunomia.problems(package.read_bytes()) == []
        return package

    return build


class Tool:
    """`snoopkit run` of a package, attached when `with` begins; at its end it is asked to stop, and must have lost
    nothing. Then `output` has what it printed, and `lines` that as JSON."""

    def __init__(self, package: Path, *own: object, live: tuple[object, ...] = ("--json",)) -> None:
        self._command = [SNOOPKIT, "run", *map(str, live), package, *map(str, own)]

    def __enter__(self) -> Tool:
        ready, writable = os.pipe()
        command = [*self._command[:2], "--ready-fd", str(writable), "--duration", "60", *self._command[2:]]
        self._process = subprocess.Popen(
            command, pass_fds=[writable], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        os.close(writable)
        with open(ready, "rb") as pipe:
            is_ready = pipe.read() == b"\n"
        if not is_ready:
            pytest.fail(self._process.communicate()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self.output, messages = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, messages
        assert " lost=0 " in messages

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines()]

    @property
    def data(self) -> list[Any]:
        return [line["data"] for line in self.lines]


def totals(tool: Tool) -> dict[Any, Any]:
    """The last sample of each key, of a map that is never cleared."""
    return {data["key"]: data["value"] for data in tool.data}


def udp(port: int = 0) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("127.0.0.1", port))
    return found


def test_each_example_is_tested_and_listed() -> None:
    names = {path.parent.name for path in EXAMPLES.glob("*/*.bpf.c")}
    tests, index = Path(__file__).read_text(), (EXAMPLES / "README.md").read_text()
    elsewhere = {"execsnoop", "opens"}
    assert [name for name in sorted(names - elsewhere) if f'build("{name}")' not in tests] == []
    assert [name for name in sorted(names) if f"]({name})" not in index] == []


def test_open(build: Callable[[str], Path], tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_text("")
    with Tool(build("open"), "--target_pid", os.getpid()) as tool:
        fd = os.open(there, os.O_RDONLY)
        os.close(fd)
        with pytest.raises(FileNotFoundError):
            os.open(missing, os.O_RDONLY)
    comm = Path("/proc/self/comm").read_text().strip()
    assert [data for data in tool.data if data["path"].startswith(str(tmp_path))] == [
        {"pid": os.getpid(), "result": fd, "comm": comm, "path": str(there)},
        {"pid": os.getpid(), "result": -errno.ENOENT, "comm": comm, "path": str(missing)},
    ]


def test_a_table_and_a_short_option(build: Callable[[str], Path], tmp_path: Path) -> None:
    with Tool(build("open"), "--target_pid", os.getpid(), "-f", live=()) as tool:
        os.close(os.open(tmp_path, os.O_RDONLY))
        with pytest.raises(FileNotFoundError):
            os.open(tmp_path / "missing", os.O_RDONLY)
    header, *rows = tool.output.splitlines()
    assert header.split() == ["TIME", "PID", "RESULT", "COMM", "PATH"]
    (row,) = (row for row in rows if str(tmp_path) in row)
    assert row.split()[1:3] == [str(os.getpid()), "-2"]
    assert row.endswith(f" {tmp_path}/missing")


def test_exit(build: Callable[[str], Path]) -> None:
    with Tool(build("exit"), "--parent_pid", os.getpid(), "--failed_only") as tool:
        subprocess.run(["/bin/true"], check=True)
        began_ns = time.monotonic_ns()
        failed = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
        assert failed.wait() == 7
        most_ns = time.monotonic_ns() - began_ns
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as killed:
            killed.kill()
    first, second = tool.data
    assert 0 < first.pop("lifetime_ns") < most_ns
    assert first == {"pid": failed.pid, "ppid": os.getpid(), "code": 7, "signal": 0, "comm": "sh"}
    assert (second["pid"], second["code"], second["signal"]) == (killed.pid, 0, signal.SIGKILL)


def test_signal(build: Callable[[str], Path]) -> None:
    with (
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as cat,
        Tool(build("signal"), "--sender_pid", os.getpid()) as tool,
    ):
        while Path(f"/proc/{cat.pid}/comm").read_text() != "cat\n":
            pass
        cat.send_signal(signal.SIGURG)  # ignored, unless somebody wants it
        cat.send_signal(signal.SIGUSR1)
        assert cat.wait() == -signal.SIGUSR1
    sent = [data for data in tool.data if data["target_pid"] == cat.pid]
    assert [(data["signal"], data["outcome"]) for data in sent] == [
        (signal.SIGURG, "IGNORED"),
        (signal.SIGUSR1, "DELIVERED"),
    ]
    assert {(data["sender_pid"], data["target"]) for data in sent} == {(os.getpid(), "cat")}


def test_tcpstate(build: Callable[[str], Path]) -> None:
    package = build("tcpstate")

    def child() -> list[Any]:
        own_network()
        with Tool(package, "--port", 5000) as tool, socket.create_server((address, 5000)) as server:
            client = socket.create_connection((address, 5000))
            accepted, _ = server.accept()
            client.close()
            assert accepted.recv(1) == b""
            accepted.close()
        return tool.data

    # not anybody else's in another namespace
    address = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}.1"
    server_ip = [int(part) for part in address.split(".")]
    found = [data for data in in_child(child) if server_ip in (data["local_ip"], data["remote_ip"])]
    ways: dict[Any, list[str]] = {}  # of each socket, known by its side and the other's port
    for data in found:
        key = data["local_ip"] == server_ip, data["remote_port"]
        way = ways.setdefault(key, [data["before"]])
        assert way[-1] == data["before"]
        way.append(data["after"])
    (client_port,) = {data["local_port"] for data in found} - {0, 5000}
    assert ways == {
        (True, 0): ["CLOSE", "LISTEN", "CLOSE"],
        (True, client_port): ["LISTEN", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"],
        (False, 5000): ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"],
    }


def test_runqlat(build: Callable[[str], Path]) -> None:
    def turns() -> int:
        """How often this thread got a CPU."""
        return int(Path("/proc/thread-self/schedstat").read_text().split()[2])

    package = build("runqlat")
    before = turns()
    with Tool(package, "--target_pid", os.getpid()) as tool:
        first = turns()
        for _ in range(100):
            time.sleep(0.001)
        last = turns()
    after = turns()
    assert {(data["scale"], data["unit"]) for data in tool.data} == {("log2", "us")}
    assert 100 <= last - first <= sum(sum(data["slots"]) for data in tool.data) <= after - before


def test_softirq(build: Callable[[str], Path]) -> None:
    def received() -> int:
        """How often the kernel itself counts that packets were received."""
        lines = Path("/proc/softirqs").read_text().splitlines()
        (line,) = (line for line in lines if "NET_RX:" in line)
        return sum(int(count) for count in line.split()[1:])

    package = build("softirq")
    before = received()
    with Tool(package) as tool, udp() as receiver, udp() as sender:
        first = received()
        for _ in range(100):
            sender.sendto(b"x", receiver.getsockname())
            receiver.recv(1)
        last = received()
    after = received()
    found = totals(tool)["NET_RX"]
    assert 0 < last - first <= found["count"] <= after - before
    assert found["ns"] > 0


def test_readline(build: Callable[[str], Path]) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["/bin/bash", "--norc", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as bash:
        os.close(theirs)
        os.read(ours, 1)  # of its prompt
        with Tool(build("readline"), live=("--json", "--pid", bash.pid)) as tool:
            os.write(ours, b"true 'two  words'\nexit 5\n")
            try:
                while os.read(ours, 1000):
                    pass
            except OSError:  # what a terminal says when nobody has it open any more
                pass
            assert bash.wait() == 5
        os.close(ours)
    # bash was inside the function already when it was attached: then its return from there isn't seen
    expected = [{"pid": bash.pid, "line": line} for line in ("true 'two  words'", "exit 5")]
    assert tool.data in (expected, expected[1:])


RESOLVE = """
#include <netdb.h>
#include <stdio.h>
int main(void)
{
    struct addrinfo *found, numbers = {.ai_flags = AI_NUMERICHOST};

    getchar();
    return !(getaddrinfo("127.0.0.1", 0, &numbers, &found) == 0 &&
           getaddrinfo("no number", 0, &numbers, &found) == EAI_NONAME);
}
"""


def test_resolve(build: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "asks.c").write_text(RESOLVE)
    subprocess.run(["clang", "-o", tmp_path / "asks", tmp_path / "asks.c"], check=True)
    with subprocess.Popen([tmp_path / "asks"], stdin=subprocess.PIPE) as asks:
        while Path(f"/proc/{asks.pid}/comm").read_text() != "asks\n":
            pass
        with Tool(build("resolve"), live=("--json", "--pid", asks.pid)) as tool:
            asks.communicate(b"\n")
            assert asks.returncode == 0
    assert all(data.pop("duration_ns") > 0 for data in tool.data)
    found = [(data["pid"], data["result"], data["comm"], data["host"]) for data in tool.data]
    assert found == [(asks.pid, 0, "asks", "127.0.0.1"), (asks.pid, -2, "asks", "no number")]


def test_profile(build: Callable[[str], Path]) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            live = ("--json", "--pid", busy.pid, "--attach", "on_tick=perf_event:999")
            with Tool(build("profile"), live=live) as tool:
                time.sleep(1)
        finally:
            busy.kill()
    assert {data["key"]["pid"] for data in tool.data} == {busy.pid}
    assert {line["type"] for line in tool.lines} == {"stack"}
    loops = 0
    for line in tool.lines:
        frames = line["stacks"]["user_stack"] or []
        if any(frame.get("symbol") == "_PyEval_EvalFrameDefault" for frame in frames):
            loops += line["data"]["value"]
    assert loops > 10


def test_syscalls(build: Callable[[str], Path]) -> None:
    with Tool(build("syscalls"), "-p", os.getpid()) as tool:
        for _ in range(500):
            os.getppid()
    assert {data["key"]["pid"] for data in tool.data} == {os.getpid()}
    assert sum(data["value"] for data in tool.data if data["key"]["number"] == GETPPID) == 500


def test_life(build: Callable[[str], Path]) -> None:
    with Tool(build("life"), "--target_pid", os.getpid()) as tool:
        child = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
        child.wait()
    lines = [line for line in tool.lines if child.pid in (line["data"]["pid"], line["data"].get("child_pid"))]
    assert [line["struct"] for line in lines] == ["forked", "ran", "ended"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    forked, ran, ended = (line["data"] for line in lines)
    assert (forked["pid"], ran["path"], ended["status"]) == (os.getpid(), "/bin/sh", 7 << 8)


def test_printk(build: Callable[[str], Path]) -> None:
    with Tool(build("printk"), "--parent_pid", os.getpid()) as tool:
        child = subprocess.Popen(["/bin/true"])
        child.wait()
    (line,) = tool.lines
    assert line["type"] == "printk"
    assert line["data"].pop("comm") in ("true", None)  # the child may have ended before anybody asks
    message = f"{child.pid} runs /bin/true"
    assert line["data"] == {"program": "on_exec", "tid": child.pid, "message": message}


def test_tc(build: Callable[[str], Path]) -> None:
    package = build("tc")

    def child() -> list[Any]:
        own_network()
        with udp() as sender, udp(5000) as wanted, udp() as other:
            with Tool(package, "--port", 5000, live=("--json", "--iface", "lo")) as tool:
                for receiver in (wanted, other, wanted):
                    sender.sendto(b"hello", receiver.getsockname())
                    assert receiver.recv(10) == b"hello"
            return [sender.getsockname()[1], *tool.data]

    port, *found = in_child(child)
    here = [127, 0, 0, 1]
    packet = {"from_ip": here, "to_ip": here, "size_bytes": 14 + 20 + 8 + 5, "from_port": port}
    assert found == [{**packet, "to_port": 5000, "protocol": socket.IPPROTO_UDP}] * 2


def test_xdp(build: Callable[[str], Path]) -> None:
    package = build("xdp")

    def child() -> dict[str, Any]:
        own_network()
        with udp() as sender, udp(5000) as closed, udp() as other:
            with Tool(package, "--port", 5000, live=("--json", "--iface", "lo")) as tool:
                for receiver in (closed, closed, other):
                    sender.sendto(b"hello", receiver.getsockname())
                other.recv(10)
            sender.sendto(b"again", closed.getsockname())
            assert closed.recv(10) == b"again"  # nothing got through before, and all does now
        return totals(tool)

    size = 14 + 20 + 8 + 5
    assert in_child(child) == {
        "XDP_DROP": {"packets": 2, "bytes": 2 * size},
        "XDP_PASS": {"packets": 1, "bytes": size},
    }


def test_processes(build: Callable[[str], Path]) -> None:
    path = build("processes")
    package = snoopkit.Package.read(path)
    with (
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as cat,
        snoopkit.run(package, options={"parent_pid": os.getpid()}) as snoop,
    ):
        while Path(f"/proc/{cat.pid}/comm").read_text() != "cat\n":
            pass
        (found,) = (one for one in snoop.iterate("each_process").events() if one.pid == cat.pid)
        command = [str(SNOOPKIT), "run", "--json", str(path), "--parent_pid", str(os.getpid())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (found.ppid, found.threads, found.comm) == (os.getpid(), 1, "cat")
    assert found.cpu_ns > 0
    assert done.returncode == 0
    rows = [json.loads(line)["data"] for line in done.stdout.splitlines()]
    assert [row["comm"] for row in rows if row["pid"] == cat.pid] == ["cat"]
    assert {row["ppid"] for row in rows} == {os.getpid()}


CONNECT = """
import os, socket, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
for port in (5000, 5001):
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        print(s.connect_ex(("127.0.0.1", port)))
"""


@pytest.mark.own_root
def test_connect(build: Callable[[str], Path], cgroup: str) -> None:
    with Tool(build("connect"), "--denied_port", 5001, live=("--json", "--cgroup", cgroup)) as tool:
        with socket.socket(type=socket.SOCK_DGRAM) as outside:
            outside.connect(("127.0.0.1", 5001))
        done = subprocess.run(
            [sys.executable, "-c", CONNECT, cgroup], check=True, capture_output=True, text=True
        )
    assert done.stdout.split() == ["0", str(errno.EPERM)]
    assert [(data["ip"], data["port"], data["is_denied"]) for data in tool.data] == [
        ([127, 0, 0, 1], 5000, False),
        ([127, 0, 0, 1], 5001, True),
    ]
