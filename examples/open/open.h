/* A file was opened, or could not be. */
#ifndef OPEN_H
#define OPEN_H

struct event {
	int pid;
	int result; /* the new descriptor, or a negative errno */
	char comm[16];
	char path[256];
};

#endif
