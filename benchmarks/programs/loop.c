// SPDX-License-Identifier: MIT
/*
 * The traced program. Says its pid, then for every number N read from standard input calls
 * getppid() N times and prints how many nanoseconds that took.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(void)
{
	long long start_ns;
	long calls;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%d\n", getpid());
	while (scanf("%ld", &calls) == 1) {
		start_ns = now_ns();
		for (long call = 0; call < calls; call++)
			syscall(SYS_getppid);
		printf("%lld\n", now_ns() - start_ns);
	}
	return 0;
}
