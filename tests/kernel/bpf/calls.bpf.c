// One process's calls of getppid() and getpgid(), through either transport.
#include <linux/bpf.h>
#include "calls.h"

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#define SYS_GETPGID 155
#else
#define SYS_GETPPID 110
#define SYS_GETPGID 121
#endif

/* So that a test knows its own programs and maps among those of others. */
#ifndef PROGRAM
#define PROGRAM on_call
#endif

SNOOPKIT_TRANSPORT;
SNOOPKIT_LOSSES(losses, 2);

const volatile __u32 target_pid = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} parents SEC(".maps"), groups SEC(".maps");

__u64 parents_sent = 0, groups_sent = 0;

SEC("raw_tp/sys_enter")
int PROGRAM(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	if (ctx->args[1] == SYS_GETPPID) {
		struct parent parent = {.header = {.type = PARENT}, .octets = {0, 1, 2, 255}};

		parent.number = __sync_fetch_and_add(&parents_sent, 1);
		bpf_get_current_comm(parent.comm, sizeof(parent.comm));
		snoopkit_output(ctx, &parents, &losses, &parent.header, sizeof(parent));
	} else if (ctx->args[1] == SYS_GETPGID) {
		struct group group = {.header = {.type = GROUP}};

		group.number = __sync_fetch_and_add(&groups_sent, 1);
		snoopkit_output(ctx, &groups, &losses, &group.header, sizeof(group));
	}
	return 0;
}
