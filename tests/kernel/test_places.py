"""Programs that have to be told where to go: each is sent there, runs exactly as often as it should, and is gone."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from kernel.conftest import BPF, in_child, libc, own_network
from snoopkit import loader
from snoopkit.errors import AttachError, UnsupportedError
from snoopkit.maps import Globals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = Path(__file__).parent / "programs"
SNOOPKIT = str(Path(sys.executable).parent / "snoopkit")


@pytest.fixture(scope="module")
def places() -> snoopkit.Package:
    return snoopkit.build(BPF / "places.bpf.c")


def test_a_function_in_a_library_of_this_process_only(places: snoopkit.Package) -> None:
    with snoopkit.run(
        places,
        attach={"on_call": f"uprobe:libc.so.6:getppid:{os.getpid()}"},
        enable=["on_call", "on_return"],
        pid=os.getpid(),
    ) as snoop:
        for _ in range(7):
            libc.getppid()
        subprocess.run([sys.executable, "-c", "import os; os.getppid()"], check=True)
        assert (snoop.globals.calls, snoop.globals.returns) == (7, 7)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probed") / "probed"
    subprocess.run(["gcc", "-O1", "-o", path, PROGRAMS / "probed.c"], check=True)
    return path


@contextlib.contextmanager
def waiting(program: Path, times: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """The pid of a program that is there, and what lets it go on and waits for its end."""
    with subprocess.Popen([program, str(times)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"

        def go_on() -> None:
            process.communicate(b"\n", timeout=20)

        try:
            yield process.pid, go_on
        finally:
            process.kill()


def test_probes_that_a_program_declares(places: snoopkit.Package, probed: Path) -> None:
    target = f"usdt:{probed}:snoopkit:passed"
    with snoopkit.run(places, enable=["on_probe"], attach={"on_probe": target}) as snoop:
        for _ in range(2):
            with waiting(probed, 3) as (_, go_on):
                go_on()
        assert (snoop.globals.probes, snoop.globals.numbers) == (6, 12)
    for in_target in (True, False):  # of one process
        with waiting(probed, 4) as (pid, go_on), waiting(probed, 100) as (_, other_goes_on):
            attach = {"on_probe": f"{target}:{pid}" if in_target else target}
            narrow = None if in_target else pid
            with snoopkit.run(places, enable=["on_probe"], attach=attach, pid=narrow) as snoop:
                other_goes_on()
                go_on()
                assert (snoop.globals.probes, snoop.globals.numbers) == (4, 10)


def test_a_probe_that_is_not_there(places: snoopkit.Package, probed: Path) -> None:
    with pytest.raises(AttachError, match=f"{probed} has no probe snoopkit:absent"):
        snoopkit.run(places, enable=["on_probe"], attach={"on_probe": f"usdt:{probed}:snoopkit:absent"})


@pytest.mark.vm
def test_functions_of_the_kernel(places: snoopkit.Package, tmp_path: Path) -> None:
    with snoopkit.run(
        places,
        options={"target_pid": os.getpid()},
        enable=["on_sleep"],
        attach={"on_sleep": "kprobe:do_nanosleep"},
    ) as snoop:
        for _ in range(5):
            time.sleep(0.001)
        assert snoop.globals.sleeps == 5
    with pytest.raises(AttachError, match="no function no_such_function to probe"):
        snoopkit.run(places, enable=["on_sleep"], attach={"on_sleep": "kprobe:no_such_function"})


def test_sampling_one_process(places: snoopkit.Package) -> None:
    with snoopkit.run(
        places, enable=["on_tick"], attach={"on_tick": f"perf_event:1000:{os.getpid()}"}
    ) as snoop:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        assert 20 < snoop.globals.ticks < 400


def test_sampling_every_cpu(places: snoopkit.Package) -> None:
    """Where nobody says how often, 99 times a second; the test's own process keeps one CPU busy."""
    with snoopkit.run(places, enable=["on_tick"]) as snoop:
        end = time.monotonic() + 5
        while not snoop.globals.ticks:
            assert time.monotonic() < end


def variable(object: loader.Object, package: snoopkit.Package, name: str) -> int:
    """A variable's value, of a package that only loader has."""
    return int(Globals(object, package).__getattr__(name))


