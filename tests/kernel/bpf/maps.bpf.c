// One map of every type, each worked at each getppid() of one process, by what its global variables say.
// Where the kernel is too old for one, the tests leave it out.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#define SYS_BPF 280
#else
#define SYS_GETPPID 110
#define SYS_BPF 321
#endif

enum mode { IDLE, PUSH, POP, TAIL_CALL = 7 };

struct place {
	__u16 row;
	__s8 column;
	char label[5];
};

/* Constant for the program. */
const volatile __u32 target_pid = 0;
const volatile char greeting[16] = "hello";

/* What the tests write. */
volatile enum mode mode = IDLE;
volatile __u32 key = 1;
volatile __u32 threshold = 5;
volatile __u8 address[4] = {10, 1, 2, 3};
static volatile __s16 offsets[3] = {-1, 0, 1};
volatile struct place corner = {1, -1, "left"};
volatile __u32 slot;

/* What the program writes. */
__u64 calls;
__u64 bpf_calls;
__u32 landed;
__s64 route;
__u64 popped;
__u32 is_known;
__s32 is_under;
_Bool is_busy;
struct place written;
char command[16];

/* The program counts in the outer ones, the tests write the one between. */
volatile __u8 near_before;
volatile __u8 near_between;
volatile __u8 near_after;

int extra SEC(".data.extra") = 3;

#define MAP(kind, entries, key_type, value_type) \
	__uint(type, BPF_MAP_TYPE_##kind); \
	__uint(max_entries, entries); \
	__type(key, key_type); \
	__type(value, value_type)

struct { MAP(HASH, 10000, __u32, __u64); } counts SEC(".maps");
struct { MAP(LRU_HASH, 64, __u32, __u64); } recent SEC(".maps");
struct { MAP(PERCPU_HASH, 16, __u32, struct tally); } tallies SEC(".maps");
struct { MAP(LRU_PERCPU_HASH, 64, __u32, __u32); } recent_tallies SEC(".maps");
struct { MAP(PERCPU_ARRAY, 2, __u32, __u32); } slots SEC(".maps");
struct { MAP(ARRAY, 8, __u32, __s32); } numbers SEC(".maps");
struct { MAP(ARRAY, 8, enum mode, __u64); } modes SEC(".maps");
struct { MAP(HASH, 16, struct flow_key, struct flow); } flows SEC(".maps");
struct { MAP(HASH, 4, __u32, struct guarded); } guarded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(key_size, 6);
	__uint(value_size, 3);
} untyped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, __u64);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 4);
	__type(value, struct job);
} stack SEC(".maps");

#ifndef WITHOUT_BLOOM_FILTER
struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__type(value, __u32);
} bloom SEC(".maps");
#endif

struct {
	MAP(LPM_TRIE, 1000, struct ipv4_prefix, __u32);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} routes SEC(".maps");

struct {
	MAP(LPM_TRIE, 16, struct ipv6_prefix, __u32);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} routes6 SEC(".maps");

struct {
	MAP(LPM_TRIE, 16, struct other_prefix, __u32);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} jumps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} groups SEC(".maps");

struct inner {
	MAP(ARRAY, 4, __u32, __u64);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, struct inner);
} maps_by_slot SEC(".maps") = {.values = {[1] = (void *)&inner_a}};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, struct inner);
} maps_by_key SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 8 * 20);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

#ifndef WITHOUT_TASK_STORAGE
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");
#endif

static __always_inline void count(void *map, __u32 which)
{
	__u64 one = 1, *number = bpf_map_lookup_elem(map, &which);

	if (number)
		__sync_fetch_and_add(number, 1);
	else
		bpf_map_update_elem(map, &which, &one, BPF_ANY);
}

static __always_inline void hashes(__u32 which)
{
	struct tally zero = {}, *tally;
	__u32 one = 1, *number;

	count(&counts, which);
	count(&recent, which);
	tally = bpf_map_lookup_elem(&tallies, &which);
	if (!tally) {
		bpf_map_update_elem(&tallies, &which, &zero, BPF_NOEXIST);
		tally = bpf_map_lookup_elem(&tallies, &which);
	}
	if (tally) {
		tally->hits++;
		tally->by_kind[1] += 2;
	}
	bpf_map_update_elem(&recent_tallies, &which, &one, BPF_ANY);
	which = 1;
	number = bpf_map_lookup_elem(&slots, &which);
	if (number)
		++*number;
}

static __always_inline void structs(void)
{
	struct flow_key flow_key = {.address = {10, 0, 0, 1}, .port = 443};
	struct flow zero = {}, *flow;
	__u32 third = 3;
	__s32 *number = bpf_map_lookup_elem(&numbers, &third);

	bpf_get_current_comm(flow_key.comm, sizeof(flow_key.comm));
	flow = bpf_map_lookup_elem(&flows, &flow_key);
	if (!flow) {
		bpf_map_update_elem(&flows, &flow_key, &zero, BPF_NOEXIST);
		flow = bpf_map_lookup_elem(&flows, &flow_key);
	}
	if (flow) {
		flow->packets++;
		flow->state = OPEN;
		flow->urgent = 1;
		flow->level = -2;
		flow->deltas[1]--;
		flow->where.port = 80;
	}
	if (number)
		--*number;
}

static __always_inline void queues(void)
{
	__u64 value = calls;
	struct job job = {.number = calls, .name = "job"};

	if (mode == PUSH) {
		bpf_map_push_elem(&queue, &value, BPF_EXIST);
		bpf_map_push_elem(&stack, &job, BPF_EXIST);
	} else if (mode == POP && bpf_map_pop_elem(&queue, &value) == 0) {
		popped = value;
	}
}

static __always_inline void filters(void)
{
	struct ipv4_prefix prefix = {.length = 32};
	__u32 which = key, *found, first = 1;
	void *inner;

	for (int i = 0; i < 4; i++)
		prefix.data[i] = address[i];
	found = bpf_map_lookup_elem(&routes, &prefix);
	route = found ? (__s64)*found : -1;
#ifndef WITHOUT_BLOOM_FILTER
	is_known = bpf_map_peek_elem(&bloom, &which) == 0;
#endif
	is_under = bpf_current_task_under_cgroup(&groups, 0);
	inner = bpf_map_lookup_elem(&maps_by_slot, &first);
	if (inner)
		count(inner, 2);
	inner = bpf_map_lookup_elem(&maps_by_key, &which);
	if (inner)
		count(inner, 3);
}

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	if (ctx->args[1] == SYS_BPF)
		__sync_fetch_and_add(&bpf_calls, 1);
	if (ctx->args[1] != SYS_GETPPID)
		return 0;
	__sync_fetch_and_add(&calls, 1);
	near_before++;
	(void)near_between; /* a use between theirs puts it between them in memory */
	near_after++;
	is_busy = 1;
	written.row = corner.row + 1;
	written.column = offsets[2];
	__builtin_memcpy(written.label, "done", 5);
	bpf_get_current_comm(command, sizeof(command));
	bpf_get_stackid(ctx, &stacks, 0);
	hashes(key);
	structs();
	queues();
	filters();
	if (mode == TAIL_CALL)
		bpf_tail_call(ctx, &jumps, slot);
	extra = threshold;
	return 0;
}

SEC("raw_tp")
int first_landing(void *ctx)
{
	landed = 1;
	return 0;
}

SEC("raw_tp")
int second_landing(void *ctx)
{
	landed = 2;
	return 0;
}
