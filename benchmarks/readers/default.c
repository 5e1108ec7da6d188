// SPDX-License-Identifier: MIT
/* libbpf's own perf buffer as most tools use it: the kernel wakes it at every event. */
#include "reader.h"

static void on_sample(void *context, int cpu, void *data, __u32 size)
{
	received++;
}

static void on_lost(void *context, int cpu, __u64 count)
{
	lost += count;
}

static struct perf_buffer *make_reader(struct bpf_object *object, int pages)
{
	return perf_buffer__new(events_of(object), pages, on_sample, on_lost, NULL, NULL);
}

int main(int argc, char **argv)
{
	struct perf_buffer *reader;

	if (argc != 4)
		return 2;
	reader = start(argv, make_reader);
	while (!input_ended())
		perf_buffer__poll(reader, 100);
	perf_buffer__consume(reader);
	report();
	return 0;
}
