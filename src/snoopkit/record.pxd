# The one layout that `_core` and `_decode` share: a batch is raw record bytes and, in time order, an index of them.
from libc.stdint cimport int16_t, uint16_t, uint32_t, uint64_t

cdef packed struct RecordIndex:
    uint64_t time_ns       # CLOCK_BOOTTIME of the output: a perf event ring's own, else the record's or the drain's
    uint32_t offset_bytes  # of the record's first byte in the batch's data
    uint32_t size_bytes    # as the ring gave it: a perf event ring pads, so an event's size comes from its type
    uint32_t sequence      # in order of arrival, breaks ties of time
    int16_t cpu            # -1 out of a BPF ring buffer, which doesn't tell
    uint16_t map           # number of the map within the reader
