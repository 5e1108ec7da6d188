"""What is read out of a ring, over bytes that no kernel would write; and how they are sorted. No kernel, no root."""

from __future__ import annotations

import struct

from hypothesis import given, strategies as st

from snoopkit import _core

SAMPLE, LOST = 9, 2
ENTRY = struct.Struct("=QIIIHH")


def sample(time_ns: int, data: bytes) -> bytes:
    """A PERF_RECORD_SAMPLE as the kernel writes it: the raw data padded so that the record is a multiple of 8."""
    data = data.ljust((len(data) + 4 + 7) // 8 * 8 - 4, b"\0")
    return struct.pack("=IHHQI", SAMPLE, 0, 20 + len(data), time_ns, len(data)) + data


def lost(count: int) -> bytes:
    return struct.pack("=IHHQQQ", LOST, 0, 32, 1, count, 5)


def read(ring: bytes, tail: int = 0, head: int | None = None) -> tuple[list[tuple[int, bytes]], int, int]:
    """The records' times and bytes, how many were malformed, how many lost."""
    size = 1 << max(len(ring) - 1, 4095).bit_length()
    data, index, malformed, missing = _core._read_bytes(
        ring.ljust(size, b"\0"), tail, len(ring) if head is None else head
    )
    return (
        [
            (time_ns, data[offset : offset + length])
            for time_ns, offset, length, *_ in ENTRY.iter_unpack(index)
        ],
        malformed,
        missing,
    )


def test_records_and_losses() -> None:
    ring = sample(1, b"one.") + lost(7) + sample(2, b"twotwotwotwo") + struct.pack("=IHH", 99, 0, 8) + lost(2)
    assert read(ring) == ([(1, b"one."), (2, b"twotwotwotwo")], 0, 9)
    assert read(b"") == ([], 0, 0)


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=12), st.integers(0, 511), st.integers(0, 1 << 40)
)
def test_a_ring_goes_round(contents: list[bytes], start: int, rounds: int) -> None:
    stream = b"".join(sample(number, data) for number, data in enumerate(contents))
    size, first = 4096, start * 8
    ring = bytearray(size)
    for position, byte in enumerate(stream):
        ring[(first + position) % size] = byte
    tail = rounds * size + first
    found, malformed, _ = read(bytes(ring), tail, tail + len(stream))
    assert malformed == 0
    assert [(time_ns, data[: len(contents[time_ns])]) for time_ns, data in found] == list(enumerate(contents))


def test_a_record_that_does_not_hold_what_it_says_is_left_out() -> None:
    good = sample(1, b"good")
    too_long = struct.pack("=IHHQIHH", SAMPLE, 0, 24, 1, 5, 0, 0)
    wrapped = struct.pack("=IHH", SAMPLE, 0, 8)
    short_loss = struct.pack("=IHHQ", LOST, 0, 16, 1)
    from_the_future = sample(1 << 63, b"what")
    assert read(too_long + wrapped + short_loss + from_the_future + good) == ([(1, b"good")], 3, 0)


def test_where_no_next_record_can_be_found_the_rest_is_given_up() -> None:
    good = sample(1, b"good")
    for size in (0, 4, 7, 12, 4096, 65528):
        found, malformed, _ = read(good + struct.pack("=IHH", SAMPLE, 0, size) + good)
        assert found == [(1, b"good")]
        assert malformed == 1


def test_positions_that_no_kernel_gives_are_not_followed() -> None:
    ring = bytes(4096)
    for tail, head in ((0, 8192), (8, 0), (0, 1 << 63), (0, 12), (4, 12), (1, 9)):
        assert read(ring, tail, head) == ([], 1, 0)


@given(st.binary(min_size=1, max_size=64), st.integers(0, 511), st.integers(0, 512))
def test_any_bytes_are_read_within_bounds(pattern: bytes, tail: int, waiting: int) -> None:
    found, _, _ = read((pattern * 4096)[:4096], tail * 8, (tail + waiting) * 8)
    assert sum(len(data) + 20 for _, data in found) <= waiting * 8


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SAMPLE, LOST, 1, 0xFFFFFFFF]),
            st.one_of(st.sampled_from([0, 8, 16, 20, 24, 32, 65528, 65535]), st.integers(0, 128)),
            st.sampled_from([0, 1, 1 << 62]),
            st.one_of(st.integers(0, 128), st.sampled_from([0xFFFFFFFF, 0xFFFFFFEC, 65512])),
        ),
        max_size=64,
    ),
    st.integers(0, 511),
)
def test_forged_headers_are_read_within_bounds(headers: list[tuple[int, int, int, int]], tail: int) -> None:
    ring = b"".join(
        struct.pack("=IHHQI4x", kind, 0, size, time, length) for kind, size, time, length in headers
    )
    found, _, _ = read(ring.ljust(4096, b"\x18"), tail * 8, tail * 8 + 4096)
    assert sum(len(data) + 20 for _, data in found) <= 4096


def sorted_index(times: list[int]) -> list[tuple[int, int]]:
    """Times and arrival, as sorted, of records that arrived with these times."""
    ring = b"".join(sample(time, b"") for time in times)
    _, index, malformed, _ = _core._read_bytes(
        ring.ljust(1 << max(len(ring) - 1, 4095).bit_length()), 0, len(ring)
    )
    assert malformed == 0
    return [(time_ns, sequence) for time_ns, _, _, sequence, *_ in ENTRY.iter_unpack(index)]


@given(st.lists(st.lists(st.integers(0, 50), max_size=30), max_size=10), st.booleans())
def test_the_index_is_sorted_by_time_and_arrival(runs: list[list[int]], sort_runs: bool) -> None:
    times = [time for run in runs for time in (sorted(run) if sort_runs else run)]
    assert sorted_index(times) == sorted((time, arrival) for arrival, time in enumerate(times))


def test_a_large_index_in_the_worst_order() -> None:
    count = 20_000
    times = list(range(count, 0, -1))
    assert sorted_index(times) == [(time, count - time) for time in range(1, count + 1)]
