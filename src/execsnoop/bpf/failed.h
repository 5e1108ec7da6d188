/* Failed execs. Only at the end of the system call the kernel has read the pages of the file's name,
 * and mostly of the arguments: a program can't.
 */
#ifndef EXECSNOOP_FAILED_H
#define EXECSNOOP_FAILED_H

#define FAIL_TAIL_LIMIT_BYTES (RECORD_LIMIT_BYTES - __builtin_offsetof(struct fail_event, tail))

/* A pointer's size stands in the slot: what stands on the stack as 8 or 4, the verifier of older kernels
 * takes in here for the one that it has seen first.
 */
static long add_argument(__u32 index, struct exec_slot **context)
{
	struct exec_slot *slot = *context;
	volatile __u64 *slot_used = &slot->used, *slot_at = &slot->at;
	struct fail_event *event = (struct fail_event *)slot->record;
	__u64 pointer = 0, used = *slot_used, at = *slot_at;
	long copied;

	if (bpf_probe_read_user(&pointer, slot->pointer_bytes == 8 ? 8 : 4, (void *)at)) {
		event->header.flags |= ARGV_UNREADABLE;
		return 1;
	}
	if (!pointer)
		return 1;
	barrier_var(used);
	if (used >= FAIL_TAIL_LIMIT_BYTES) {
		event->header.flags |= ARGV_TRUNCATED;
		return 1;
	}
	copied = bpf_probe_read_user_str(event->tail + used, ARGUMENT_CAPACITY_BYTES, (void *)pointer);
	if (copied <= 0) {
		event->header.flags |= ARGV_UNREADABLE;
		return 1;
	}
	if (copied == ARGUMENT_CAPACITY_BYTES)
		event->header.flags |= ARGV_TRUNCATED;
	*slot_used = used + copied;
	*slot_at = at + slot->pointer_bytes;
	return 0;
}

static __always_inline int fail(void *ctx, long error, _Bool is_execveat, _Bool is_compat)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *registers = (struct pt_regs *)bpf_task_pt_regs(task);
	struct exec_slot *slot = take_exec_slot(FAIL), *context = slot;
	struct fail_event *event;
	const void *filename;
	__u64 used, at;
	long copied;

	if (!slot)
		return 0;
	event = (struct fail_event *)slot->record;
	__builtin_memset(event, 0, sizeof(*event));
	used = describe((struct process_event *)event, event->tail, &slot->used, task, FAIL, 1);
	if (selects && !is_selected((struct process_event *)event, event->tail)) {
		give_back(&slot->busy);
		return 0;
	}
	event->error = -error;
	event->dirfd = -100;
	if (is_execveat) {
		event->dirfd = is_compat ? registers->bx : registers->di;
		event->at_flags = is_compat ? registers->di : registers->r8;
		filename = (void *)(is_compat ? registers->cx : registers->si);
		at = registers->dx;
	} else {
		filename = (void *)(is_compat ? registers->bx : registers->di);
		at = is_compat ? registers->cx : registers->si;
	}
	if (is_compat) {
		filename = (void *)((__u64)filename & 0xffffffff);
		at &= 0xffffffff;
	}
	barrier_var(used);
	if (used > CGROUPS_CAPACITY_BYTES)
		used = 0;
	copied = bpf_probe_read_user_str(event->tail + used, FILENAME_CAPACITY_BYTES, filename);
	if (copied > 0) {
		event->filename_size_bytes = copied - 1;
		used += copied - 1;
	} else {
		event->header.flags |= FILENAME_UNREADABLE;
	}
	slot->used = used;
	slot->at = at;
	slot->pointer_bytes = is_compat ? 4 : 8;
	if (at)
		bpf_loop(RECORD_LIMIT_BYTES, add_argument, &context, 0);
	barrier();
	event->argv_captured_bytes = slot->used - used;

	used = slot->used;
	if (used > FAIL_TAIL_LIMIT_BYTES) {
		event->header.flags |= ARGV_TRUNCATED;
		event->argv_captured_bytes -= used - FAIL_TAIL_LIMIT_BYTES;
		used = FAIL_TAIL_LIMIT_BYTES;
	}
	used += __builtin_offsetof(struct fail_event, tail);
	barrier_var(used);
	if (used <= RECORD_LIMIT_BYTES)
		snoopkit_output(ctx, &events, &outputs, &event->header, used);
	else
		count_loss(FAIL);
	give_back(&slot->busy);
	return 0;
}

#endif
