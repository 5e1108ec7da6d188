/* What @NAME@ tells of each event: the kernel side fills it, the Python side reads it. */
#ifndef @GUARD@_H
#define @GUARD@_H

#include <snoopkit.bpf.h>

struct event {
	struct snoopkit_header header;
	__u32 pid;
	char comm[16];
	char text[256]; /* @TEXT@ */
} SNOOPKIT_EVENT(events, 1);

#endif
