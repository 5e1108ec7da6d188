"""Stack traces with the names of functions: a program's own names, in order, whatever state the process is in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from snoopkit.render.eunomia import EunomiaJson, EunomiaText
from snoopkit.render.formats import formats
from snoopkit.render.stack import Folded
from snoopkit.render.writers import writer
from snoopkit.sampling import Sampled
from snoopkit.stacking import Stacked
from snoopkit.stacks import Frame, Stack, has_stacks
from snoopkit.symbols import Symbols

from .conftest import BPF, CAP_BPF, CAP_PERFMON, NOBODY, become, do_until_it_ends, in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

HERE = Path(__file__).parent
SNOOPKIT = Path(sys.executable).parent / "snoopkit"
OURS = ["ask", "call", "middle", "outer", "main"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stacks") / "stacks"
    command = ["clang", "-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run([*command, "-o", path, HERE / "programs" / "stacks.c"], check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.build(BPF / "stacks.bpf.c")


@pytest.fixture(scope="module")
def theirs() -> snoopkit.Package:
    return snoopkit.build(BPF / "stack_trace.bpf.c", BPF / "stack_trace.h")


class Calls:
    """A process that makes a call for each line that it is given, and what a trace of that gives."""

    def __init__(self, program: Path, package: snoopkit.Package) -> None:
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        try:
            assert self._answer() == "ready\n"
            self.snoop = snoopkit.run(package, options={"target_pid": self.process.pid})
        except BaseException:
            self._end()
            raise
        self.source = Stacked(self.snoop, self.snoop, formats(package))

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def call(self) -> Stack:
        """The stack of one call."""
        self.tell("call")
        assert self._answer() == "called\n"
        return self.next()

    def next(self) -> Stack:
        deadline = monotonic() + 20
        while not (found := self.source.poll(1)):
            assert monotonic() < deadline
        (stack,) = found
        assert isinstance(stack, Stack)
        return stack

    def _end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self.source.close()


def names(frames: list[Frame] | None) -> list[str | None]:
    return [frame.symbol for frame in frames or []]


def test_ids_and_addresses_in_an_event(program: Path, package: snoopkit.Package) -> None:
    with Calls(program, package) as calls:
        found = calls.call()
    assert (found.pid, found.comm, found.count) == (calls.process.pid, "stacks", 1)
    for member in ("user_id", "user"):
        frames = found.stacks[member]
        assert names(frames)[:5] == OURS
        assert frames is not None
        assert [frame.module for frame in frames[:5]] == [str(program)] * 5
    kernel = names(found.stacks["kernel_id"])
    assert any("sys" in str(name) for name in kernel)
    assert all(frame.is_kernel for frame in found.stacks["kernel_id"] or [])
    # another tool's word for the same address
    symbols = subprocess.run(["nm", program], check=True, capture_output=True, text=True, timeout=60).stdout
    addresses = {line.split()[2]: int(line.split()[0], 16) for line in symbols.splitlines() if " T " in line}
    for frame in (found.stacks["user"] or [])[:5]:
        # the file is laid out as it is mapped, but for whole pages between its parts
        assert (addresses[str(frame.symbol)] + (frame.offset or 0) - (frame.module_offset or 0)) % 4096 == 0


def test_counted_in_a_map_and_folded(program: Path, package: snoopkit.Package) -> None:
    with Calls(program, package) as calls:
        source = Stacked(Sampled(calls.snoop), calls.snoop, formats(package))
        found: list[Any] = []
        for _ in range(5):
            calls.tell("call")
            assert calls._answer() == "called\n"
            found += source.poll(0.03)
        for lot in source.finish():
            found += lot
    sampled = [item for item in found if isinstance(item, Stack) and item._map == "places"]
    assert sampled[-1].count == 5
    assert {item.pid for item in sampled} == {calls.process.pid}
    assert names(sampled[-1].stacks["user"])[:5] == OURS
    folded = Folded(package)
    rows = [folded.row(item).decode() for item in sampled]
    counts = [int(row.rpartition(" ")[2]) for row in rows if row]
    assert sum(counts) == 5  # the map is kept: only what is new counts
    (line,) = {row.rpartition(" ")[0] for row in rows if row}
    assert line.startswith(f"process {calls.process.pid};")
    assert line.endswith(";main;outer;middle;call;ask")
    events = [item for item in found if isinstance(item, Stack) and item._map == "events"]
    assert len(events) == 5
    # each of its two user stacks, then the kernel's
    whole = folded.row(events[0]).decode()
    assert whole.startswith("stacks;")
    assert ";call;ask;" in whole


def test_a_key_that_is_a_stack_by_the_users_word(program: Path, package: snoopkit.Package) -> None:
    how = formats(package, ["by_kernel_id.key=stack"])
    with Calls(program, package) as calls:
        source = Stacked(Sampled(calls.snoop), calls.snoop, how)
        calls.tell("call")
        assert calls._answer() == "called\n"
        found = [item for lot in source.finish() for item in lot if item._map == "by_kernel_id"]
        row = writer("table", calls.snoop, how).row(found[0]).decode()
    (stack,) = found
    assert isinstance(stack, Stack)
    frames = stack.stacks["key"]
    assert frames and all(frame.is_kernel for frame in frames)
    assert row.splitlines()[0].split()[1:] == ["by_kernel_id", str(stack.event.key), "1"]
    assert " [kernel]\n" in row


def test_a_kernel_that_hides_its_addresses() -> None:
    address = next(
        int(line.split()[0], 16)
        for line in Path("/proc/kallsyms").read_text().splitlines()
        if line.endswith(" T vfs_read")
    )

    def child() -> list[Any]:
        become(NOBODY, (CAP_PERFMON, CAP_BPF))
        lines = Path("/proc/kallsyms").read_text().splitlines()
        is_hidden = all(set(line.split()[0]) == {"0"} for line in lines)
        symbols = Symbols()
        return [is_hidden, symbols.warnings, str(symbols.frames([address])[0])]

    assert str(Symbols().frames([address])[0]) == "vfs_read+0x0"
    is_hidden, warnings, frame = in_child(child)
    if is_hidden:
        assert "the kernel hides its addresses" in warnings[0]
        assert frame == f"{address:#x}"
    else:
        assert (warnings, frame) == ([], "vfs_read+0x0")


def test_what_has_ended_and_what_was_before_an_exec(program: Path, package: snoopkit.Package) -> None:
    with Calls(program, package) as calls:
        assert names(calls.call().stacks["user"])[:5] == OURS
        calls.tell("exec")
        while Path(f"/proc/{calls.process.pid}/comm").read_text() != "cat\n":
            pass
        before = calls.next()
    assert names(before.stacks["user"])[:5] == OURS
    with Calls(program, package) as calls:
        calls.call()
        calls.tell("exit")
        assert calls.process.wait(20) == 0
        assert names(calls.next().stacks["user"])[:5] == OURS
    with Calls(program, package) as calls:  # never looked at while it was there
        calls.tell("exit")
        assert calls.process.wait(20) == 0
        found = calls.next().stacks["user"]
    assert found is not None
    assert [(frame.symbol, frame.module) for frame in found] == [(None, None)] * len(found)
    assert re.fullmatch("0x[0-9a-f]{10,12}", str(found[1]))


def test_a_stripped_program_has_modules_and_offsets(
    program: Path, package: snoopkit.Package, tmp_path: Path
) -> None:
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, program], check=True, timeout=60)
    with Calls(program, package) as calls:
        full = calls.call().stacks["user"]
    with Calls(stripped, package) as calls:
        bare = calls.call().stacks["user"]
    assert full is not None and bare is not None
    assert names(bare)[:5] == [None] * 5
    assert [frame.module_offset for frame in bare[:5]] == [frame.module_offset for frame in full[:5]]
    assert str(bare[0]) == f"stripped+{bare[0].module_offset:#x}"


def test_a_file_that_is_gone(program: Path, package: snoopkit.Package, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_bytes(program.read_bytes())
    own.chmod(0o755)
    with Calls(own, package) as calls:
        own.unlink()
        own.write_text("something else")
        found = calls.call().stacks["user"]
    assert names(found)[:5] == OURS
    assert found is not None
    assert found[1].module == str(own)


def sampled(package: snoopkit.Package, pid: int, enough: Callable[[Stack], bool]) -> Stack:
    """The first sample of a process on a CPU that has what a test looks for."""
    with snoopkit.run(package, attach={"on_tick": "perf_event:999"}, pid=pid) as snoop:
        source = Stacked(Sampled(snoop), snoop, formats(package))
        deadline = monotonic() + 60
        while monotonic() < deadline:
            for item in source.poll(1):
                if isinstance(item, Stack) and enough(item):
                    return item
    raise AssertionError("no such stack")


@pytest.fixture(scope="module")
def profile() -> snoopkit.Package:
    return snoopkit.build(HERE.parents[1] / "examples" / "profile" / "profile.bpf.c")


@pytest.fixture
def start(program: Path) -> Iterator[Callable[[str], int]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(what: str) -> int:
        started.append(subprocess.Popen([program, what], stdout=subprocess.DEVNULL))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait(20)


def test_a_kernel_stack_below_a_user_stack(profile: snoopkit.Package, start: Callable[[str], int]) -> None:
    def enough(found: Stack) -> bool:
        return "vfs_read" in names(found.stacks["kernel_stack"])

    found = sampled(profile, start("fill"), enough)
    user = names(found.stacks["user_stack"])
    assert user[:5] == ["ask", "fill", "middle", "outer", "main"]
    line = Folded(profile).row(found).decode()
    assert re.search(r"^stacks;.*;main;outer;middle;fill;ask;.*;vfs_read(;.*)? \d+\n$", line)


def test_code_made_at_run_time_in_another_mount_namespace(program: Path, profile: snoopkit.Package) -> None:
    inside = 'exec 9<"$0" && mount -t tmpfs none /tmp && exec /proc/self/fd/9 jit'
    command = ["unshare", "-m", "sh", "-c", inside, program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            assert not Path(f"/tmp/perf-{process.pid}.map").exists()
            found = sampled(profile, process.pid, lambda found: bool(found.stacks["user_stack"]))
        finally:
            process.kill()
    assert names(found.stacks["user_stack"])[:4] == ["a loop; made at run time", "jit", "middle", "outer"]
    assert ";main;outer;middle;jit;a loop: made at run time" in Folded(profile).row(found).decode()


def test_every_form(program: Path, package: snoopkit.Package) -> None:
    with Calls(program, package) as calls:
        found = calls.call()
        table, lines, rows = (
            writer(kind, calls.snoop, formats(package)) for kind in ("table", "json", "csv")
        )
        shown, line, row = (each.row(found).decode() for each in (table, lines, rows))
    assert table.header().split() == [b"TIME", b"PID", b"COMM"]
    first, *frames = shown.splitlines()
    assert first.split()[1:] == [str(calls.process.pid), "stacks"]
    assert all(text.startswith("    ") for text in frames)
    assert re.search(rf"    call\+0x[0-9a-f]+ \[{program}\]\n    middle\+0x", shown)
    assert " [kernel]\n" in shown
    data = json.loads(line)
    assert list(data) == ["type", "time", "map", "cpu", "struct", "data", "stacks"]
    assert (data["type"], data["struct"], data["data"]["pid"]) == ("stack", "call", calls.process.pid)
    stacks = data["stacks"]
    assert list(stacks) == ["kernel_id", "user_id", "user"]
    frame = stacks["user"][0]
    assert list(frame) == ["address", "kernel", "symbol", "offset", "module", "module_offset"]
    assert (frame["kernel"], frame["symbol"], frame["module"]) == (False, "ask", str(program))
    assert data["data"]["user"][0] == int(frame["address"], 16)
    assert rows.header().decode().rstrip().endswith(",stacks")
    assert row.startswith("stack,")
    assert '""symbol"":""call""' in row


def test_as_eunomia_has_it(program: Path, theirs: snoopkit.Package) -> None:
    with Calls(program, theirs) as calls:
        found = calls.call()
        text = EunomiaText(theirs, formats(theirs))
        assert text.header() == b""
        lines = text.row(found).decode().splitlines()
        row = json.loads(EunomiaJson(theirs).row(found))
    event = found.event
    assert lines[0] == f"COMM: stacks (pid={calls.process.pid}) @ CPU {event.cpu}"
    kernel, user = lines.index("Kernel:"), lines.index("Userspace:")
    assert (kernel, lines[-1]) == (1, "")
    assert user - kernel - 1 == event.kstack_sz // 8  # theirs goes on with zeros
    assert len(lines) - user - 2 == event.ustack_sz // 8
    assert re.fullmatch(rf"  1 \[<{event.ustack[1]:016x}>\] call\+0x[0-9a-f]+", lines[user + 2])
    assert row["ustack"] == event.ustack


def test_the_command_folds(program: Path, package: snoopkit.Package, tmp_path: Path) -> None:
    package.write(tmp_path / "package.json")
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        run = subprocess.Popen(
            [SNOOPKIT, "run", "--folded", "--max-events", "1", "--duration", "30"]
            + [tmp_path / "package.json", "--target_pid", str(process.pid)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stdin = process.stdin

        def call() -> None:
            stdin.write("call\n")
            stdin.flush()

        do_until_it_ends(run, call)
        stdin.close()
    output, messages = run.communicate(timeout=20)
    assert (run.returncode, messages.startswith("events=1 lost=0 ")) == (0, True)
    assert re.fullmatch(r"(stacks|process \d+);.*;main;outer;middle;call;ask.* \d+\n", output)


def test_nothing_to_fold_is_bad_usage(hooks: snoopkit.Package, tmp_path: Path) -> None:
    hooks.write(tmp_path / "package.json")
    command = [SNOOPKIT, "run", "--folded", tmp_path / "package.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the package has no stack traces" in done.stderr


def test_addresses_that_nobody_has() -> None:
    symbols = Symbols()
    now = clock_gettime_ns(CLOCK_BOOTTIME)
    assert [str(frame) for frame in symbols.frames([16, 1 << 63], os.getpid(), now)] == [
        "0x10",
        f"{1 << 63:#x}",
    ]
    assert [str(frame) for frame in symbols.frames([4096])] == ["0x1000"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pid=stack:stakcs", "'stakcs' is no map of stacks (did you mean stacks?)"),
        ("pid=stack:places", "'places' is no map of stacks"),
        ("comm=stack", "char[16] can't be shown as stack (an array of __u64, or a stack's number can)"),
        ("user=stack:stacks", "can't be shown as stack"),
        ("pid=stak", "did you mean stack?"),
    ],
)
def test_what_is_no_stack(package: snoopkit.Package, text: str, says: str) -> None:
    with pytest.raises(snoopkit.OptionError, match=re.escape(says)):
        formats(package, [text])
    assert has_stacks(formats(package, ["pid=stack"]))


def test_an_annotation_that_the_struct_does_not_fit(theirs: snoopkit.Package) -> None:
    meta = json.loads(json.dumps(theirs.meta))
    (events,) = (map for map in meta["bpf_skel"]["maps"] if map["name"] == "events")
    events["intepreter"]["stack_trace"]["field_map"]["ustack"] = "comm"
    with pytest.raises(
        snoopkit.PackageError, match=re.escape("map events: char[16] comm isn't a stack trace")
    ):
        formats(snoopkit.Package(theirs.object, meta))
    events["intepreter"]["stack_trace"]["field_map"] = {}
    with pytest.raises(snoopkit.PackageError, match="struct stacktrace_event has no member 'cpu_id'"):
        formats(snoopkit.Package(theirs.object, meta))
