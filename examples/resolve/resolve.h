/* A program asked for the address of a host. */
#ifndef RESOLVE_H
#define RESOLVE_H

struct event {
	u64 duration_ns;
	int pid;
	int result; /* 0, or one of the EAI_ numbers of <netdb.h> */
	char comm[16];
	char host[128];
};

#endif
