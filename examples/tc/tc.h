/* An IPv4 packet is about to leave. */
#ifndef TC_H
#define TC_H

struct event {
	u8 from_ip[4];
	u8 to_ip[4];
	u32 size_bytes; /* of the whole frame */
	u16 from_port;
	u16 to_port;
	u8 protocol; /* 6 is TCP, 17 UDP */
};

#endif
