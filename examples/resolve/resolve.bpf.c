/* Which hosts programs look up, and how long that takes: a function of libc, at its call and its return.
 *
 *     snoopkit run resolve.bpf.c
 *     snoopkit run --pid 1234 resolve.bpf.c         one process only
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "resolve.h"

char LICENSE[] SEC("license") = "GPL";

struct call {
	u64 began_ns;
	const char *host;
};

/* What each thread is looking up. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, u32);
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("uprobe/libc.so.6:getaddrinfo")
int BPF_KPROBE(on_call, const char *host)
{
	struct call call = {.began_ns = bpf_ktime_get_ns(), .host = host};
	u32 tid = bpf_get_current_pid_tgid();

	bpf_map_update_elem(&calls, &tid, &call, BPF_ANY);
	return 0;
}

SEC("uretprobe/libc.so.6:getaddrinfo")
int BPF_KRETPROBE(on_return, int result)
{
	u64 ids = bpf_get_current_pid_tgid();
	u32 tid = ids;
	struct call *call = bpf_map_lookup_elem(&calls, &tid);
	struct event event = {.pid = ids >> 32, .result = result};

	if (!call)
		return 0;
	event.duration_ns = bpf_ktime_get_ns() - call->began_ns;
	bpf_probe_read_user_str(event.host, sizeof(event.host), call->host);
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_map_delete_elem(&calls, &tid);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
