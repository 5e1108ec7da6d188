// SPDX-License-Identifier: MIT
/* Many events for every getppid() of one process, as fast as the kernel can take them. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "storm.h"

#define EVENTS_A_CALL 16

const volatile int targ_pid = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event);
} scratch SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_getppid")
int emit(void *ctx)
{
	__u64 pid_tid = bpf_get_current_pid_tgid();
	struct event *event;
	__u32 first = 0;

	if (pid_tid >> 32 != targ_pid)
		return 0;
	event = bpf_map_lookup_elem(&scratch, &first);
	if (!event)
		return 0;
	event->tid = (__u32)pid_tid;
	for (int count = 0; count < EVENTS_A_CALL; count++) {
		event->sequence++;
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, sizeof(*event));
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