def send(count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(count):
                sender.sendto(b"x", receiver.getsockname())
                receiver.recv(1)


def test_packets_of_an_interface(places: snoopkit.Package) -> None:
    def child() -> list[int]:
        own_network()
        with snoopkit.run(
            places,
            enable=["on_packet_in", "on_packet_out", "on_frame"],
            attach={"on_packet_out": "tc:lo:egress"},
            interface="lo",
        ) as snoop:
            send(5)
            found = [snoop.globals.packets_in, snoop.globals.packets_out, snoop.globals.frames]
        send(2)
        return found

    assert in_child(child) == [5, 5, 5]


def tc(*words: str) -> str:
    done = subprocess.run(["tc", *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def qdiscs() -> str:
    return tc("qdisc", "show", "dev", "lo", "clsact")


@pytest.mark.parametrize("end", ["close", "object", "forgotten"])
def test_packets_by_filters_where_there_are_no_links(places: snoopkit.Package, end: str) -> None:
    """As on kernels before 6.6: a filter of the clsact qdisc, and both are gone at the end."""

    def child() -> dict[str, Any]:
        own_network()
        object = loader.open(places, enable=["on_packet_in", "on_packet_out"])
        object.load()
        programs = object.programs
        links = [
            programs["on_packet_in"].attach_filter(1, False),
            programs["on_packet_out"].attach_filter(1, True),
        ]
        send(5)
        counts = [variable(object, places, name) for name in ("packets_in", "packets_out")]
        found = {"counts": counts, "attached": "clsact" in qdiscs()}
        if end == "close":
            links[0].close()
            found["other stays"] = "on_packet_out" in tc("filter", "show", "dev", "lo", "egress")
            links[1].close()
            links[1].close()
        elif end == "forgotten":
            del links
        if end != "object":
            found["left before"] = qdiscs()
        object.close()
        found["left"] = qdiscs()
        return found

    found = in_child(child)
    assert (found.pop("counts"), found.pop("attached")) == ([5, 5], True)
    assert found.pop("other stays", True)
    assert set(found.values()) == {""}


def test_other_peoples_filters_stay(places: snoopkit.Package) -> None:
    """Those that were there before, and those that came into a qdisc that was made for ours."""

    def child() -> list[str]:
        own_network()
        left = []
        for is_there in (True, False):
            if is_there:
                tc("qdisc", "add", "dev", "lo", "clsact")
            with loader.open(places, enable=["on_packet_in"]) as object:
                object.load()
                link = object.programs["on_packet_in"].attach_filter(1, False)
                for way in ("ingress", "egress"):
                    tc(*f"filter add dev lo {way} pref 7 u32 match u32 0 0 flowid 1:1".split())
            assert link.closed
            left += [tc("filter", "show", "dev", "lo", way) for way in ("ingress", "egress")]
            tc("qdisc", "del", "dev", "lo", "clsact")
        return left

    for text in in_child(child):
        assert "pref 7 u32" in text
        assert "on_packet_in" not in text


def test_somebody_elses_xdp_program_stays(places: snoopkit.Package) -> None:
    def child() -> str:
        own_network()
        with snoopkit.run(places, enable=["on_frame"], interface="lo") as first:
            try:
                snoopkit.run(places, enable=["on_frame"], interface="lo").close()
            except AttachError as error:
                send(1)
                return f"{error.errno} {first.globals.frames} {error}"
        return "replaced"

    text = in_child(child)
    assert text.startswith(f"{errno.EBUSY} 1 "), text
    assert "has an XDP program already" in text


@pytest.fixture(scope="module")
def noted() -> snoopkit.Package:
    return snoopkit.build(BPF / "noted_places.bpf.c")


def test_a_filter_where_its_notes_send_it(noted: snoopkit.Package) -> None:
    """With its handle and priority, and gone at the end; the command line's target goes before the notes."""

    def child() -> list[Any]:
        own_network()
        found: list[Any] = []
        for attach in ({}, {"on_filter": "tc:lo:ingress"}):
            with snoopkit.run(noted, enable=["on_filter"], attach=attach) as snoop:
                send(5)
                found += [snoop.globals.packets, tc("filter", "show", "dev", "lo", "egress")]
        return found

    packets, shown, otherwise, nothing = in_child(child)
    assert (packets, otherwise, nothing) == (5, 5, "")
    assert "pref 7 bpf" in shown and "handle 0x5 on_filter" in shown


def test_a_handle_that_is_taken(noted: snoopkit.Package) -> None:
    def child() -> list[str]:
        own_network()
        with snoopkit.run(noted, enable=["on_filter"]):
            try:
                snoopkit.run(noted, enable=["on_filter"]).close()
            except AttachError as error:
                return [str(error), tc("filter", "show", "dev", "lo", "egress")]
        return ["replaced", ""]

    refusal, shown = in_child(child)
    assert "has a filter of the same handle and priority already" in refusal
    assert shown.count("handle 0x5 on_filter") == 1


def test_the_mode_of_an_xdp_program(noted: snoopkit.Package) -> None:
    """On an interface whose driver could do it itself, as it does without the notes."""

    def child() -> list[Any]:
        own_network()
        subprocess.run(
            ["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"], check=True, timeout=20
        )

        def mode(device: str) -> str:
            done = subprocess.run(["ip", "link", "show", device], capture_output=True, text=True, timeout=20)
            return next((word for word in done.stdout.split() if word.startswith("xdp")), "")

        found: list[Any] = []
        for name, arguments in (
            ("on_generic", {"interface": "v0"}),
            ("on_driver", {"interface": "v0"}),
            ("on_generic", {"attach": {"on_generic": "xdp:v0"}}),
        ):
            with snoopkit.run(noted, enable=[name], **arguments):
                found.append(mode("v0"))
            found.append(mode("v0"))
        with snoopkit.run(noted, enable=["on_generic"]) as snoop:  # to the loopback, by its number
            send(5)
            found += [mode("lo"), snoop.globals.frames]
        return found

    assert in_child(child) == ["xdpgeneric", "", "xdp", "", "xdp", "", "xdpgeneric", 5]


@pytest.mark.parametrize(
    ("name", "words"),
    {
        "on_custom": "BPF_TC_CUSTOM needs a parent",
        "on_driver": "the driver of 1 has no XDP of its own",
        "on_hardware": "XDP flags 0x8: it is either generic (2) or the driver's (4)",
        "on_replacing": "XDP flags 0x10: it would replace another program",
    }.items(),
)
def test_notes_that_cannot_be_followed(noted: snoopkit.Package, name: str, words: str) -> None:
    def child() -> str:
        own_network()
        try:
            snoopkit.run(noted, enable=[name]).close()
        except UnsupportedError as error:
            return f"{error} {error.hint}"
        return "attached"

    text = in_child(child)
    assert words in text and f"--attach {name}=" in text


@pytest.mark.own_root
def test_connections_of_a_cgroup(places: snoopkit.Package, cgroup: str) -> None:
    connect = (
        "import os, socket, sys\n"
        "open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "for _ in range(3):\n"
        "    with socket.socket(type=socket.SOCK_DGRAM) as s: s.connect(('127.0.0.1', 9))\n"
    )
    with snoopkit.run(places, enable=["on_connect"], cgroup=cgroup) as snoop:
        with socket.socket(type=socket.SOCK_DGRAM) as outside:
            outside.connect(("127.0.0.1", 9))
        subprocess.run([sys.executable, "-c", connect, cgroup], check=True)
        assert snoop.globals.connects == 3


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no interface": ({"enable": ["on_frame"]}, "name a network interface: --iface eth0"),
    "no direction": ({"enable": ["on_packet_in"]}, "name a network interface: --iface eth0"),
    "no cgroup": ({"enable": ["on_connect"]}, "--cgroup /sys/fs/cgroup/NAME"),
    "an interface that isn't there": ({"enable": ["on_frame"], "interface": "none0"}, "there are lo"),
    "a folder that isn't there": ({"enable": ["on_connect"], "cgroup": "/no/such"}, "No such file"),
    "a folder that is no cgroup": (
        {"enable": ["on_connect"], "cgroup": "/tmp"},
        "isn't a folder of the cgroup2",
    ),
    "a bare uprobe": ({"enable": ["on_call"]}, "uprobe:BINARY:FUNCTION"),
    "no such function": (
        {"enable": ["on_call"], "attach": {"on_call": "uprobe:libc.so.6:no_such_function"}},
        "no_such_function",
    ),
    "neither way": (
        {"enable": ["on_packet_in"], "attach": {"on_packet_in": "tc:lo:sideways"}},
        "ingress or egress",
    ),
    "a bad pid": ({"enable": ["on_call"], "attach": {"on_call": "uprobe:a:b:c"}}, "'c' is no process id"),
    "no frequency": ({"enable": ["on_tick"], "attach": {"on_tick": "perf_event:0"}}, "'0' is no frequency"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused(places: snoopkit.Package, name: str) -> None:
    arguments, words = REFUSALS[name]
    with pytest.raises((AttachError, UnsupportedError)) as caught:
        snoopkit.run(places, **arguments).close()
    assert words in str(caught.value)


def test_an_option_that_nothing_uses(bursts: snoopkit.Package) -> None:
    for arguments, option in (
        ({"interface": "lo"}, "--iface lo"),
        ({"pid": 1}, "--pid 1"),
        ({"cgroup": "/"}, "--cgroup /"),
    ):
        with pytest.raises(AttachError, match=f"{option}: the package has no program"):
            snoopkit.run(bursts, **arguments).close()  # type: ignore[arg-type]


def test_a_package_without_events_runs(places: snoopkit.Package, tmp_path: Path) -> None:
    with snoopkit.run(places, enable=["on_tick"]) as snoop:
        assert snoop.poll(0.05) == []
        assert [lot for lot in snoop.finish() if lot] == []
    places.write(tmp_path / "package.json")
    done = subprocess.run(
        [SNOOPKIT, "run", "--duration", "0.1", "package.json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr.startswith("events=0 lost=0 ")


def test_the_command_line_sends_them_too(places: snoopkit.Package, tmp_path: Path) -> None:
    places.write(tmp_path / "package.json")
    done = subprocess.run(
        [
            SNOOPKIT,
            "run",
            "--duration",
            "0.1",
            "--attach",
            "on_call=uprobe:libc.so.6:getppid",
            "package.json",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "snoopkit run: error: attach: program on_call: it is switched off\n",
    )
    done = subprocess.run(
        [SNOOPKIT, "run", "--attach", "on_call", "package.json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "isn't PROGRAM=TARGET" in done.stderr
