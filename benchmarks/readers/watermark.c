// SPDX-License-Identifier: MIT
/*
 * The least that a complete reader can cost in C: woken when a quarter of a ring is full and every
 * 20 ms, records stamped by the boot clock as snoopkit's are, copied out of the ring, not decoded.
 */
#include "reader.h"
#include <linux/perf_event.h>
#include <time.h>

#define DRAIN_MS 20
#define BATCH_BYTES (4 << 20)

static char batch[BATCH_BYTES];
static size_t filled;

static enum bpf_perf_event_ret on_record(void *context, int cpu, struct perf_event_header *record)
{
	if (record->type == PERF_RECORD_SAMPLE) {
		if (filled + record->size > sizeof(batch))
			filled = 0;
		memcpy(batch + filled, record, record->size);
		filled += record->size;
		received++;
	} else if (record->type == PERF_RECORD_LOST) {
		lost += ((__u64 *)(record + 1))[1];
	}
	return LIBBPF_PERF_EVENT_CONT;
}

static struct perf_buffer *make_reader(struct bpf_object *object, int pages)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_type = PERF_SAMPLE_RAW | PERF_SAMPLE_TIME,
		.sample_period = 1,
		.watermark = 1,
		.wakeup_watermark = pages * getpagesize() / 4,
		.use_clockid = 1,
		.clockid = CLOCK_BOOTTIME,
	};

	return perf_buffer__new_raw(events_of(object), pages, &attr, on_record, NULL, NULL);
}

int main(int argc, char **argv)
{
	struct perf_buffer *reader;

	if (argc != 4)
		return 2;
	reader = start(argv, make_reader);
	while (!input_ended()) {
		perf_buffer__poll(reader, DRAIN_MS);
		perf_buffer__consume(reader);
	}
	perf_buffer__consume(reader);
	report();
	return 0;
}
