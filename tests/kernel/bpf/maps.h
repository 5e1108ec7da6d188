/* Keys and values of the maps that have structs. */
#ifndef MAPS_H
#define MAPS_H

enum state { CLOSED, OPEN = 4, BROKEN = -1 };

struct event {
	__u32 number;
};

struct tally {
	__u64 hits;
	__u32 by_kind[2];
};

struct flow_key {
	__u8 address[4];
	__u16 port;
	char comm[16];
};

struct flow {
	__u64 packets;
	enum state state;
	__u32 urgent : 1;
	__s32 level : 4;
	__s32 deltas[3];
	union {
		__u32 word;
		__u8 bytes[4];
	};
	struct {
		__u16 port;
	} where;
};

struct guarded {
	struct bpf_spin_lock lock;
	__u32 number;
};

struct job {
	__u64 number;
	char name[8];
};

struct ipv4_prefix {
	__u32 length;
	__u8 data[4];
};

struct ipv6_prefix {
	__u32 length;
	__u8 data[16];
};

struct other_prefix {
	__u32 length;
	__u32 interface;
	__u8 address[4];
};

#endif
