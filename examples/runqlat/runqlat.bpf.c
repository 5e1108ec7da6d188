/* How long threads wait for a CPU once they could run: a histogram, shown every second.
 *
 *     snoopkit run runqlat.bpf.c --target_pid 1234
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <snoopkit.bpf.h>

#define TASK_RUNNING 0

char LICENSE[] SEC("license") = "GPL";

/// Only threads of this process, 0 for all
const volatile int target_pid = 0;

/* Since when each thread waits. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, u32);
	__type(value, u64);
} waiting SEC(".maps");

/// How often they waited so long
/// @sample {"interval": 1000, "type": "log2_hist", "unit": "us", "clear_map": true}
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 32);
	__type(key, u32);
	__type(value, u64);
} waits SEC(".maps");

static __always_inline int begin(struct task_struct *task)
{
	u64 now = bpf_ktime_get_ns();
	u32 tid = task->pid;

	if (tid && (!target_pid || task->tgid == target_pid))
		bpf_map_update_elem(&waiting, &tid, &now, BPF_ANY);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(on_wakeup, struct task_struct *task)
{
	return begin(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(on_first_wakeup, struct task_struct *task)
{
	return begin(task);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *from, struct task_struct *to)
{
	u32 tid = to->pid, slot;
	u64 *since, *count;

	/* Who has to go but didn't want to waits again. */
	if (preempt || from->__state == TASK_RUNNING)
		begin(from);
	since = bpf_map_lookup_elem(&waiting, &tid);
	if (!since)
		return 0;
	slot = snoopkit_log2((bpf_ktime_get_ns() - *since) / 1000);
	count = bpf_map_lookup_elem(&waits, &slot);
	if (count)
		++*count;
	bpf_map_delete_elem(&waiting, &tid);
	return 0;
}
