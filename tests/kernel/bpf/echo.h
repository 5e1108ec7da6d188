/* What a program that isn't ours sends: nothing tells when, nothing counts. */
#ifndef ECHO_H
#define ECHO_H

struct echo {
	__u64 number;
	__u32 size_bytes; /* of what came in, 0 where it came from nowhere */
} __attribute__((btf_decl_tag("snoopkit.event:events")));

struct stamp {
	__u64 number;
} __attribute__((btf_decl_tag("snoopkit.event:stamps")));

#endif
