/* The TCP and UDP packets that leave through an interface.
 *
 *     snoopkit run --iface eth0 tc.bpf.c --port 53
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "tc.h"

#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define TC_ACT_UNSPEC -1 /* whatever the next program says */

char LICENSE[] SEC("license") = "GPL";

/// @description "Only to this port, 0 for all"
/// @cmdarg {"short": "p"}
const volatile u16 port = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

/// @tchook {"ifindex": 1, "attach_point": "BPF_TC_EGRESS"}
/// @tcopts {"handle": 1, "priority": 1}
SEC("tc")
int on_packet(struct __sk_buff *packet)
{
	struct event event = {.size_bytes = packet->len};
	struct iphdr ip;
	u16 ports[2];

	if (packet->protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes(packet, ETH_HLEN, &ip, sizeof(ip)))
		return TC_ACT_UNSPEC;
	if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP)
		return TC_ACT_UNSPEC;
	/* Both begin with their ports. */
	if (bpf_skb_load_bytes(packet, ETH_HLEN + ip.ihl * 4, ports, sizeof(ports)))
		return TC_ACT_UNSPEC;
	event.to_port = bpf_ntohs(ports[1]);
	if (port && event.to_port != port)
		return TC_ACT_UNSPEC;
	event.from_port = bpf_ntohs(ports[0]);
	event.protocol = ip.protocol;
	*(u32 *)event.from_ip = ip.saddr;
	*(u32 *)event.to_ip = ip.daddr;
	bpf_perf_event_output(packet, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return TC_ACT_UNSPEC;
}
