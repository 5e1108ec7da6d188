/* What a process used. kernel.h has the members that the kernel accounts it in. */
#ifndef EXECSNOOP_ACCOUNTS_H
#define EXECSNOOP_ACCOUNTS_H

#define SET_ACCOUNT(event, signal, typed)                                                          \
	do {                                                                                       \
		(event)->user_ns = GET(typed, signal, utime);                                      \
		(event)->system_ns = GET(typed, signal, stime);                                    \
		(event)->cpu_ns = GET(typed, signal, sum_sched_runtime);                           \
		(event)->max_rss_pages = GET(typed, signal, maxrss);                               \
		(event)->minor_faults = GET(typed, signal, min_flt);                               \
		(event)->major_faults = GET(typed, signal, maj_flt);                               \
		(event)->voluntary_switches = GET(typed, signal, nvcsw);                           \
		(event)->involuntary_switches = GET(typed, signal, nivcsw);                        \
		if (bpf_core_field_exists((signal)->ioac.read_bytes)) {                            \
			(event)->read_bytes = GET(typed, signal, ioac.read_bytes);                 \
			(event)->write_bytes = GET(typed, signal, ioac.write_bytes);               \
		} else {                                                                           \
			(event)->read_bytes = (event)->write_bytes = 0;                            \
			(event)->header.flags |= IO_UNSUPPORTED;                                   \
		}                                                                                  \
	} while (0)

/* What a thread used that its process's account doesn't have yet. */
static __always_inline void add_account(struct exit_event *event, struct task_struct *task)
{
	event->user_ns += task->utime;
	event->system_ns += task->stime;
	event->cpu_ns += task->se.sum_exec_runtime;
	event->minor_faults += task->min_flt;
	event->major_faults += task->maj_flt;
	event->voluntary_switches += task->nvcsw;
	event->involuntary_switches += task->nivcsw;
	if (bpf_core_field_exists(task->ioac.read_bytes)) {
		event->read_bytes += task->ioac.read_bytes;
		event->write_bytes += task->ioac.write_bytes;
	}
}

#endif
