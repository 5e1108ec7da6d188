/* Counts execs, beginnings and ends of processes in the kernel, without any ring in which they could be lost.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} tally SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *number = bpf_map_lookup_elem(&tally, &key);
	if (number)
		__sync_fetch_and_add(number, 1);
}

SEC("tp_btf/sched_process_exec")
int on_exec(unsigned long long *ctx)
{
	count(0);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	struct signal_struct *signal = task->signal;

	if (signal && !(task->flags & PF_KTHREAD) && signal->live.counter == 0)
		count(1);
	return 0;
}

SEC("tp_btf/task_newtask")
int on_fork(unsigned long long *ctx)
{
	struct task_struct *child = (struct task_struct *)ctx[0];

	if (!(ctx[1] & CLONE_THREAD || child->flags & PF_KTHREAD))
		count(2);
	return 0;
}
