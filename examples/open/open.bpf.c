/* Which files are opened, and which could not be: a call's argument and its result meet in a map.
 *
 *     snoopkit run open.bpf.c --failed_only
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "open.h"

char LICENSE[] SEC("license") = "GPL";

/// Only this process, 0 for all
const volatile int target_pid = 0;
/// @description "Only what could not be opened"
/// @cmdarg {"short": "f"}
const volatile bool failed_only = false;

/* What each thread that is inside the call asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, u32);
	__type(value, const char *);
} asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_openat")
int on_enter(struct trace_event_raw_sys_enter *ctx)
{
	u64 ids = bpf_get_current_pid_tgid();
	const char *path = (const char *)ctx->args[1];
	u32 tid = ids;

	if (!target_pid || ids >> 32 == target_pid)
		bpf_map_update_elem(&asked, &tid, &path, BPF_ANY);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_openat")
int on_exit(struct trace_event_raw_sys_exit *ctx)
{
	struct event event = {.result = ctx->ret};
	u64 ids = bpf_get_current_pid_tgid();
	u32 tid = ids;
	const char **path = bpf_map_lookup_elem(&asked, &tid);

	if (!path)
		return 0;
	/* Read here: the kernel itself has just read it, so that its page is there. */
	bpf_probe_read_user_str(event.path, sizeof(event.path), *path);
	bpf_map_delete_elem(&asked, &tid);
	if (failed_only && event.result >= 0)
		return 0;
	event.pid = ids >> 32;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
