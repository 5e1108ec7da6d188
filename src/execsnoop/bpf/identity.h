/* Which process it is, whose, and where it belongs. */
#ifndef EXECSNOOP_IDENTITY_H
#define EXECSNOOP_IDENTITY_H

/* What every event struct begins with that describes a process. */
struct process_event {
	struct snoopkit_header header;
	PROCESS_MEMBERS
};

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

static __always_inline void describe_capabilities(struct exec_event *event, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);

	bpf_core_read(&event->capabilities[0], sizeof(__u64), &cred->cap_inheritable);
	bpf_core_read(&event->capabilities[1], sizeof(__u64), &cred->cap_permitted);
	bpf_core_read(&event->capabilities[2], sizeof(__u64), &cred->cap_effective);
	bpf_core_read(&event->capabilities[3], sizeof(__u64), &cred->cap_bset);
	bpf_core_read(&event->capabilities[4], sizeof(__u64), &cred->cap_ambient);
}

/* A process's number in the pid namespace of whoever reads, 0 if it has none there. */
static __always_inline __u32 number_for(struct task_struct *reader, struct task_struct *task)
{
	struct pid *theirs = BPF_CORE_READ(reader, thread_pid), *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(theirs, level);
	struct upid own = {}, inner = {};
	__u64 offset = bpf_core_field_offset(struct pid, numbers) +
		       level * bpf_core_type_size(struct upid);

	if (!pid || BPF_CORE_READ(pid, level) < level)
		return 0;
	bpf_probe_read_kernel(&own, sizeof(own), (void *)theirs + offset);
	bpf_probe_read_kernel(&inner, sizeof(inner), (void *)pid + offset);
	return own.ns == inner.ns ? inner.nr : 0;
}

#endif
