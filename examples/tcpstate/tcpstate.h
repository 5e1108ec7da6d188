/* A TCP connection went from one state to another. */
#ifndef TCPSTATE_H
#define TCPSTATE_H

/* In the order of the kernel's TCP_ numbers. */
enum tcpstate {
	ESTABLISHED = 1,
	SYN_SENT,
	SYN_RECV,
	FIN_WAIT1,
	FIN_WAIT2,
	TIME_WAIT,
	CLOSE,
	CLOSE_WAIT,
	LAST_ACK,
	LISTEN,
	CLOSING,
	NEW_SYN_RECV,
};

struct event {
	u8 local_ip[4];
	u8 remote_ip[4];
	u16 local_port; /* 0 where it has none yet */
	u16 remote_port;
	enum tcpstate before;
	enum tcpstate after;
};

#endif
