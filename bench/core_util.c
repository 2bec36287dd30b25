/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdlib.h>
#include <time.h>

#include "core.h"

const char *const pattern_name[PATTERNS_NR] = {"contiguous", "strided", "random"};
const unsigned sizes[SIZES_NR] = {64, 4096, 65536, 1048576};

uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void keep(uint64_t value)
{
	__asm__ __volatile__("" : : "r"(value) : "memory");
}

static void *count_alloc(void *opaque, size_t len, size_t align)
{
	struct counted_alloc *ca = opaque;
	void *p;

	if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, len))
		return NULL;
	ca->live_len += len;
	return p;
}

static void count_free(void *opaque, void *p, size_t len)
{
	struct counted_alloc *ca = opaque;

	ca->live_len -= len;
	free(p);
}

void counted_alloc_init(struct counted_alloc *ca)
{
	*ca = (struct counted_alloc){0, {count_alloc, count_free, ca}};
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(double *v, unsigned nr)
{
	qsort(v, nr, sizeof(*v), by_value);
	return v[nr / 2];
}

uint64_t random64(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15u;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1du;
}

static uint64_t page_of(enum pattern pattern, unsigned i, unsigned nr)
{
	switch (pattern) {
	case CONTIGUOUS:
		return i;
	case STRIDED:
		return (uint64_t)i * 16;
	default: /* one of 16 Mi pages each, so that they are distinct */
		return (((uint64_t)i << 36) / nr) + (random64() & 0xff);
	}
}

uint64_t *make_pages(enum pattern pattern, unsigned nr)
{
	uint64_t *page = malloc(nr * sizeof(*page));

	for (unsigned i = 0; i < nr; i++)
		page[i] = (0x10000 + page_of(pattern, i, nr)) << PAGE_LG2;
	for (unsigned i = nr - 1; i; i--) {
		unsigned j = (unsigned)(random64() % (i + 1));
		uint64_t swap = page[i];

		page[i] = page[j];
		page[j] = swap;
	}
	return page;
}
