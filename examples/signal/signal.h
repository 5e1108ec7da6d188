/* Somebody sent a signal. */
#ifndef SIGNAL_H
#define SIGNAL_H

/* What became of it, in the order of the kernel's TRACE_SIGNAL_ numbers. */
enum outcome { DELIVERED, IGNORED, ALREADY_PENDING, OVERFLOWED, LOST };

struct event {
	int sender_pid;
	int target_pid;
	int signal;
	enum outcome outcome;
	char sender[16];
	char target[16];
};

#endif
