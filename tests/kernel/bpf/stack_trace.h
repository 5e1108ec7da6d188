#ifndef STACK_TRACE_H
#define STACK_TRACE_H

struct stacktrace_event {
	__u32 pid;
	__u32 cpu;
	char comm[16];
	__s32 kstack_sz;
	__s32 ustack_sz;
	__u64 kstack[16];
	__u64 ustack[16];
};

#endif
