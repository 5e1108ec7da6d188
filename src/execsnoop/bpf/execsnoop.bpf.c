/* Every successful exec, every new process and every one's end, from the scheduler's own tracepoints:
 * they see all system call variants and all ABIs, and cost nothing to what neither execs nor exits.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "execsnoop.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The longest text of one path: PATH_MAX behind the "/dev/fd/N/" of an execveat. */
#define FILENAME_CAPACITY_BYTES 4160
/* The rest of the first line of a script; other interpreters are registered with less. */
#define INTERPRETER_CAPACITY_BYTES 512
#define ARGV_CAPACITY_BYTES 60000

#define TEXT_CAPACITY_BYTES (FILENAME_CAPACITY_BYTES + INTERPRETER_CAPACITY_BYTES)
#define FIXED_BYTES __builtin_offsetof(struct exec_event, tail)
#define RECORD_CAPACITY_BYTES (FIXED_BYTES + TEXT_CAPACITY_BYTES + ARGV_CAPACITY_BYTES)

/* The kernel stores a record's size in 16 bits: larger ones vanish or are misread. */
_Static_assert(RECORD_CAPACITY_BYTES < 65000,
	       "an exec record must stay below what a perf ring can carry");

struct exec_slot {
	__u64 busy;
	char record[RECORD_CAPACITY_BYTES];
};

/* A member behind a pointer that the verifier knows the type of, or doesn't: the first costs a load,
 * the second a call. `typed` is a constant.
 */
#define GET(typed, from, member) ((typed) ? (from)->member : BPF_CORE_READ(from, member))

/* What every event struct begins with. */
struct process_event {
	struct record_header header;
	PROCESS_MEMBERS
};

struct output_count {
	__u64 attempts;
	__u64 failed;
};

/* Two rings, so that exits never go missing because long arguments filled the one for execs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} life SEC(".maps");

/* Indexed by header.type. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct output_count);
} outputs SEC(".maps") __attribute__((btf_decl_tag("snoopkit.losses")));

/* Indexed by CPU: an element of a per-CPU array can't be larger than 32 KB. The loader sizes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, struct exec_slot);
} exec_slots SEC(".maps");

static __always_inline struct output_count *count_attempt(__u32 type)
{
	struct output_count *count = bpf_map_lookup_elem(&outputs, &type);
	if (count)
		__sync_fetch_and_add(&count->attempts, 1);
	return count;
}

static __always_inline void count_failure(struct output_count *count)
{
	if (count)
		__sync_fetch_and_add(&count->failed, 1);
}

/* Fills all of the common part but the header's size. Verifiers may ask for each of the tests. */
static __always_inline void describe(struct process_event *event, struct task_struct *task,
				     __u16 type)
{
	struct task_struct *leader = task->group_leader;
	struct task_struct *parent = task->real_parent;
	const struct cred *cred = task->cred;
	struct signal_struct *signal = task->signal;

	__builtin_memset(event, 0, sizeof(*event));
	event->header.type = type;
	event->header.boottime_ns = bpf_ktime_get_boot_ns();
	event->pid = task->tgid;
	event->tid = task->pid;
	if (parent)
		event->ppid = parent->tgid;
	if (cred) {
		event->uid = cred->uid.val;
		event->gid = cred->gid.val;
		event->euid = cred->euid.val;
		event->egid = cred->egid.val;
	}
	if (bpf_core_field_exists(task->loginuid) && bpf_core_field_exists(task->sessionid)) {
		event->loginuid = task->loginuid.val;
		event->sessionid = task->sessionid;
	} else {
		event->header.flags |= AUDIT_UNSUPPORTED;
	}
	if (leader) {
		event->start_boottime_ns = leader->start_boottime;
		bpf_probe_read_kernel_str(event->comm, sizeof(event->comm), leader->comm);
	}
	if (signal) {
		struct tty_struct *tty = signal->tty;
		if (tty)
			bpf_probe_read_kernel_str(event->tty, sizeof(event->tty), tty->name);
	}
}

