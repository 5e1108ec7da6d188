// One program for each way in which an attachment can fail; all are off until a test switches them on.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} pinned SEC(".maps");

SEC("?raw_tp/sched_process_exec")
int good(void *ctx)
{
	return 0;
}

SEC("?tracepoint/sched/sched_process_exec")
int tracepoint(void *ctx)
{
	return 0;
}

SEC("?tracepoint/snoopkit/no_such_tracepoint")
int unknown_tracepoint(void *ctx)
{
	return 0;
}

SEC("?raw_tp/no_such_tracepoint")
int unknown_raw_tracepoint(void *ctx)
{
	return 0;
}

SEC("?tp_btf/no_such_tracepoint")
int unknown_btf_tracepoint(void *ctx)
{
	return 0;
}

SEC("?tp_btf/sched_process_exec")
int needs_btf(void *ctx)
{
	return 0;
}

SEC("?xdp")
int without_target(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("?nonsense/section")
int unknown_section(void *ctx)
{
	return 0;
}

SEC("?fentry/do_nanosleep")
int fentry(void *ctx)
{
	return 0;
}

SEC("?kprobe/do_nanosleep")
int kprobe(void *ctx)
{
	return 0;
}

SEC("?raw_tp/sched_process_exit")
int refused(void *ctx)
{
	__u32 key = 1;
	__u64 *number = bpf_map_lookup_elem(&numbers, &key);

	return *number; /* not checked for NULL */
}
