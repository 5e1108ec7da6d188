"""Maps and variables from Python: a program works them, Python works them, and bpftool says what is in them."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import json
import os
import signal
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from snoopkit import _core, loader, maps
from snoopkit.errors import MapError

from .conftest import BPF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

CPUS = _core.possible_cpus()
NET = ipaddress.ip_network


# The youngest kinds of map, and the kernels that brought them. All others are in 5.8, the oldest with ring buffers.
YOUNG = {"bloom": ("BLOOM_FILTER", (5, 16)), "storage": ("TASK_STORAGE", (5, 11))}
KERNEL = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
ABSENT = {name for name, (_, since) in YOUNG.items() if since > KERNEL}


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    define = [f"WITHOUT_{YOUNG[name][0]}" for name in ABSENT]
    return snoopkit.build(BPF / "maps.bpf.c", BPF / "maps.h", define=define)


def needs(name: str) -> None:
    if name in ABSENT:
        raise snoopkit.UnsupportedError(f"this kernel has no {YOUNG[name][0]}", feature=YOUNG[name][0])


class Live:
    """The program, loaded and attached; it works its maps when `call`ed, or when a process of `target` is."""

    def __init__(self, package: snoopkit.Package, target: int) -> None:
        self.object = loader.open(package, options={"target_pid": target})
        try:
            self.object.load()
            self.link = self.object.programs["on_syscall"].attach()
        except BaseException:
            self.object.close()
            raise
        self.maps: Any = maps.typed_maps(self.object, package)
        self.globals: Any = maps.Globals(self.object, package)

    def call(self, times: int = 1, **variables: Any) -> None:
        for name, value in variables.items():
            self.globals[name] = value
        for _ in range(times):
            os.getppid()

    def dump(self, name: str) -> list[dict[str, Any]]:
        """The map's entries as bpftool sees them."""
        command = ["bpftool", "-j", "map", "dump", "id", str(self.maps[name].raw.id)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return json.loads(answer)  # type: ignore[no-any-return]

    def formatted(self, name: str) -> list[Any]:
        return [entry["formatted"] for entry in self.dump(name)]


def in_bytes(numbers: list[str]) -> bytes:
    return bytes(int(number, 16) for number in numbers)


@pytest.fixture
def live(package: snoopkit.Package) -> Iterator[Live]:
    one = Live(package, os.getpid())
    yield one
    one.object.close()


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A process that does this when it gets its first signal, and once more at each turn until it is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            signal.sigwait({signal.SIGUSR1})
            while True:
                work()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # a child inherits it, so none comes too early
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


# --- what kind of map is what -----------------------------------------------------------------------------


def test_every_map_is_of_its_kind(live: Live) -> None:
    kinds = {name: type(live.maps[name]) for name in live.maps if not name.startswith(".")}
    expected = {
        "counts": maps.HashMap,
        "recent": maps.HashMap,
        "tallies": maps.HashMap,
        "recent_tallies": maps.HashMap,
        "slots": maps.ArrayMap,
        "numbers": maps.ArrayMap,
        "modes": maps.ArrayMap,
        "flows": maps.HashMap,
        "guarded": maps.HashMap,
        "untyped": maps.HashMap,
        "stacks": maps.HashMap,
        "inner_a": maps.ArrayMap,
        "inner_b": maps.ArrayMap,
        "routes": maps.TrieMap,
        "routes6": maps.TrieMap,
        "prefixes": maps.TrieMap,
        "queue": maps.QueueMap,
        "stack": maps.QueueMap,
        "bloom": maps.BloomFilter,
        "jumps": maps.ProgramArray,
        "groups": maps.CgroupArray,
        "maps_by_slot": maps.MapSlots,
        "maps_by_key": maps.MapOfMaps,
        "events": maps.EventMap,
        "ring": maps.EventMap,
        "storage": maps.Map,
    }
    assert kinds == {name: kind for name, kind in expected.items() if name not in ABSENT}
    assert live.maps["counts"] is live.maps["counts"]
    assert len(live.maps) == len(list(live.maps)) and "counts" in live.maps
    with pytest.raises(KeyError, match="no map 'nothing'; there are "):
        live.maps["nothing"]
    assert repr(live.maps["flows"]) == "<HashMap flows: struct flow_key → struct flow>"
    assert repr(live.maps["queue"]) == "<QueueMap queue: __u64>"
    assert (live.maps["flows"].value_type.size_bytes, live.maps["flows"].max_entries) == (40, 16)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("events", "carries records, which are read as events"),
        ("ring", "carries records"),
        ("storage", "type 29.*has no entries to look at"),
        ("queue", "push\\(\\), pop\\(\\) and peek\\(\\)"),
        ("bloom", "add\\(\\) to it"),
        ("groups", "the kernel doesn't tell which cgroups"),
    ],
)
def test_what_has_no_entries_says_so(live: Live, name: str, said: str) -> None:
    needs(name)
    map = live.maps[name]
    for use in (lambda: map[0], lambda: list(map), lambda: dict(map)):
        with pytest.raises(TypeError, match=said):
            use()
    assert map


