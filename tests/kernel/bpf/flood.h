/* Numbered records, and what only a second map carries. */
#ifndef FLOOD_H
#define FLOOD_H

#include <snoopkit.bpf.h>

#define DROP 0
#define MARK 1

struct drop {
	struct snoopkit_header header;
	__u64 number;
	__u64 noise; /* its sum is what the reader has to come to */
	__u64 tail[4];
} SNOOPKIT_EVENT(events, DROP);

struct mark {
	struct snoopkit_header header;
	__u64 number; /* of the drop that was output in front of it */
} SNOOPKIT_EVENT(marks, MARK);

#endif
