/* Every successful exec, every new process and every one's end, from the scheduler's own tracepoints:
 * they see all system call variants and all ABIs, and cost nothing to what neither execs nor exits.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <snoopkit.bpf.h>

#include "execsnoop.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* What costs more, and is asked for: in programs with the constant `more` alone. */

/// Read the paths of the file that runs and of the working directory
const volatile _Bool with_paths = 0;
/// Read the paths of the control groups
const volatile _Bool with_cgroups = 0;
/// Read the numbers of the namespaces
const volatile _Bool with_namespaces = 0;
/// Read the capabilities after an exec
const volatile _Bool with_capabilities = 0;

#include "records.h"
#include "identity.h"
#include "filter.h"
#include "argv.h"
#include "files.h"
#include "accounts.h"
#include "failed.h"

extern void *bpf_rdonly_cast(const void *object, __u32 type_id) __ksym __weak;

/* The same typed pointer, without the verifier's trust, which none of the programs needs: for every
 * pointer read through a trusted one it searches all of the kernel's types for names, four times.
 * That took most of the time of a start.
 */
#define PLAIN(pointer)                                                                             \
	(bpf_core_enum_value_exists(enum bpf_type_flag, PTR_TRUSTED)                               \
		 ? (typeof(pointer))bpf_rdonly_cast((pointer),                                     \
						    bpf_core_type_id_kernel(typeof(*(pointer))))   \
		 : (pointer))

/* Which program it is; returns how many bytes of the tail are in use. */
static __always_inline __u32 describe_program(struct exec_event *event, volatile __u64 *slot_used,
					      __u32 used, struct task_struct *task,
					      struct linux_binprm *bprm, const _Bool typed,
					      const _Bool more)
{
	const char *filename = GET(typed, bprm, filename);
	const char *interpreter = GET(typed, bprm, interp);

	event->how = file_kind(GET(typed, bprm, file), typed);
	if (BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec))
		event->how |= IS_SECURE;
	event->filename_size_bytes =
		add_text(event, used, filename, FILENAME_CAPACITY_BYTES, FILENAME_TRUNCATED);
	used = forgotten(slot_used, used + event->filename_size_bytes);
	if (interpreter != filename) {
		event->how |= IS_SCRIPT;
		event->interpreter_size_bytes =
			add_text(event, used, interpreter, INTERPRETER_CAPACITY_BYTES,
				 INTERPRETER_TRUNCATED);
		used = forgotten(slot_used, used + event->interpreter_size_bytes);
	}
	if (more && with_capabilities)
		describe_capabilities(event, task);
	if (more && with_paths) {
		struct path_sizes sizes;

		*slot_used = used;
		used = add_paths(event->tail, slot_used, task, GET(typed, bprm, file),
				 &event->header.flags, &sizes);
		event->exe_size_bytes = sizes.exe;
		event->cwd_size_bytes = sizes.cwd;
	}
	return used;
}

static __always_inline int exec(void *ctx, struct task_struct *task, __u32 old_tid,
				struct linux_binprm *bprm, const _Bool typed, const _Bool more)
{
	struct exec_slot *slot = take_exec_slot(EXEC);
	struct exec_event *event;
	__u32 used;

	if (!slot)
		return 0;
	event = (struct exec_event *)slot->record;
	__builtin_memset(event, 0, sizeof(*event));
	used = describe((struct process_event *)event, event->tail, &slot->used, task, EXEC, more);
	event->old_tid = old_tid;
	if (more && selects && !is_selected((struct process_event *)event, event->tail)) {
		event->header.flags |= UNSELECTED;
		event->cgroup_size_bytes = event->cgroup_v1_size_bytes = used = 0;
	} else {
		used = describe_program(event, &slot->used, used, task, bprm, typed, more);
	}
	event->argv_captured_bytes = add_argv(event, task, used);
	used += __builtin_offsetof(struct exec_event, tail) + event->argv_captured_bytes;
	used = forgotten(&slot->used, used);

	barrier_var(used);
	if (used <= RECORD_LIMIT_BYTES)
		snoopkit_output(ctx, &events, &outputs, &event->header, used);
	else
		count_loss(EXEC);
	give_back(&slot->busy);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_tid, struct linux_binprm *bprm)
{
	return exec(ctx, PLAIN(task), old_tid, PLAIN(bprm), 1, 0);
}

