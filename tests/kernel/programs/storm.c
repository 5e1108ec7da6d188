/* storm LEAF MARKER COUNT SIZE PIECES: runs LEAF that often, one after another, child i with the
 * arguments MARKER i TEXT… exit CODE: PIECES texts of SIZE bytes together that follow from i. Prints
 * how many ended as they should have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = atoi(argv[3]), size = atoi(argv[4]), pieces = atoi(argv[5]), good = 0;
	char *text = malloc(size + pieces + 1), number[16], code[16];
	char *arguments[pieces + 6];

	for (int i = 0; i < count; i++) {
		char *at = text;
		int status, n = 0;
		pid_t pid;

		arguments[n++] = argv[1];
		arguments[n++] = argv[2];
		arguments[n++] = number;
		for (int piece = 0; piece < pieces; piece++) {
			int length = size / pieces;

			arguments[n++] = at;
			memset(at, 'a' + (i + piece) % 26, length);
			at[length] = 0;
			at += length + 1;
		}
		arguments[n++] = "exit";
		arguments[n++] = code;
		arguments[n] = NULL;
		snprintf(number, sizeof(number), "%d", i);
		snprintf(code, sizeof(code), "%d", i % 256);
		pid = vfork();
		if (pid == 0) {
			execve(argv[1], arguments, NULL);
			_exit(126);
		}
		waitpid(pid, &status, 0);
		good += WIFEXITED(status) && WEXITSTATUS(status) == i % 256;
	}
	printf("%d\n", good);
	return 0;
}
