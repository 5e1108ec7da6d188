"""Whatever interrupts a run, at whatever point: nothing stays loaded, attached, mapped or open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from snoopkit import _core, attach, events, loader, session, transport

from .conftest import in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

BPF = Path(__file__).parent / "bpf"
SRC = str(Path(snoopkit.__file__).parent)
CYCLES = 500
INTERRUPTED_AT_EACH_STAGE = 50
MAX_GROWTH_BYTES = 4 << 20


class Injected(BaseException):
    pass


@pytest.fixture(scope="module")
def program_name() -> str:
    return f"cycle_{os.getpid()}"


@pytest.fixture(scope="module")
def package(program_name: str) -> snoopkit.Package:
    return snoopkit.build(BPF / "calls.bpf.c", BPF / "calls.h", define=[f"PROGRAM={program_name}"])


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the listing's own
    return found


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_kernel(kind: str) -> list[dict[str, Any]]:
    said = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, check=True)
    return list(json.loads(said.stdout))


def left_in_kernel(program_name: str) -> list[str]:
    """Programs that have this name, and links and maps that this process holds."""
    left = [f"program {p['id']}" for p in in_kernel("prog") if p.get("name") == program_name]
    for kind in ("map", "link"):
        holders = [(thing["id"], thing.get("pids") or []) for thing in in_kernel(kind)]
        left += [f"{kind} {id}" for id, pids in holders if any(pid["pid"] == os.getpid() for pid in pids)]
    return left


def assert_nothing_in_kernel(program_name: str, seconds: float = 5) -> None:
    """The kernel frees a little later than the last descriptor is closed."""
    deadline = time.monotonic() + seconds
    while left := left_in_kernel(program_name):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def run_once(package: snoopkit.Package, calls: int = 1, transport: str = "perf") -> None:
    with snoopkit.run(package, options={"target_pid": os.getpid()}, transport=transport) as snoop:
        for _ in range(calls):
            os.getppid()
        assert len([event for lot in snoop.finish() for event in lot]) == calls


# Every step of a set-up, as (where its name is looked up, name).
STAGES: list[tuple[Any, str]] = [
    (events, "event_program"),
    (events, "decoder"),
    (loader, "initial_values"),
    (loader, "open"),
    (transport, "prepare"),
    (loader.Object, "load"),
    (transport, "_open_reader"),
    (transport.Transport, "__init__"),
    (transport, "open"),
    (attach, "_attach"),
    (attach.Links, "add"),
    (attach, "attach_all"),
    (session.Snoop, "__enter__"),
    (transport.Transport, "drain"),
    (attach.Links, "close"),
]


def break_at(monkeypatch: pytest.MonkeyPatch, holder: Any, name: str, when: str) -> None:
    """Has one step fail: instead of what it does, or once it is done."""
    real = getattr(holder, name)

    def broken(*arguments: Any, **named: Any) -> Any:
        if when == "after":
            real(*arguments, **named)
        raise Injected

    monkeypatch.setattr(holder, name, broken)


def test_hundreds_of_runs_leave_nothing(
    package: snoopkit.Package, program_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interruptions = [
        (holder, name, when)
        for holder, name in STAGES
        for when in ["before", "after"] * (INTERRUPTED_AT_EACH_STAGE // 2)
    ]
    transports = "perf", "ring"
    for number in range(50):  # until caches are full
        run_once(package, transport=transports[number % 2])
    before, resident = descriptors(), resident_bytes()
    for number in range(CYCLES):
        run_once(package, transport=transports[number % 2])
        for holder, name, when in interruptions[number::CYCLES]:
            with monkeypatch.context() as patch:
                break_at(patch, holder, name, when)
                held = -1
                try:
                    run_once(package, transport=transports[number % 2])
                except Injected:
                    held = _core.live_handles()
                assert held >= 0, f"{name} was not reached"
                # only what fails outside of run() and its `with` can still be held by the traceback, while that lives
                assert held == 0 or name == "__enter__", (name, when)
                assert _core.live_handles() == 0, (name, when)
    grown = resident_bytes() - resident
    assert _core.live_handles() == 0
    assert descriptors() == before
    assert grown < MAX_GROWTH_BYTES
    assert_nothing_in_kernel(program_name)


def lines_of(function: Callable[[], None]) -> list[tuple[str, int, int]]:
    """The lines of the session and what it calls that `function` passes: (file, line, how often before)."""
    seen: list[tuple[str, int, int]] = []
    counts: dict[tuple[str, int], int] = {}

    def trace(frame: FrameType, what: str, argument: object) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(SRC):
            return None
        if what in ("line", "call"):
            place = file, frame.f_lineno
            seen.append((*place, counts.get(place, 0)))
            counts[place] = counts.get(place, 0) + 1
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return seen


def interrupted_at(function: Callable[[], None], place: tuple[str, int, int]) -> bool:
    """Runs `function`, raising KeyboardInterrupt when it comes to `place`; whether it did."""
    file, line, passes = place
    left = passes

    def trace(frame: FrameType, what: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != file:
            return trace if frame.f_code.co_filename.startswith(SRC) else None
        if what in ("line", "call") and frame.f_lineno == line:
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def read_in_every_way(package: snoopkit.Package) -> None:
    with snoopkit.run(package, options={"target_pid": os.getpid()}) as snoop:
        for _ in range(10):
            os.getppid()
        for _ in snoop:
            break
        next(snoop.batches()).events()
        os.getppid()
        snoop.poll(0.1)
        list(snoop.finish())


# Python itself drops what is raised while it drops a generator.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_every_line_leaves_nothing(package: snoopkit.Package, program_name: str) -> None:
    rooms = ("session.py", "reading.py", "loader.py", "transport.py", "attach.py")
    run_once(package)
    before = descriptors()
    places = [
        (file, line, passes)
        for file, line, passes in lines_of(lambda: read_in_every_way(package))
        if file.endswith(rooms) and passes == 0
    ]
    assert len(places) > 200
    reached = 0
    for place in places:
        reached += interrupted_at(lambda: read_in_every_way(package), place)
        assert _core.live_handles() == 0, place
        assert descriptors() == before, place
    assert reached > 0.9 * len(places)  # not every run waits where another one did
    assert_nothing_in_kernel(program_name)


def test_a_signal_at_any_moment_leaves_nothing(package: snoopkit.Package) -> None:
    """As an alarm that comes a little later each time, through set-up, reading and the end."""
    moments = 200

    def child() -> dict[str, Any]:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        run_once(package)
        before = descriptors()
        began = time.monotonic()
        run_once(package, 200)
        seconds = time.monotonic() - began
        interrupted, left = 0, []
        for moment in range(moments):
            try:
                signal.setitimer(signal.ITIMER_REAL, max(seconds * 1.2 * moment / moments, 1e-6))
                run_once(package, 200)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            if _core.live_handles() or descriptors() != before:
                left.append(moment)
        return {"interrupted": interrupted, "left": left}

    answer = in_child(child)
    assert answer["left"] == []
    assert answer["interrupted"] > moments // 4


@pytest.mark.parametrize("way", ["iteration", "poll", "batches"])
def test_a_signal_at_any_moment_loses_no_event(package: snoopkit.Package, way: str) -> None:
    """Interrupted hundreds of times, and read on each time."""

    def child() -> dict[str, Any]:
        seen: list[Any] = []
        interrupted = 0
        is_armed = False

        def handler(number: int, frame: FrameType | None) -> None:
            nonlocal is_armed
            # Between a call's return and the assignment of what it gave nobody can keep that.
            if is_armed and frame is not None and frame.f_code.co_filename != __file__:
                is_armed = False
                raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, handler)
        # Again and again: an interrupt that comes while Python drops a generator is dropped with it.
        signal.setitimer(signal.ITIMER_REAL, 0.0037, 0.0037)
        with snoopkit.run(package, options={"target_pid": os.getpid()}) as snoop:
            # Two seconds, or for as long as it takes until that has come often enough.
            least, end = time.monotonic() + 2, time.monotonic() + 20

            def goes_on() -> bool:
                return time.monotonic() < (least if interrupted > 100 else end)

            while goes_on():
                try:
                    while goes_on():
                        is_armed = (
                            True  # again: one that came in a callback of the collector was dropped there
                        )
                        for _ in range(1500):
                            os.getppid()
                        if way == "poll":
                            seen += snoop.poll(0)
                        elif way == "batches":
                            batch = next(snoop.batches(0))
                            seen += [batch]
                        else:
                            last = snoop.globals.parents_sent - 1
                            for event in snoop:
                                seen += [event]
                                if isinstance(event, snoopkit.Lost) or event.number == last:
                                    break
                except KeyboardInterrupt:
                    interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            for lot in snoop.finish():
                seen += lot
            sent, lost = snoop.globals.parents_sent, snoop.lost
        if way == "batches":
            batches = [lot.events() if isinstance(lot, snoopkit.Batch) else [lot] for lot in seen]
            seen = [event for lot in batches for event in lot]
        numbers = [event.number for event in seen if not isinstance(event, snoopkit.Lost)]
        return {
            "interrupted": interrupted,
            "events": len(numbers),
            "twice": len(numbers) - len(set(numbers)),
            "missing": sent - lost - len(numbers),
        }

    answer = in_child(child)
    assert (answer["twice"], answer["missing"]) == (0, 0), answer
    assert answer["interrupted"] > 100 and answer["events"] > 10_000, answer


def test_what_fails_by_itself_leaves_nothing(package: snoopkit.Package, program_name: str) -> None:
    for wrong, error in (
        ({"options": {"target_pid": -1}}, snoopkit.OptionError),
        ({"transport": "smoke"}, ValueError),
        ({"buffer_bytes": 12345}, ValueError),
        ({"attach": {program_name: "raw_tracepoint:no_such_one"}}, snoopkit.AttachError),
        ({"attach": {"no_such_program": "raw_tracepoint:sys_enter"}}, snoopkit.AttachError),
        ({"enable": ["no_such_program"]}, ValueError),
        ({"u8": "set"}, ValueError),
    ):
        before = descriptors()
        with pytest.raises(error):
            snoopkit.run(package, **wrong)
        assert _core.live_handles() == 0, wrong
        assert descriptors() == before, wrong


def test_a_snoop_that_nobody_closes_goes_with_its_last_reference(package: snoopkit.Package) -> None:
    before = descriptors()
    snoop = snoopkit.run(package)
    assert _core.live_handles() > 0
    del snoop
    assert _core.live_handles() == 0
    assert descriptors() == before
