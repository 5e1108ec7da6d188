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
#include <sys/resource.h>
#include <unistd.h>

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
static struct perf_buffer *start(char **argv,
				 struct perf_buffer *(*make_reader)(int map, int pages))
{
	struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
	struct bpf_map *constants;
	struct perf_buffer *reader;
	size_t size = 0;
	int pid = atoi(argv[2]);
	int *value;

	check(object, "open");
	constants = bpf_object__find_map_by_name(object, ".rodata");
	check(constants, "constants");
	value = (int *)bpf_map__initial_value(constants, &size);
	check(value, "constants");
	*value = pid; /* targ_pid is the only constant there */
	if (bpf_object__load(object)) {
		perror("load");
		exit(1);
	}
	reader = make_reader(bpf_object__find_map_fd_by_name(object, "events"), atoi(argv[3]));
	check(reader, "perf buffer");
	check(bpf_program__attach(bpf_object__find_program_by_name(object, "emit")), "attach");
	printf("ready\n");
	fflush(stdout);
	return reader;
}

static int input_ended(void)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};

	return poll(&input, 1, 0) != 0;
}

static long long cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

static void report(long long cpu_before_ns)
{
	struct rusage usage;
	long long spent_ns = cpu_ns() - cpu_before_ns;

	getrusage(RUSAGE_SELF, &usage);
	printf("{\"received\": %llu, \"lost\": %llu, \"cpu_ns\": %lld, \"switches\": %ld}\n",
	       received, lost, spent_ns, usage.ru_nvcsw);
}

#endif
