/* The event of row 3, of EVENT_BYTES. */
#ifndef STORM_H
#define STORM_H

struct event {
	unsigned int tid;
	unsigned int sequence;
	unsigned char filler[EVENT_BYTES - 8];
};

#endif
