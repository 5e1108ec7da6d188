/* Texts of the kernel's and of the new process's own memory, into the tail of an exec's record. */
#ifndef EXECSNOOP_ARGV_H
#define EXECSNOOP_ARGV_H

/* A text of the kernel's into the tail at an offset; returns its size. */
static __always_inline __u32 add_text(struct exec_event *event, __u32 offset_bytes, const char *text,
				      __u32 capacity_bytes, __u16 truncated)
{
	long copied;

	barrier_var(offset_bytes);
	if (offset_bytes > CGROUPS_CAPACITY_BYTES + FILENAME_CAPACITY_BYTES)
		return 0;
	copied = bpf_probe_read_kernel_str(event->tail + offset_bytes, capacity_bytes, text);
	if (copied <= 0) {
		event->header.flags |= FILENAME_UNREADABLE;
		return 0;
	}
	if (copied == capacity_bytes)
		event->header.flags |= truncated;
	return copied - 1;
}

/* Reads what the kernel itself has just written onto the new stack, so no page of it can be
 * missing, at most what was written: a read past the stack's end would fail as a whole.
 */
static __always_inline __u32 add_argv(struct exec_event *event, struct task_struct *task,
				      __u32 offset_bytes)
{
	struct mm_struct *mm = task->mm;
	unsigned long start, size_bytes, room_bytes;

	if (!mm) {
		event->header.flags |= ARGV_UNREADABLE;
		return 0;
	}
	start = mm->arg_start;
	size_bytes = mm->arg_end - start;
	event->argv_size_bytes = size_bytes;
	room_bytes = RECORD_LIMIT_BYTES - __builtin_offsetof(struct exec_event, tail) - offset_bytes;
	if (room_bytes > ARGV_CAPACITY_BYTES)
		room_bytes = ARGV_CAPACITY_BYTES;
	if (size_bytes > room_bytes) {
		event->header.flags |= ARGV_TRUNCATED;
		size_bytes = room_bytes;
	}
	/* The verifier forgets a bound when the compiler derives one register from another: tested
	 * again, each behind a barrier.
	 */
	barrier_var(offset_bytes);
	if (offset_bytes >= TEXT_CAPACITY_BYTES)
		return 0;
	barrier_var(size_bytes);
	if (size_bytes > ARGV_CAPACITY_BYTES)
		return 0;
	if (bpf_probe_read_user(event->tail + offset_bytes, size_bytes, (const void *)start)) {
		event->header.flags |= ARGV_UNREADABLE;
		return 0;
	}
	return size_bytes;
}

#endif
