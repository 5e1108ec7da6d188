/* All processes there are: an iterator, which waits for nothing to happen but runs when it is read.
 *
 *     snoopkit run processes.bpf.c
 *
 * or, whenever they are wanted:
 *
 *     with snoopkit.run("processes.bpf.c") as snoop:
 *         for process in snoop.iterate("each_process").events():
 *             print(process.pid, process.comm)
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "processes.h"

char LICENSE[] SEC("license") = "GPL";

/// Only children of this process, 0 for all
const volatile int parent_pid = 0;

SEC("iter/task")
int each_process(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct process process = {};

	/* NULL once, behind the last one; the first thread stands for the process. */
	if (!task || task->pid != task->tgid)
		return 0;
	process.ppid = task->real_parent->tgid;
	if (parent_pid && process.ppid != parent_pid)
		return 0;
	process.pid = task->tgid;
	process.threads = task->signal->nr_threads;
	process.cpu_ns = task->se.sum_exec_runtime;
	bpf_probe_read_kernel_str(process.comm, sizeof(process.comm), task->comm);
	bpf_seq_write(ctx->meta->seq, &process, sizeof(process));
	return 0;
}
