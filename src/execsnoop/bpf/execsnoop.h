/* What execsnoop's programs send to user space. Times are in ns of CLOCK_BOOTTIME. */
#ifndef EXECSNOOP_H
#define EXECSNOOP_H

/* header.type */
#define EXEC 1
#define EXIT 2

/* header.flags: what a record doesn't tell in full */
#define ARGV_TRUNCATED 0x01
#define ARGV_UNREADABLE 0x02
#define FILENAME_TRUNCATED 0x04
#define FILENAME_UNREADABLE 0x08
#define AUDIT_UNSUPPORTED 0x10 /* no CONFIG_AUDIT: neither loginuid nor sessionid */
#define MAY_REPEAT 0x20        /* an exit, where the kernel can't tell the last thread's */

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

/* A process runs another program. The tail is filename, as it was asked for, without a NUL, and
 * behind it argv, each string with its NUL unless the cut fell into it.
 */
struct exec_event {
	struct record_header header;
	PROCESS_MEMBERS
	__u32 old_tid;         /* of the thread that called exec; it is pid afterwards */
	__u32 argv_size_bytes; /* in the process, every NUL counted */
	__u32 argv_captured_bytes;
	__u32 filename_size_bytes;
	char tail[] __attribute__((btf_decl_tag("snoopkit.tail:filename=text[filename_size_bytes],"
						"argv=strings[argv_captured_bytes]")));
} __attribute__((btf_decl_tag("snoopkit.event:events:header.type=1")));

/* A process is gone, with all its threads: tid is the last one's, comm the group leader's. */
struct exit_event {
	struct record_header header;
	PROCESS_MEMBERS
	__u32 status; /* as wait() gives it */
} __attribute__((btf_decl_tag("snoopkit.event:life:header.type=2")));

#endif
