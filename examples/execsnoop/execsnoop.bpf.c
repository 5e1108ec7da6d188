/* Who calls execve: the caller, its parent and its user, sent to user space through a perf event
 * array.
 *
 *     ecc execsnoop.bpf.c execsnoop.h
 *     sudo ecli run package.json
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "execsnoop.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_execve")
int on_execve(struct trace_event_raw_sys_enter *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	/* Zeroed as a whole: the gap behind is_exit travels too. The call has just begun, so that
	 * it has no result yet and nothing has ended: retval and is_exit stay 0 and false.
	 */
	struct event event = {};

	event.pid = bpf_get_current_pid_tgid() >> 32;
	event.ppid = BPF_CORE_READ(task, real_parent, tgid);
	event.uid = (u32)bpf_get_current_uid_gid();
	/* Still the caller's name: the new program isn't loaded yet. */
	bpf_get_current_comm(event.comm, sizeof(event.comm));

	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
