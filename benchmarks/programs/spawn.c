// SPDX-License-Identifier: MIT
/* spawn MARKER MILLISECONDS: runs `/bin/true MARKER` every so many milliseconds, until it is
 * killed. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *command[] = {"/bin/true", argc > 1 ? argv[1] : NULL, NULL};
	char *environment[] = {NULL};
	pid_t child;

	if (argc != 3)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (posix_spawn(&child, command[0], NULL, NULL, command, environment))
			return 1;
		waitpid(child, NULL, 0);
		usleep(atoi(argv[2]) * 1000);
	}
}
