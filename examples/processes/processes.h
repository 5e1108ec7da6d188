/* One process, as it is when somebody asks. */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <snoopkit.bpf.h>

struct process {
	u64 cpu_ns; /* of its first thread */
	int pid;
	int ppid;
	int threads;
	char comm[16];
} SNOOPKIT_TAG("snoopkit.event:each_process");

#endif
