/* What execsnoop's programs send to user space. Times are in ns of CLOCK_BOOTTIME. */
#ifndef EXECSNOOP_H
#define EXECSNOOP_H

/* header.type */
#define EXEC 1
#define EXIT 2
#define FORK 3
#define FREE 4
#define PREPARE 5
#define FAIL 6
#define CHILD 7
#define GONE 8
#define LISTED 9

/* header.flags: what a record doesn't tell in full */
#define ARGV_TRUNCATED 0x01
#define ARGV_UNREADABLE 0x02
#define FILENAME_TRUNCATED 0x04
#define FILENAME_UNREADABLE 0x08
#define AUDIT_UNSUPPORTED 0x10 /* no CONFIG_AUDIT: neither loginuid nor sessionid */
#define MAY_REPEAT 0x20        /* an exit, where the kernel can't tell the last thread's */
#define IO_UNSUPPORTED 0x40    /* no CONFIG_TASK_IO_ACCOUNTING */
#define INTERPRETER_TRUNCATED 0x80
#define CGROUP_TRUNCATED 0x100
#define EXE_TRUNCATED 0x200
#define CWD_TRUNCATED 0x400
#define UNSELECTED 0x800 /* an exec that no filter lets through: nothing but argv is told */
/* of a process that is listed */
#define ARGV_RACED 0x1000    /* it took up another program while its arguments were read */
#define ARGV_IS_TITLE 0x2000 /* it wrote a text of its own over their end: all up to a NUL */
#define FORKED_ONLY 0x4000   /* it runs what the process ran that made it */
#define PATHS_RACED 0x8000   /* it went elsewhere while they were read */

/* exec_event.how */
#define IS_SCRIPT 0x01  /* interpreter is what runs instead of the file asked for */
#define IS_MEMFD 0x02   /* the file that runs has no name anywhere */
#define IS_DELETED 0x04 /* its name is gone */
#define IS_UPPER 0x08   /* it was written on top of an overlay, in this container */
#define IS_SECURE 0x10  /* AT_SECURE: credentials or capabilities were gained */
#define HAS_SETID 0x20  /* set-user-ID or set-group-ID mode: did it change anything? see PREPARE */

/* process.namespaces */
#define NS_CGROUP 0
#define NS_IPC 1
#define NS_MNT 2
#define NS_NET 3
#define NS_PID 4
#define NS_TIME 5
#define NS_USER 6
#define NS_UTS 7
#define NAMESPACES 8

/* exec_event.capabilities */
#define CAP_SETS 5 /* inheritable, permitted, effective, bounding, ambient, as in /proc */

/* Which process, and whose. Credentials are those in the initial user namespace, pids those of the
 * initial pid namespace. start_boottime_ns is the group leader's and makes (pid, start_boottime_ns)
 * unique until reboot. namespaces and inner_pid, the number in the process's own, are 0 unless asked
 * for, and so are the sizes of the cgroups' paths in the tail: the names from the leaf to the root, each
 * with its NUL, on version 2 and, where it is another hierarchy, that of version 1's memory controller.
 */
#define PROCESS_MEMBERS                                                                            \
	__u64 start_boottime_ns;                                                                   \
	__u32 pid;                                                                                 \
	__u32 tid;                                                                                 \
	__u32 ppid;                                                                                \
	__u32 uid;                                                                                 \
	__u32 gid;                                                                                 \
	__u32 euid;                                                                                \
	__u32 egid;                                                                                \
	__u32 loginuid;                                                                            \
	__u32 sessionid;                                                                           \
	char comm[16];                                                                             \
	char tty[16];                                                                              \
	__u32 namespaces[NAMESPACES];                                                              \
	__u32 inner_pid;                                                                           \
	__u32 cgroup_size_bytes;                                                                   \
	__u32 cgroup_v1_size_bytes;

#define CGROUP_PARTS "cgroup=strings[cgroup_size_bytes],cgroup_v1=strings[cgroup_v1_size_bytes]"

/* What a process used so far, as the kernel accounts it: without what its reaped children used. */
#define ACCOUNT_MEMBERS                                                                            \
	__u64 user_ns;   /* user and system as the clock's ticks found it: ms apart from the truth */ \
	__u64 system_ns;                                                                           \
	__u64 cpu_ns;    /* both, as the scheduler measured it */                                  \
	__u64 max_rss_pages;                                                                       \
	__u64 minor_faults;                                                                        \
	__u64 major_faults;                                                                        \
	__u64 read_bytes;                                                                          \
	__u64 write_bytes;                                                                         \
	__u64 voluntary_switches;   /* it waited for something */                                  \
	__u64 involuntary_switches; /* another was to have the CPU */

