/* The kernel's types that execsnoop touches, and only the members it reads.
 *
 * Kept by hand instead of a vmlinux.h, so that a build is fast and gives the same bytes on every
 * machine. Offsets and sizes here mean nothing: every access is relocated to the running kernel
 * when the package is loaded.
 */
#ifndef EXECSNOOP_KERNEL_H
#define EXECSNOOP_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;

/* Big-endian and checksum types: only the prototypes of libbpf's helpers name them. */
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

enum bpf_map_type {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
};

#define BPF_F_CURRENT_CPU 0xffffffffULL

#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

typedef struct {
	int counter;
} atomic_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
};

struct tty_struct {
	char name[64];
};

struct signal_struct {
	atomic_t live;
	int nr_threads;
	int group_exit_code;
	unsigned int flags;
	struct tty_struct *tty;
};

struct task_struct {
	unsigned int flags;
	struct mm_struct *mm;
	int exit_code;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	__u64 start_boottime;
	const struct cred *cred;
	char comm[16];
	struct signal_struct *signal;
	kuid_t loginuid;        /* with CONFIG_AUDIT only */
	unsigned int sessionid; /* with CONFIG_AUDIT only */
};

struct linux_binprm {
	const char *filename;
};

/* Exists since 6.16, where the hook itself says whether the whole process is gone. */
struct trace_event_raw_sched_process_exit {
	_Bool group_dead;
};

#pragma clang attribute pop

#endif
