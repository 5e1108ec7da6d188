// What a process opens and closes: the program of docs/python.md, with one of each kind of map.
#include "vmlinux.h"
#include "opens.h"

char LICENSE[] SEC("license") = "GPL";

/* Events go through perf event arrays, or through ring buffers if the user asks for them. */
SNOOPKIT_TRANSPORT;
SNOOPKIT_LOSSES(losses, 2);

/// Trace this process only, 0 for all
const volatile __u32 target_pid = 0;
/// Report what is closed too
const volatile bool closes_too = true;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} opens SEC(".maps"), closes SEC(".maps");

/* For each process what it did. */
struct usage {
	__u64 opens;
	__u64 closes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct usage);
} by_process SEC(".maps");

/* Calls seen, on each CPU by itself: opens, then closes. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

/* Paths that nobody wants to hear of. */
struct name {
	char text[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1000);
	__type(value, struct name);
} hidden SEC(".maps");

/* How often each path was opened; those that were not for the longest time make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1000);
	__type(key, struct name);
	__type(value, __u64);
} recent SEC(".maps");

/* Labels for folders, by the beginning of the path. */
struct prefix {
	__u32 bits;
	char text[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 100);
	__type(key, struct prefix);
	__type(value, __u32);
} labels SEC(".maps");

/* The last paths opened for writing; the oldest makes room. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, struct name);
} written SEC(".maps");

bool is_paused = false;
__u64 hidden_count = 0;

static __always_inline void count(__u32 what, __u32 pid)
{
	__u64 *here = bpf_map_lookup_elem(&calls, &what);
	struct usage none = {}, *usage = bpf_map_lookup_elem(&by_process, &pid);

	if (here)
		(*here)++;
	if (!usage) {
		bpf_map_update_elem(&by_process, &pid, &none, BPF_NOEXIST);
		usage = bpf_map_lookup_elem(&by_process, &pid);
	}
	if (usage)
		__sync_fetch_and_add(what == OPENED ? &usage->opens : &usage->closes, 1);
}

static __always_inline void remember(const char *path)
{
	__u64 one = 1, *times = bpf_map_lookup_elem(&recent, path);

	if (times)
		__sync_fetch_and_add(times, 1);
	else
		bpf_map_update_elem(&recent, path, &one, BPF_NOEXIST);
}

static __always_inline __u32 label_of(const char *path)
{
	struct prefix prefix = {.bits = 8 * sizeof(prefix.text)};
	__u32 *label;

	__builtin_memcpy(prefix.text, path, sizeof(prefix.text));
	label = bpf_map_lookup_elem(&labels, &prefix);
	return label ? *label : 0;
}

static __always_inline bool is_wanted(__u32 pid)
{
	return !is_paused && (!target_pid || pid == target_pid);
}

SEC("tracepoint/syscalls/sys_enter_close")
int on_close(struct trace_event_raw_sys_enter *ctx)
{
	struct closed closed = {.header = {.type = CLOSED}};

	closed.pid = bpf_get_current_pid_tgid() >> 32;
	closed.fd = ctx->args[0];
	if (!closes_too || !is_wanted(closed.pid))
		return 0;
	count(CLOSED, closed.pid);
	snoopkit_output(ctx, &closes, &losses, &closed.header, sizeof(closed));
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int on_open(struct trace_event_raw_sys_enter *ctx)
{
	struct opened opened = {.header = {.type = OPENED}};
	__u64 ids = bpf_get_current_pid_tgid();
	__u32 flags = ctx->args[2];

	opened.pid = ids >> 32;
	opened.tid = ids;
	if (!is_wanted(opened.pid))
		return 0;
	bpf_probe_read_user_str(opened.path, sizeof(opened.path), (const char *)ctx->args[1]);
	if (bpf_map_peek_elem(&hidden, opened.path) == 0) {
		__sync_fetch_and_add(&hidden_count, 1);
		return 0;
	}
	opened.access = flags & 3; /* O_RDONLY, O_WRONLY, O_RDWR */
	opened.creates = !!(flags & 0100);
	opened.truncates = !!(flags & 01000);
	opened.label = label_of(opened.path);
	remember(opened.path);
	bpf_get_current_comm(opened.comm, sizeof(opened.comm));
	if (opened.access != READ)
		bpf_map_push_elem(&written, opened.path, BPF_EXIST);
	count(OPENED, opened.pid);
	snoopkit_output(ctx, &opens, &losses, &opened.header, sizeof(opened));
	return 0;
}
