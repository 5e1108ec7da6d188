// For the golden files of what is printed: the types of kinds.h, and a program that is never run.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "kinds.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} events SEC(".maps");

SEC("raw_tp/sys_enter") int program(void *ctx)
{
	return 0;
}