/* A process runs another program. The tail has, behind the cgroups, filename, as it was asked for,
 * without a NUL; for a script its interpreter, likewise; where asked for the names on the way from
 * the file that runs, and from the working directory, to the root; and argv, each string with its NUL
 * unless the cut fell into it.
 */
struct exec_event {
	struct snoopkit_header header;
	PROCESS_MEMBERS
	__u32 how;
	__u64 capabilities[CAP_SETS];
	__u32 old_tid;         /* of the thread that called exec; it is pid afterwards */
	__u32 argv_size_bytes; /* in the process, every NUL counted */
	__u32 argv_captured_bytes;
	__u32 filename_size_bytes;
	__u32 interpreter_size_bytes;
	__u32 exe_size_bytes;
	__u32 cwd_size_bytes;
	char tail[] SNOOPKIT_TAIL(CGROUP_PARTS ",filename=text[filename_size_bytes],"
					       "interpreter=text[interpreter_size_bytes],"
					       "exe=strings[exe_size_bytes],"
					       "cwd=strings[cwd_size_bytes],"
					       "argv=strings[argv_captured_bytes]");
} SNOOPKIT_EVENT(events, EXEC);

/* A process could not run another program. The tail is as above. */
struct fail_event {
	struct snoopkit_header header;
	PROCESS_MEMBERS
	__u32 error;
	__s32 dirfd; /* of execveat(), as at_flags; -100 and 0 of execve() */
	__u32 at_flags;
	__u32 filename_size_bytes;
	__u32 argv_captured_bytes;
	char tail[] SNOOPKIT_TAIL(CGROUP_PARTS ",filename=text[filename_size_bytes],"
					       "argv=strings[argv_captured_bytes]");
} SNOOPKIT_EVENT(events, FAIL);

/* Comes before the exec of a thread (tid) if that is to change the effective user or group. */
struct prepare_event {
	struct snoopkit_header header;
	__u64 start_boottime_ns;
	__u32 pid;
	__u32 tid;
	__u32 old_euid;
	__u32 old_egid;
	__u32 new_euid;
	__u32 new_egid;
} SNOOPKIT_EVENT(events, PREPARE);

/* A process is gone, with all its threads: tid is the last one's, comm the group leader's. The
 * account lacks what the last threads used since they were last switched.
 */
struct exit_event {
	struct snoopkit_header header;
	PROCESS_MEMBERS
	ACCOUNT_MEMBERS
	__u32 status; /* as wait() gives it */
	char tail[] SNOOPKIT_TAIL(CGROUP_PARTS);
} SNOOPKIT_EVENT(life, EXIT);

/* A process, the one described, made another; threads are none. */
struct fork_event {
	struct snoopkit_header header;
	PROCESS_MEMBERS
	__u32 child_pid;
	__u64 child_start_boottime_ns;
	__u64 clone_flags; /* without the signal for the parent */
	char tail[] SNOOPKIT_TAIL(CGROUP_PARTS);
} SNOOPKIT_EVENT(life, FORK);

/* A process that lives: what the programs of listed.h write. own_pid is its number in the pid namespace
 * of whoever reads, argc how many arguments it began with. The tail is as above.
 */
struct listed_process {
	struct snoopkit_header header;
	PROCESS_MEMBERS
	__u64 parent_start_boottime_ns;
	__u32 own_pid;
	__u32 argc;
	__u32 argv_size_bytes;
	__u32 argv_captured_bytes;
	__u32 exe_size_bytes;
	__u32 cwd_size_bytes;
	char tail[] SNOOPKIT_TAIL(CGROUP_PARTS ",exe=strings[exe_size_bytes],"
					       "cwd=strings[cwd_size_bytes],"
					       "argv=strings[argv_captured_bytes]");
} SNOOPKIT_EVENT(list_commands, LISTED) SNOOPKIT_EVENT(list_commands_more, LISTED)
	SNOOPKIT_EVENT(list_processes, LISTED);

/* A process that ended was reaped: its account is final. */
struct free_event {
	struct snoopkit_header header;
	__u64 start_boottime_ns;
	__u32 pid;
	__u32 unused;
	ACCOUNT_MEMBERS
} SNOOPKIT_EVENT(life, FREE);

/* Of processes that no filter lets through, what joining others to them needs: one made another, */
struct child_event {
	struct snoopkit_header header;
	__u64 start_boottime_ns;
	__u32 pid;
	__u32 child_pid;
	__u64 child_start_boottime_ns;
} SNOOPKIT_EVENT(life, CHILD);

/* or is gone. */
struct gone_event {
	struct snoopkit_header header;
	__u64 start_boottime_ns;
	__u32 pid;
	__u32 unused;
} SNOOPKIT_EVENT(life, GONE);

#endif
