/* Who lives, for whoever asks: one that isn't listed has told its end, or is about to. The kernel lists
 * those of the reader's pid namespace.
 */
#ifndef EXECSNOOP_LISTED_H
#define EXECSNOOP_LISTED_H

/* The kernel's buffer for what an iterator writes has 32 KB, and a record must fit. */
#define LISTED_ARGV_CAPACITY_BYTES 32000

struct listed_slot {
	char record[512 + LISTED_ARGV_CAPACITY_BYTES];
};

/* For one reader: what sleeps can't have the slot of a CPU, where others wait for their turn. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct listed_slot);
} listed_slots SEC(".maps");

/* Fills all but the arguments; false where the task stands for no process. `commands`: a process whose
 * first thread has left before the others is listed once more by each of these, which have its memory.
 */
static __always_inline _Bool list(struct listed_process *process, struct task_struct *task,
				  const _Bool commands)
{
	struct task_struct *leader = task->group_leader, *parent = task->real_parent, *first;
	struct signal_struct *signal = task->signal;

	if (task->flags & PF_KTHREAD || !leader || !signal || signal->live.counter == 0)
		return 0;
	if (task->pid != task->tgid && (!commands || leader->mm))
		return 0;
	describe((struct process_event *)process, 0, 0, task, LISTED, 0);
	if (leader->flags & PF_FORKNOEXEC)
		process->header.flags |= FORKED_ONLY;
	process->tid = process->pid;
	process->own_pid = number_for(bpf_get_current_task_btf(), leader);
	process->parent_start_boottime_ns = 0;
	if (parent) {
		first = parent->group_leader;
		if (first)
			process->parent_start_boottime_ns = first->start_boottime;
	}
	process->argc = process->argv_size_bytes = process->argv_captured_bytes = 0;
	return 1;
}

/* From the memory of a process that does meanwhile what it likes; `trusted` is the same task as the
 * verifier wants it.
 */
static __always_inline void add_listed_argv(struct listed_process *process, struct task_struct *task,
					    struct task_struct *trusted)
{
	struct mm_struct *mm = task->mm;
	unsigned long start, end, size_bytes;

	if (!mm) {
		process->header.flags |= ARGV_UNREADABLE;
		return;
	}
	start = mm->arg_start;
	end = mm->arg_end;
	if (end <= start) {
		process->header.flags |= ARGV_UNREADABLE;
		return;
	}
	size_bytes = end - start;
	process->argv_size_bytes = size_bytes;
	if (size_bytes > LISTED_ARGV_CAPACITY_BYTES) {
		process->header.flags |= ARGV_TRUNCATED;
		size_bytes = LISTED_ARGV_CAPACITY_BYTES;
	}
	barrier_var(size_bytes);
	if (size_bytes > LISTED_ARGV_CAPACITY_BYTES)
		return;
	/* The kernel put their number at the new stack's end, and hardly anybody writes there. */
	bpf_copy_from_user_task(&process->argc, sizeof(process->argc),
				(const void *)mm->start_stack, trusted, 0);
	if (bpf_copy_from_user_task(process->tail, size_bytes, (const void *)start, trusted, 0)) {
		process->header.flags |= ARGV_UNREADABLE;
		return;
	}
	if (task->mm != mm || mm->arg_start != start || mm->arg_end != end) {
		process->header.flags |= ARGV_RACED;
		return;
	}
	process->argv_captured_bytes = size_bytes;
	if (!(process->header.flags & ARGV_TRUNCATED) && process->tail[size_bytes - 1])
		process->header.flags |= ARGV_IS_TITLE;
}

SEC("?iter.s/task")
int list_commands(unsigned long long *ctx)
{
	struct bpf_iter_meta *meta = (struct bpf_iter_meta *)ctx[0];
	struct task_struct *each = (struct task_struct *)ctx[1], *task;
	__u32 first = 0, size_bytes;
	struct listed_slot *slot = bpf_map_lookup_elem(&listed_slots, &first);
	struct listed_process *process;

	if (!each || !slot)
		return 0;
	task = PLAIN(each);
	process = (struct listed_process *)slot->record;
	if (!list(process, task, 1))
		return 0;
	add_listed_argv(process, task, each);
	size_bytes = process->argv_captured_bytes;
	barrier_var(size_bytes);
	if (size_bytes > LISTED_ARGV_CAPACITY_BYTES)
		return 0;
	size_bytes += __builtin_offsetof(struct listed_process, tail);
	process->header.size_bytes = size_bytes;
	bpf_seq_write(meta->seq, process, size_bytes);
	return 0;
}

/* Without arguments, for a kernel that lets no iterator sleep, or none read another's memory. */
SEC("?iter/task")
int list_processes(unsigned long long *ctx)
{
	struct bpf_iter_meta *meta = (struct bpf_iter_meta *)ctx[0];
	struct task_struct *each = (struct task_struct *)ctx[1];
	struct listed_process process;

	if (!each || !list(&process, PLAIN(each), 0))
		return 0;
	process.header.flags |= ARGV_UNREADABLE;
	process.header.size_bytes = __builtin_offsetof(struct listed_process, tail);
	bpf_seq_write(meta->seq, &process, __builtin_offsetof(struct listed_process, tail));
	return 0;
}

#endif
