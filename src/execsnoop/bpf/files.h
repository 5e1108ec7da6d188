/* Which file runs, and the paths to it and to the working directory. */
#ifndef EXECSNOOP_FILES_H
#define EXECSNOOP_FILES_H

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

struct path_sizes {
	__u32 exe, cwd;
};

/* Returns how many bytes of the tail are in use. */
static __always_inline __u32 add_paths(char *tail, volatile __u64 *used, struct task_struct *task,
				       struct file *file, __u16 *flags, struct path_sizes *sizes)
{
	__u32 before = *used;

	sizes->exe = add_path(tail, used, BPF_CORE_READ(file, f_path.mnt),
			      BPF_CORE_READ(file, f_path.dentry), flags, EXE_TRUNCATED) -
		     before;
	before = *used;
	sizes->cwd = add_path(tail, used, BPF_CORE_READ(task, fs, pwd.mnt),
			      BPF_CORE_READ(task, fs, pwd.dentry), flags, CWD_TRUNCATED) -
		     before;
	return *used;
}

#endif
