/* Which system calls each process makes: counts in a map, shown and cleared every second.
 *
 *     snoopkit run syscalls.bpf.c --target_pid 1234
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/// @description "Only this process, 0 for all"
/// @cmdarg {"short": "p"}
const volatile int target_pid = 0;

struct call {
	u32 pid;
	u32 number;
};

/// How often each was made
/// @sample {"interval": 1000, "clear_map": true}
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct call);
	__type(value, u64);
} counts SEC(".maps");

SEC("raw_tp/sys_enter")
int on_call(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {.pid = bpf_get_current_pid_tgid() >> 32, .number = ctx->args[1]};
	u64 one = 1, *count;

	if (target_pid && call.pid != target_pid)
		return 0;
	count = bpf_map_lookup_elem(&counts, &call);
	/* Another CPU may have been faster: then its entry stays, and ours counts on. */
	if (!count && bpf_map_update_elem(&counts, &call, &one, BPF_NOEXIST))
		count = bpf_map_lookup_elem(&counts, &call);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
