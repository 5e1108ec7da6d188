// At each getppid() of one process `burst` records, through either transport; behind each `mark_every`th a mark.
#include <linux/bpf.h>
#include "flood.h"

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

SNOOPKIT_TRANSPORT;

const volatile __u32 target_pid = 0;
const volatile __u32 burst = 1;
const volatile __u32 mark_every = 0;
const volatile __u32 size_bytes = sizeof(struct drop);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps"), marks SEC(".maps");

SNOOPKIT_LOSSES(losses, 2);

/* What was sent, kept apart from what the toolkit counts: drops, the sum of their noise, and marks. */
__u64 sent = 0, noise_sent = 0, marks_sent = 0;

struct slot {
	unsigned char bytes[65536];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct place {
	void *ctx;
	void *drop;
};

static long emit(__u32 index, struct place *place)
{
	struct drop *drop = place->drop;
	struct mark mark = {.header = {.type = MARK}};
	__u32 size = size_bytes;

	if (size > sizeof(struct slot) || size < sizeof(*drop))
		return 1;
	drop->header.type = DROP;
	drop->number++;
	drop->noise = (drop->noise ^ drop->number) * 0x9e3779b97f4a7c15ULL;
	__sync_fetch_and_add(&sent, 1);
	__sync_fetch_and_add(&noise_sent, drop->noise);
	snoopkit_output(place->ctx, &events, &losses, &drop->header, size);
	if (mark_every && drop->number % mark_every == 0) {
		mark.number = drop->number;
		__sync_fetch_and_add(&marks_sent, 1);
		snoopkit_output(place->ctx, &marks, &losses, &mark.header, sizeof(mark));
	}
	return 0;
}

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct place place = {.ctx = ctx};

	if (ctx->args[1] != SYS_GETPPID || bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	place.drop = bpf_map_lookup_elem(&slots, &cpu);
	if (place.drop)
		bpf_loop(burst, emit, &place, 0);
	return 0;
}
