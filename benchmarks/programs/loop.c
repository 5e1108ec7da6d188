// SPDX-License-Identifier: MIT
/* The traced program of rows 1, 2 and 6: getppid(), a system call that does next to nothing. */
#include "loop.h"
#include <sys/syscall.h>

static inline void once(void)
{
	syscall(SYS_getppid);
}

int main(void)
{
	return measure(once);
}
