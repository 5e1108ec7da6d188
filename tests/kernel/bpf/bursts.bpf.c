// At each getppid() of one process: `copies` records of `size_bytes` bytes, and one for every `extra_every` calls.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bursts.h"

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

const volatile __u32 target_pid = 0;
const volatile __u32 size_bytes = sizeof(struct burst);
const volatile __u32 copies = 1;
const volatile __u32 extra_every = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} extras SEC(".maps");

struct output_count {
	__u64 attempts;
	__u64 failed;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct output_count);
} outputs SEC(".maps") __attribute__((btf_decl_tag("snoopkit.losses")));

/* The tests' own count, that the toolkit knows nothing of. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} truth SEC(".maps");

struct slot {
	unsigned char bytes[65536 + 64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

static __always_inline void output(void *ctx, void *map, void *data, __u32 size, __u32 kind)
{
	struct output_count *count = bpf_map_lookup_elem(&outputs, &kind);
	__u64 *true_count = bpf_map_lookup_elem(&truth, &kind);

	if (!count || !true_count)
		return;
	__sync_fetch_and_add(true_count, 1);
	count->attempts++;
	if (bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, data, size) < 0)
		count->failed++;
}

static __always_inline void emit(void *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id(), size = size_bytes;
	struct slot *slot;
	struct burst *burst;
	struct extra extra = {.header = {.type = 1, .size_bytes = sizeof(extra)}};

	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return;
	slot = bpf_map_lookup_elem(&slots, &cpu);
	if (!slot || size > sizeof(*slot))
		return;
	burst = (struct burst *)slot;
	for (__u32 i = 0; i < 16 && i < copies; i++) {
		burst->header.size_bytes = size;
		burst->number++;
		burst->time_ns = bpf_ktime_get_boot_ns();
		burst->cpu = cpu;
		output(ctx, &events, slot, size, 0);
	}
	if (extra_every && burst->number % extra_every == 0) {
		extra.number = burst->number;
		output(ctx, &extras, &extra, sizeof(extra), 1);
	}
}

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[1] == SYS_GETPPID)
		emit(ctx);
	return 0;
}

SEC("?tracepoint/syscalls/sys_enter_getppid")
int on_getppid(void *ctx)
{
	emit(ctx);
	return 0;
}
