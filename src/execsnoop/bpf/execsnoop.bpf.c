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

/* The longest text of one path: PATH_MAX behind the "/dev/fd/N/" of an execveat. */
#define FILENAME_CAPACITY_BYTES 4160
/* The rest of the first line of a script; other interpreters are registered with less. */
#define INTERPRETER_CAPACITY_BYTES 512
#define ARGV_CAPACITY_BYTES 60000
/* Of one argument of a failed exec, which are read one by one. */
#define ARGUMENT_CAPACITY_BYTES 16384

/* What precedes argv in a tail: cgroups, filename, interpreter, exe, cwd. */
#define TEXT_CAPACITY_BYTES                                                                        \
	(CGROUPS_CAPACITY_BYTES + FILENAME_CAPACITY_BYTES + INTERPRETER_CAPACITY_BYTES +           \
	 2 * PATH_CAPACITY_BYTES)

/* The kernel stores a record's size in 16 bits: larger ones vanish or are misread. */
#define RECORD_LIMIT_BYTES 65000

#include "walk.h"

struct exec_slot {
	__u64 busy;
	__u64 used; /* of the record's tail, in bytes */
	__u64 at;   /* of user space, what is to be read next */
	char record[512 + TEXT_CAPACITY_BYTES + ARGV_CAPACITY_BYTES];
};

_Static_assert(RECORD_LIMIT_BYTES + ARGUMENT_CAPACITY_BYTES < sizeof(((struct exec_slot *)0)->record),
	       "an argument more must fit behind the longest record");

struct life_slot {
	__u64 busy;
	__u64 used;
	char record[512 + CGROUPS_CAPACITY_BYTES];
};

/* What every event struct begins with that describes a process. */
struct process_event {
	struct snoopkit_header header;
	PROCESS_MEMBERS
};

/// Read the paths of the file that runs and of the working directory
const volatile _Bool with_paths = 0;
/// Read the paths of the control groups
const volatile _Bool with_cgroups = 0;
/// Read the numbers of the namespaces
const volatile _Bool with_namespaces = 0;
/// Read the capabilities after an exec
const volatile _Bool with_capabilities = 0;

SNOOPKIT_TRANSPORT;

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

SNOOPKIT_LOSSES(outputs, 8);

/* Indexed by CPU: an element of a per-CPU array can't be larger than 32 KB. The loader sizes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, struct exec_slot);
} exec_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct life_slot);
} life_slots SEC(".maps");

/* `more`, a constant, says whether the switches count: what they ask for isn't in the programs otherwise.
 *
 * A member behind a pointer that the verifier knows the type of, or doesn't: the first costs a load,
 * the second a call. `typed` is a constant.
 */
#define GET(typed, from, member) ((typed) ? (from)->member : BPF_CORE_READ(from, member))

static __always_inline void count_loss(__u32 type)
{
	struct snoopkit_count *count = bpf_map_lookup_elem(&outputs, &type);

	if (count) {
		__sync_fetch_and_add(&count->attempts, 1);
		__sync_fetch_and_add(&count->failed, 1);
	}
}

/* A slot is one program's on its CPU at a time. What interrupts it there ends before it goes on: a
 * plain flag will do.
 */
static __always_inline struct exec_slot *take_exec_slot(__u32 type)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct exec_slot *slot = bpf_map_lookup_elem(&exec_slots, &cpu);

	if (!slot || slot->busy) {
		count_loss(type);
		return 0;
	}
	slot->busy = 1;
	barrier();
	return slot;
}

static __always_inline struct life_slot *take_life_slot(__u32 type)
{
	__u32 first = 0;
	struct life_slot *slot = bpf_map_lookup_elem(&life_slots, &first);

	if (!slot || slot->busy) {
		count_loss(type);
		return 0;
	}
	slot->busy = 1;
	barrier();
	return slot;
}

static __always_inline void give_back(__u64 *busy)
{
	barrier();
	*busy = 0;
}

#define NAMESPACE(event, number, proxy, of)                                                        \
	((event)->namespaces[number] = BPF_CORE_READ(proxy, of, ns.inum))

static __always_inline void describe_namespaces(struct process_event *event,
						struct task_struct *task)
{
	struct nsproxy *proxy = BPF_CORE_READ(task, nsproxy);
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct upid inner = {};

	NAMESPACE(event, NS_CGROUP, proxy, cgroup_ns);
	NAMESPACE(event, NS_IPC, proxy, ipc_ns);
	NAMESPACE(event, NS_MNT, proxy, mnt_ns);
	NAMESPACE(event, NS_NET, proxy, net_ns);
	NAMESPACE(event, NS_TIME, proxy, time_ns);
	NAMESPACE(event, NS_UTS, proxy, uts_ns);
	event->namespaces[NS_USER] = BPF_CORE_READ(task, cred, user_ns, ns.inum);
	bpf_probe_read_kernel(&inner, sizeof(inner),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid));
	event->namespaces[NS_PID] = BPF_CORE_READ(inner.ns, ns.inum);
}

