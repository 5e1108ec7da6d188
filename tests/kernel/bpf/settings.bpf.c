// What the kernel's configuration says, as the program sees it at the next system call.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/// Ticks a second
extern int CONFIG_HZ __kconfig __weak;
extern _Bool CONFIG_BPF __kconfig __weak;
extern const char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern enum libbpf_tristate CONFIG_BTRFS_FS __kconfig __weak;
extern int LINUX_KERNEL_VERSION __kconfig;

int hz, version, module;
_Bool has_bpf;
char hostname[16];

SEC("raw_tp/sys_enter") int on_syscall(void *ctx)
{
	hz = CONFIG_HZ;
	has_bpf = CONFIG_BPF;
	module = CONFIG_BTRFS_FS;
	version = LINUX_KERNEL_VERSION;
	for (int i = 0; i < 16; i++)
		hostname[i] = CONFIG_DEFAULT_HOSTNAME[i];
	return 0;
}
