// Iterators over the children of one process, and a program that runs beside them: at its execs.
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "iterators.h"

char LICENSE[] SEC("license") = "GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	struct task_struct *real_parent;
	char comm[16];
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
#pragma clang attribute pop

const volatile __u32 target_pid = 0; /* whose children */
const volatile __u32 copies = 1;
const volatile __u32 false_bytes = 0; /* added to what a record says of its size */

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} calls SEC(".maps");

static __always_inline _Bool is_child(struct task_struct *task)
{
	return task && task->real_parent && task->real_parent->tgid == target_pid;
}

SEC("iter/task")
int each_process(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct process process = {};

	if (!is_child(task) || task->pid != task->tgid)
		return 0;
	process.start_boottime_ns = task->start_boottime;
	process.pid = task->tgid;
	process.ppid = task->real_parent->tgid;
	bpf_probe_read_kernel_str(process.comm, sizeof(process.comm), task->comm);
	for (__u32 i = 0; i < copies && i < 500; i++)
		bpf_seq_write(ctx->meta->seq, &process, sizeof(process));
	return 0;
}

SEC("iter.s/task")
int each_kind(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct thread thread = {.header = {.type = THREAD, .size_bytes = sizeof(thread)}};
	struct named named = {.header = {.type = PROCESS}};
	long size;

	if (!is_child(task))
		return 0;
	if (task->pid == task->tgid) {
		size = bpf_probe_read_kernel_str(named.tail, sizeof(named.tail), task->comm);
		if (size < 1 || size > sizeof(named.tail))
			return 0;
		named.pid = task->tgid;
		named.name_size_bytes = size - 1;
		size += __builtin_offsetof(struct named, tail) - 1;
		named.header.size_bytes = size + false_bytes;
		bpf_seq_write(ctx->meta->seq, &named, size);
	}
	thread.pid = task->tgid;
	thread.tid = task->pid;
	bpf_seq_write(ctx->meta->seq, &thread, sizeof(thread));
	return 0;
}

SEC("?iter/task")
int as_text(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (is_child(task) && task->pid == task->tgid)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d of %d\n", task->tgid, task->real_parent->tgid);
	return 0;
}

SEC("?iter/task")
int too_long(struct bpf_iter__task *ctx)
{
	char zeros[256] = {};

	for (int i = 0; ctx->task && i < 200; i++)
		bpf_seq_write(ctx->meta->seq, zeros, sizeof(zeros));
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	struct call call = {.header.type = 1, .pid = task->tgid};

	if (is_child(task))
		snoopkit_output(ctx, &calls, 0, &call.header, sizeof(call));
	return 0;
}
