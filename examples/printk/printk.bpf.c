/* Who runs what, as plain messages: no event, no map, one line of code.
 *
 *     snoopkit run printk.bpf.c
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/// Only children of this process, 0 for all
const volatile int parent_pid = 0;

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *program)
{
	if (!parent_pid || task->real_parent->tgid == parent_pid)
		bpf_printk("%d runs %s", task->tgid, program->filename);
	return 0;
}
