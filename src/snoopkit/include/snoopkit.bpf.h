/* SPDX-License-Identifier: MIT */
/* What a BPF program says to snoopkit, and how it outputs its events so that none is lost
 *unnoticed.
 *
 *	struct event {
 *		struct snoopkit_header header;
 *		int pid;
 *	} SNOOPKIT_EVENT(events, 1);
 *
 *	SNOOPKIT_TRANSPORT;
 *	SNOOPKIT_LOSSES(losses, 2);
 *	...
 *		event.header.type = 1;
 *		snoopkit_output(ctx, &events, &losses, &event.header, sizeof(event));
 *
 * The kernel's types, from vmlinux.h or <linux/bpf.h>, are to be included in front of this.
 */
#ifndef SNOOPKIT_BPF_H
#define SNOOPKIT_BPF_H

#include <bpf/bpf_helpers.h>

/* What every record begins with; snoopkit_output() fills size and time. */
struct snoopkit_header {
	__u16 type;        /* which event it is, where a map carries several */
	__u16 flags;       /* the program's own */
	__u32 size_bytes;  /* of the whole record, this header included */
	__u64 boottime_ns; /* when it was output */
};

struct snoopkit_count {
	__u64 attempts;
	__u64 failed;
};

#define SNOOPKIT_TAG(text) __attribute__((btf_decl_tag(text)))
#define SNOOPKIT_TEXT(text) SNOOPKIT_TEXT_(text)
#define SNOOPKIT_TEXT_(text) #text

/* Behind a struct that begins with `struct snoopkit_header header`: the records of `map` whose
 * header.type is `kind`, a number that the preprocessor can see. `map` may also be an iterator's
 * program, which writes them by bpf_seq_write() and fills header.size_bytes itself.
 */
#define SNOOPKIT_EVENT(map, kind)                                                                  \
	SNOOPKIT_TAG("snoopkit.event:" #map ":header.type=" SNOOPKIT_TEXT(kind))

/* Behind the trailing array of a struct: what stands in it one after another, as a text:
 * "filename=text[filename_size_bytes],argv=strings[argv_captured_bytes]".
 */
#define SNOOPKIT_TAIL(parts) SNOOPKIT_TAG("snoopkit.tail:" parts)

/* Behind a member: how it is shown, as in `__u32 saddr SNOOPKIT_AS(ipv4);`. JSON keeps numbers.
 * `stack` is a stack trace: addresses, or one's number in the map of stacks, which stack:map names.
 */
#define SNOOPKIT_AS(format) SNOOPKIT_TAG("snoopkit.as:" #format)

/* Declares the map that counts outputs by header.type, which must be less than `kinds`. */
#define SNOOPKIT_LOSSES(name, kinds)                                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, kinds);                                                        \
		__type(key, __u32);                                                                \
		__type(value, struct snoopkit_count);                                              \
	} name SEC(".maps") SNOOPKIT_TAG("snoopkit.losses")

/* Whether the event maps are ring buffers. Without SNOOPKIT_TRANSPORT they never are. */
static const volatile _Bool snoopkit_ring;

/* Declares that this program's events may go through either transport: its maps are declared as
 * perf event arrays, and become ring buffers where the user asks for them.
 */
#define SNOOPKIT_TRANSPORT static const volatile _Bool snoopkit_ring SNOOPKIT_TAG("snoopkit.ring")

/* bpf_ringbuf_query() and bpf_ringbuf_output(), whatever the kernel's header at hand names. */
#define SNOOPKIT_AVAILABLE_DATA 0
#define SNOOPKIT_RING_SIZE 1
#define SNOOPKIT_NO_WAKEUP 1
#define SNOOPKIT_FORCE_WAKEUP 2
#define SNOOPKIT_CURRENT_CPU 0xffffffffULL

/* The reader looks by itself every few milliseconds: wake it only where a record of this size fills
 * one more quarter of the ring.
 */
static __always_inline __u64 snoopkit_wakeup(void *ring, __u64 size)
{
	__u64 quarter = bpf_ringbuf_query(ring, SNOOPKIT_RING_SIZE) / 4;
	__u64 before = bpf_ringbuf_query(ring, SNOOPKIT_AVAILABLE_DATA);

	__u64 after = before + ((size + 15) & ~7ULL);

	/* A quarter is a power of two: a multiple of it lies between where a higher bit changes. */
	return (before ^ after) >= quarter ? SNOOPKIT_FORCE_WAKEUP : SNOOPKIT_NO_WAKEUP;
}

/* Outputs a record of `size` bytes that begins with `header` to `map`, and counts that in `losses`,
 * which may be NULL. Returns 0 or a negative errno, as bpf_perf_event_output() does.
 */
static __always_inline long snoopkit_output(void *ctx, void *map, void *losses,
					    struct snoopkit_header *header, __u64 size)
{
	__u32 kind = header->type;
	struct snoopkit_count *count = losses ? bpf_map_lookup_elem(losses, &kind) : 0;
	long error;

	header->size_bytes = size;
	header->boottime_ns = bpf_ktime_get_boot_ns();
	/* Atomically: another program may interrupt this one on its CPU. */
	if (count)
		__sync_fetch_and_add(&count->attempts, 1);
	if (snoopkit_ring)
		error = bpf_ringbuf_output(map, header, size, snoopkit_wakeup(map, size));
	else
		error = bpf_perf_event_output(ctx, map, SNOOPKIT_CURRENT_CPU, header, size);
	if (error && count)
		__sync_fetch_and_add(&count->failed, 1);
	return error;
}

/* The slot of a value in a histogram of powers of two: 0 for 0 and 1, 1 for 2 and 3, 2 up to 7. */
static __always_inline __u32 snoopkit_log2(__u64 value)
{
	__u32 slot = 0;

	for (__u32 step = 32; step; step /= 2)
		if (value >> step) {
			value >>= step;
			slot += step;
		}
	return slot;
}

#endif
