/* Where records are made, and the rings that they leave through. */
#ifndef EXECSNOOP_RECORDS_H
#define EXECSNOOP_RECORDS_H

/* The longest text of one path: PATH_MAX behind the "/dev/fd/N/" of an execveat. */
#define FILENAME_CAPACITY_BYTES 4160
/* The rest of the first line of a script; other interpreters are registered with less. */
#define INTERPRETER_CAPACITY_BYTES 512
#define ARGV_CAPACITY_BYTES 60000
/* Of one argument of a failed exec, which are read one by one. */
#define ARGUMENT_CAPACITY_BYTES 16384

/* What precedes argv in a tail: cgroups, filename, interpreter, exe, cwd. */
#define TEXT_CAPACITY_BYTES                                                                        \
	(CGROUPS_CAPACITY_BYTES + FILENAME_CAPACITY_BYTES + INTERPRETER_CAPACITY_BYTES +           \
	 2 * PATH_CAPACITY_BYTES)

/* The kernel stores a record's size in 16 bits: larger ones vanish or are misread. */
#define RECORD_LIMIT_BYTES 65000

/* The same number, of which the verifier knows nothing any more: what comes next it then looks at once, not
 * once for each way that leads there. `place` is in a map, whose bytes it doesn't follow.
 */
static __always_inline __u32 forgotten(volatile __u64 *place, __u32 number)
{
	*place = number;
	return *place;
}

#include "walk.h"

SNOOPKIT_TRANSPORT;

/* Two rings, so that exits never go missing because long arguments filled the one for execs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} life SEC(".maps");

SNOOPKIT_LOSSES(outputs, 9);

struct exec_slot {
	__u64 busy;
	__u64 used; /* of the record's tail, in bytes */
	__u64 at;   /* of user space, what is to be read next */
	__u64 pointer_bytes;
	char record[512 + TEXT_CAPACITY_BYTES + ARGV_CAPACITY_BYTES];
};

_Static_assert(RECORD_LIMIT_BYTES + ARGUMENT_CAPACITY_BYTES < sizeof(((struct exec_slot *)0)->record),
	       "an argument more must fit behind the longest record");

struct life_slot {
	__u64 busy;
	__u64 used;
	char record[512 + CGROUPS_CAPACITY_BYTES];
};

/* Indexed by CPU: an element of a per-CPU array can't be larger than 32 KB. The loader sizes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, struct exec_slot);
} exec_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct life_slot);
} life_slots SEC(".maps");

static __always_inline void count_loss(__u32 type)
{
	struct snoopkit_count *count = bpf_map_lookup_elem(&outputs, &type);

	if (count) {
		__sync_fetch_and_add(&count->attempts, 1);
		__sync_fetch_and_add(&count->failed, 1);
	}
}

/* A slot is one program's on its CPU at a time. What interrupts it there ends before it goes on: a
 * plain flag will do.
 */
static __always_inline struct exec_slot *take_exec_slot(__u32 type)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct exec_slot *slot = bpf_map_lookup_elem(&exec_slots, &cpu);

	if (!slot || slot->busy) {
		count_loss(type);
		return 0;
	}
	slot->busy = 1;
	barrier();
	return slot;
}

static __always_inline struct life_slot *take_life_slot(__u32 type)
{
	__u32 first = 0;
	struct life_slot *slot = bpf_map_lookup_elem(&life_slots, &first);

	if (!slot || slot->busy) {
		count_loss(type);
		return 0;
	}
	slot->busy = 1;
	barrier();
	return slot;
}

static __always_inline void give_back(__u64 *busy)
{
	barrier();
	*busy = 0;
}

#endif