# --- programs, Python and bpftool agree -------------------------------------------------------------------


def test_a_program_writes_and_python_reads(live: Live) -> None:
    live.call(3, key=7)
    live.call(2, key=8)
    found = {name: live.maps[name] for name in ("counts", "recent", "tallies", "slots", "numbers")}
    assert dict(found["counts"]) == dict(found["recent"]) == {7: 3, 8: 2}
    for name in ("counts", "recent"):
        assert sorted(live.formatted(name), key=str) == [{"key": 7, "value": 3}, {"key": 8, "value": 2}]
    assert list(found["numbers"].items()) == [(n, -5 if n == 3 else 0) for n in range(8)]
    assert [entry["value"] for entry in live.formatted("numbers")] == [0, 0, 0, -5, 0, 0, 0, 0]
    assert found["tallies"].sums() == {7: (3, [0, 6]), 8: (2, [0, 4])}
    assert found["slots"].sums() == {0: 0, 1: 5}
    for entry in live.formatted("tallies"):
        values = found["tallies"][entry["key"]]
        assert len(values) == CPUS == len(entry["values"])
        assert [value._asdict() for value in values] == [one["value"] for one in entry["values"]]
        assert values.sum().hits == sum(value.hits for value in values) > 0
    assert sum(one["value"] for one in live.formatted("slots")[1]["values"]) == 5


def test_structs_are_records(live: Live) -> None:
    live.call(4)
    ((key, value),) = live.maps["flows"].items()
    comm = Path("/proc/self/comm").read_text().strip()
    assert key._asdict() == {"address": [10, 0, 0, 1], "port": 443, "comm": comm}
    assert (value.packets, value.state, value.urgent, value.level) == (4, "OPEN", 1, -2)
    assert (value.deltas, value.where.port) == ([0, -4, 0], 80)
    (entry,) = live.dump("flows")
    assert in_bytes(entry["key"]) == struct.pack("=4sH16s", bytes([10, 0, 0, 1]), 443, comm.encode())
    assert entry["formatted"]["value"]["deltas"] == value.deltas

    # and the other way: Python writes, bpftool and the program read
    flows = live.maps["flows"]
    flows[key] = value._asdict() | {"packets": 100, "state": "BROKEN"}
    live.call()
    assert flows[key].packets == 101
    as_tuple = ([10, 0, 0, 1], 443, comm)
    assert as_tuple in flows and key in flows and flows[as_tuple] == flows[key]
    assert {key: 1}[key] == 1  # a key of a mapping here can be one of a dict
    flows[[1, 2, 3, 4], 5, "x"] = {"packets": 1, "bytes": b"abcd", "level": -8}
    assert flows[b"\1\2\3\4", 5, b"x"].word == int.from_bytes(b"abcd", "little")
    dumped = {in_bytes(entry["key"]): in_bytes(entry["value"]) for entry in live.dump("flows")}
    written = dumped[struct.pack("=4sH16s", b"\1\2\3\4", 5, b"x")]
    assert written == struct.pack("=QiI3i4sH6x", 1, 0, 0x10, 0, 0, 0, b"abcd", 0)
    with pytest.raises(ValueError, match="level: 8 doesn't fit"):
        flows[key] = {"level": 8}
    with pytest.raises(ValueError, match="contradicts"):
        flows[key] = {"word": 1, "bytes": b"abcd"}
    with pytest.raises(ValueError, match="no member 'length'"):
        flows[key] = {"length": 8}
    assert flows.pop(as_tuple).packets == 101
    assert as_tuple not in flows


