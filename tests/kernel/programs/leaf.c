/* leaf [MARKER …] exit CODE | signal NUMBER | sleep MS | replace MS: ends as its last two arguments
 * say; replace sleeps as another program.
 */
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
	if (!strcmp(argv[argc - 2], "replace"))
		execl("/proc/self/exe", argv[0], "", "sleep", argv[argc - 1], (char *)NULL);
	if (!strcmp(argv[argc - 2], "sleep")) {
		usleep(number * 1000);
		_exit(0);
	}
	setrlimit(RLIMIT_CORE, &none);
	signal(number, SIG_DFL);
	kill(getpid(), number);
	_exit(99);
}
