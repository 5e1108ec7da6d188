/* tries MODE FILE MARKER: tries to run FILE with the arguments FILE MARKER in the way that MODE names, and
 * prints the errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AT_EXECVE_CHECK 0x10000

static char *file, *marker, *none[] = {NULL};

static int compat_execve(const char *path, char *const *arguments)
{
	/* All that a 32-bit call is given must lie low. */
	char *low = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned int *pointers = (unsigned int *)low;
	char *text = low + 4096;
	unsigned int program;
	int n = 0, result;

	program = (unsigned long)strcpy(text, path);
	text += strlen(text) + 1;
	for (; arguments[n]; n++) {
		pointers[n] = (unsigned long)strcpy(text, arguments[n]);
		text += strlen(text) + 1;
	}
	pointers[n] = pointers[n + 1] = 0;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(11), "b"(program), "c"(pointers), "d"(&pointers[n + 1])
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}

static void *from_a_thread(void *unused)
{
	char *arguments[] = {file, marker, NULL};

	execve(file, arguments, none);
	return (void *)(long)errno;
}

/* A filter that answers every execve() itself, saying that it worked. */
static void pretend(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* the call's number */),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(125);
}

int main(int argc, char **argv)
{
	char *arguments[] = {argv[2], argv[3], NULL};
	void *number;
	pthread_t thread;

	if (argc < 4)
		return 2;
	file = argv[2];
	marker = argv[3];
	errno = 0;
	if (!strcmp(argv[1], "execve")) {
		execve(file, arguments, none);
	} else if (!strcmp(argv[1], "too-big")) {
		char *huge = malloc(200001);

		memset(huge, 'x', 200000);
		huge[200000] = 0;
		char *many[] = {file, marker, huge, NULL};
		execve(file, many, none);
	} else if (!strcmp(argv[1], "nothing")) {
		syscall(SYS_execve, file, NULL, none);
	} else if (!strcmp(argv[1], "bad-pointers")) {
		char *bad[] = {file, marker, (char *)8, NULL};
		execve(file, bad, none);
	} else if (!strcmp(argv[1], "bad-file")) {
		syscall(SYS_execve, 8, arguments, none);
	} else if (!strcmp(argv[1], "at")) {
		int folder = open("/proc", O_PATH | O_DIRECTORY);
		int other = dup2(folder, 77);
		syscall(SYS_execveat, other, file, arguments, none, AT_SYMLINK_NOFOLLOW);
	} else if (!strcmp(argv[1], "check")) {
		errno = 0;
		syscall(SYS_execveat, AT_FDCWD, file, arguments, none, AT_EXECVE_CHECK);
	} else if (!strcmp(argv[1], "pretended")) {
		pretend();
		execve(file, arguments, none);
	} else if (!strcmp(argv[1], "thread")) {
		pthread_create(&thread, NULL, from_a_thread, NULL);
		pthread_join(thread, &number);
		errno = (long)number;
	} else if (!strcmp(argv[1], "compat")) {
		errno = -compat_execve(file, arguments);
	}
	printf("%d\n", errno);
	return 0;
}