/* Since 6.10, and the only hook where the credentials before an exec and after it are both there. */
static __always_inline int prepare(void *ctx, struct linux_binprm *bprm, const _Bool typed)
{
	struct task_struct *current = bpf_get_current_task_btf();
	struct task_struct *task = typed ? PLAIN(current) : current;
	struct task_struct *leader = task->group_leader;
	const struct cred *before = task->cred, *after = GET(typed, bprm, cred);
	struct prepare_event event = {};

	if (!before || !after || !leader)
		return 0;
	event.old_euid = before->euid.val;
	event.old_egid = before->egid.val;
	event.new_euid = GET(typed, after, euid.val);
	event.new_egid = GET(typed, after, egid.val);
	if (event.old_euid == event.new_euid && event.old_egid == event.new_egid)
		return 0;
	event.header.type = PREPARE;
	event.start_boottime_ns = leader->start_boottime;
	event.pid = task->tgid;
	event.tid = task->pid;
	snoopkit_output(ctx, &events, &outputs, &event.header, sizeof(event));
	return 0;
}

SEC("?tp_btf/sched_prepare_exec")
int BPF_PROG(on_prepare, struct task_struct *task, struct linux_binprm *bprm)
{
	return prepare(ctx, PLAIN(bprm), 1);
}

static __always_inline int fork(void *ctx, struct task_struct *child, __u64 clone_flags,
				const _Bool typed, const _Bool more)
{
	struct task_struct *current = bpf_get_current_task_btf();
	struct life_slot *slot;
	struct fork_event *event;
	__u32 used;

	/* Kernel threads run nothing; helpers of user space's start as processes of the kernel's. */
	if (clone_flags & CLONE_THREAD || GET(typed, child, flags) & PF_KTHREAD)
		return 0;
	slot = take_life_slot(FORK);
	if (!slot)
		return 0;
	event = (struct fork_event *)slot->record;
	used = describe((struct process_event *)event, event->tail, &slot->used,
			typed ? PLAIN(current) : current, FORK, more);
	event->child_pid = GET(typed, child, tgid);
	event->child_start_boottime_ns = GET(typed, child, start_boottime);
	event->clone_flags = clone_flags;
	if (more && selects && !is_selected((struct process_event *)event, event->tail)) {
		struct child_event short_event = {
			.header.type = CHILD,
			.start_boottime_ns = event->start_boottime_ns,
			.pid = event->pid,
			.child_pid = event->child_pid,
			.child_start_boottime_ns = event->child_start_boottime_ns,
		};

		snoopkit_output(ctx, &life, &outputs, &short_event.header, sizeof(short_event));
		give_back(&slot->busy);
		return 0;
	}
	barrier_var(used);
	if (used > CGROUPS_CAPACITY_BYTES)
		used = 0;
	snoopkit_output(ctx, &life, &outputs, &event->header,
			__builtin_offsetof(struct fork_event, tail) + used);
	give_back(&slot->busy);
	return 0;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(on_fork, struct task_struct *child, unsigned long clone_flags)
{
	return fork(ctx, PLAIN(child), clone_flags, 1, 0);
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

static __always_inline int end(unsigned long long *ctx, struct task_struct *task, const _Bool more)
{
	struct signal_struct *signal = task->signal;
	struct task_struct *leader = task->group_leader;
	struct life_slot *slot;
	struct exit_event *event;
	__u16 flags = 0;
	__u32 used;

	if (task->flags & PF_KTHREAD || !signal || !leader || !process_is_gone(ctx, signal, &flags))
		return 0;
	slot = take_life_slot(EXIT);
	if (!slot)
		return 0;
	event = (struct exit_event *)slot->record;
	used = describe((struct process_event *)event, event->tail, &slot->used, task, EXIT, more);
	if (more && selects && !is_selected((struct process_event *)event, event->tail)) {
		struct gone_event short_event = {
			.header.type = GONE,
			.start_boottime_ns = event->start_boottime_ns,
			.pid = event->pid,
		};

		snoopkit_output(ctx, &life, &outputs, &short_event.header, sizeof(short_event));
		give_back(&slot->busy);
		return 0;
	}
	event->header.flags |= flags;
	/* The last thread's own exit_code is often not what the parent will be told. */
	event->status =
		signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code : leader->exit_code;
	SET_ACCOUNT(event, signal, 1);
	add_account(event, task);
	if (leader->pid != task->pid)
		add_account(event, leader);
	barrier_var(used);
	if (used > CGROUPS_CAPACITY_BYTES)
		used = 0;
	snoopkit_output(ctx, &life, &outputs, &event->header,
			__builtin_offsetof(struct exit_event, tail) + used);
	give_back(&slot->busy);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];

	return end(ctx, PLAIN(task), 0);
}

/* Runs from a timer's or another interrupt, even in the midst of the other programs on its CPU: so it
 * has no slot but its stack.
 */
static __always_inline int reaped(void *ctx, struct task_struct *task, const _Bool typed)
{
	struct signal_struct *signal = GET(typed, task, signal);
	struct free_event event = {};

	event.pid = GET(typed, task, tgid);
	if (event.pid != (__u32)GET(typed, task, pid) || GET(typed, task, flags) & PF_KTHREAD || !signal)
		return 0;
	event.header.type = FREE;
	event.start_boottime_ns = GET(typed, task, start_boottime);
	SET_ACCOUNT(&event, signal, typed);
	snoopkit_output(ctx, &life, &outputs, &event.header, sizeof(event));
	return 0;
}

SEC("?tp_btf/sched_process_free")
int BPF_PROG(on_free, struct task_struct *task)
{
	return reaped(ctx, PLAIN(task), 1);
}

/* In the place of the three that always run, where one of the switches is on: with all that they may ask
 * for, loading takes twice as long.
 */

SEC("?tp_btf/sched_process_exec")
int BPF_PROG(on_exec_more, struct task_struct *task, int old_tid, struct linux_binprm *bprm)
{
	return exec(ctx, PLAIN(task), old_tid, PLAIN(bprm), 1, 1);
}

SEC("?tp_btf/task_newtask")
int BPF_PROG(on_fork_more, struct task_struct *child, unsigned long clone_flags)
{
	return fork(ctx, PLAIN(child), clone_flags, 1, 1);
}

SEC("?tp_btf/sched_process_exit")
int on_exit_more(unsigned long long *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];

	return end(ctx, PLAIN(task), 1);
}

