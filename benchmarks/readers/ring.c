// SPDX-License-Identifier: MIT
/* libbpf's ring buffer as most tools use it: the kernel wakes the reader when it has caught up. */
#define READER struct ring_buffer
#include "reader.h"

static int on_sample(void *context, void *data, size_t size)
{
	received++;
	return 0;
}

static struct bpf_object *opened;

static struct ring_buffer *make_reader(struct bpf_object *object, int pages)
{
	opened = object;
	return ring_buffer__new(events_of(object), on_sample, NULL, NULL);
}

int main(int argc, char **argv)
{
	struct ring_buffer *reader;
	unsigned int first = 0, failed = 0;

	if (argc != 4)
		return 2;
	reader = start(argv, make_reader);
	while (!input_ended())
		ring_buffer__poll(reader, 100);
	ring_buffer__consume(reader);
	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(opened, ".data.failed"), &first, &failed);
	lost = failed;
	report();
	return 0;
}