def test_bytes_on_request(live: Live, package: snoopkit.Package) -> None:
    live.call()
    flows = maps.typed_maps(live.object, package, text="bytes", u8="bytes")["flows"]
    ((key, value),) = flows.items()
    assert (key.address, key.comm) == (b"\x0a\0\0\1", Path("/proc/self/comm").read_bytes().strip())
    assert value.bytes == bytes(4) and flows[key] == value and key in live.maps["flows"]
    variables: Any = maps.Globals(live.object, package, text="bytes", u8="bytes")
    variables.address = b"\1\2\3\4"
    assert (variables.greeting, variables.address) == (b"hello", b"\1\2\3\4")
    with pytest.raises(ValueError, match="u8 is 'list' or 'bytes'"):
        maps.typed_maps(live.object, package, u8="x")


def test_a_key_with_more_than_its_value_says_is_seen_and_deleted(live: Live) -> None:
    flows = live.maps["flows"]
    flows.raw.update(struct.pack("=4sH16s", b"\1\2\3\4", 5, b"x\0behind"), bytes(40))
    assert [key.comm for key in flows] == ["x"] and len(flows) == 1
    assert ([1, 2, 3, 4], 5, "x") not in flows and ([1, 2, 3, 4], 5, b"x\0behind") in flows
    flows.clear()
    assert not flows


def test_enumerations_name_the_slots_of_an_array(live: Live) -> None:
    modes = live.maps["modes"]
    modes["TAIL_CALL"] = 70
    modes[5] = 50
    assert list(modes) == ["IDLE", "PUSH", "POP", 3, 4, 5, 6, "TAIL_CALL"]
    assert (modes[7], modes["TAIL_CALL"], modes[5]) == (70, 70, 50)
    with pytest.raises(KeyError):
        modes["NO_SUCH"]


# --- mappings ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["batches", "one by one"])
def counts(live: Live, request: pytest.FixtureRequest) -> Any:
    """A hash, with the kernel's own batches and as if there were none."""
    map = live.maps["counts"]
    if request.param == "one by one":
        map._lacks.update(("read", "read and delete", "write", "delete", "take"))
    return map


def test_a_hash_is_a_dict(live: Live, counts: Any) -> None:
    assert not counts and len(counts) == 0 and list(counts) == [] and counts == {}
    counts[1] = 10
    counts.update({2: 20, 3: 30})
    counts.update([(4, 40)])
    assert counts == {1: 10, 2: 20, 3: 30, 4: 40} and len(counts) == 4 and counts
    assert sorted(live.formatted("counts"), key=str) == [{"key": n, "value": 10 * n} for n in range(1, 5)]
    assert sorted(counts.keys()) == [1, 2, 3, 4] and sorted(counts.values()) == [10, 20, 30, 40]
    assert 1 in counts and 9 not in counts and (1, 10) in counts.items() and 20 in counts.values()
    assert counts.get(9) is None and counts.get(1) == 10
    assert counts.setdefault(1, 5) == 10 and counts.setdefault(5, 50) == 50 == counts[5]
    assert counts.pop(5) == 50 and counts.pop(5, None) is None
    del counts[4]
    for use in (lambda: counts[4], lambda: counts.pop(4), lambda: counts.__delitem__(4)):
        with pytest.raises(KeyError, match=r"^4$"):
            use()
    assert not counts.insert(1, 11) and counts.insert(6, 60) and counts[1] == 10 and counts[6] == 60
    assert not counts.replace(7, 70) and counts.replace(1, 12) and counts[1] == 12 and 7 not in counts
    assert counts.delete_batch([1, 99, 6, 98, 2**40]) == 2
    taken = dict([counts.popitem(), counts.popitem()])
    assert taken == {2: 20, 3: 30}
    with pytest.raises(KeyError, match="empty"):
        counts.popitem()
    assert counts.update_batch([(n, n) for n in range(100)]) == 100
    assert sorted(counts.lookup_and_delete_batch()) == [(n, n) for n in range(100)]
    assert live.dump("counts") == []
    counts.update({n: n for n in range(50)})
    counts.clear()
    assert live.dump("counts") == [] and not counts


def test_a_key_that_does_not_fit_is_not_there(live: Live, counts: Any) -> None:
    assert 2**32 not in counts and -1 not in counts and counts.get(2**32, "no") == "no"
    for use in (lambda: counts[-1], lambda: counts.pop(-1), lambda: counts.__delitem__(2**32)):
        with pytest.raises(KeyError):
            use()
    for wrong in (lambda: counts["x"], lambda: "x" in counts, lambda: counts.update({1: "x"})):
        with pytest.raises(TypeError, match="a number is needed"):
            wrong()
    for wrong in (lambda: counts.update({2**32: 1}), lambda: counts.insert(1, -1)):
        with pytest.raises(ValueError, match="doesn't fit"):
            wrong()
    assert not counts


