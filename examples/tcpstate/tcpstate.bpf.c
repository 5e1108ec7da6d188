/* The life of TCP connections over IPv4, from state to state.
 *
 *     snoopkit run tcpstate.bpf.c --port 443
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "tcpstate.h"

#define AF_INET 2

char LICENSE[] SEC("license") = "GPL";

/// @description "Only with this port on either side, 0 for all"
/// @cmdarg {"short": "p"}
const volatile u16 port = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sock, int before, int after)
{
	struct sock_common *common = &sock->__sk_common;
	struct event event = {.before = before, .after = after};

	if (common->skc_family != AF_INET || sock->sk_protocol != IPPROTO_TCP)
		return 0;
	/* Not skc_num, which is gone when a connection closes. */
	event.local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sock, inet_sport));
	event.remote_port = bpf_ntohs(common->skc_dport);
	if (port && event.local_port != port && event.remote_port != port)
		return 0;
	*(u32 *)event.local_ip = common->skc_rcv_saddr;
	*(u32 *)event.remote_ip = common->skc_daddr;
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}
