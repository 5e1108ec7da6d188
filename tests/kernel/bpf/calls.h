/* One event for each of two system calls, each through a map of its own. */
#ifndef CALLS_H
#define CALLS_H

#include <snoopkit.bpf.h>

#define PARENT 0
#define GROUP 1

struct parent {
	struct snoopkit_header header;
	__u64 number; /* of the calls that came before */
	char comm[16];
	unsigned char octets[4];
} SNOOPKIT_EVENT(parents, PARENT);

struct group {
	struct snoopkit_header header;
	__u64 number;
} SNOOPKIT_EVENT(groups, GROUP);

#endif
