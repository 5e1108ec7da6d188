"""The queue before an output: nothing waits for who doesn't read, nothing is lost without a count."""

from __future__ import annotations

import argparse
import os
import pty
import select
import socket
import subprocess
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from snoopkit.cli.live import Live
from snoopkit.events import Lost
from snoopkit.render import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = b"x" * 99 + b"\n"


def is_nonblocking(fd: int) -> bool:
    return not os.get_blocking(fd)


@pytest.fixture(params=["pipe", "terminal", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """(reader, writer) of something that can be full."""
    if request.param == "pipe":
        reader, writer = os.pipe()
    elif request.param == "terminal":
        reader, writer = pty.openpty()
        settings = termios.tcgetattr(writer)
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(writer, termios.TCSANOW, settings)
    else:
        left, right = socket.socketpair()
        reader, writer = left.detach(), right.detach()
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


def test_who_does_not_read_is_not_waited_for(ends: tuple[int, int]) -> None:
    reader, writer = ends
    with Output(fd=writer) as output:
        for _ in range(10_000):
            output.write(LINE, 1)
            output.flush()
        assert 0 < output.pending_bytes < 10_000 * len(LINE)
        assert not output.drain(0.01)
        assert not is_nonblocking(writer), "the descriptor is others' too"
        read = b""
        while not output.drain(0.01) or select.select([reader], [], [], 0)[0]:
            read += os.read(reader, 65_536)
        assert read == LINE * 10_000 and output.pending_bytes == 0


def test_a_shared_output_gets_whole_lines(ends: tuple[int, int]) -> None:
    """Someone else writes to it between any two of our writes, and doesn't tear a line."""
    reader, writer = ends
    with Output(fd=writer) as output:
        output.write(b"".join(b"%03d" % number + b"y" * 80 + b"\n" for number in range(200)), 200)
        found = []
        rest = b""
        while output.pending_bytes or rest:
            if output.pending_bytes:
                output._write_some(0)
                os.write(writer, b"other\n")
            rest += os.read(reader, 65_536)
            *lines, rest = rest.split(b"\n")
            found += lines
    assert [line for line in found if line != b"other"] == [b"%03d" % n + b"y" * 80 for n in range(200)]


def test_what_is_given_up_is_counted() -> None:
    reader, writer = os.pipe()
    with Output(fd=writer) as output:
        output.write(b"header\n")
        for _ in range(1000):
            output.write(LINE * 10, 10)
        output.flush()
        os.set_blocking(reader, False)
        written = os.read(reader, 1 << 20)
        lost = output.discard()
        assert written.startswith(b"header\n")
        assert lost + written[7:].count(b"\n") == 10_000
        assert output.pending_bytes == 0 and output.discard() == 0
    os.close(reader)
    os.close(writer)


class Numbers:
    """A source that gives `count` numbers, as fast as it is asked, and one more lot at the end."""

    warnings: list[str] = []
    losses: dict[str, int] = {}
    lost = 0

    def __init__(self, count: int) -> None:
        self.left = count
        self.is_closed = False

    @property
    def is_done(self) -> bool:
        return self.left <= 0

    def poll(self, timeout: float | None = None) -> list[Any]:
        self.left -= 100
        return list(range(100))

    def finish(self) -> Iterator[list[Any]]:
        yield [1, 2, 3]

    def close(self) -> None:
        self.is_closed = True


class Lines:
    def header(self) -> bytes:
        return b"header\n"

    def row(self, event: Any) -> bytes:
        if isinstance(event, Lost):
            return b"lost %d %s\n" % (event.count, event.cause.encode())
        return b"%099d\n" % event

    def footer(self) -> bytes:
        return b"footer\n"


def live(fd: int, path: str | None = None) -> Live:
    options = argparse.Namespace(
        output=path, duration=None, max_events=None, ready_fd=None, quiet=False, debug=False
    )
    return Live(options, "test", fd)


def read_late(reader: int, source: Numbers) -> tuple[threading.Thread, list[bytes]]:
    """A thread that begins to read when the source is done, and what it has read."""
    data: list[bytes] = []

    def read() -> None:
        while not source.is_done:
            time.sleep(0.01)
        while part := os.read(reader, 65_536):
            data.append(part)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    return reading, data


def test_what_a_slow_output_has_no_room_for_is_counted_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    source = Numbers(20_000)
    reading, data = read_late(reader, source)
    with live(writer) as one:
        one.output.limit_bytes = 500_000
        assert one.run(source, Lines()) == 3
        assert one.output.pending_bytes == 0
    os.close(writer)
    reading.join()
    os.close(reader)
    first, *rows, last = b"".join(data).splitlines()
    assert (first, last) == (b"header", b"footer")
    told = [row for row in rows if row.startswith(b"lost ")]
    lost = sum(int(row.split()[1]) for row in told)
    assert lost > 10_000 and len(rows) - len(told) + lost == 20_003
    assert all(row.endswith(b" output_full") for row in told)
    assert rows[-3:] == [b"%099d" % number for number in (1, 2, 3)], "the end is waited for"
    assert f"events={20_003 - lost} lost={lost} " in capfd.readouterr().err
    assert source.is_closed


def test_what_was_lost_before_is_told_however_slow_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    class Losing(Numbers):
        def poll(self, timeout: float | None = None) -> list[Any]:
            return [*super().poll(timeout), Lost(1, 0, "events", 7, "buffer_full")]

    reader, writer = os.pipe()
    source = Losing(20_000)
    reading, data = read_late(reader, source)
    with live(writer) as one:
        one.output.limit_bytes = 500_000
        one.run(source, Lines())
        assert one.dropped > 10_000
    os.close(writer)
    reading.join()
    os.close(reader)
    told = [row for row in b"".join(data).splitlines() if row.endswith(b" buffer_full")]
    assert told == [b"lost 7 buffer_full"] * 200


def test_who_reads_all_the_time_misses_nothing() -> None:
    reader, writer = os.pipe()
    # A process: a thread would wait for the interpreter while lines are made.
    with subprocess.Popen(["wc", "-c"], stdin=reader, stdout=subprocess.PIPE) as counting:
        os.close(reader)
        with live(writer) as one:
            assert one.run(Numbers(1_000_000), Lines()) == 0
        os.close(writer)
        found, _ = counting.communicate(timeout=60)
    assert int(found) == 1_000_003 * 100 + len(b"header\nfooter\n")


def test_a_second_signal_gives_up_a_stuck_output(capfd: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    pid = os.getpid()
    source = Numbers(5000)

    def stop() -> None:
        while not source.is_done:
            time.sleep(0.01)
        for _ in range(2):
            time.sleep(0.2)
            os.kill(pid, 15)

    stopping = threading.Thread(target=stop, daemon=True)
    stopping.start()
    with live(writer) as one:
        assert one.run(source, Lines()) == 3
        stopping.join()
        assert one.dropped + one.events == 5003
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read().count(b"\n") == one.events + 1
    assert f"(output_full {one.dropped})" in capfd.readouterr().err


def test_a_full_disk_is_raised_when_all_is_counted_and_closed(capfd: pytest.CaptureFixture[str]) -> None:
    source = Numbers(1000)
    with live(1, "/dev/full") as one, pytest.raises(OSError, match="No space left") as caught:
        one.run(source, Lines())
    assert caught.value.filename == "/dev/full"
    assert source.is_closed
    assert one.events == 0 and one.dropped == 3, "the header failed; at the end three were left"
    assert "lost=3" in capfd.readouterr().err