def test_a_full_map_says_so(live: Live) -> None:
    guarded = live.maps["guarded"]
    for n in range(4):
        guarded[n] = (0,), n
    with pytest.raises(MapError, match="write: map guarded") as one:
        guarded[4] = (0,), 4
    with pytest.raises(MapError, match="after 2 of 3 entries") as many:
        guarded.update_batch([(0, ((0,), 10)), (1, ((0,), 11)), (5, ((0,), 5))])
    assert one.value.errno == many.value.errno == errno.E2BIG
    assert {key: value.number for key, value in guarded.items()} == {0: 10, 1: 11, 2: 2, 3: 3}
    recent = live.maps["recent"]  # an LRU hash makes room
    recent.update((n, n) for n in range(1000))
    assert 0 < len(recent) <= 64


def test_a_lock_in_a_value_is_taken(live: Live) -> None:
    guarded = live.maps["guarded"]
    assert guarded._flags == maps.base.LOCK
    guarded[1] = {"number": 5}
    assert guarded[1].number == 5 and guarded.pop(1).number == 5
    guarded.update_batch({2: {"number": 6}})
    assert [(key, value.number) for key, value in guarded.lookup_and_delete_batch()] == [(2, 6)]


def test_an_array_keeps_its_keys(live: Live) -> None:
    numbers = live.maps["numbers"]
    assert len(numbers) == 8 and list(numbers) == list(range(8)) and 7 in numbers and 8 not in numbers
    numbers[7] = -70
    numbers.update({0: 1, 1: 2})
    assert [entry["value"] for entry in live.formatted("numbers")] == [1, 2, 0, 0, 0, 0, 0, -70]
    assert list(numbers.values()) == [1, 2, 0, 0, 0, 0, 0, -70] == [v for _, v in numbers.lookup_batch()]
    assert not numbers.insert(1, 9) and numbers.replace(1, 9) and numbers[1] == 9
    assert numbers.setdefault(2, 5) == 0
    for missing in (lambda: numbers[8], lambda: numbers.__setitem__(8, 1), lambda: numbers[-1]):
        with pytest.raises(KeyError):
            missing()
    for refused in (
        lambda: numbers.__delitem__(0),
        lambda: numbers.pop(0),
        numbers.popitem,
        numbers.lookup_and_delete_batch,
        lambda: numbers.delete_batch([0]),
        numbers.sums,
    ):
        with pytest.raises(TypeError, match="map numbers"):
            refused()
    numbers.clear()
    assert set(numbers.values()) == {0}


def test_values_for_each_cpu_are_written_and_summed(live: Live) -> None:
    slots, tallies = live.maps["slots"], live.maps["tallies"]
    slots[0] = list(range(10, 10 + CPUS))
    assert slots[0] == list(range(10, 10 + CPUS)) and slots[0].sum() == sum(range(10, 10 + CPUS))
    tallies[5] = [{"hits": n, "by_kind": [1, n]} for n in range(CPUS)]
    dumped = [one["value"] for one in live.formatted("tallies")[0]["values"]]
    assert dumped == [{"hits": n, "by_kind": [1, n]} for n in range(CPUS)]
    total = tallies[5].sum()
    assert (total.hits, total.by_kind) == (sum(range(CPUS)), [CPUS, sum(range(CPUS))])
    assert tallies.update_batch({6: tallies[5], 7: tallies[5]}) == 2
    assert tallies.pop(6).sum() == total and 6 not in tallies
    assert dict(tallies.lookup_and_delete_batch()).keys() == {5, 7}
    live.maps["recent_tallies"].update({n: [n] * CPUS for n in range(5)})
    assert live.maps["recent_tallies"].sums() == {n: n * CPUS for n in range(5)}
    with pytest.raises(TypeError, match=f"each of {CPUS} CPUs"):
        slots[0] = 5
    with pytest.raises(ValueError, match="possible CPUs"):
        slots[0] = [1] * (CPUS + 1)
    with pytest.raises(TypeError, match="'x' has no sum"):
        maps.PerCpu(["x", "y"]).sum()


def test_a_map_without_types_has_bytes(live: Live) -> None:
    untyped = live.maps["untyped"]
    untyped[b"sixsix"] = b"abc"
    assert dict(untyped) == {b"sixsix": b"abc"} and untyped.pop(b"sixsix") == b"abc"
    with pytest.raises(TypeError, match="bytes are needed, not int"):
        untyped[1] = b"abc"
    with pytest.raises(ValueError, match="2 bytes where 3 are needed"):
        untyped[b"sixsix"] = b"ab"
    assert b"short" not in untyped
    live.call()
    for trace in live.maps["stacks"].values():  # a stack trace map can be read as well
        assert len(trace) == 160 and trace != bytes(160)
    assert len(live.maps["stacks"]) > 0


