// @NAME@: @WHAT@.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "@NAME@.h"

char LICENSE[] SEC("license") = "GPL";

/// Only this process, 0 for all
const volatile __u32 target_pid = 0;

/* Events go through perf event arrays, or through ring buffers if the user asks for them. */
SNOOPKIT_TRANSPORT;
SNOOPKIT_LOSSES(losses, 2);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("raw_tp/sched_process_exec")
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct event event = {.header = {.type = 1}};
	struct linux_binprm *program = (void *)ctx->args[2];

	event.pid = bpf_get_current_pid_tgid() >> 32;
	if (target_pid && event.pid != target_pid)
		return 0;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_probe_read_kernel_str(event.text, sizeof(event.text), BPF_CORE_READ(program, filename));
	snoopkit_output(ctx, &events, &losses, &event.header, sizeof(event));
	return 0;
}
