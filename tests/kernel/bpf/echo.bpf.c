// At each getppid() of one process: `copies` records into a ring buffer, a stamp into a perf event array, and a
// record for each that user space has put into the inbox.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "echo.h"

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

const volatile __u32 target_pid = 0;
const volatile __u32 copies = 1;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} stamps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} inbox SEC(".maps");

__u64 number = 0;

static long send(__u64 value, __u32 size)
{
	struct echo *echo = bpf_ringbuf_reserve(&events, sizeof(*echo), 0);

	if (!echo)
		return 0;
	echo->number = value;
	echo->size_bytes = size;
	bpf_ringbuf_submit(echo, 0);
	return 0;
}

static long answer(struct bpf_dynptr *letter, void *unused)
{
	__u64 value = 0;

	if (bpf_dynptr_read(&value, sizeof(value), letter, 0, 0) == 0)
		send(value, sizeof(value));
	return 0;
}

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct stamp stamp = {};

	if (ctx->args[1] != SYS_GETPPID || bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	for (__u32 i = 0; i < 64 && i < copies; i++)
		send(++number, 0);
	stamp.number = number;
	bpf_perf_event_output(ctx, &stamps, BPF_F_CURRENT_CPU, &stamp, sizeof(stamp));
	bpf_user_ringbuf_drain(&inbox, answer, &stamp, 0);
	return 0;
}
