/* Which processes end, how, and how long they lived: the kernel's own structs, read directly.
 *
 *     snoopkit run exit.bpf.c --failed_only
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "exit.h"

char LICENSE[] SEC("license") = "GPL";

/// Only children of this process, 0 for all
const volatile int parent_pid = 0;
/// Only what failed: a status other than 0, or a signal
const volatile bool failed_only = false;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct event event = {};

	/* A process ends with its last thread. */
	if (task->signal->live.counter)
		return 0;
	if (failed_only && !task->exit_code)
		return 0;
	event.ppid = task->real_parent->tgid;
	if (parent_pid && event.ppid != parent_pid)
		return 0;
	event.pid = task->tgid;
	event.code = task->exit_code >> 8 & 0xff;
	event.signal = task->exit_code & 0x7f;
	event.lifetime_ns = bpf_ktime_get_boot_ns() - task->group_leader->start_boottime;
	bpf_probe_read_kernel_str(event.comm, sizeof(event.comm), task->group_leader->comm);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
