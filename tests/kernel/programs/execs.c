/* execs MODE PROGRAM MARKER …: runs PROGRAM with the arguments PROGRAM MARKER … in the way that
 * MODE names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *changes(void *text)
{
	for (volatile char *first = text;; *first ^= 'a' ^ 'b')
		;
	return NULL;
}

int main(int argc, char **argv)
{
	char *none[] = {NULL};
	int fd;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "fexecve")) {
		fd = open(argv[2], O_RDONLY | O_CLOEXEC);
		fexecve(fd, argv + 2, none);
	} else if (!strcmp(argv[1], "execveat")) {
		char folder[4096], name[4096];

		strcpy(folder, argv[2]);
		strcpy(name, argv[2]);
		fd = open(dirname(folder), O_PATH | O_DIRECTORY);
		syscall(SYS_execveat, fd, basename(name), argv + 2, none, 0);
	} else if (!strcmp(argv[1], "memfd")) {
		struct stat status;
		int from = open(argv[2], O_RDONLY);

		fd = memfd_create("in memory", MFD_CLOEXEC);
		fstat(from, &status);
		sendfile(fd, from, NULL, status.st_size);
		fexecve(fd, argv + 2, none);
	} else if (!strcmp(argv[1], "changing")) {
		/* 200 times, each time with a text that a thread changes meanwhile. */
		char text[] = "a";
		pthread_t thread;

		argv[3] = text;
		pthread_create(&thread, NULL, changes, text);
		for (int i = 0; i < 200; i++) {
			pid_t pid = vfork();

			if (pid == 0) {
				execve(argv[2], argv + 2, none);
				_exit(126);
			}
			waitpid(pid, NULL, 0);
		}
		_exit(0);
	} else if (!strcmp(argv[1], "empty")) {
		execve(argv[2], none, none);
	} else if (!strcmp(argv[1], "no-environment")) {
		execve(argv[2], argv + 2, none);
	}
	return 126;
}
