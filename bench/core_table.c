/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Costs of a structure that is filled with nr mappings. */
#include <stdlib.h>

#include "core.h"

#define ROUNDS 7u
#define SPARE  4096u /* pages that are mapped and unmapped beside the nr */
#define OPS    16384u

static double pairs(const struct table *t, void *table, const uint64_t *spare)
{
	uint64_t start = cpu_ns();

	for (unsigned i = 0; i < OPS; i++) {
		t->map(table, spare[i % SPARE], (uint64_t)i << PAGE_LG2);
		t->unmap(table, spare[i % SPARE]);
	}
	return (double)(cpu_ns() - start) / OPS;
}

/* Maps a page and unmaps one mapped long ago: as a queue of transfers does. */
static double churn(const struct table *t, void *table, const uint64_t *spare)
{
	uint64_t start;
	double ns;

	for (unsigned i = 0; i < SPARE / 2; i++)
		t->map(table, spare[i], 0);
	start = cpu_ns();
	for (unsigned i = SPARE / 2; i < SPARE / 2 + OPS; i++) {
		t->map(table, spare[i % SPARE], (uint64_t)i << PAGE_LG2);
		t->unmap(table, spare[(i - SPARE / 2) % SPARE]);
	}
	ns = (double)(cpu_ns() - start) / OPS;
	for (unsigned i = OPS; i < OPS + SPARE / 2; i++)
		t->unmap(table, spare[i % SPARE]);
	return ns;
}

static double lookups(const struct table *t, void *table, const uint64_t *page,
		      unsigned nr)
{
	uint64_t sum = 0, start = cpu_ns();

	/* OPS of them (all, if there are fewer), the same in each round; the pages
	 * are in random order, and so are the steps: no prefetcher knows them */
	for (unsigned i = 0; i < OPS; i++)
		sum += t->lookup(table, page[(i * 40503u) % nr] + (i & 0xff8));
	keep(sum);
	return (double)(cpu_ns() - start) / OPS;
}

struct table_result measure_table(const struct table *t, enum pattern pattern,
				  unsigned nr)
{
	uint64_t *page = make_pages(pattern, nr + SPARE);
	double v[3][ROUNDS];
	struct table_result r;
	void *table = t->create();

	for (unsigned i = 0; i < nr; i++)
		t->map(table, page[i], (uint64_t)i << PAGE_LG2);
	r.bytes = (double)t->bytes(table) / nr;
	for (unsigned i = 0; i < ROUNDS; i++) {
		v[0][i] = pairs(t, table, page + nr);
		v[1][i] = churn(t, table, page + nr);
		v[2][i] = lookups(t, table, page, nr);
	}
	r.pair = median(v[0], ROUNDS);
	r.churn = median(v[1], ROUNDS);
	r.lookup = median(v[2], ROUNDS);
	t->destroy(table);
	free(page);
	return r;
}
