/* A process has ended. */
#ifndef EXIT_H
#define EXIT_H

struct event {
	u64 lifetime_ns;
	int pid;
	int ppid;
	int code;   /* what it returned */
	int signal; /* what killed it, or 0 */
	char comm[16];
};

#endif
