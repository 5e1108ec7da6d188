// SPDX-License-Identifier: MIT
/* One event for every getppid() of one process. All readers load these same bytes. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "emit.h"

const volatile int targ_pid = 0;

unsigned int sequence = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_getppid")
int emit(void *ctx)
{
	struct event event = {};
	__u64 pid_tid = bpf_get_current_pid_tgid();
	__u64 uid_gid;

	if (pid_tid >> 32 != targ_pid)
		return 0;
	uid_gid = bpf_get_current_uid_gid();
	event.pid = pid_tid >> 32;
	event.tid = (__u32)pid_tid;
	event.uid = (__u32)uid_gid;
	event.gid = uid_gid >> 32;
	event.sequence = sequence++;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
