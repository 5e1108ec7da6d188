/* Every successful exec and every process's end, from the scheduler's own tracepoints: they see all
 * system call variants and all ABIs, and cost nothing to what neither execs nor exits.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "execsnoop.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The longest text of one path: PATH_MAX behind the "/dev/fd/N/" of an execveat. */
#define FILENAME_CAPACITY_BYTES 4160
#define ARGV_CAPACITY_BYTES 60000

#define FIXED_BYTES __builtin_offsetof(struct exec_event, tail)
#define RECORD_CAPACITY_BYTES (FIXED_BYTES + FILENAME_CAPACITY_BYTES + ARGV_CAPACITY_BYTES)

/* The kernel stores a record's size in 16 bits: larger ones vanish or are misread. */
_Static_assert(RECORD_CAPACITY_BYTES < 65000,
	       "an exec record must stay below what a perf ring can carry");

struct exec_slot {
	__u64 busy;
	char record[RECORD_CAPACITY_BYTES];
};

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
	__uint(max_entries, 3);
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

static __always_inline __u32 read_filename(struct exec_event *event, struct linux_binprm *bprm)
{
	long copied =
		bpf_probe_read_kernel_str(event->tail, FILENAME_CAPACITY_BYTES, bprm->filename);
	if (copied <= 0) {
		event->header.flags |= FILENAME_UNREADABLE;
		return 0;
	}
	if (copied == FILENAME_CAPACITY_BYTES)
		event->header.flags |= FILENAME_TRUNCATED;
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
	if (offset_bytes >= FILENAME_CAPACITY_BYTES)
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

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_tid, struct linux_binprm *bprm)
{
	struct output_count *count = count_attempt(EXEC);
	__u32 cpu = bpf_get_smp_processor_id();
	struct exec_slot *slot = bpf_map_lookup_elem(&exec_slots, &cpu);
	struct exec_event *event;
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
	event->old_tid = old_tid;
	event->argv_size_bytes = 0;
	event->filename_size_bytes = read_filename(event, bprm);
	event->argv_captured_bytes = read_argv(event, task, event->filename_size_bytes);
	size_bytes = FIXED_BYTES + event->filename_size_bytes + event->argv_captured_bytes;
	event->header.size_bytes = size_bytes;

	barrier_var(size_bytes);
	if (size_bytes > RECORD_CAPACITY_BYTES ||
	    bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, size_bytes))
		count_failure(count);

	barrier();
	slot->busy = 0;
	return 0;
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

SEC("tp_btf/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
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

	if (bpf_perf_event_output(ctx, &life, BPF_F_CURRENT_CPU, &event, sizeof(event)))
		count_failure(count);
	return 0;
}
