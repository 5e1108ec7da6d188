/* older MODE [ARGUMENT …]: says "ready" when it is as MODE wants it, and ends with 5 at SIGTERM.
 *
 * wait: as it began. title COUNT: so many t stand where its arguments were, and what is left there is empty,
 * or they go on into the environment. leader-first: the first thread has ended. file: its
 * arguments stand in a file that is mapped there. fork: its child says ready, and
 * its own pid; the parent waits for that.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void end(int number)
{
	_exit(5);
}

static void ready(void)
{
	printf("ready %d\n", getpid());
	fflush(stdout);
	for (;;)
		pause();
}

static void *outlive(void *unused)
{
	char path[64], state = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	while (state != 'Z') {
		FILE *file;

		usleep(1000);
		file = fopen(path, "r");
		if (!file || fscanf(file, "%*d (older) %c", &state) != 1)
			_exit(126);
		fclose(file);
	}
	ready();
	return NULL;
}

static void set_title(int argc, char **argv, size_t count)
{
	char *start = argv[0], *end = argv[argc - 1] + strlen(argv[argc - 1]) + 1, *limit = end;

	for (char **each = environ; *each; each++)
		limit = *each + strlen(*each) + 1;
	if (start + count >= limit)
		_exit(126);
	memset(start, 0, end - start);
	memset(start, 't', count);
	start[count] = 0;
}

/* In a thread, so that nothing of its own stands on the pages that are replaced. */
static void *map_file(void *first)
{
	size_t page = sysconf(_SC_PAGESIZE), size = 2 * page;
	char *start = (char *)((size_t)first & -page);
	int file = memfd_create("arguments", 0);

	usleep(10000);
	if (write(file, start, size) != size ||
	    mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
		_exit(126);
	ready();
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int status;

	signal(SIGTERM, end);
	if (argc > 2 && !strcmp(argv[1], "title"))
		set_title(argc, argv, atoi(argv[2]));
	if (argc > 1 && !strcmp(argv[1], "leader-first")) {
		if (pthread_create(&thread, NULL, outlive, NULL))
			return 126;
		syscall(SYS_exit, 3);
	}
	if (argc > 1 && !strcmp(argv[1], "file")) {
		if (pthread_create(&thread, NULL, map_file, argv[0]))
			return 126;
		for (;;)
			pause();
	}
	if (argc > 1 && !strcmp(argv[1], "fork") && fork()) {
		wait(&status);
		return WEXITSTATUS(status);
	}
	ready();
	return 126;
}
