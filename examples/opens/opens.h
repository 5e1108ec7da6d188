/* Two kinds of events, each through a map of its own: a file is opened, a descriptor closed. */
#ifndef OPENS_H
#define OPENS_H

#include <snoopkit.bpf.h>

#define OPENED 0
#define CLOSED 1

enum access { READ, WRITE, READ_WRITE };

struct opened {
	struct snoopkit_header header;
	__u32 pid;
	__u32 tid;
	enum access access;
	__u32 label; /* what `labels` has for the beginning of the path, else 0 */
	__u32 creates : 1;
	__u32 truncates : 1;
	char comm[16];
	char path[64];
} SNOOPKIT_EVENT(opens, OPENED);

struct closed {
	struct snoopkit_header header;
	__u32 pid;
	__s32 fd;
} SNOOPKIT_EVENT(closes, CLOSED);

#endif
