# The one layout that `_core` and `_decode` share: a batch is raw record bytes and, in time order, an index of them.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef packed struct RecordIndex:
    uint64_t time_ns       # CLOCK_BOOTTIME, stamped by the kernel when the record was output
    uint32_t offset_bytes  # of the record's first byte in the batch's data
    uint32_t size_bytes    # as the ring gave it: padded, so an event's size comes from its type
    uint32_t sequence      # in order of arrival, breaks ties of time
    uint16_t cpu
    uint16_t map           # number of the map within the reader