# --- many entries, and change meanwhile -------------------------------------------------------------------


def test_ten_thousand_entries_take_one_system_call(live: Live) -> None:
    counts, variables = live.maps["counts"], live.globals
    expected = {n: 3 * n for n in range(10_000)}

    def calls(use: Callable[[], Any]) -> tuple[Any, int]:
        before = variables.bpf_calls
        result = use()
        return result, variables.bpf_calls - before

    assert calls(lambda: counts.update(expected))[1] == 1
    dumped, used = calls(lambda: dict(counts.lookup_batch()))
    assert (dumped, used) == (expected, 1)
    assert calls(lambda: dict(counts.items())) == (expected, 1)
    assert calls(lambda: len(counts)) == (10_000, 1)
    assert {entry["key"]: entry["value"] for entry in live.formatted("counts")} == expected
    counts._lot = 100  # smaller than some bucket together with what came before it, never than a bucket
    dumped, used = calls(lambda: dict(counts.items()))
    assert dumped == expected and 100 <= used < 200
    counts._lot = 1  # smaller than a bucket
    assert dict(counts.items()) == expected
    counts._lot = 10_000
    taken, used = calls(lambda: dict(counts.lookup_and_delete_batch()))
    assert (taken, used) == (expected, 1) and not counts


def test_entries_can_go_while_they_are_walked(counts: Any) -> None:
    counts.update({n: n for n in range(1000)})
    counts._lot = 64
    seen = []
    for key in counts:
        seen.append(key)
        del counts[key]
    assert sorted(seen) == list(range(1000)) and not counts
    counts.update({n: n for n in range(1000)})
    for key, value in counts.items():
        counts[key] = value + 1
        if key % 2:
            del counts[key]
            counts[key + 5000] = 0
    assert {key: value for key, value in counts.items() if key < 1000} == {
        n: n + 1 for n in range(0, 1000, 2)
    }


def test_what_stays_is_seen_once_whatever_else_changes(live: Live, counts: Any) -> None:
    stable = {n: n for n in range(500)}
    counts.update(stable)
    counts._lot = 64
    turn = itertools.count()

    def churn() -> None:
        number = next(turn)
        counts[5000 + number % 300] = 1
        counts.pop(5000 + (number + 150) % 300, None)

    with child(churn) as pid:
        os.kill(pid, signal.SIGUSR1)
        for _ in range(30):
            keys = [key for key in counts if key < 5000]
            assert len(keys) == len(set(keys))
            assert set(keys) == set(stable)


def test_a_walk_that_never_ends_is_given_up(live: Live) -> None:
    """The kernel begins anew behind a deleted key: here, at every step."""

    class Restless:
        max_entries = 4

        def next_key(self, key: bytes | None = None) -> bytes:
            return b"\1\0\0\0"

    counts = live.maps["counts"]
    counts.raw = Restless()
    with pytest.raises(RuntimeError, match="map counts changes faster than it can be read"):
        list(counts._walk())


# --- queues, filters, tries -------------------------------------------------------------------------------


def test_queues_and_stacks(live: Live) -> None:
    queue, stack = live.maps["queue"], live.maps["stack"]
    for empty in (queue.pop, queue.peek, stack.pop):
        with pytest.raises(IndexError, match="is empty"):
            empty()
    assert queue.pop(None) is None and queue.peek(0) == 0
    live.call(3, mode="PUSH")
    assert [queue.pop(), queue.peek(), queue.pop(), queue.pop(None)] == [1, 2, 2, 3]
    assert [stack.pop().number for _ in range(3)] == [3, 2, 1]
    for number in (10, 11, 12, 13):
        queue.push(number)
        stack.push({"number": number, "name": "python"})
    with pytest.raises(MapError) as full:
        queue.push(14)
    assert full.value.errno == errno.E2BIG
    queue.push(14, force=True)
    live.call(mode="POP")
    assert live.globals.popped == 11
    assert stack.peek() == (13, "python")
    queue.clear()
    stack.clear()
    assert queue.pop(None) is stack.pop(None) is None
    with pytest.raises(ValueError, match="doesn't fit"):
        queue.push(-1)


