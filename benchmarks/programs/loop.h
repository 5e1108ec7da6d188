/* What the measured programs share: a pid first, then for every number N read from standard input
 * how many nanoseconds doing it N times took. */
#ifndef LOOP_H
#define LOOP_H

#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline __attribute__((always_inline)) int measure(void (*once)(void))
{
	long long start_ns;
	long calls;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%d\n", getpid());
	while (scanf("%ld", &calls) == 1) {
		start_ns = now_ns();
		for (long call = 0; call < calls; call++)
			once();
		printf("%lld\n", now_ns() - start_ns);
	}
	return 0;
}

#endif
