// Maps that are looked at from time to time, each worked at the getppid() calls of one process.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#ifdef __TARGET_ARCH_arm64
#define SYS_GETPPID 173
#else
#define SYS_GETPPID 110
#endif

typedef __u32 u32;
typedef __u64 u64;

const volatile __u32 target_pid = 0;

struct who {
	u32 pid;
	u32 kind;
};

struct spread {
	u64 total;
	u32 slots[64];
};

#define MAP(kind, entries, key_type, value_type) \
	__uint(type, BPF_MAP_TYPE_##kind); \
	__uint(max_entries, entries); \
	__type(key, key_type); \
	__type(value, value_type)

/// @sample {"interval": 20, "clear_map": true}
struct {
	MAP(HASH, 64, struct who, u64);
} calls SEC(".maps");

/// @sample {"interval": 20}
struct {
	MAP(PERCPU_HASH, 64, u32, u64);
} per_cpu SEC(".maps");

/// @sample {"interval": 20, "type": "log2_hist", "unit": "calls"}
struct {
	MAP(HASH, 64, u32, struct spread);
} spreads SEC(".maps");

/// @sample {"interval": 20, "type": "linear_hist", "unit": "kind", "clear_map": true}
struct {
	MAP(ARRAY, 8, u32, u64);
} kinds SEC(".maps");

/// @sample {"interval": 20}
struct {
	MAP(HASH, 8, u32, u32);
} unused SEC(".maps");

static const struct spread zero;

SEC("raw_tp/sys_enter") int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[1] != SYS_GETPPID || bpf_get_current_pid_tgid() >> 32 != target_pid)
		return 0;
	struct who who = {.pid = target_pid, .kind = 3};
	u64 one = 1, *count = bpf_map_lookup_elem(&calls, &who);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&calls, &who, &one, BPF_ANY);
	u32 key = 7;
	count = bpf_map_lookup_elem(&per_cpu, &key);
	if (count)
		++*count;
	else
		bpf_map_update_elem(&per_cpu, &key, &one, BPF_ANY);
	struct spread *spread = bpf_map_lookup_elem(&spreads, &key);
	if (!spread) {
		bpf_map_update_elem(&spreads, &key, &zero, BPF_NOEXIST);
		spread = bpf_map_lookup_elem(&spreads, &key);
	}
	if (spread) {
		__sync_fetch_and_add(&spread->total, 1);
		__sync_fetch_and_add(&spread->slots[5], 1);
	}
	u32 kind = 3;
	count = bpf_map_lookup_elem(&kinds, &kind);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
