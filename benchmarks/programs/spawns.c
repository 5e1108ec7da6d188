// SPDX-License-Identifier: MIT
/* The traced program of row 5: `spawns PROGRAM [ARGUMENT]...` spawns it and waits for its end. */
#include "loop.h"
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

static char **command;

static void once(void)
{
	static char *environment[] = {NULL};
	pid_t child;

	if (posix_spawn(&child, command[0], NULL, NULL, command, environment))
		exit(1);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	command = argv + 1;
	return measure(once);
}
