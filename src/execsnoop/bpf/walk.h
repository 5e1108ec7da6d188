/* Paths and cgroups by their names, from the leaf to the root: what no helper gives a tracing program.
 * Each name stands with its NUL behind the one before; user space turns them round.
 */
#ifndef EXECSNOOP_WALK_H
#define EXECSNOOP_WALK_H

#define NAME_CAPACITY_BYTES 256
#define PATH_CAPACITY_BYTES 4096
#define MAX_NAMES 2048

/* The cgroups' paths come first in a record's tail, so that the same bound holds for every record. */
#define CGROUPS_CAPACITY_BYTES (2 * PATH_CAPACITY_BYTES)

/* The tail of a record that is being filled. How much of it is used stands in a map and not on the
 * stack, or else the verifier would follow its value through each round of a loop.
 */
struct walk {
	char *tail;
	volatile __u64 *used; /* bytes of it */
	__u64 limit;
	struct kernfs_node *node;
	struct mount *mount;
	struct dentry *dentry;
	_Bool is_whole;
};

/* A name into the tail; false if there is no room. `room` is a constant, at least walk->limit. */
static __always_inline _Bool add_name(struct walk *walk, const void *name, __u64 room)
{
	__u64 used = *walk->used;
	long copied;

	if (used > walk->limit - NAME_CAPACITY_BYTES)
		return 0;
	barrier_var(used);
	if (used > room - NAME_CAPACITY_BYTES)
		return 0;
	copied = bpf_probe_read_kernel_str(walk->tail + used, NAME_CAPACITY_BYTES, name);
	if (copied <= 0)
		return 0;
	*walk->used = used + copied;
	return 1;
}

static long to_parent_group(__u32 index, struct walk *walk)
{
	struct kernfs_node *node = walk->node, *parent;

	if (bpf_core_field_exists(node->__parent))
		parent = BPF_CORE_READ(node, __parent);
	else
		parent = BPF_CORE_READ((struct kernfs_node___before_6_15 *)node, parent);
	if (!parent) {
		walk->is_whole = 1;
		return 1;
	}
	if (!add_name(walk, BPF_CORE_READ(node, name), CGROUPS_CAPACITY_BYTES))
		return 1;
	walk->node = parent;
	return 0;
}

/* Returns how many bytes there are in the tail afterwards. */
static __always_inline __u32 add_group(char *tail, volatile __u64 *used, struct kernfs_node *node,
				       __u16 *flags)
{
	struct walk walk = {
		.tail = tail, .used = used, .limit = *used + PATH_CAPACITY_BYTES, .node = node};

	bpf_loop(MAX_NAMES, to_parent_group, &walk, 0);
	if (!walk.is_whole)
		*flags |= CGROUP_TRUNCATED;
	return *used;
}

/* Across mounts, up to the root of the process's mount namespace. */
static long to_parent_folder(__u32 index, struct walk *walk)
{
	struct dentry *dentry = walk->dentry, *parent = BPF_CORE_READ(dentry, d_parent);
	struct mount *mount = walk->mount, *above;

	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount) {
			walk->is_whole = 1;
			return 1;
		}
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = above;
		return 0;
	}
	if (!add_name(walk, BPF_CORE_READ(dentry, d_name.name), TEXT_CAPACITY_BYTES))
		return 1;
	if (parent == dentry) {
		/* No folder has it: a file in memory. */
		walk->is_whole = 1;
		return 1;
	}
	walk->dentry = parent;
	return 0;
}

/* Returns how many bytes there are in the tail afterwards. */
static __always_inline __u32 add_path(char *tail, volatile __u64 *used, struct vfsmount *mount,
				      struct dentry *dentry, __u16 *flags, __u16 truncated)
{
	struct walk walk = {.tail = tail,
			    .used = used,
			    .limit = *used + PATH_CAPACITY_BYTES,
			    .mount = (void *)mount - bpf_core_field_offset(struct mount, mnt),
			    .dentry = dentry};

	bpf_loop(MAX_NAMES, to_parent_folder, &walk, 0);
	if (!walk.is_whole)
		*flags |= truncated;
	return *used;
}

#endif
