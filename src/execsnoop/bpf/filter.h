/* What is decided here of a filter: bounds of everything that it lets through. User space asks the whole filter of what
 * comes, so a bound may be too wide, never too narrow. Of a process that isn't selected, execs, forks and ends are
 * told with no more than what joining other events to them needs.
 */
#ifndef EXECSNOOP_FILTER_H
#define EXECSNOOP_FILTER_H

#define COMM_BYTES 16
#define CGROUP_FILTER_BYTES 512

/// Tell only of processes within the bounds that follow
const volatile _Bool selects = 0;
/// The least real user ID
const volatile __u32 first_uid = 0;
/// The greatest real user ID
const volatile __u32 last_uid = 0xffffffff;
/// The least real group ID
const volatile __u32 first_gid = 0;
/// The greatest real group ID
const volatile __u32 last_gid = 0xffffffff;
/// How many of the following names count; 0: any name will do
const volatile __u32 comms = 0;
/// A name, as all of them
const volatile char comm_1[COMM_BYTES] __attribute__((aligned(4))) = "";
/// A name
const volatile char comm_2[COMM_BYTES] __attribute__((aligned(4))) = "";
/// A name
const volatile char comm_3[COMM_BYTES] __attribute__((aligned(4))) = "";
/// A name
const volatile char comm_4[COMM_BYTES] __attribute__((aligned(4))) = "";
/// A control group: its path's names from the leaf to the root, each with a slash behind it
const volatile char under_cgroup[CGROUP_FILTER_BYTES] = "";
/// How many bytes of under_cgroup count; 0: any control group will do
const volatile __u32 under_cgroup_bytes = 0;

static __always_inline _Bool is_comm(const struct process_event *event, const volatile char *name)
{
	const volatile __u32 *wanted = (const volatile __u32 *)name;
	const __u32 *comm = (const __u32 *)event->comm;

	return comm[0] == wanted[0] && comm[1] == wanted[1] && comm[2] == wanted[2] &&
	       comm[3] == wanted[3];
}

static __always_inline _Bool has_comm(const struct process_event *event)
{
	return !comms || is_comm(event, comm_1) || (comms > 1 && is_comm(event, comm_2)) ||
	       (comms > 2 && is_comm(event, comm_3)) || (comms > 3 && is_comm(event, comm_4));
}

struct suffix {
	const char *tail;
	__u64 first; /* of its bytes */
	__u64 is_equal;
};

static long compare(__u32 index, struct suffix *suffix)
{
	__u64 at = suffix->first + index;
	char wanted;

	barrier_var(index);
	if (index >= CGROUP_FILTER_BYTES)
		return 1;
	wanted = under_cgroup[index];
	barrier_var(at);
	if (at >= CGROUPS_CAPACITY_BYTES)
		return 1;
	suffix->is_equal = suffix->tail[at] == (wanted == '/' ? 0 : wanted);
	return !suffix->is_equal;
}

/* Whether the names that the tail has end in those of the group. */
static __always_inline _Bool is_under_cgroup(const struct process_event *event, const char *tail)
{
	__u32 first, size_bytes = event->cgroup_size_bytes;
	struct suffix suffix = {.tail = tail};

	if (!under_cgroup_bytes || event->header.flags & CGROUP_TRUNCATED)
		return 1;
	if (!size_bytes)
		size_bytes = event->cgroup_v1_size_bytes;
	if (size_bytes < under_cgroup_bytes)
		return 0;
	first = size_bytes - under_cgroup_bytes;
	if (first) {
		__u32 before = first - 1;

		barrier_var(before);
		if (before >= CGROUPS_CAPACITY_BYTES || tail[before])
			return 0;
	}
	suffix.first = first;
	bpf_loop(under_cgroup_bytes, compare, &suffix, 0);
	return suffix.is_equal;
}

static __always_inline _Bool is_selected(const struct process_event *event, const char *tail)
{
	return event->uid >= first_uid && event->uid <= last_uid && event->gid >= first_gid &&
	       event->gid <= last_gid && has_comm(event) && is_under_cgroup(event, tail);
}

#endif