def test_bloom_filter(live: Live) -> None:
    needs("bloom")
    bloom = live.maps["bloom"]
    assert 5 not in bloom
    bloom.add(5)
    assert 5 in bloom and 2**32 not in bloom
    live.call(key=5)
    assert live.globals.is_known == 1
    live.call(key=6)
    assert live.globals.is_known == int(6 in bloom)
    for number in range(100):
        bloom.add(number)
    assert all(number in bloom for number in range(100))
    assert sum(number in bloom for number in range(1000, 2000)) < 100
    with pytest.raises(TypeError, match="a number is needed"):
        bloom.add("x")
    live.object.close()
    for use in (lambda: bloom.add(1), lambda: 1 in bloom):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_tries_have_networks_as_keys(live: Live) -> None:
    routes = live.maps["routes"]
    routes["10.0.0.0/8"] = 8
    routes[NET("10.1.0.0/16")] = 16
    routes[24, bytes([10, 1, 2, 0])] = 24
    routes[ipaddress.ip_address("10.9.9.9")] = 32
    assert dict(routes) == {
        NET("10.0.0.0/8"): 8,
        NET("10.1.0.0/16"): 16,
        NET("10.1.2.0/24"): 24,
        NET("10.9.9.9/32"): 32,
    }
    dumped = {in_bytes(entry["key"]): entry["formatted"]["value"] for entry in live.dump("routes")}
    assert dumped[struct.pack("=I4B", 24, 10, 1, 2, 0)] == 24 and len(dumped) == len(routes) == 4
    for address, found in (([10, 1, 2, 3], 24), ([10, 1, 3, 3], 16), ([10, 2, 0, 0], 8), ([11, 0, 0, 0], -1)):
        live.call(address=address)
        assert live.globals.route == found
        assert routes.get(ipaddress.IPv4Address(bytes(address)), -1) == found
    assert "10.1.2.3" in routes and "11.0.0.0" not in routes and "2001:db8::" not in routes
    assert not routes.insert("10.1.0.0/16", 1) and not routes.replace("10.3.0.0/16", 1)
    assert routes["10.3.0.0/16"] == 8  # the longest prefix that covers it
    with pytest.raises(KeyError):
        routes.pop("10.3.0.0/16")
    assert routes.pop("10.1.2.0/24") == 24 and routes["10.1.2.3"] == 16
    del routes["10.9.9.9"]
    for use in (lambda: routes[5], lambda: routes.__setitem__((1, 2), 3)):
        with pytest.raises((TypeError, ValueError)):
            use()
    with pytest.raises(ValueError, match="33 bits"):
        routes[33, bytes(4)] = 1
    with pytest.raises(ValueError, match="no IPv4Network"):
        routes["2001:db8::/32"] = 1
    routes.clear()
    assert not routes and routes.update_batch([(f"10.0.{n}.0/24", n) for n in range(256)]) == 256
    for number, key in enumerate(routes):
        if number % 3 == 0:
            del routes[key]
    assert len(routes) == 256 - 86
    assert len(routes.lookup_and_delete_batch()) == 170 and live.dump("routes") == []

    routes6, prefixes = live.maps["routes6"], live.maps["prefixes"]
    routes6["2001:db8::/32"] = 6
    assert dict(routes6) == {NET("2001:db8::/32"): 6} and routes6["2001:db8::1"] == 6
    prefixes[40, struct.pack("=I4B", 2, 10, 0, 0, 0)] = 1
    prefixes[{"length": 32, "interface": 3}] = 2
    assert dict(prefixes) == {
        (40, struct.pack("=I4B", 2, 10, 0, 0, 0)): 1,
        (32, struct.pack("=I4B", 3, 0, 0, 0, 0)): 2,
    }
    with pytest.raises(TypeError, match=r"^\(length in bits, bytes\) is needed"):
        prefixes["10.0.0.0/8"]


# --- programs, cgroups and maps in maps -------------------------------------------------------------------


