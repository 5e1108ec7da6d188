/* Asks for what no kernel has, and can do without it unless it is told otherwise. */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#ifdef NEEDED
extern int snoopkit_no_such_function(int number) __ksym;
#elif !defined(TYPES_ALONE)
extern int snoopkit_no_such_function(int number) __ksym __weak;
#else
#define snoopkit_no_such_function ((int (*)(int))0)
#endif

struct snoopkit_no_such_struct {
	int member;
} __attribute__((preserve_access_index));

int with_function, with_struct, without;

SEC("raw_tp/sched_process_exec")
int on_exec(void *ctx)
{
	if (snoopkit_no_such_function)
		with_function = snoopkit_no_such_function(1);
	else if (bpf_core_type_exists(struct snoopkit_no_such_struct))
		with_struct = 1;
	else
		without = 1;
	return 0;
}
