// SPDX-License-Identifier: MIT
/* One event for every getppid() of one process. All readers of one transport load these same bytes.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "emit.h"

const volatile int targ_pid = 0;

unsigned int sequence = 0;

#ifdef RING
unsigned int failed SEC(".data.failed") = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* the reader says how large */
} events SEC(".maps");
#else
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");
#endif

static void fill(struct event *event, __u64 pid_tid)
{
	__u64 uid_gid = bpf_get_current_uid_gid();

	event->pid = pid_tid >> 32;
	event->tid = (__u32)pid_tid;
	event->uid = (__u32)uid_gid;
	event->gid = uid_gid >> 32;
	event->sequence = sequence++;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int emit(void *ctx)
{
	__u64 pid_tid = bpf_get_current_pid_tgid();

	if (pid_tid >> 32 != targ_pid)
		return 0;
#ifdef RING
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		failed++;
		return 0;
	}
	fill(event, pid_tid);
	bpf_ringbuf_submit(event, 0);
#else
	struct event event = {};

	fill(&event, pid_tid);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
#endif
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
