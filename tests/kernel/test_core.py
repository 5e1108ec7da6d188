"""Native handles: lifetimes, maps, waiting, and what is said when something is refused."""

from __future__ import annotations

import errno
import gc
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snoopkit import _core
from snoopkit.errors import AttachError, LoadError, MapError, PackageError

from .conftest import close_while_waiting, program_id, records, wait_unloaded

if TYPE_CHECKING:
    import snoopkit

pytestmark = pytest.mark.kernel


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def opened(package: snoopkit.Package, *, load: bool = True) -> _core.Object:
    object = _core.Object.open(package.object, "test")
    object.maps["slots"].max_entries = _core.possible_cpus()
    if load:
        object.load()
    return object


def test_open_touches_no_kernel(bursts: snoopkit.Package) -> None:
    before = descriptors()
    with opened(bursts, load=False) as object:
        assert descriptors() == before
        assert set(object.programs) == set(bursts.programs)
        assert {".rodata", *bursts.maps} <= set(object.maps)
        assert object.programs["on_syscall"].section == "raw_tp/sys_enter"
        assert not object.loaded


@pytest.mark.parametrize(
    "order", ["reader link object", "object link reader", "link object reader", "object reader link"]
)
def test_handles_close_in_any_order_and_twice(bursts: snoopkit.Package, order: str) -> None:
    before, live = descriptors(), _core.live_handles()
    object = opened(bursts)
    program = object.programs["on_syscall"]
    number = program_id(program.fd)
    handles = {
        "object": object,
        "reader": _core.Reader([(object.maps["events"], 1), (object.maps["extras"], 1)]),
        "link": program.attach(),
    }
    assert _core.live_handles() == live + 3
    for name in order.split() * 2:
        handles[name].close()
    assert all(handle.closed for handle in handles.values())
    assert descriptors() == before
    assert _core.live_handles() == live
    wait_unloaded([number])


def test_handles_close_when_nothing_refers_to_them(bursts: snoopkit.Package) -> None:
    before, live = descriptors(), _core.live_handles()
    gc.disable()  # no cycles: references alone must do
    try:
        object = opened(bursts)
        program = object.programs["on_syscall"]
        number = program_id(program.fd)
        reader = _core.Reader([(object.maps["events"], 1)])
        link = program.attach()
        del object
        assert program.fd >= 0  # a part keeps the whole alive
        del program, link, reader
    finally:
        gc.enable()
    assert (descriptors(), _core.live_handles()) == (before, live)
    wait_unloaded([number])


def test_half_built_handles_leave_nothing(bursts: snoopkit.Package) -> None:
    before, live = descriptors(), _core.live_handles()
    with opened(bursts) as object:
        inside = descriptors()
        events, truth = object.maps["events"], object.maps["truth"]
        for maps, error in (
            ([(events, 1), (truth, 1)], ValueError),
            ([(events, 1), (events, 3)], ValueError),
            ([(events, 1), (events, 0)], ValueError),
            ([(events, 1), (events, 1 << 40)], MapError),
            ([(events, 1), ("events", 1)], TypeError),
            ([(events, 1)] * 65536, ValueError),
        ):
            with pytest.raises(error):
                _core.Reader(maps)  # type: ignore[arg-type]
            assert descriptors() == inside
        with pytest.raises(ValueError):
            _core.Reader([(events, 1)], drain_interval_ns=0)
    for data in (b"", b"\x7fELF", bytes(4096), bursts.object[:1000]):
        with pytest.raises(PackageError):
            _core.Object.open(data, "bad")
    assert (descriptors(), _core.live_handles()) == (before, live)


def test_use_after_close_is_misuse(bursts: snoopkit.Package) -> None:
    object = opened(bursts)
    program, map = object.programs["on_syscall"], object.maps["truth"]
    reader = _core.Reader([(object.maps["events"], 1)])
    object.close()
    for use in (
        object.load,
        object.__enter__,
        program.attach,
        lambda: program.fd,
        lambda: program.autoload,
        lambda: map.fd,
        lambda: map.max_entries,
        lambda: map.initial_value,
        lambda: map.lookup(bytes(4)),
        lambda: map.next_key(),
        lambda: _core.Reader([(map, 1)]),
    ):
        with pytest.raises(ValueError):
            use()
    reader.drain()  # its rings are its own
    reader.close()
    for use in (reader.fileno, reader.drain, reader.wait, reader.ring_states, reader.__enter__):
        with pytest.raises(ValueError):
            use()


