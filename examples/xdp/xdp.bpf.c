/* Drops what comes for one UDP port, before the kernel has even made a packet of it, and counts.
 *
 *     snoopkit run --iface eth0 xdp.bpf.c --port 9999
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETH_P_IP 0x0800

char LICENSE[] SEC("license") = "GPL";

/// @description "The UDP port for which nothing gets through, 0 for none"
/// @cmdarg {"short": "p"}
const volatile u16 port = 0;

struct traffic {
	u64 packets;
	u64 bytes;
};

/// What was done with how much
/// @sample {"interval": 1000}
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, enum xdp_action);
	__type(value, struct traffic);
} verdicts SEC(".maps");

/* The verifier wants to see each access to a packet checked against its end. */
static __always_inline bool is_unwanted(void *data, void *end)
{
	struct ethhdr *frame = data;
	struct iphdr *ip = (void *)(frame + 1);
	struct udphdr *udp;

	if ((void *)(ip + 1) > end || frame->h_proto != bpf_htons(ETH_P_IP))
		return false;
	udp = (void *)ip + ip->ihl * 4;
	if ((void *)(udp + 1) > end || ip->protocol != IPPROTO_UDP)
		return false;
	return port && udp->dest == bpf_htons(port);
}

SEC("xdp")
int on_frame(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	enum xdp_action verdict = is_unwanted(data, end) ? XDP_DROP : XDP_PASS;
	struct traffic first = {.packets = 1, .bytes = end - data};
	struct traffic *traffic = bpf_map_lookup_elem(&verdicts, &verdict);

	if (traffic) {
		traffic->packets++;
		traffic->bytes += end - data;
	} else {
		bpf_map_update_elem(&verdicts, &verdict, &first, BPF_ANY);
	}
	return verdict;
}
