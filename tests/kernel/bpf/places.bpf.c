// One program for each kind of place that has to be named; each counts how often it ran.
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "GPL";

__u64 probes = 0, numbers = 0, sleeps = 0;
const volatile int target_pid = 0;
__u64 calls = 0, returns = 0, ticks = 0, packets_in = 0, packets_out = 0, frames = 0, connects = 0;

SEC("?uprobe")
int on_call(void *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return 0;
}

SEC("?uretprobe/libc.so.6:getppid")
int on_return(void *ctx)
{
	__sync_fetch_and_add(&returns, 1);
	return 0;
}

SEC("?perf_event")
int on_tick(void *ctx)
{
	__sync_fetch_and_add(&ticks, 1);
	return 0;
}

SEC("?xdp")
int on_frame(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&frames, 1);
	return XDP_PASS;
}

SEC("?tc")
int on_packet_in(struct __sk_buff *packet)
{
	__sync_fetch_and_add(&packets_in, 1);
	return 0;
}

SEC("?tc")
int on_packet_out(struct __sk_buff *packet)
{
	__sync_fetch_and_add(&packets_out, 1);
	return 0;
}

SEC("?cgroup/connect4")
int on_connect(void *ctx)
{
	__sync_fetch_and_add(&connects, 1);
	return 1;
}

/* Of a probe with one argument. */
SEC("?usdt")
int BPF_USDT(on_probe, int number)
{
	__sync_fetch_and_add(&probes, 1);
	__sync_fetch_and_add(&numbers, number);
	return 0;
}

SEC("?kprobe")
int on_sleep(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == target_pid)
		__sync_fetch_and_add(&sleeps, 1);
	return 0;
}
