/* Who lives, for whoever asks: one that isn't listed has told its end, or is about to. The kernel lists
 * those of the reader's pid namespace.
 */
#ifndef EXECSNOOP_LISTED_H
#define EXECSNOOP_LISTED_H

/* The kernel's buffer for what an iterator writes has 32 KB, and a record must fit. */
#define LISTED_TAIL_LIMIT_BYTES 32000
/* Who reads keeps a whole list at once: once it is as large as this, arguments are cut to that. */
#define LISTED_LARGE_BYTES (16 << 20)
#define LISTED_SHORT_BYTES 256

struct listed_slot {
	__u64 listed; /* so far, in bytes */
	__u64 used;   /* of the record's tail, in bytes */
	char record[512 + TEXT_CAPACITY_BYTES + LISTED_TAIL_LIMIT_BYTES];
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
static __always_inline _Bool list(struct listed_process *process, __u64 *used,
				  struct task_struct *task, const _Bool commands, const _Bool more)
{
	struct task_struct *leader = task->group_leader, *parent = task->real_parent, *first;
	struct signal_struct *signal = task->signal;

	if (task->flags & PF_KTHREAD || !leader || !signal || signal->live.counter == 0)
		return 0;
	if (task->pid != task->tgid && (!commands || leader->mm))
		return 0;
	describe((struct process_event *)process, process->tail, used, task, LISTED, more);
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
	process->exe_size_bytes = process->cwd_size_bytes = 0;
	return 1;
}

struct seen_area {
	__u64 start, end, is_plain;
};

/* Without a branch: the verifier goes through it several times. */
static long look_at_area(struct task_struct *task, struct vm_area_struct *area, struct seen_area *seen)
{
	seen->start = BPF_CORE_READ(area, vm_start);
	seen->end = BPF_CORE_READ(area, vm_end);
	seen->is_plain = !BPF_CORE_READ(area, vm_ops);
	return 0;
}

/* From the memory of a process that does meanwhile what it likes; `trusted` is the same task as the
 * verifier wants it. Only memory that no file stands behind is read, as the kernel does it for /proc:
 * a file system in user space could let us wait for ever. Returns how many bytes of the tail are in
 * use.
 */
static __always_inline __u32 add_listed_argv(struct listed_process *process, volatile __u64 *place,
					     struct task_struct *task, struct task_struct *trusted,
					     __u32 offset_bytes, __u32 room_bytes)
{
	struct mm_struct *mm = task->mm;
	struct seen_area area = {};
	unsigned long start, end, stack, size_bytes;

	process->header.flags |= ARGV_UNREADABLE;
	if (!mm)
		return offset_bytes;
	start = mm->arg_start;
	end = mm->arg_end;
	stack = mm->start_stack;
	if (end <= start)
		return offset_bytes;
	size_bytes = end - start;
	process->argv_size_bytes = size_bytes;
	bpf_find_vma(trusted, start, look_at_area, &area, 0);
	if (!area.is_plain || area.end < end)
		return offset_bytes;
	if (size_bytes > room_bytes) {
		process->header.flags |= ARGV_TRUNCATED;
		size_bytes = room_bytes;
	}
	size_bytes = forgotten(place, size_bytes);
	barrier_var(offset_bytes);
	if (offset_bytes >= TEXT_CAPACITY_BYTES)
		return 0;
	barrier_var(size_bytes);
	if (!size_bytes || size_bytes > LISTED_TAIL_LIMIT_BYTES)
		return 0;
	/* The kernel put their number at the new stack's end, and hardly anybody writes there. */
	if (area.start <= stack && stack < area.end)
		bpf_copy_from_user_task(&process->argc, sizeof(process->argc), (const void *)stack,
					trusted, 0);
	if (bpf_copy_from_user_task(process->tail + offset_bytes, size_bytes,
				    (const void *)start, trusted, 0))
		return offset_bytes;
	process->header.flags &= ~ARGV_UNREADABLE;
	if (task->mm != mm || mm->arg_start != start || mm->arg_end != end) {
		process->header.flags |= ARGV_RACED;
		return offset_bytes;
	}
	process->argv_captured_bytes = size_bytes;
	if (!(process->header.flags & ARGV_TRUNCATED) && process->tail[offset_bytes + size_bytes - 1])
		process->header.flags |= ARGV_IS_TITLE;
	return offset_bytes + size_bytes;
}

static __always_inline __u32 add_listed_paths(struct listed_process *process, volatile __u64 *used,
					      struct task_struct *task)
{
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	struct dentry *folder = BPF_CORE_READ(task, fs, pwd.dentry);
	struct path_sizes sizes;
	__u32 all = add_paths(process->tail, used, task, file, &process->header.flags, &sizes);

	process->exe_size_bytes = sizes.exe;
	process->cwd_size_bytes = sizes.cwd;
	if (!file || file != BPF_CORE_READ(task, mm, exe_file) ||
	    folder != BPF_CORE_READ(task, fs, pwd.dentry))
		process->header.flags |= PATHS_RACED;
	return all;
}

static __always_inline int list_command(unsigned long long *ctx, const _Bool more)
{
	struct bpf_iter_meta *meta = (struct bpf_iter_meta *)ctx[0];
	struct task_struct *each = (struct task_struct *)ctx[1], *task;
	__u32 first = 0, used = 0, room;
	struct listed_slot *slot = bpf_map_lookup_elem(&listed_slots, &first);
	struct listed_process *process;

	if (!each || !slot)
		return 0;
	task = PLAIN(each);
	process = (struct listed_process *)slot->record;
	if (!meta->seq_num)
		slot->listed = 0;
	slot->used = 0;
	if (!list(process, &slot->used, task, 1, more))
		return 0;
	if (more && with_paths)
		add_listed_paths(process, &slot->used, task);
	if (more)
		used = slot->used;
	room = slot->listed < LISTED_LARGE_BYTES ? LISTED_TAIL_LIMIT_BYTES - used : LISTED_SHORT_BYTES;
	used = forgotten(&slot->used, add_listed_argv(process, &slot->used, task, each, used, room));
	barrier_var(used);
	if (used > LISTED_TAIL_LIMIT_BYTES)
		return 0;
	used += __builtin_offsetof(struct listed_process, tail);
	process->header.size_bytes = used;
	slot->listed += used;
	bpf_seq_write(meta->seq, process, used);
	return 0;
}

SEC("?iter.s/task")
int list_commands(unsigned long long *ctx)
{
	return list_command(ctx, 0);
}

SEC("?iter.s/task")
int list_commands_more(unsigned long long *ctx)
{
	return list_command(ctx, 1);
}

/* Without arguments, and whatever else costs more, for a kernel that lets no iterator sleep, or none read another's memory. */
SEC("?iter/task")
int list_processes(unsigned long long *ctx)
{
	struct bpf_iter_meta *meta = (struct bpf_iter_meta *)ctx[0];
	struct task_struct *each = (struct task_struct *)ctx[1];
	struct listed_process process;

	if (!each || !list(&process, 0, PLAIN(each), 0, 0))
		return 0;
	process.header.flags |= ARGV_UNREADABLE;
	process.header.size_bytes = __builtin_offsetof(struct listed_process, tail);
	bpf_seq_write(meta->seq, &process, __builtin_offsetof(struct listed_process, tail));
	return 0;
}

#endif
