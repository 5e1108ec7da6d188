// Passes a probe as often as its argument says, with the numbers from 1 on, once somebody writes a line to it.
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>

int main(int argc, char **argv)
{
	int times = argc > 1 ? atoi(argv[1]) : 1;

	puts("ready");
	fflush(stdout);
	getchar();
	for (int number = 1; number <= times; number++)
		DTRACE_PROBE1(snoopkit, passed, number);
	return 0;
}
