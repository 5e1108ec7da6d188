/* cold FILE: runs FILE with arguments that stand in pages which nothing has touched yet. */
#include <unistd.h>

__attribute__((aligned(4096))) static const char one[4096] = "first argument from a cold page";
__attribute__((aligned(4096))) static const char two[4096] = "second";
__attribute__((aligned(4096))) static const char code[4096] = "exit";
__attribute__((aligned(4096))) static const char zero[4096] = "0";

int main(int argc, char **argv)
{
	char *arguments[] = {argv[1], (char *)one, (char *)two, (char *)code, (char *)zero, NULL};

	execv(argv[1], arguments);
	return 126;
}
