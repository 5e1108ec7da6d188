/* A process of the cgroup wanted to connect to somewhere. */
#ifndef CONNECT_H
#define CONNECT_H

struct event {
	int pid;
	u8 ip[4];
	u16 port;
	bool is_denied;
	char comm[16];
};

#endif
