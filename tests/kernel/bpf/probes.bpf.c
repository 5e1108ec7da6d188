// Counts do_nanosleep() of one process by the four kinds of program that can be put on a kernel function.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile int target_pid = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

static __always_inline int count(__u32 kind)
{
	__u64 *number = bpf_map_lookup_elem(&calls, &kind);

	if (number && bpf_get_current_pid_tgid() >> 32 == target_pid)
		__sync_fetch_and_add(number, 1);
	return 0;
}

SEC("fentry/do_nanosleep")
int on_fentry(void *ctx)
{
	return count(0);
}

SEC("fexit/do_nanosleep")
int on_fexit(void *ctx)
{
	return count(1);
}

SEC("kprobe/do_nanosleep")
int on_kprobe(void *ctx)
{
	return count(2);
}

SEC("kretprobe/do_nanosleep")
int on_kretprobe(void *ctx)
{
	return count(3);
}
