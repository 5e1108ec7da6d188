/* A line that somebody typed into bash. */
#ifndef READLINE_H
#define READLINE_H

struct event {
	int pid;
	char line[256];
};

#endif