/* The leader's, which is the process's. */
static __always_inline __u32 inner_pid(struct task_struct *leader)
{
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	int number = 0;

	bpf_probe_read_kernel(&number, sizeof(number),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, nr));
	return number;
}

/* Returns how many bytes of the tail they take. */
static __always_inline __u32 add_cgroups(struct process_event *event, char *tail,
					 volatile __u64 *used, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup *group = BPF_CORE_READ(set, dfl_cgrp), *other;
	struct cgroup_subsys_state *state = 0;

	*used = 0;
	event->cgroup_size_bytes =
		add_group(tail, used, BPF_CORE_READ(group, kn), &event->header.flags);
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return *used;
	bpf_probe_read_kernel(&state, sizeof(state),
			      (void *)set + bpf_core_field_offset(struct css_set, subsys) +
				      bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id) *
					      sizeof(state));
	other = BPF_CORE_READ(state, cgroup);
	if (other && BPF_CORE_READ(other, root) != BPF_CORE_READ(group, root))
		event->cgroup_v1_size_bytes = add_group(tail, used, BPF_CORE_READ(other, kn),
							&event->header.flags) -
					      event->cgroup_size_bytes;
	return *used;
}

/* Fills all of the common part, and the cgroups of the tail; returns how many bytes of that they take.
 * Verifiers may ask for each of the tests.
 */
static __always_inline __u32 describe(struct process_event *event, char *tail, __u64 *used,
				      struct task_struct *task, __u16 type, const _Bool more)
{
	struct task_struct *leader = task->group_leader;
	struct task_struct *parent = task->real_parent;
	const struct cred *cred = task->cred;
	struct signal_struct *signal = task->signal;

	__builtin_memset(event, 0, sizeof(*event));
	event->header.type = type;
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
	if (more && with_namespaces) {
		describe_namespaces(event, task);
		event->inner_pid = inner_pid(leader);
	}
	return more && with_cgroups ? add_cgroups(event, tail, used, task) : 0;
}

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

static __always_inline void describe_capabilities(struct exec_event *event, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);

	bpf_core_read(&event->capabilities[0], sizeof(__u64), &cred->cap_inheritable);
	bpf_core_read(&event->capabilities[1], sizeof(__u64), &cred->cap_permitted);
	bpf_core_read(&event->capabilities[2], sizeof(__u64), &cred->cap_effective);
	bpf_core_read(&event->capabilities[3], sizeof(__u64), &cred->cap_bset);
	bpf_core_read(&event->capabilities[4], sizeof(__u64), &cred->cap_ambient);
}

static __always_inline __u32 add_paths(struct exec_event *event, volatile __u64 *used,
				       struct task_struct *task, struct linux_binprm *bprm)
{
	__u32 before = *used;

	event->exe_size_bytes =
		add_path(event->tail, used, BPF_CORE_READ(bprm, file, f_path.mnt),
			 BPF_CORE_READ(bprm, file, f_path.dentry), &event->header.flags,
			 EXE_TRUNCATED) -
		before;
	before = *used;
	event->cwd_size_bytes = add_path(event->tail, used, BPF_CORE_READ(task, fs, pwd.mnt),
					 BPF_CORE_READ(task, fs, pwd.dentry), &event->header.flags,
					 CWD_TRUNCATED) -
				before;
	return *used;
}

static __always_inline int exec(void *ctx, struct task_struct *task, __u32 old_tid,
				struct linux_binprm *bprm, const _Bool typed, const _Bool more)
{
	struct exec_slot *slot = take_exec_slot(EXEC);
	struct exec_event *event;
	const char *filename, *interpreter;
	__u32 used;

	if (!slot)
		return 0;
	event = (struct exec_event *)slot->record;
	__builtin_memset(event, 0, sizeof(*event));
	used = describe((struct process_event *)event, event->tail, &slot->used, task, EXEC, more);
	event->how = file_kind(GET(typed, bprm, file), typed);
	if (BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec))
		event->how |= IS_SECURE;
	event->old_tid = old_tid;
	filename = GET(typed, bprm, filename);
	interpreter = GET(typed, bprm, interp);
	event->filename_size_bytes =
		add_text(event, used, filename, FILENAME_CAPACITY_BYTES, FILENAME_TRUNCATED);
	used += event->filename_size_bytes;
	if (interpreter != filename) {
		event->how |= IS_SCRIPT;
		event->interpreter_size_bytes =
			add_text(event, used, interpreter, INTERPRETER_CAPACITY_BYTES,
				 INTERPRETER_TRUNCATED);
		used += event->interpreter_size_bytes;
	}
	if (more && with_capabilities)
		describe_capabilities(event, task);
	if (more && with_paths) {
		slot->used = used;
		used = add_paths(event, &slot->used, task, bprm);
	}
	event->argv_captured_bytes = add_argv(event, task, used);
	used += __builtin_offsetof(struct exec_event, tail) + event->argv_captured_bytes;

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
	return exec(ctx, task, old_tid, bprm, 1, 0);
}

