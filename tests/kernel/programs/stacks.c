// Functions that call each other by names that a test knows, in whatever state a process can be.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OWN __attribute__((noinline))

static char buffer[1 << 20];

/* A call of the kernel with a frame pointer: libc's have none, and who called those is skipped. */
OWN long ask(long number, long first, void *second, long third)
{
#ifdef __x86_64__
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(first), "S"(second), "d"(third)
			 : "rcx", "r11", "memory");
	return result;
#else
	return syscall(number, first, second, third);
#endif
}

OWN int spin(volatile int *x)
{
	for (;;)
		++*x;
	return 1;
}

OWN int fill(volatile int *x)
{
	int zero = open("/dev/zero", O_RDONLY);

	for (;;)
		*x += ask(SYS_read, zero, buffer, sizeof(buffer));
	return 1;
}

/* A loop in memory that no file has; its name stands in /tmp/perf-PID.map, as JIT compilers do. */
OWN int jit(volatile int *x)
{
	/* push %rbp; mov %rsp,%rbp; 1: jmp 1b */
	static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xeb, 0xfe};
	void *room = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char path[64];
	FILE *map;

	memcpy(room, code, sizeof(code));
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	map = fopen(path, "w");
	fprintf(map, "%lx %zx a loop; made at run time\n", (unsigned long)room, sizeof(code));
	fclose(map);
	puts("ready");
	fflush(stdout);
	*x = ((int (*)(void))room)();
	return *x + 1;
}

/* A call for each line of standard input; behind the one for "exec" or "exit" comes that. */
OWN int call(volatile int *x)
{
	char line[64];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		*x += ask(SYS_getppid, 0, NULL, 0);
		if (!strcmp(line, "exec\n"))
			execl("/bin/cat", "cat", NULL);
		if (!strcmp(line, "exit\n"))
			exit(0);
		puts("called");
		fflush(stdout);
	}
	return 1;
}

OWN int middle(int (*what)(volatile int *), volatile int *x)
{
	return what(x) + 1;
}

OWN int outer(int (*what)(volatile int *), volatile int *x)
{
	return middle(what, x) + 1;
}

int main(int argc, char **argv)
{
	volatile int x = 0;

	switch (argc > 1 ? *argv[1] : 0) {
	case 's':
		return outer(spin, &x);
	case 'f':
		return outer(fill, &x);
	case 'j':
		return outer(jit, &x);
	}
	return outer(call, &x);
}
