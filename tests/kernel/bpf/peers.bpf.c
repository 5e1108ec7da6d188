// An event whose numbers mean more, output at the getppid() calls of one process.
#include <linux/bpf.h>
#include <snoopkit.bpf.h>

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

const volatile __u32 target_pid = 0;

struct peer {
	__u32 address SNOOPKIT_AS(ipv4);
	__u16 port SNOOPKIT_AS(port);
	__u32 code;
} SNOOPKIT_TAG("snoopkit.event:events");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("raw_tp/sys_enter") int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct peer peer = {};

	if (ctx->args[1] != SYS_GETPPID || bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	peer.address = __builtin_bswap32(0x7f000001);
	peer.port = __builtin_bswap16(80);
	peer.code = 9;
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &peer, sizeof(peer));
	return 0;
}
