// Stack traces as eunomia-bpf has them: by an annotation of the map, and members of its names, but
// for one.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "stack_trace.h"

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

const volatile __u32 target_pid = 0;

/// @interpreter {"stack_trace": {"field_map": {"cpu_id": "cpu"}, "with_symbols": true}}
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

SEC("raw_tp/sys_enter") int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct stacktrace_event *event;

	if (ctx->args[1] != SYS_GETPPID || bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->pid = target_pid;
	event->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	event->kstack_sz = bpf_get_stack(ctx, event->kstack, sizeof(event->kstack), 0);
	event->ustack_sz = bpf_get_stack(ctx, event->ustack, sizeof(event->ustack), BPF_F_USER_STACK);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
