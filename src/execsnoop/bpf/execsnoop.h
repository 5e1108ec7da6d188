/* What execsnoop's programs send to user space. Times are in ns of CLOCK_BOOTTIME. */
#ifndef EXECSNOOP_H
#define EXECSNOOP_H

/* header.type */
#define EXEC 1
#define EXIT 2
#define FORK 3
#define FREE 4
#define PREPARE 5

/* header.flags: what a record doesn't tell in full */
#define ARGV_TRUNCATED 0x01
#define ARGV_UNREADABLE 0x02
#define FILENAME_TRUNCATED 0x04
#define FILENAME_UNREADABLE 0x08
#define AUDIT_UNSUPPORTED 0x10 /* no CONFIG_AUDIT: neither loginuid nor sessionid */
#define MAY_REPEAT 0x20        /* an exit, where the kernel can't tell the last thread's */
#define IO_UNSUPPORTED 0x40    /* no CONFIG_TASK_IO_ACCOUNTING */
#define INTERPRETER_TRUNCATED 0x80

/* exec_event.how */
#define IS_SCRIPT 0x01  /* interpreter is what runs instead of the file asked for */
#define IS_MEMFD 0x02   /* the file that runs has no name anywhere */
#define IS_DELETED 0x04 /* its name is gone */
#define IS_UPPER 0x08   /* it was written on top of an overlay, in this container */
#define IS_SECURE 0x10  /* AT_SECURE: credentials or capabilities were gained */
#define HAS_SETID 0x20  /* set-user-ID or set-group-ID mode: did it change anything? see PREPARE */

struct record_header {
	__u16 type;
	__u16 flags;
	__u32 size_bytes; /* of the whole record, its tail included */
	__u64 boottime_ns;
};

/* Which process, and whose. Credentials are those in the initial user namespace, pids those of the
 * initial pid namespace. start_boottime_ns is the group leader's and makes (pid, start_boottime_ns)
 * unique until reboot.
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
	char tty[16];

/* What a process used so far, as the kernel accounts it: without what its reaped children used. */
#define ACCOUNT_MEMBERS                                                                            \
	__u64 user_ns;   /* user and system as the clock's ticks found it: ms apart from the truth */ \
	__u64 system_ns;                                                                           \
	__u64 cpu_ns;    /* both, as the scheduler measured it */                                  \
	__u64 max_rss_pages;                                                                       \
	__u64 minor_faults;                                                                        \
	__u64 major_faults;                                                                        \
	__u64 read_bytes;                                                                          \
	__u64 write_bytes;

/* A process runs another program. The tail is filename, as it was asked for, without a NUL; for a
 * script its interpreter, likewise; and argv, each string with its NUL unless the cut fell into it.
 */
struct exec_event {
	struct record_header header;
	PROCESS_MEMBERS
	__u32 how;
	__u32 old_tid;         /* of the thread that called exec; it is pid afterwards */
	__u32 argv_size_bytes; /* in the process, every NUL counted */
	__u32 argv_captured_bytes;
	__u32 filename_size_bytes;
	__u32 interpreter_size_bytes;
	char tail[] __attribute__((btf_decl_tag("snoopkit.tail:filename=text[filename_size_bytes],"
						"interpreter=text[interpreter_size_bytes],"
						"argv=strings[argv_captured_bytes]")));
} __attribute__((btf_decl_tag("snoopkit.event:events:header.type=1")));

/* Comes before the exec of a thread (tid) if that is to change the effective user or group. */
struct prepare_event {
	struct record_header header;
	__u64 start_boottime_ns;
	__u32 pid;
	__u32 tid;
	__u32 old_euid;
	__u32 old_egid;
	__u32 new_euid;
	__u32 new_egid;
} __attribute__((btf_decl_tag("snoopkit.event:events:header.type=5")));

/* A process is gone, with all its threads: tid is the last one's, comm the group leader's. The
 * account lacks what the last threads used since they were last switched.
 */
struct exit_event {
	struct record_header header;
	PROCESS_MEMBERS
	ACCOUNT_MEMBERS
	__u32 status; /* as wait() gives it */
} __attribute__((btf_decl_tag("snoopkit.event:life:header.type=2")));

/* A process, the one described, made another; threads are none. */
struct fork_event {
	struct record_header header;
	PROCESS_MEMBERS
	__u32 child_pid;
	__u64 child_start_boottime_ns;
	__u64 clone_flags; /* without the signal for the parent */
} __attribute__((btf_decl_tag("snoopkit.event:life:header.type=3")));

/* A process that ended was reaped: its account is final. */
struct free_event {
	struct record_header header;
	__u64 start_boottime_ns;
	__u32 pid;
	__u32 unused;
	ACCOUNT_MEMBERS
} __attribute__((btf_decl_tag("snoopkit.event:life:header.type=4")));

#endif
