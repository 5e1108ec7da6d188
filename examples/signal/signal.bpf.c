/* Who sends which signal to whom, and whether it arrives: an enum becomes its name in the output.
 *
 *     snoopkit run signal.bpf.c --signal 9
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "signal.h"

char LICENSE[] SEC("license") = "GPL";

/// @description "Only this signal, 0 for all"
/// @cmdarg {"long": "signal", "short": "s"}
const volatile int wanted_signal = 0;
/// Only what this process sends, 0 for all
const volatile int sender_pid = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal, int signal, struct kernel_siginfo *info, struct task_struct *task, int group,
	     int result)
{
	struct event event = {.signal = signal, .outcome = result};

	if (wanted_signal && signal != wanted_signal)
		return 0;
	event.sender_pid = bpf_get_current_pid_tgid() >> 32;
	if (sender_pid && event.sender_pid != sender_pid)
		return 0;
	event.target_pid = task->tgid;
	bpf_get_current_comm(event.sender, sizeof(event.sender));
	bpf_probe_read_kernel_str(event.target, sizeof(event.target), task->comm);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
