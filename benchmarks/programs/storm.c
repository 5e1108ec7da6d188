// SPDX-License-Identifier: MIT
/* `storm CPU...`: a thread on each of these CPUs makes its share of the getppid() calls that a line
 * "CALLS RATE" on standard input asks for, no more than RATE a second of all of them together; an
 * answer is how many nanoseconds that took. The first line of output is the pid. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 256

struct share {
	pthread_t thread;
	int cpu;
	long calls;
	double ns_a_call;
};

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void *blow(void *argument)
{
	struct share *share = argument;
	cpu_set_t cpus;
	long long start_ns;

	CPU_ZERO(&cpus);
	CPU_SET(share->cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	start_ns = now_ns();
	for (long call = 0; call < share->calls; call++) {
		while (now_ns() - start_ns < call * share->ns_a_call)
			;
		syscall(SYS_getppid);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct share shares[MOST_THREADS];
	int threads = argc - 1;
	long long start_ns;
	double rate;
	long calls;

	if (threads < 1 || threads > MOST_THREADS)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%d\n", getpid());
	while (scanf("%ld %lf", &calls, &rate) == 2) {
		start_ns = now_ns();
		for (int i = 0; i < threads; i++) {
			shares[i] = (struct share){.cpu = atoi(argv[1 + i]),
						   .calls = calls / threads,
						   .ns_a_call = 1e9 * threads / rate};
			if (pthread_create(&shares[i].thread, NULL, blow, &shares[i]))
				return 1;
		}
		for (int i = 0; i < threads; i++)
			pthread_join(shares[i].thread, NULL);
		printf("%lld\n", now_ns() - start_ns);
	}
	return 0;
}
