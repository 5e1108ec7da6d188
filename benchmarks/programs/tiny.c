// SPDX-License-Identifier: MIT
/* The least that can be run: linked statically, it ends at once. */
int main(void)
{
	return 0;
}
