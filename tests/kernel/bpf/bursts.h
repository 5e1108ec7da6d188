/* Two kinds of records, each into a map of its own. */
#ifndef BURSTS_H
#define BURSTS_H

struct header {
	__u16 type;
	__u16 flags;
	__u32 size_bytes;
};

struct burst {
	struct header header;
	__u64 number;
	__u64 time_ns;
	__u32 cpu;
	__u32 unused;
} __attribute__((btf_decl_tag("snoopkit.event:events:header.type=0")));

struct extra {
	struct header header;
	__u64 number;
} __attribute__((btf_decl_tag("snoopkit.event:extras:header.type=1")));

#endif
