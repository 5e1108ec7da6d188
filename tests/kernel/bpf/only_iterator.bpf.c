// Nothing but an iterator: no map, and nothing that stays attached.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct bpf_iter__task;

SEC("iter/task")
int nothing(struct bpf_iter__task *ctx)
{
	return 0;
}
