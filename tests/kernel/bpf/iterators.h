/* What iterators write: records of one size, and records of several kinds with a tail. */
#ifndef ITERATORS_H
#define ITERATORS_H

#include <snoopkit.bpf.h>

#define PROCESS 1
#define THREAD 2

struct process {
	__u64 start_boottime_ns;
	__u32 pid;
	__u32 ppid;
	char comm[16];
} SNOOPKIT_TAG("snoopkit.event:each_process");

struct named {
	struct snoopkit_header header;
	__u32 pid;
	__u32 name_size_bytes;
	char tail[16] SNOOPKIT_TAIL("name=text[name_size_bytes]");
} SNOOPKIT_EVENT(each_kind, PROCESS);

struct thread {
	struct snoopkit_header header;
	__u32 pid;
	__u32 tid;
} SNOOPKIT_EVENT(each_kind, THREAD);

struct call {
	struct snoopkit_header header;
	__u32 pid;
} SNOOPKIT_EVENT(calls, 1);

#endif
