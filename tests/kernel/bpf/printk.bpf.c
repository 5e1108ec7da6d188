// Messages in each way that there is, and an event between two of them, at the calls of one process.
#include <linux/bpf.h>
#include <snoopkit.bpf.h>

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#define SYS_GETPGID 155
#else
#define SYS_GETPPID 110
#define SYS_GETPGID 121
#endif

const volatile __u32 target_pid = 0;
static __u64 number;

struct called {
	__u64 number;
} SNOOPKIT_TAG("snoopkit.event:calls");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} calls SEC(".maps");

static int is_call(struct bpf_raw_tracepoint_args *ctx, __u64 call)
{
	return ctx->args[1] == call && bpf_get_current_pid_tgid() >> 32 == target_pid;
}

__attribute__((noinline)) int told(int what)
{
	bpf_printk("told %d", what);
	return what;
}

SEC("raw_tp/sys_enter") int on_call(struct bpf_raw_tracepoint_args *ctx)
{
	struct called called = {};

	if (!is_call(ctx, SYS_GETPPID))
		return 0;
	called.number = ++number;
	bpf_printk("before %lu", called.number);
	bpf_perf_event_output(ctx, &calls, BPF_F_CURRENT_CPU, &called, sizeof(called));
	bpf_printk("after %lu, with %d %d %d", called.number, 1, 2, 3);
	return 0;
}

SEC("raw_tp/sys_enter") int on_group(struct bpf_raw_tracepoint_args *ctx)
{
	char copied[] = "copied to the stack: %d";
	char comm[16];

	if (!is_call(ctx, SYS_GETPGID))
		return 0;
	bpf_get_current_comm(comm, sizeof(comm));
	bpf_printk("%s, 100%% in\ntwo lines\n", comm);
	bpf_printk("%-6d|%6d|%08x", -1, 2, 255);
	bpf_printk("both %d", 1);
	told(7);
	bpf_trace_printk(copied, sizeof(copied), 8);
	return 0;
}

SEC("raw_tp/sys_exit") int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[1] == 0xdead)
		bpf_printk("both %d", 2);
	return 0;
}