/* Where the kernel refuses programs that know the types of what they are given. */

SEC("?raw_tp/sched_process_exec")
int on_exec_raw(unsigned long long *ctx)
{
	return exec(ctx, bpf_get_current_task_btf(), ctx[1], (struct linux_binprm *)ctx[2],
		    0, 1);
}

SEC("?raw_tp/sched_prepare_exec")
int on_prepare_raw(unsigned long long *ctx)
{
	return prepare(ctx, (struct linux_binprm *)ctx[1], 0);
}

SEC("?raw_tp/task_newtask")
int on_fork_raw(unsigned long long *ctx)
{
	return fork(ctx, (struct task_struct *)ctx[0], ctx[1], 0, 1);
}

SEC("?raw_tp/sched_process_exit")
int on_exit_raw(unsigned long long *ctx)
{
	return end(ctx, bpf_get_current_task_btf(), 1);
}

SEC("?raw_tp/sched_process_free")
int on_free_raw(unsigned long long *ctx)
{
	return reaped(ctx, (struct task_struct *)ctx[0], 0);
}

struct syscall_end {
	__u64 common;
	__s64 number;
	__s64 result;
};

SEC("?tp/syscalls/sys_exit_execve")
int on_fail_execve(struct syscall_end *ctx)
{
	return ctx->result < 0 ? fail(ctx, ctx->result, 0, 0) : 0;
}

SEC("?tp/syscalls/sys_exit_execveat")
int on_fail_execveat(struct syscall_end *ctx)
{
	return ctx->result < 0 ? fail(ctx, ctx->result, 1, 0) : 0;
}

/* Sees 32-bit calls too, needs no tracefs, and costs every system call on the machine more. */
SEC("?raw_tp/sys_exit")
int on_fail_raw(unsigned long long *ctx)
{
	long result = ctx[1];
	struct pt_regs *registers = (struct pt_regs *)ctx[0];
	struct task_struct *task;
	_Bool is_compat, is_execveat;
	__u64 number;

	if (result >= 0)
		return 0;
	number = BPF_CORE_READ(registers, orig_ax);
	if (number != 59 && number != 322 && number != 11 && number != 358)
		return 0;
	task = bpf_get_current_task_btf();
	is_compat = task->thread_info.status & TS_COMPAT;
	is_execveat = number == (is_compat ? 358 : 322);
	if (!is_execveat && number != (is_compat ? 11 : 59))
		return 0;
	return fail(ctx, result, is_execveat, is_compat);
}

#include "listed.h"