def test_programs_go_by_name(live: Live) -> None:
    jumps = live.maps["jumps"]
    assert not jumps and dict(jumps) == {} and 0 not in jumps
    jumps[0] = "first_landing"
    jumps[2] = "second_landing"
    assert dict(jumps) == {0: "first_landing", 2: "second_landing"} and len(jumps) == 2 and jumps
    ids = {
        in_bytes(one["key"])[0]: one.get("value") for one in live.dump("jumps") if "error" not in one["value"]
    }
    assert int.from_bytes(in_bytes(ids[2]), "little") == live.object.programs["second_landing"].id
    for slot, landed in ((0, 1), (1, 0), (2, 2)):
        live.call(mode="TAIL_CALL", slot=slot, landed=0)
        assert live.globals.landed == landed
    del jumps[0]
    with pytest.raises(KeyError):
        jumps[0]
    with pytest.raises(KeyError):
        del jumps[0]
    with pytest.raises(KeyError):
        jumps[4] = "first_landing"
    with pytest.raises(ValueError, match="no program 'third'; there are on_syscall, first_landing"):
        jumps[1] = "third"
    with pytest.raises(TypeError, match="name of a program"):
        jumps[1] = 5
    assert jumps.pop(2) == "second_landing" and jumps.pop(2, None) is None and not jumps
    jumps.update({0: "first_landing", 1: "first_landing"})
    assert jumps.popitem() == (0, "first_landing")
    jumps.clear()
    assert not jumps


def cgroups() -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind == "cgroup2":
            return path
    raise snoopkit.UnsupportedError("no cgroup2 is mounted", feature="cgroup2")


@pytest.mark.own_root
def test_cgroups_go_by_path(live: Live) -> None:
    groups = live.maps["groups"]
    live.call()
    assert live.globals.is_under < 0  # nothing in the slot
    groups[0] = cgroups()
    live.call()
    assert live.globals.is_under == 1
    other = os.path.join(cgroups(), f"snoopkit-test-{os.getpid()}")
    os.mkdir(other)
    try:
        groups[0] = other
        live.call()
        assert live.globals.is_under == 0
        del groups[0]
        with pytest.raises(KeyError):
            del groups[0]
        groups[1] = other
        groups.clear()
    finally:
        os.rmdir(other)
    assert len(groups) == 2
    with pytest.raises(KeyError):
        groups[2] = cgroups()
    with pytest.raises(FileNotFoundError):
        groups[0] = "/no/such/cgroup"
    with pytest.raises(MapError):
        groups[0] = "/proc"


def test_maps_hold_maps(live: Live) -> None:
    by_slot, by_key, first, second = (
        live.maps[name] for name in ("maps_by_slot", "maps_by_key", "inner_a", "inner_b")
    )
    assert dict(by_slot) == {1: first.raw.id} and len(by_slot) == 1
    by_key[1] = second
    assert dict(by_key) == {1: second.raw.id}
    live.call(key=1)
    assert (first[2], second[3]) == (1, 1)
    by_slot[1] = second
    live.call(key=1)
    assert (first[2], second[2], second[3]) == (1, 1, 2)
    assert int.from_bytes(in_bytes(live.dump("maps_by_slot")[0]["value"]), "little") == second.raw.id
    del by_slot[1], by_key[1]
    assert not by_slot and not by_key
    with pytest.raises(TypeError, match="a map is needed"):
        by_slot[0] = second.raw.id
    with pytest.raises(MapError):
        by_slot[0] = live.maps["counts"]  # another kind than the inner ones


# --- variables --------------------------------------------------------------------------------------------


def test_variables_are_read_by_type(live: Live) -> None:
    variables = live.globals
    assert (variables.target_pid, variables.greeting, variables.calls) == (os.getpid(), "hello", 0)
    assert (variables.mode, variables.threshold, variables.extra) == ("IDLE", 5, 3)
    assert variables.offsets == [-1, 0, 1]  # static ones too
    assert variables.corner == (1, -1, "left") and variables.corner.label == "left"
    live.call(3)
    assert (variables.calls, variables.is_busy, variables["command"]) == (3, True, variables.command)
    assert variables.command == Path("/proc/self/comm").read_text().strip()
    assert variables.extra == 5
    assert {"calls", "greeting", "extra"} <= set(variables) and "calls" in dir(variables)
    assert "calls" in variables and "nothing" not in variables and len(variables) == len(list(variables))
    assert repr(variables).startswith("<globals: target_pid, greeting")
    for unknown in (lambda: variables.nothing, lambda: setattr(variables, "nothing", 1)):
        with pytest.raises(AttributeError, match="no variable 'nothing'; it has target_pid, "):
            unknown()
    for unknown in (lambda: variables["nothing"], lambda: variables.__setitem__("nothing", 1)):
        with pytest.raises(KeyError):
            unknown()


