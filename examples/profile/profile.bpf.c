/* Where processes spend their time on the CPUs: stacks, taken 99 times a second and counted in the kernel.
 *
 *     snoopkit run profile.bpf.c
 *     snoopkit run --pid 1234 --attach on_tick=perf_event:999 profile.bpf.c
 *     snoopkit run --folded --duration 30 profile.bpf.c | flamegraph.pl >profile.svg
 */
#include "vmlinux.h"
#include <snoopkit.bpf.h>

#define DEPTH 127

char LICENSE[] SEC("license") = "GPL";

/* One place in the code; the stacks by their numbers in `stacks`, negative where there is none. */
struct place {
	u32 pid;
	int kernel_stack SNOOPKIT_AS(stack);
	int user_stack SNOOPKIT_AS(stack);
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16384);
	__uint(key_size, sizeof(u32));
	__uint(value_size, DEPTH * sizeof(u64));
} stacks SEC(".maps");

/// How often each place was seen
/// @sample {"interval": 1000, "clear_map": true}
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct place);
	__type(value, u64);
} places SEC(".maps");

SEC("perf_event")
int on_tick(struct bpf_perf_event_data *ctx)
{
	struct place place = {.pid = bpf_get_current_pid_tgid() >> 32};
	u64 one = 1, *count;

	if (!place.pid)
		return 0; /* idle */
	place.kernel_stack = bpf_get_stackid(ctx, &stacks, 0);
	place.user_stack = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	bpf_get_current_comm(place.comm, sizeof(place.comm));
	count = bpf_map_lookup_elem(&places, &place);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&places, &place, &one, BPF_NOEXIST);
	return 0;
}
