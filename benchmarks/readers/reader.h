/* What the C readers share: `READER OBJECT PID PAGES`, "ready" once attached, one line of results
 * at end of input. */
#ifndef READER_H
#define READER_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef READER
#define READER struct perf_buffer
#endif

static unsigned long long received, lost;

static void check(const void *result, const char *what)
{
	if (!result) {
		perror(what);
		exit(1);
	}
}

/* Opens, sets the filter, loads and attaches; the events' map is made readable by `make_reader` in
 * between. */
static READER *start(char **argv, READER *(*make_reader)(struct bpf_object *object, int pages))
{
	struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
	int pid = atoi(argv[2]), pages = atoi(argv[3]);
	struct bpf_map *constants, *events;
	READER *reader;
	size_t size = 0;
	int *value;

	check(object, "open");
	constants = bpf_object__find_map_by_name(object, ".rodata");
	check(constants, "constants");
	value = (int *)bpf_map__initial_value(constants, &size);
	check(value, "constants");
	*value = pid; /* targ_pid is the only constant there */
	events = bpf_object__find_map_by_name(object, "events");
	check(events, "events");
	if (bpf_map__type(events) == BPF_MAP_TYPE_RINGBUF)
		bpf_map__set_max_entries(events, pages * getpagesize());
	if (bpf_object__load(object)) {
		perror("load");
		exit(1);
	}
	reader = make_reader(object, pages);
	check(reader, "reader");
	check(bpf_program__attach(bpf_object__find_program_by_name(object, "emit")), "attach");
	printf("ready\n");
	fflush(stdout);
	return reader;
}

static int events_of(struct bpf_object *object)
{
	return bpf_object__find_map_fd_by_name(object, "events");
}

static int input_ended(void)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};

	return poll(&input, 1, 0) != 0;
}

static void report(void)
{
	printf("{\"received\": %llu, \"lost\": %llu}\n", received, lost);
}

#endif
