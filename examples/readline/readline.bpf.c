/* What people type into bash, wherever it runs: what one of its functions returns.
 *
 *     snoopkit run readline.bpf.c
 *     snoopkit run --pid 1234 readline.bpf.c         one shell only
 *     snoopkit run --attach on_line=uretprobe:/opt/bin/bash:readline readline.bpf.c
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "readline.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("uretprobe//bin/bash:readline")
int BPF_KRETPROBE(on_line, const char *line)
{
	struct event event = {};

	/* NULL at the end of the input. */
	if (!line)
		return 0;
	event.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_probe_read_user_str(event.line, sizeof(event.line), line);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
