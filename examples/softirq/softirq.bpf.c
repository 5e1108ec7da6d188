/* How often each software interrupt ran, and for how long: a value of each CPU, added up for display.
 *
 *     snoopkit run softirq.bpf.c
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* In the order of the kernel's numbers, as /proc/softirqs has them. */
enum vector { HI, TIMER, NET_TX, NET_RX, BLOCK, IRQ_POLL, TASKLET, SCHED, HRTIMER, RCU };

struct total {
	u64 count;
	u64 ns;
};

/* A CPU runs one at a time: since when it does. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} began SEC(".maps");

/// What each took, since the start
/// @sample {"interval": 1000}
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, enum vector);
	__type(value, struct total);
} totals SEC(".maps");

static const u32 here = 0;

SEC("tp_btf/softirq_entry")
int BPF_PROG(on_entry, u32 number)
{
	u64 *since = bpf_map_lookup_elem(&began, &here);

	if (since)
		*since = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(on_exit, u32 number)
{
	u64 *since = bpf_map_lookup_elem(&began, &here);
	enum vector vector = number;
	struct total first = {.count = 1}, *total;
	u64 ns;

	if (!since || !*since)
		return 0; /* it began before we did */
	ns = bpf_ktime_get_ns() - *since;
	total = bpf_map_lookup_elem(&totals, &vector);
	if (total) {
		total->count++;
		total->ns += ns;
	} else {
		first.ns = ns;
		bpf_map_update_elem(&totals, &vector, &first, BPF_ANY);
	}
	return 0;
}