def test_the_program_sees_what_is_written(live: Live) -> None:
    variables = live.globals
    variables.corner = {"row": 41, "column": 3, "label": "right"}
    variables.offsets = [1, 2, -7]
    variables.threshold = 2**32 - 1
    variables.key = 77
    live.call()
    assert variables.written == (42, -7, "done")
    assert (variables.extra, live.maps["counts"][77]) == (-1, 1)
    (dumped,) = live.dump(".data")
    assert struct.pack("=HbH", 41, 3, 0)[:3] + b"right" in in_bytes(dumped["value"])
    variables.calls = 10**18
    live.call()
    assert variables.calls == 10**18 + 1
    for name, value, error in (
        ("threshold", -1, ValueError),
        ("threshold", "x", TypeError),
        ("mode", "NO_MODE", ValueError),
        ("offsets", [1, 2], ValueError),
        ("command", "x" * 17, ValueError),
        ("corner", 5, TypeError),
    ):
        with pytest.raises(error, match=f"variable {name}: "):
            setattr(variables, name, value)
    for name in ("target_pid", "greeting"):
        with pytest.raises(TypeError, match=f"variable {name} is constant.*set it before load, as an option"):
            setattr(variables, name, getattr(variables, name))


def test_neighbours_of_a_variable_keep_what_the_program_counts(package: snoopkit.Package) -> None:
    """A write of a whole word or section would undo what the program counted between its reading and its writing."""
    times = 20_000

    def count() -> None:
        for _ in range(times):
            os.getppid()
        os.write(done[1], b"x")
        signal.pause()

    done = os.pipe()
    with child(count) as pid:
        live = Live(package, pid)
        try:
            places = [live.globals._places[name] for name in ("near_before", "near_between", "near_after")]
            assert [place.offset_bytes - places[0].offset_bytes for place in places] == [0, 1, 2]
            os.set_blocking(done[0], False)
            os.kill(pid, signal.SIGUSR1)
            writes = 0
            while True:
                for value in range(200):
                    live.globals.near_between = value
                writes += 200
                try:
                    assert os.read(done[0], 1) == b"x"
                    break
                except BlockingIOError:
                    pass
            assert writes > times / 10, "too few writes to say anything"
            assert live.globals.calls == times
            assert live.globals.near_before == live.globals.near_after == times % 256
            assert live.globals.near_between == 199
        finally:
            live.object.close()
            os.close(done[0])
            os.close(done[1])


def test_without_shared_memory_variables_are_read_only(live: Live) -> None:
    class Unshared:
        """As in a kernel before 5.5."""

        name, flags = ".bss", 0

        def __init__(self, raw: _core.Map) -> None:
            self.lookup = raw.lookup

        def read_shared(self, *_: int) -> bytes:
            raise MapError("share", errno=errno.ENODEV)

        write_shared = read_shared

    live.call(5)
    place = live.globals._places["calls"]
    place.map = Unshared(place.map)
    assert live.globals.calls == 5
    with pytest.raises(
        snoopkit.UnsupportedError, match=r"variable calls: the kernel shares no memory of \.bss"
    ):
        live.globals.calls = 1


# --- the end ----------------------------------------------------------------------------------------------


def test_use_after_close_is_misuse(live: Live) -> None:
    live.call(mode="PUSH")
    counts, walking = live.maps["counts"], iter(live.maps["tallies"])
    live.object.close()
    for use in (
        lambda: counts[1],
        lambda: counts.__setitem__(1, 1),
        lambda: counts.__delitem__(1),
        lambda: 1 in counts,
        lambda: list(counts),
        lambda: len(counts),
        lambda: next(walking),
        lambda: counts.pop(1),
        counts.popitem,
        counts.clear,
        lambda: counts.update({1: 1}),
        lambda: live.maps["numbers"][0],
        lambda: live.maps["queue"].pop(),
        lambda: live.maps["queue"].push(1),
        lambda: live.maps["jumps"][0],
        lambda: live.maps["routes"]["10.0.0.0/8"],
        lambda: live.maps["groups"].__delitem__(0),
        lambda: live.globals.calls,
        lambda: setattr(live.globals, "calls", 1),
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_running_package_has_both(package: snoopkit.Package) -> None:
    """And what is there for tail calls, without a target, is loaded and not attached."""
    with snoopkit.run(package, options={"target_pid": os.getpid()}) as snoop:
        snoop.maps["jumps"][3] = "first_landing"
        snoop.globals.mode, snoop.globals.slot = "TAIL_CALL", 3
        os.getppid()
        assert dict(snoop.maps["counts"]) == {1: snoop.globals.calls} == {1: 1}
        assert snoop.globals.landed == 1
        counts, variables = snoop.maps["counts"], snoop.globals
    with pytest.raises(ValueError, match="closed"):
        counts[1]
    with pytest.raises(ValueError, match="closed"):
        variables.calls  # noqa: B018