def test_each_phase_has_its_own_verbs(bursts: snoopkit.Package) -> None:
    with opened(bursts, load=False) as object:
        program, map = object.programs["on_syscall"], object.maps["truth"]
        for use in (program.attach, lambda: program.fd, lambda: map.lookup(bytes(4))):
            with pytest.raises(ValueError, match="not loaded"):
                use()
        object.load()
        with pytest.raises(ValueError, match="loaded already"):
            object.load()
        with pytest.raises(ValueError, match="loaded already"):
            program.autoload = False
        with pytest.raises(ValueError, match="loaded already"):
            map.max_entries = 3
        with pytest.raises(ValueError, match="switched off"):
            object.programs["on_getppid"].attach()
    for handle in (_core.Object, _core.Program, _core.Map, _core.Link):
        with pytest.raises(TypeError):
            handle()


def test_variables_are_set_before_load_and_whole(bursts: snoopkit.Package) -> None:
    with opened(bursts, load=False) as object:
        variables = object.maps[".rodata"]
        value = bytearray(variables.initial_value)
        value[:4] = b"\1\2\3\4"
        variables.initial_value = bytes(value)
        assert variables.initial_value == value
        with pytest.raises(ValueError, match=f"holds {len(value)} bytes"):
            variables.initial_value = bytes(len(value) + 1)
        with pytest.raises(ValueError, match="no initial value"):
            object.maps["truth"].initial_value = b""
        object.load()
        assert variables.lookup(bytes(4)) == value
        with pytest.raises(ValueError, match="loaded already"):
            variables.initial_value = bytes(value)


def test_maps_are_read_and_written(bursts: snoopkit.Package, hooks: snoopkit.Package) -> None:
    with _core.Object.open(hooks.object, "hooks") as object:
        object.load()
        numbers = object.maps["numbers"]
        assert numbers.next_key() is None
        for key in range(3):
            numbers.update(key.to_bytes(4, "little"), key.to_bytes(8, "little"))
        assert numbers.lookup(b"\2\0\0\0") == b"\2" + bytes(7)
        assert numbers.lookup(b"\7\0\0\0") is None
        keys = []
        key = numbers.next_key()
        while key is not None:
            keys.append(int.from_bytes(key, "little"))
            key = numbers.next_key(key)
        assert sorted(keys) == [0, 1, 2]
        assert numbers.delete(b"\1\0\0\0")
        assert not numbers.delete(b"\1\0\0\0")
        for wrong in (
            lambda: numbers.lookup(b""),
            lambda: numbers.update(bytes(4), bytes(9)),
            lambda: numbers.next_key(b"1"),
        ):
            with pytest.raises(ValueError, match="bytes, not"):
                wrong()
        for key in range(8):
            numbers.update(key.to_bytes(4, "little"), bytes(8))
        with pytest.raises(MapError, match="map numbers") as full:
            numbers.update(b"\x09\0\0\0", bytes(8))
        assert full.value.errno == errno.E2BIG
    with opened(bursts) as object:
        counts = object.maps["outputs"]
        size = 16 * _core.possible_cpus()
        assert counts.lookup(bytes(4)) == bytes(size)
        counts.update(bytes(4), b"\1" * size)
        assert counts.lookup(bytes(4)) == b"\1" * size


def test_pinning_is_not_for_packages(hooks: snoopkit.Package) -> None:
    with _core.Object.open(hooks.object, "hooks") as object:
        object.load()
        assert not Path("/sys/fs/bpf/pinned").exists()


def test_ctrl_c_ends_a_wait(bursts: snoopkit.Package) -> None:
    with (
        opened(bursts) as object,
        _core.Reader([(object.maps["events"], 1)], drain_interval_ns=60_000_000_000) as reader,
    ):
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                reader.wait()
            assert time.monotonic() - started < 2
            calls = []
            signal.signal(signal.SIGALRM, lambda *_: calls.append(1))
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            assert reader.wait(30) is False
            assert calls == [1]
            assert time.monotonic() - started < 4
        finally:
            signal.signal(signal.SIGALRM, before)
        assert not reader.wait(0)