/* Since 6.10, and the only hook where the credentials before an exec and after it are both there. */
static __always_inline int prepare(void *ctx, struct linux_binprm *bprm, const _Bool typed)
{
	struct task_struct *task = bpf_get_current_task_btf();
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
	return prepare(ctx, bprm, 1);
}

static __always_inline int fork(void *ctx, struct task_struct *child, __u64 clone_flags,
				const _Bool typed, const _Bool more)
{
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
			bpf_get_current_task_btf(), FORK, more);
	event->child_pid = GET(typed, child, tgid);
	event->child_start_boottime_ns = GET(typed, child, start_boottime);
	event->clone_flags = clone_flags;
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
	return fork(ctx, child, clone_flags, 1, 0);
}

#define SET_ACCOUNT(event, signal, typed)                                                          \
	do {                                                                                       \
		(event)->user_ns = GET(typed, signal, utime);                                      \
		(event)->system_ns = GET(typed, signal, stime);                                    \
		(event)->cpu_ns = GET(typed, signal, sum_sched_runtime);                           \
		(event)->max_rss_pages = GET(typed, signal, maxrss);                               \
		(event)->minor_faults = GET(typed, signal, min_flt);                               \
		(event)->major_faults = GET(typed, signal, maj_flt);                               \
		if (bpf_core_field_exists((signal)->ioac.read_bytes)) {                            \
			(event)->read_bytes = GET(typed, signal, ioac.read_bytes);                 \
			(event)->write_bytes = GET(typed, signal, ioac.write_bytes);               \
		} else {                                                                           \
			(event)->read_bytes = (event)->write_bytes = 0;                            \
			(event)->header.flags |= IO_UNSUPPORTED;                                   \
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
	return end(ctx, (struct task_struct *)ctx[0], 0);
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
	return reaped(ctx, task, 1);
}

/* In the place of the three that always run, where one of the switches is on: with all that they may ask
 * for, loading takes twice as long.
 */

SEC("?tp_btf/sched_process_exec")
int BPF_PROG(on_exec_more, struct task_struct *task, int old_tid, struct linux_binprm *bprm)
{
	return exec(ctx, task, old_tid, bprm, 1, 1);
}

SEC("?tp_btf/task_newtask")
int BPF_PROG(on_fork_more, struct task_struct *child, unsigned long clone_flags)
{
	return fork(ctx, child, clone_flags, 1, 1);
}

SEC("?tp_btf/sched_process_exit")
int on_exit_more(unsigned long long *ctx)
{
	return end(ctx, (struct task_struct *)ctx[0], 1);
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

/* Failed execs. Only at the end of the system call the kernel has read the pages of the file's name,
 * and mostly of the arguments: a program can't.
 */
struct arguments {
	struct exec_slot *slot;
	__u64 pointer_bytes;
};

#define FAIL_TAIL_LIMIT_BYTES (RECORD_LIMIT_BYTES - __builtin_offsetof(struct fail_event, tail))

static long add_argument(__u32 index, struct arguments *arguments)
{
	volatile __u64 *slot_used = &arguments->slot->used, *slot_at = &arguments->slot->at;
	struct fail_event *event = (struct fail_event *)arguments->slot->record;
	__u64 pointer = 0, used = *slot_used, at = *slot_at;
	long copied;

	if (bpf_probe_read_user(&pointer, arguments->pointer_bytes == 8 ? 8 : 4,
				(void *)at)) {
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
	*slot_at = at + arguments->pointer_bytes;
	return 0;
}

static __always_inline int fail(void *ctx, long error, _Bool is_execveat, _Bool is_compat)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *registers = (struct pt_regs *)bpf_task_pt_regs(task);
	struct arguments arguments = {.pointer_bytes = is_compat ? 4 : 8};
	struct exec_slot *slot = take_exec_slot(FAIL);
	struct fail_event *event;
	const void *filename;
	__u64 used, at;
	long copied;

	if (!slot)
		return 0;
	event = (struct fail_event *)slot->record;
	__builtin_memset(event, 0, sizeof(*event));
	used = describe((struct process_event *)event, event->tail, &slot->used, task, FAIL, 1);
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
	arguments.slot = slot;
	slot->used = used;
	slot->at = at;
	if (at)
		bpf_loop(RECORD_LIMIT_BYTES, add_argument, &arguments, 0);
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
