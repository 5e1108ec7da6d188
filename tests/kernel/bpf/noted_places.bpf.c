// Programs whose comments say where they go; each counts how often it ran.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

__u64 packets = 0, frames = 0;

static int counted(__u64 *count, int verdict)
{
	__sync_fetch_and_add(count, 1);
	return verdict;
}

/// @tchook {"ifindex": 1, "attach_point": "BPF_TC_EGRESS"}
/// @tcopts {"handle": 5, "priority": 7}
SEC("?tc")
int on_filter(struct __sk_buff *packet)
{
	return counted(&packets, 0);
}

/// @tchook {"ifindex": 1, "attach_point": "BPF_TC_CUSTOM"}
SEC("?tc")
int on_custom(struct __sk_buff *packet)
{
	return counted(&packets, 0);
}

/// @ifindex 1
/// @flags 3
SEC("?xdp")
int on_generic(struct xdp_md *frame)
{
	return counted(&frames, XDP_PASS);
}

/// @ifindex 1
/// @flags 4
SEC("?xdp")
int on_driver(struct xdp_md *frame)
{
	return counted(&frames, XDP_PASS);
}

/// @ifindex 1
/// @flags 8
SEC("?xdp")
int on_hardware(struct xdp_md *frame)
{
	return counted(&frames, XDP_PASS);
}

/// @ifindex 1
/// @xdpopts {"old_prog_fd": 5}
SEC("?xdp")
int on_replacing(struct xdp_md *frame)
{
	return counted(&frames, XDP_PASS);
}
