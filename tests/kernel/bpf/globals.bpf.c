// A global variable of every type that an option can have; at each getppid() of one process an event with all of them.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "globals.h"

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

const volatile int target_pid = 0;

const volatile signed char s8 = -1;
const volatile unsigned char u8 = 200;
const volatile char letter = 'x';
const volatile short s16 = -2;
const volatile unsigned short u16 = 50000;
const volatile int s32 = -3;
const volatile unsigned int u32 = 4000000000;
const volatile long slong = -4;
const volatile unsigned long ulong = 5;
const volatile long long s64 = -6;
const volatile unsigned long long u64 = 18446744073709551615ULL;
const volatile __int128 s128 = -7;
const volatile unsigned __int128 u128 = 8;
const volatile __u8 typed8 = 9;
const volatile __u16 typed16 = 10;
const volatile __u32 typed32 = 11;
const volatile __u64 typed64 = 12;
const volatile owner_t owner = 13;
const volatile size length = 14;
const volatile _Bool flag = 0;
const volatile _Bool was_true = 1;
const volatile enum level level = LOW;
const volatile enum mode mode = ON;
const volatile float single = 1.5;
const volatile double ratio = -0.25;
const volatile char text[8] = "abc";
const volatile __u16 ports[3] = {1, 2, 3};
int data = 15;
int zero;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} events SEC(".maps");

#define COPY(name) bpf_probe_read_kernel(&event.name, sizeof(event.name), (const void *)&name)

SEC("raw_tp/sys_enter") int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct event event = {};

	if (ctx->args[1] != SYS_GETPPID || bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	COPY(s8);
	COPY(u8);
	COPY(letter);
	COPY(s16);
	COPY(u16);
	COPY(s32);
	COPY(u32);
	COPY(slong);
	COPY(ulong);
	COPY(s64);
	COPY(u64);
	COPY(s128);
	COPY(u128);
	COPY(typed8);
	COPY(typed16);
	COPY(typed32);
	COPY(typed64);
	COPY(owner);
	COPY(length);
	COPY(flag);
	COPY(was_true);
	COPY(level);
	COPY(mode);
	COPY(single);
	COPY(ratio);
	COPY(text);
	COPY(ports);
	COPY(data);
	COPY(zero);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
