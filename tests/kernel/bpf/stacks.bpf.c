// Stack traces at the getppid() calls of one process, in each way that there is: the number of one
// in a map, and addresses in the event itself; as events, and counted in a map.
#include <linux/bpf.h>
#include <snoopkit.bpf.h>

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

const volatile __u32 target_pid = 0;

struct call {
	__u32 pid;
	__s32 kernel_id SNOOPKIT_AS(stack);
	__s64 user_id SNOOPKIT_AS(stack:stacks);
	__u64 user[16] SNOOPKIT_AS(stack);
	char comm[16];
} SNOOPKIT_TAG("snoopkit.event:events");

struct place {
	__u32 tgid;
	__u32 user SNOOPKIT_AS(stack);
};

struct times {
	__u64 ns;
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 32 * sizeof(__u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

/// @sample {"interval": 20}
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct place);
	__type(value, struct times);
} places SEC(".maps");

/// @sample {"interval": 20}
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} by_kernel_id SEC(".maps");

SEC("raw_tp/sys_enter") int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct place place = {};
	struct times once = {.count = 1}, *times;
	__u64 one = 1;

	if (ctx->args[1] != SYS_GETPPID || bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	call.pid = target_pid;
	call.kernel_id = bpf_get_stackid(ctx, &stacks, 0);
	call.user_id = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	bpf_get_stack(ctx, call.user, sizeof(call.user), BPF_F_USER_STACK);
	bpf_get_current_comm(call.comm, sizeof(call.comm));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &call, sizeof(call));

	bpf_map_update_elem(&by_kernel_id, &call.kernel_id, &one, BPF_ANY);
	place.tgid = target_pid;
	place.user = call.user_id;
	times = bpf_map_lookup_elem(&places, &place);
	if (times)
		__sync_fetch_and_add(&times->count, 1);
	else
		bpf_map_update_elem(&places, &place, &once, BPF_NOEXIST);
	return 0;
}
