/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What compilers expect of any platform, for those without a C library. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *p, int value, size_t len);
int memcmp(const void *a, const void *b, size_t len);

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	for (size_t i = 0; i < len; i++)
		t[i] = f[i];
	return to;
}

void *memmove(void *to, const void *from, size_t len)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	if (t < f)
		return memcpy(to, from, len);
	while (len-- > 0)
		t[len] = f[len];
	return to;
}

void *memset(void *p, int value, size_t len)
{
	unsigned char *t = p;

	for (size_t i = 0; i < len; i++)
		t[i] = (unsigned char)value;
	return p;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < len; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}
