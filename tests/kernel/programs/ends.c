/* ends MODE [MARKER …]: a process with several threads ends in the way that MODE names. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *leaf, *marker;
static pthread_barrier_t together;

static void rest(void)
{
	struct timespec a_while = {0, 30000000};

	nanosleep(&a_while, NULL);
}

/* Until the first thread has ended: it stays as a zombie while others run. */
static void outlive_leader(void)
{
	char path[64], state = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	while (state != 'Z') {
		FILE *file;

		rest();
		file = fopen(path, "r");
		if (!file || fscanf(file, "%*d (ends) %c", &state) != 1)
			_exit(126);
		fclose(file);
	}
}

static void *exits_late(void *unused)
{
	rest();
	exit(7);
}

static void *exits_last(void *unused)
{
	outlive_leader();
	exit(7);
}

static void *ends_alone_last(void *unused)
{
	outlive_leader();
	syscall(SYS_exit, 5);
	return NULL;
}

static void *ends_at_once(void *unused)
{
	pthread_barrier_wait(&together);
	syscall(SYS_exit, 5);
	return NULL;
}

static void *exits_for_all(void *unused)
{
	syscall(SYS_exit_group, 9);
	return NULL;
}

static void *kills(void *unused)
{
	rest();
	kill(getpid(), SIGKILL);
	return NULL;
}

static void *execs(void *unused)
{
	printf("%d %ld\n", getpid(), syscall(SYS_gettid));
	fflush(stdout);
	execl(leaf, leaf, marker, "exit", "4", (char *)NULL);
	_exit(126);
}

static void *sleeps(void *unused)
{
	for (;;)
		pause();
	return NULL;
}

static void start(void *(*body)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, NULL))
		_exit(126);
}

/* race MARKER COUNT: that many children, in each of which two threads end at the same moment, the
 * first with 3 and the second with 5; prints "pid status" for each.
 */
static int race(int count)
{
	for (int i = 0; i < count; i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			pthread_barrier_init(&together, NULL, 2);
			start(ends_at_once);
			pthread_barrier_wait(&together);
			syscall(SYS_exit, 3);
		}
		waitpid(pid, &status, 0);
		printf("%d %d\n", pid, status);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	marker = argv[2];
	leaf = argc > 3 ? argv[3] : NULL;
	if (!strcmp(argv[1], "race"))
		return race(atoi(argv[3]));
	if (!strcmp(argv[1], "leader-first")) {
		start(exits_last);
		pthread_exit(NULL);
	}
	if (!strcmp(argv[1], "last-thread")) {
		start(ends_alone_last);
		syscall(SYS_exit, 3);
	}
	if (!strcmp(argv[1], "group-by-worker"))
		start(exits_for_all);
	if (!strcmp(argv[1], "killed"))
		start(kills);
	if (!strcmp(argv[1], "exec-by-thread"))
		start(execs);
	if (!strcmp(argv[1], "crowd"))
		for (int i = 0; i < 50; i++)
			start(i < 49 ? sleeps : exits_late);
	for (;;)
		pause();
}
