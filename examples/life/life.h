/* The three events of a process's life, in one stream. */
#ifndef LIFE_H
#define LIFE_H

#include <snoopkit.bpf.h>

#define FORKED 0
#define RAN 1
#define ENDED 2

struct forked {
	struct snoopkit_header header;
	int pid;
	int child_pid;
} SNOOPKIT_EVENT(events, FORKED);

struct ran {
	struct snoopkit_header header;
	int pid;
	char path[128];
} SNOOPKIT_EVENT(events, RAN);

struct ended {
	struct snoopkit_header header;
	int pid;
	int status; /* as wait() gives it */
} SNOOPKIT_EVENT(events, ENDED);

#endif
