/* Where the processes of a cgroup connect to, over IPv4; one port may be closed to them.
 *
 *     snoopkit run --cgroup /sys/fs/cgroup/system.slice connect.bpf.c --denied_port 25
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "connect.h"

char LICENSE[] SEC("license") = "GPL";

/// Connecting to this port fails with EPERM, 0 for none
const volatile u16 denied_port = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

SEC("cgroup/connect4")
int on_connect(struct bpf_sock_addr *ctx)
{
	struct event event = {};
	u32 ip = ctx->user_ip4; /* the verifier allows to read it, but not to point to it */
	u16 port = bpf_ntohs(ctx->user_port);
	bool is_denied = denied_port && port == denied_port;

	event.pid = bpf_get_current_pid_tgid() >> 32;
	__builtin_memcpy(event.ip, &ip, sizeof(ip));
	event.port = port;
	event.is_denied = is_denied;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return is_denied ? 0 : 1;
}
