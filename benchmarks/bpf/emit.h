/* The event that every reader is measured with: 52 bytes, no padding. */
#ifndef EMIT_H
#define EMIT_H

struct event {
	unsigned int pid;
	unsigned int tid;
	unsigned int uid;
	unsigned int gid;
	unsigned int sequence;
	unsigned int filler_1;
	unsigned int filler_2;
	unsigned int filler_3;
	unsigned int filler_4;
	char comm[16];
};

#endif
