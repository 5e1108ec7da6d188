// Two event maps that say by their value's type what comes through them, and no header.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile int target_pid = 0;

struct counted {
	__u64 number;
};

struct named {
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
	__type(value, struct counted);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, int);
	__type(value, struct named);
} names SEC(".maps");

static __u64 calls;

SEC("tp/syscalls/sys_enter_getppid")
int on_call(void *ctx)
{
	struct counted counted = {};
	struct named named = {};

	if (bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	counted.number = ++calls;
	bpf_ringbuf_output(&numbers, &counted, sizeof(counted), 0);
	bpf_get_current_comm(named.comm, sizeof(named.comm));
	bpf_perf_event_output(ctx, &names, BPF_F_CURRENT_CPU, &named, sizeof(named));
	return 0;
}
