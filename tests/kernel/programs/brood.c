/* brood COUNT GAP_US [ARGUMENT …]: forks that many children, one after another, and prints the pid of each. All
 * live until standard input ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int i;

	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = atoi(argv[1]); i > 0; i--) {
		pid_t pid = fork();
		char byte;

		if (pid == 0)
			_exit(read(STDIN_FILENO, &byte, 1));
		printf("%d\n", pid);
		usleep(atoi(argv[2]));
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