/* A text of the kernel's into the tail at an offset. */
static __always_inline __u32 read_text(struct exec_event *event, __u32 offset_bytes,
				       const char *text, __u32 capacity_bytes, __u16 truncated)
{
	long copied;

	barrier_var(offset_bytes);
	if (offset_bytes > FILENAME_CAPACITY_BYTES)
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
static __always_inline __u32 read_argv(struct exec_event *event, struct task_struct *task,
				       __u32 offset_bytes)
{
	struct mm_struct *mm = task->mm;
	unsigned long start, size_bytes;

	if (!mm) {
		event->header.flags |= ARGV_UNREADABLE;
		return 0;
	}
	start = mm->arg_start;
	size_bytes = mm->arg_end - start;
	event->argv_size_bytes = size_bytes;
	if (size_bytes > ARGV_CAPACITY_BYTES) {
		event->header.flags |= ARGV_TRUNCATED;
		size_bytes = ARGV_CAPACITY_BYTES;
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

/* What kind of file it is that runs: for a script the interpreter. */
static __always_inline __u32 file_kind(struct file *file, const _Bool typed)
{
	struct dentry *dentry, *parent;
	struct super_block *super;
	struct inode *inode;
	__u32 kind = 0;
	__u16 mode;

	if (!file)
		return 0;
	dentry = GET(typed, file, f_path.dentry);
	if (!dentry)
		return 0;
	parent = GET(typed, dentry, d_parent);
	inode = GET(typed, dentry, d_inode);
	super = GET(typed, dentry, d_sb);
	if (parent == dentry) {
		/* A file without a folder is the root of a mount, bound there, or never had a name. */
		char name[7] = {};

		bpf_probe_read_kernel_str(name, sizeof(name), GET(typed, dentry, d_name.name));
		if (name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' &&
		    name[4] == 'd' && name[5] == ':')
			kind |= IS_MEMFD;
	} else if (!GET(typed, dentry, d_hash.pprev)) {
		kind |= IS_DELETED;
	}
	if (!inode || !super)
		return kind;
	mode = GET(typed, inode, i_mode);
	if (mode & S_ISUID || (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		kind |= HAS_SETID;
	if (GET(typed, super, s_magic) == OVERLAYFS_SUPER_MAGIC) {
		/* Overlayfs keeps its own inode around this one: the upper file's dentry follows. */
		void *upper = 0;

		bpf_probe_read_kernel(&upper, sizeof(upper),
				      (void *)inode + bpf_core_type_size(struct inode));
		if (upper)
			kind |= IS_UPPER;
	}
	return kind;
}

static __always_inline int exec(void *ctx, struct task_struct *task, __u32 old_tid,
				struct linux_binprm *bprm, const _Bool typed)
{
	struct output_count *count = count_attempt(EXEC);
	__u32 cpu = bpf_get_smp_processor_id();
	struct exec_slot *slot = bpf_map_lookup_elem(&exec_slots, &cpu);
	struct exec_event *event;
	const char *filename, *interpreter;
	__u32 size_bytes;

	if (!slot || slot->busy) {
		count_failure(count);
		return 0;
	}
	/* What interrupts this program on its CPU ends before it goes on: a plain flag will do. */
	slot->busy = 1;
	barrier();

	event = (struct exec_event *)slot->record;
	describe((struct process_event *)event, task, EXEC);
	event->how = file_kind(GET(typed, bprm, file), typed);
	if (BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec))
		event->how |= IS_SECURE;
	event->old_tid = old_tid;
	event->argv_size_bytes = 0;
	event->interpreter_size_bytes = 0;
	filename = GET(typed, bprm, filename);
	interpreter = GET(typed, bprm, interp);
	size_bytes = event->filename_size_bytes =
		read_text(event, 0, filename, FILENAME_CAPACITY_BYTES, FILENAME_TRUNCATED);
	if (interpreter != filename) {
		event->how |= IS_SCRIPT;
		event->interpreter_size_bytes =
			read_text(event, size_bytes, interpreter, INTERPRETER_CAPACITY_BYTES,
				  INTERPRETER_TRUNCATED);
		size_bytes += event->interpreter_size_bytes;
	}
	event->argv_captured_bytes = read_argv(event, task, size_bytes);
	size_bytes += FIXED_BYTES + event->argv_captured_bytes;
	event->header.size_bytes = size_bytes;

	barrier_var(size_bytes);
	if (size_bytes > RECORD_CAPACITY_BYTES ||
	    bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, size_bytes))
		count_failure(count);

	barrier();
	slot->busy = 0;
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_tid, struct linux_binprm *bprm)
{
	return exec(ctx, task, old_tid, bprm, 1);
}

/* Since 6.10, and the only hook where the credentials before an exec and after it are both there. */
SEC("?tp_btf/sched_prepare_exec")
int BPF_PROG(on_prepare, struct task_struct *task, struct linux_binprm *bprm)
{
	struct task_struct *leader = task->group_leader;
	const struct cred *before = task->cred, *after = bprm->cred;
	struct prepare_event event = {};
	struct output_count *count;

	if (!before || !after || !leader)
		return 0;
	event.old_euid = before->euid.val;
	event.old_egid = before->egid.val;
	event.new_euid = after->euid.val;
	event.new_egid = after->egid.val;
	if (event.old_euid == event.new_euid && event.old_egid == event.new_egid)
		return 0;
	event.header.type = PREPARE;
	event.header.size_bytes = sizeof(event);
	event.header.boottime_ns = bpf_ktime_get_boot_ns();
	event.start_boottime_ns = leader->start_boottime;
	event.pid = task->tgid;
	event.tid = task->pid;
	count = count_attempt(PREPARE);
	if (bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event)))
		count_failure(count);
	return 0;
}

static __always_inline int fork(void *ctx, struct task_struct *child, __u64 clone_flags,
				const _Bool typed)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fork_event event = {};
	struct output_count *count;

	/* Kernel threads run nothing; helpers of user space's start as processes of the kernel's. */
	if (clone_flags & CLONE_THREAD || GET(typed, child, flags) & PF_KTHREAD)
		return 0;
	count = count_attempt(FORK);
	describe((struct process_event *)&event, task, FORK);
	event.header.size_bytes = sizeof(event);
	event.child_pid = GET(typed, child, tgid);
	event.child_start_boottime_ns = GET(typed, child, start_boottime);
	event.clone_flags = clone_flags;
	if (bpf_perf_event_output(ctx, &life, BPF_F_CURRENT_CPU, &event, sizeof(event)))
		count_failure(count);
	return 0;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(on_fork, struct task_struct *child, unsigned long clone_flags)
{
	return fork(ctx, child, clone_flags, 1);
}

#define SET_ACCOUNT(event, signal, typed)                                                          \
	do {                                                                                       \
		(event).user_ns = GET(typed, signal, utime);                                       \
		(event).system_ns = GET(typed, signal, stime);                                     \
		(event).cpu_ns = GET(typed, signal, sum_sched_runtime);                            \
		(event).max_rss_pages = GET(typed, signal, maxrss);                                \
		(event).minor_faults = GET(typed, signal, min_flt);                                \
		(event).major_faults = GET(typed, signal, maj_flt);                                \
		if (bpf_core_field_exists((signal)->ioac.read_bytes)) {                            \
			(event).read_bytes = GET(typed, signal, ioac.read_bytes);                  \
			(event).write_bytes = GET(typed, signal, ioac.write_bytes);                \
		} else {                                                                           \
			(event).header.flags |= IO_UNSUPPORTED;                                    \
		}                                                                                  \
	} while (0)

/* What a thread used that its process's account doesn't have yet. */
static __always_inline void add_account(struct exit_event *event, struct task_struct *task)
{
	event->user_ns += task->utime;
	event->system_ns += task->stime;
	event->cpu_ns += task->se.sum_exec_runtime;
	event->minor_faults += task->min_flt;
	event->major_faults += task->maj_flt;
	if (bpf_core_field_exists(task->ioac.read_bytes)) {
		event->read_bytes += task->ioac.read_bytes;
		event->write_bytes += task->ioac.write_bytes;
	}
}

/* Runs for every thread that ends; true for the one that ends the process. Before 6.16 several
 * threads that end at once may each see that none is left: while another is still there the event
 * says that it may come again, and user space keeps the latest.
 */
static __always_inline _Bool process_is_gone(unsigned long long *ctx, struct signal_struct *signal,
					     __u16 *flags)
{
	if (bpf_core_field_exists(((struct trace_event_raw_sched_process_exit *)0)->group_dead))
		return ((volatile unsigned long long *)ctx)[1] & 1;
	if (signal->nr_threads > 1)
		*flags = MAY_REPEAT;
	return signal->live.counter == 0;
}

static __always_inline int end(unsigned long long *ctx, struct task_struct *task)
{
	struct signal_struct *signal = task->signal;
	struct task_struct *leader = task->group_leader;
	struct output_count *count;
	struct exit_event event = {};
	__u16 flags = 0;

	if (task->flags & PF_KTHREAD || !signal || !leader || !process_is_gone(ctx, signal, &flags))
		return 0;

	count = count_attempt(EXIT);
	describe((struct process_event *)&event, task, EXIT);
	event.header.flags |= flags;
	event.header.size_bytes = sizeof(event);
	/* The last thread's own exit_code is often not what the parent will be told. */
	event.status =
		signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code : leader->exit_code;
	SET_ACCOUNT(event, signal, 1);
	add_account(&event, task);
	if (leader->pid != task->pid)
		add_account(&event, leader);

	if (bpf_perf_event_output(ctx, &life, BPF_F_CURRENT_CPU, &event, sizeof(event)))
		count_failure(count);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	return end(ctx, (struct task_struct *)ctx[0]);
}

/* Runs from a timer's or another interrupt, even in the midst of the other programs on its CPU. */
static __always_inline int reaped(void *ctx, struct task_struct *task, const _Bool typed)
{
	struct signal_struct *signal = GET(typed, task, signal);
	struct free_event event = {};
	struct output_count *count;

	event.pid = GET(typed, task, tgid);
	if (event.pid != (__u32)GET(typed, task, pid) || GET(typed, task, flags) & PF_KTHREAD || !signal)
		return 0;
	count = count_attempt(FREE);
	event.header.type = FREE;
	event.header.size_bytes = sizeof(event);
	event.header.boottime_ns = bpf_ktime_get_boot_ns();
	event.start_boottime_ns = GET(typed, task, start_boottime);
	SET_ACCOUNT(event, signal, typed);
	if (bpf_perf_event_output(ctx, &life, BPF_F_CURRENT_CPU, &event, sizeof(event)))
		count_failure(count);
	return 0;
}

SEC("?tp_btf/sched_process_free")
int BPF_PROG(on_free, struct task_struct *task)
{
	return reaped(ctx, task, 1);
}
