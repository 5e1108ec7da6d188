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
    data, index, malformed, missing, _ = _core._read_bytes(
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


def going_round(stream: bytes, first: int, rounds: int) -> tuple[bytes, int, int]:
    """A ring that holds `stream` from byte `first` on, after so many rounds; its tail and its head."""
    size = 4096
    ring = bytearray(size)
    for position, byte in enumerate(stream):
        ring[(first + position) % size] = byte
    tail = rounds * size + first
    return bytes(ring), tail, tail + len(stream)


def test_records_and_losses() -> None:
    ring = sample(1, b"one.") + lost(7) + sample(2, b"twotwotwotwo") + struct.pack("=IHH", 99, 0, 8) + lost(2)
    assert read(ring) == ([(1, b"one."), (2, b"twotwotwotwo")], 0, 9)
    assert read(b"") == ([], 0, 0)


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=12), st.integers(0, 511), st.integers(0, 1 << 40)
)
def test_a_ring_goes_round(contents: list[bytes], start: int, rounds: int) -> None:
    stream = b"".join(sample(number, data) for number, data in enumerate(contents))
    found, malformed, _ = read(*going_round(stream, start * 8, rounds))
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
    _, index, malformed, *_ = _core._read_bytes(
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


# ---- BPF ring buffers

BUSY, DISCARD = 1 << 31, 1 << 30


def entry(data: bytes, flags: int = 0) -> bytes:
    """A record of a BPF ring buffer as the kernel writes it."""
    return (struct.pack("=II", len(data) | flags, 0) + data).ljust((len(data) + 15) // 8 * 8, b"\0")


def read_buffer(
    ring: bytes, tail: int = 0, head: int | None = None, time_offset: int = -1
) -> tuple[list[tuple[int, bytes]], int, int]:
    """The records' times and bytes, how many were malformed, and up to where it was read."""
    size = 1 << max(len(ring) - 1, 4095).bit_length()
    data, index, malformed, missing, position = _core._read_bytes(
        ring.ljust(size, b"\0"), tail, len(ring) if head is None else head, True, time_offset
    )
    assert missing == 0
    found = [
        (time_ns, data[offset : offset + length]) for time_ns, offset, length, *_ in ENTRY.iter_unpack(index)
    ]
    return found, malformed, position


def test_a_buffer_is_read_up_to_what_is_still_being_written() -> None:
    ring = entry(b"one") + entry(b"never", DISCARD) + entry(b"") + entry(b"12345678")
    found, malformed, position = read_buffer(ring + entry(b"not yet", BUSY) + entry(b"behind it"))
    assert [data for _, data in found] == [b"one", b"", b"12345678"]
    assert (malformed, position) == (0, len(ring))
    assert read_buffer(b"") == ([], 0, 0)


def test_a_buffers_records_are_given_no_cpu() -> None:
    _, index, *_ = _core._read_bytes(entry(b"one").ljust(4096, b"\0"), 0, 16, True)
    assert struct.unpack("=QIIIhH", index)[4] == -1


@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(0, 511), st.integers(0, 1 << 40))
def test_a_buffer_goes_round(contents: list[bytes], start: int, rounds: int) -> None:
    stream = b"".join(map(entry, contents))
    ring, tail, head = going_round(stream, start * 8, rounds)
    found, malformed, position = read_buffer(ring, tail, head)
    assert ([data for _, data in found], malformed, position) == (contents, 0, head)


@given(st.lists(st.integers(0, 100), max_size=50))
def test_a_buffers_order_is_the_kernels(times: list[int]) -> None:
    ring = b"".join(entry(struct.pack("=IQI", number, time, 0)) for number, time in enumerate(times))
    found, _, _ = read_buffer(ring, time_offset=4)
    assert [struct.unpack_from("=I", data)[0] for _, data in found] == list(range(len(times)))
    assert [time for time, _ in found] == [max(times[: number + 1]) for number in range(len(times))]


def test_a_time_that_is_missing_or_to_come_is_that_of_the_drain() -> None:
    before = _core.boottime_ns()
    ring = entry(struct.pack("=Q", 1 << 63)) + entry(b"short") + entry(struct.pack("=Q", 5))
    found, malformed, _ = read_buffer(ring, time_offset=0)
    assert malformed == 0
    times = [time for time, _ in found]
    assert all(before <= time <= _core.boottime_ns() for time in times)
    assert times == sorted(times)


def test_where_a_buffers_next_record_cannot_be_found_the_rest_is_given_up() -> None:
    good = entry(b"good")
    for size in (17, 4096, DISCARD - 1, DISCARD | 64):
        found, malformed, position = read_buffer(good + struct.pack("=II", size, 0) + good)
        assert [data for _, data in found] == [b"good"]
        assert (malformed, position) == (1, 2 * len(good) + 8)


def test_positions_that_no_buffer_has_are_not_followed() -> None:
    for tail, head in ((0, 8192), (8, 0), (0, 1 << 63), (0, 12), (4, 12), (1, 9)):
        assert read_buffer(bytes(4096), tail, head) == ([], 1, head)


@given(
    st.lists(
        st.one_of(
            st.integers(0, 64), st.integers(0, 0xFFFFFFFF), st.sampled_from([BUSY, DISCARD, DISCARD - 1])
        ),
        max_size=512,
    ),
    st.integers(0, 511),
    st.integers(0, 512),
    st.integers(-1, 100),
)
def test_any_bytes_of_a_buffer_are_read_within_bounds(
    words: list[int], tail: int, waiting: int, time_offset: int
) -> None:
    ring = b"".join(struct.pack("=II", word, word) for word in words).ljust(4096, b"\x08")
    found, _, position = read_buffer(ring, tail * 8, (tail + waiting) * 8, time_offset)
    assert sum(len(data) + 8 for _, data in found) <= waiting * 8
    assert tail * 8 <= position <= (tail + waiting) * 8


def test_the_first_drains_come_sooner() -> None:
    """Of no rings a reader is a clock: at first it ticks ten times as fast, fifty times."""
    with _core.Reader([], drain_interval_ns=10_000_000_000) as reader:
        assert reader.wait(8)
        for _ in range(50):
            reader.drain()
        assert reader.wait(8)
        reader.drain()
        assert not reader.wait(1.2)
