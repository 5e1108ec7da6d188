/* Forks, execs and exits: several kinds of events through one map, each told apart by its header.
 *
 *     snoopkit run life.bpf.c
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "life.h"

char LICENSE[] SEC("license") = "GPL";

/// Only this process and its children, 0 for all
const volatile int target_pid = 0;

SNOOPKIT_TRANSPORT;
SNOOPKIT_LOSSES(losses, 3);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

static __always_inline bool is_wanted(struct task_struct *task)
{
	return !target_pid || task->tgid == target_pid || task->real_parent->tgid == target_pid;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct forked forked = {.header.type = FORKED, .pid = parent->tgid, .child_pid = child->tgid};

	/* Not a mere thread. */
	if (is_wanted(parent) && child->pid == child->tgid)
		snoopkit_output(ctx, &events, &losses, &forked.header, sizeof(forked));
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *program)
{
	struct ran ran = {.header.type = RAN, .pid = task->tgid};

	if (!is_wanted(task))
		return 0;
	bpf_probe_read_kernel_str(ran.path, sizeof(ran.path), program->filename);
	snoopkit_output(ctx, &events, &losses, &ran.header, sizeof(ran));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct ended ended = {.header.type = ENDED, .pid = task->tgid, .status = task->exit_code};

	/* A process ends with its last thread. */
	if (is_wanted(task) && !task->signal->live.counter)
		snoopkit_output(ctx, &events, &losses, &ended.header, sizeof(ended));
	return 0;
}
