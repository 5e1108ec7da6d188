/* leaf [MARKER …] exit CODE | signal NUMBER: ends as its last two arguments say. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rlimit none = {0, 0};
	int number = argc > 2 ? atoi(argv[argc - 1]) : 0;

	if (argc < 3 || !strcmp(argv[argc - 2], "exit"))
		_exit(number);
	setrlimit(RLIMIT_CORE, &none);
	signal(number, SIG_DFL);
	kill(getpid(), number);
	_exit(99);
}