def test_another_thread_may_close_a_waiting_reader(bursts: snoopkit.Package) -> None:
    before = descriptors()
    with opened(bursts) as object:
        reader = _core.Reader([(object.maps["events"], 1)], drain_interval_ns=60_000_000_000)
        close_while_waiting(reader)
        with pytest.raises(ValueError):
            reader.wait()
    assert descriptors() == before


def test_waiting_lets_other_threads_run(bursts: snoopkit.Package) -> None:
    with (
        opened(bursts) as object,
        _core.Reader([(object.maps["events"], 1)], drain_interval_ns=60_000_000_000) as reader,
    ):
        ticks = []
        worker = threading.Thread(
            target=lambda: [ticks.append(n) or time.sleep(0.01) for n in range(10)], daemon=True
        )
        worker.start()
        assert not reader.wait(0.4)
        assert len(ticks) == 10
        worker.join()


def test_batches_outlive_their_reader(bursts: snoopkit.Package) -> None:
    object = _core.Object.open(bursts.object, "test")
    object.maps["slots"].max_entries = _core.possible_cpus()
    value = bytearray(object.maps[".rodata"].initial_value)
    spec = bursts.options["target_pid"]
    value[spec.offset_bytes : spec.offset_bytes + 4] = os.getpid().to_bytes(4, "little")
    object.maps[".rodata"].initial_value = bytes(value)
    object.load()
    reader = _core.Reader([(object.maps["events"], 16)])
    with object.programs["on_syscall"].attach():
        batches = []
        for _ in range(5):
            for _ in range(100):
                os.getppid()
            batches.append(reader.drain(final=True))
    reader.close()
    object.close()
    numbers = [record.number for batch in batches for record in records(*batch)]
    assert len(numbers) == 500
    with pytest.raises(TypeError):
        batches[0][0][0] = 1


def test_errors_keep_what_libbpf_said_and_print_nothing(
    bursts: snoopkit.Package, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PackageError) as refused:
        _core.Object.open(bytes(4096), "bad")
    assert "libbpf: " in refused.value.log  # type: ignore[attr-defined]
    with opened(bursts, load=False) as object:
        object.maps["events"].max_entries = 0xFFFFFFFF
        object.maps["truth"].max_entries = 0xFFFFFFFF
        with pytest.raises(LoadError, match="load: test: ") as failed:
            object.load()
        assert "truth" in failed.value.log or "events" in failed.value.log
        assert object.log.endswith(failed.value.log)
    with opened(bursts) as object, pytest.raises(AttachError, match="on_syscall") as missing:
        object.programs["on_syscall"].attach_raw_tracepoint(b"no_such_tracepoint")
    assert missing.value.errno == errno.ENOENT
    assert "no_such_tracepoint" in missing.value.log  # type: ignore[attr-defined]
    assert capfd.readouterr() == ("", "")


