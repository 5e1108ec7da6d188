/* storm FOLDER MARKER COUNT SIZE PIECES: runs that many programs, one after another, the i-th being
 * FOLDER/CODE with CODE = i % 256, which is what it ends with, and its arguments MARKER i TEXT…: PIECES
 * texts of SIZE bytes together that follow from i. Prints how many ended as they should have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = atoi(argv[3]), size = atoi(argv[4]), pieces = atoi(argv[5]), good = 0;
	char *text = malloc(size + pieces + 1), number[16], program[4096];
	char *arguments[pieces + 4];

	for (int i = 0; i < count; i++) {
		char *at = text;
		int status, n = 0;
		pid_t pid;

		arguments[n++] = program;
		arguments[n++] = argv[2];
		arguments[n++] = number;
		for (int piece = 0; piece < pieces; piece++) {
			int length = size / pieces;

			arguments[n++] = at;
			memset(at, 'a' + (i + piece) % 26, length);
			at[length] = 0;
			at += length + 1;
		}
		arguments[n] = NULL;
		snprintf(number, sizeof(number), "%d", i);
		snprintf(program, sizeof(program), "%s/%d", argv[1], i % 256);
		pid = vfork();
		if (pid == 0) {
			execve(program, arguments, NULL);
			_exit(126);
		}
		waitpid(pid, &status, 0);
		good += WIFEXITED(status) && WEXITSTATUS(status) == i % 256;
	}
	printf("%d\n", good);
	return 0;
}
