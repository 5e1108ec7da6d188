// One program for each kind of hook, each doing nothing: `snoopkit doctor` tries which of them load and attach here.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define PROBE(name, section, result)                                                               \
	SEC("?" section) int name(void *ctx)                                                       \
	{                                                                                          \
		return result;                                                                     \
	}

PROBE(tp_btf, "tp_btf/sched_process_exec", 0)
PROBE(raw_tracepoint, "raw_tp/sched_process_exec", 0)
PROBE(tracepoint, "tracepoint/sched/sched_process_exec", 0)
PROBE(fentry, "fentry/do_nanosleep", 0)
PROBE(kprobe, "kprobe/do_nanosleep", 0)
PROBE(uprobe, "uprobe/libc.so.6:getppid", 0)
PROBE(perf_event, "perf_event", 0)
PROBE(iter, "iter/task", 0)
PROBE(lsm, "lsm/bpf", 0)
PROBE(cgroup, "cgroup/connect4", 1)
PROBE(xdp, "xdp", XDP_PASS)
PROBE(tc, "tc", 0)