def test_logs_of_threads_do_not_mix(bursts: snoopkit.Package) -> None:
    logs: dict[int, list[str]] = {}

    def refuse(number: int) -> None:
        for _ in range(20):
            with opened(bursts) as object:
                try:
                    object.programs["on_syscall"].attach_raw_tracepoint(b"hook%d" % number)
                except AttachError as error:
                    logs.setdefault(number, []).append(error.log)  # type: ignore[attr-defined]

    threads = [threading.Thread(target=refuse, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, told in logs.items():
        assert len(told) == 20
        assert all(f"hook{number}" in log and log.count("hook") == 1 for log in told)


def test_threads_that_load_at_once_have_their_own_logs(
    bursts: snoopkit.Package, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("truth", "outputs")
    logs: dict[str, list[str]] = {name: [] for name in names}
    together = threading.Barrier(len(names))

    def refuse(name: str) -> None:
        for _ in range(50):
            with opened(bursts, load=False) as object:
                object.maps[name].max_entries = 0xFFFFFFFF
                together.wait(20)
                with pytest.raises(LoadError) as failed:
                    object.load()
                assert object.log.endswith(failed.value.log)
                logs[name].append(object.log)

    threads = [threading.Thread(target=refuse, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, other in (names, names[::-1]):
        assert len(logs[name]) == 50
        for log in logs[name]:
            assert f"map '{name}': failed to create" in log
            assert other not in log
            assert log.count("failed to load object") == 1
    assert capfd.readouterr() == ("", "")


def test_the_log_goes_to_stderr_where_asked(
    hooks: snoopkit.Package, capfd: pytest.CaptureFixture[str]
) -> None:
    _core.set_log_to_stderr(True)
    try:
        with _core.Object.open(hooks.object, "hooks"):
            pass
    finally:
        _core.set_log_to_stderr(False)
    assert "libbpf: " in capfd.readouterr().err
    with pytest.raises(PackageError) as refused:
        _core.Object.open(bytes(4096), "bad")
    assert "libbpf: " in refused.value.log  # type: ignore[attr-defined]
    assert capfd.readouterr().err == ""


def test_the_verifier_explains_where_asked(hooks: snoopkit.Package) -> None:
    with _core.Object.open(hooks.object, "hooks", kernel_log=True) as object:
        object.programs["good"].autoload = True
        object.load()
        assert "processed" in object.log


def test_entries_go_in_batches(hooks: snoopkit.Package) -> None:
    with _core.Object.open(hooks.object, "hooks") as object:
        object.load()
        numbers = object.maps["numbers"]
        keys = b"".join(key.to_bytes(4, "little") for key in range(8))
        values = b"".join(key.to_bytes(8, "little") for key in range(8))
        assert numbers.write_batch(keys, values) == (8, 0)
        got_keys, got_values, cursor = numbers.read_batch(None, 8)
        assert cursor is None and numbers.value_room_bytes == 8
        pairs = {got_keys[4 * n : 4 * n + 4]: got_values[8 * n : 8 * n + 8] for n in range(8)}
        assert pairs == {n.to_bytes(4, "little"): n.to_bytes(8, "little") for n in range(8)}
        assert numbers.delete_batch(keys[:8] + b"\xff\0\0\0" + keys[8:]) == (2, errno.ENOENT)
        assert numbers.write_batch(keys + b"\x08\0\0\0", values + bytes(8)) == (8, errno.E2BIG)
        assert numbers.take(keys[:4]) == bytes(8)
        assert numbers.take(keys[:4]) is None
        with pytest.raises(MapError) as known:
            numbers.update(keys[4:8], bytes(8), 1)
        assert known.value.errno == errno.EEXIST
        seen, cursor = b"", None
        while True:
            some, _, cursor = numbers.read_batch(cursor, 4, True)
            seen += some
            if cursor is None:
                break
        assert len(seen) == 28 and numbers.next_key() is None
        with pytest.raises(ValueError, match="values has 32 bytes"):
            numbers.write_batch(bytes(16), bytes(24))
    for use in (
        lambda: numbers.read_batch(None, 1),
        lambda: numbers.write_batch(b"", b""),
        lambda: numbers.take(bytes(4)),
        lambda: numbers.id,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_variables_are_shared_memory_until_the_object_closes(bursts: snoopkit.Package) -> None:
    before = descriptors()
    object = opened(bursts)
    constants = object.maps[".rodata"]
    value = constants.lookup(bytes(4))
    assert value is not None
    for offset, size in ((0, 4), (0, 8), (0, 2), (1, 2), (0, len(value))):
        assert constants.read_shared(offset, size) == value[offset : offset + size]
    with pytest.raises(ValueError, match="read-only"):
        constants.write_shared(0, b"x")
    for offset, size in ((0, len(value) + 1), (len(value), 1), (2**64 - 1, 2)):
        with pytest.raises(ValueError, match="bytes, not"):
            constants.read_shared(offset, size)
    with pytest.raises(MapError, match="share: map truth"):
        object.maps["truth"].read_shared(0, 4)
    mapped = sum("bpf-map" in line for line in Path("/proc/self/maps").read_text().splitlines())
    object.close()
    left = sum("bpf-map" in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert mapped == left + 1
    assert descriptors() == before
    with pytest.raises(ValueError, match="closed"):
        constants.read_shared(0, 4)
