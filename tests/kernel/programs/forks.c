/* forks MODE MARKER …: makes processes in the way that MODE names, and prints what it knows of them. */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long make(unsigned long flags)
{
	return syscall(SYS_clone, flags, 0, 0, 0, 0);
}

static void *nothing(void *unused)
{
	return unused;
}

static double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* A child with this pid, which must be free; it runs a program or ends with 3. */
static pid_t again(pid_t wanted, char *program, char *marker)
{
	struct clone_args how = {
		.exit_signal = SIGCHLD,
		.set_tid = wanted ? (unsigned long)&wanted : 0,
		.set_tid_size = wanted ? 1 : 0,
	};
	pid_t pid = syscall(SYS_clone3, &how, sizeof(how));

	if (pid == 0) {
		if (program)
			execl(program, program, marker, "exit", "4", (char *)NULL);
		_exit(3);
	}
	waitpid(pid, NULL, 0);
	return pid;
}

/* A child that runs a program while another process, which is not its parent, traces it. */
static void traced(char *program, char *marker)
{
	int ends[2], is_traced[2];
	pid_t child, tracer;
	char byte;

	if (pipe(ends) || pipe(is_traced))
		_exit(125);
	if ((child = fork()) == 0) {
		close(ends[1]);
		if (read(ends[0], &byte, 1) == 0)
			execl(program, program, marker, "exit", "4", (char *)NULL);
		_exit(126);
	}
	if ((tracer = fork()) == 0) {
		close(ends[1]);
		if (ptrace(PTRACE_SEIZE, child, 0, 0) || write(is_traced[1], "", 1) != 1)
			_exit(125);
		waitpid(child, NULL, __WALL);
		_exit(0);
	}
	close(is_traced[1]);
	if (read(is_traced[0], &byte, 1) != 1)
		byte = 1;
	close(ends[1]);
	waitpid(tracer, NULL, 0);
	waitpid(child, NULL, 0);
	printf("%d %d %d\n", getpid(), child, tracer);
}

/* COUNT children, one after another: each burns some ms, touches some MB and sleeps some times, and wait4() tells. */
static void burn(int count)
{
	for (int i = 0; i < count; i++) {
		struct rusage usage;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			size_t size = (1 + i * 199 / count) << 20;
			char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			for (size_t at = 0; at < size; at += 4096)
				memory[at] = 1;
			while (cpu_ms() < i * 50. / count)
				;
			for (int nap = 0; nap < i % 7; nap++)
				usleep(100);
			_exit(i);
		}
		wait4(pid, &status, 0, &usage);
		printf("%d %d %ld %ld %ld %ld %ld %ld %ld\n", pid, status,
		       usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec,
		       usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec, usage.ru_maxrss,
		       usage.ru_minflt, usage.ru_majflt, usage.ru_nvcsw, usage.ru_nivcsw);
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	pid_t pid;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "fork")) {
		if ((pid = fork()) == 0)
			_exit(3);
		printf("%d\n", pid);
		waitpid(pid, NULL, 0);
	} else if (!strcmp(argv[1], "vfork")) {
		if ((pid = vfork()) == 0)
			_exit(3);
		printf("%d\n", pid);
		waitpid(pid, NULL, 0);
	} else if (!strcmp(argv[1], "thread")) {
		pthread_create(&thread, NULL, nothing, NULL);
		pthread_join(thread, NULL);
		if ((pid = fork()) == 0)
			_exit(3);
		printf("%d\n", pid);
		waitpid(pid, NULL, 0);
	} else if (!strcmp(argv[1], "sibling")) {
		/* A child makes a process whose parent is ours too. */
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if ((pid = fork()) == 0) {
			if (make(CLONE_PARENT | SIGCHLD) == 0)
				_exit(3);
			_exit(0);
		}
		printf("%d %d\n", pid, getpid());
		while (wait(NULL) > 0)
			;
	} else if (!strcmp(argv[1], "again")) {
		/* The same pid three times: without a program of its own, with one, and without. */
		pid = again(0, NULL, NULL);
		printf("%d", pid);
		printf(" %d", again(pid, argv[3], argv[2]));
		printf(" %d\n", again(pid, NULL, NULL));
	} else if (!strcmp(argv[1], "traced")) {
		traced(argv[3], argv[2]);
	} else if (!strcmp(argv[1], "orphan")) {
		/* The middle one is gone before the last one runs a program. */
		int ends[2];

		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (pipe(ends))
			return 1;
		if ((pid = fork()) == 0) {
			if (fork() == 0) {
				char byte;

				close(ends[1]);
				if (read(ends[0], &byte, 1) == 0)
					execl(argv[3], argv[3], argv[2], "exit", "0", (char *)NULL);
			}
			_exit(0);
		}
		printf("%d %d\n", pid, getpid());
		waitpid(pid, NULL, 0);
		close(ends[1]);
		while (wait(NULL) > 0)
			;
	} else if (!strcmp(argv[1], "zombie")) {
		struct timespec a_while = {0, 400000000};

		if ((pid = fork()) == 0)
			_exit(3);
		printf("%d\n", pid);
		nanosleep(&a_while, NULL);
		waitpid(pid, NULL, 0);
	} else if (!strcmp(argv[1], "burn")) {
		burn(atoi(argv[3]));
	}
	return 0;
}
