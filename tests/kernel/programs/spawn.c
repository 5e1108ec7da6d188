/* spawn LEAF MARKER COUNT ABREAST: runs LEAF that often, child i with the arguments MARKER i (exit
 * CODE | signal N), and prints for each "i pid status" as waitpid told it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const int signals[] = {1, 2, 6, 9, 11, 15, 34, 64};

int main(int argc, char **argv)
{
	int count, abreast, started = 0, ended = 0, i;
	pid_t *pids;

	if (argc != 5)
		return 2;
	count = atoi(argv[3]);
	abreast = atoi(argv[4]);
	pids = calloc(count, sizeof(*pids));
	while (ended < count) {
		int status;
		pid_t pid;

		while (started < count && started - ended < abreast) {
			char index[16], how[16];

			snprintf(index, sizeof(index), "%d", started);
			if (started % 4 == 3)
				snprintf(how, sizeof(how), "%d", signals[started / 4 % 8]);
			else
				snprintf(how, sizeof(how), "%d", started % 256);
			pid = vfork();
			if (pid == 0) {
				execl(argv[1], argv[1], argv[2], index,
				      started % 4 == 3 ? "signal" : "exit", how, (char *)NULL);
				_exit(126);
			}
			pids[started++] = pid;
		}
		pid = wait(&status);
		for (i = 0; i < started && pids[i] != pid; i++)
			;
		printf("%d %d %d\n", i, pid, status);
		ended++;
	}
	return 0;
}
