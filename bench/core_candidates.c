/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * bench_core_candidates: the structures that were tried for mappings, alone (no
 * domains, no sections, no IOTLB), and what one mapping of 4 KiB to
 * 2^63 bytes costs each.
 */
#include <stdio.h>
#include <stdlib.h>

#include "candidates.h"
#include "core.h"

#define ROUNDS	   7u
#define OPS	   2000u
#define NEIGHBOURS 4096u /* pages that are mapped beside it */

/* Lengths of one mapping. None starts at a multiple of its length. */
static const struct {
	const char *name;
	uint64_t start, len;
} lengths[] = {
	{"4 KiB", (1ull << 40) + 0x1000, 1ull << 12},
	{"64 KiB", (1ull << 40) + 0x1000, 1ull << 16},
	{"2 MiB", (1ull << 40) + 0x1000, 1ull << 21},
	{"1 GiB", (1ull << 40) + 0x1000, 1ull << 30},
	{"2^63", (1ull << 62) + 0x1000, 1ull << 63},
};
#define LENGTHS_NR (sizeof(lengths) / sizeof(lengths[0]))

static double pairs(const struct candidate *c, void *t, uint64_t start, uint64_t last)
{
	uint64_t from = cpu_ns();

	for (unsigned i = 0; i < OPS; i++) {
		c->map_range(t, start, last);
		c->unmap_range(t, start, last);
	}
	return (double)(cpu_ns() - from) / OPS;
}

static double lookups(const struct candidate *c, void *t, uint64_t start, uint64_t len)
{
	uint64_t sum = 0, from;

	c->map_range(t, start, start + len - 1);
	from = cpu_ns();
	for (unsigned i = 0; i < OPS; i++)
		sum += c->table.lookup(t, start + i * (len / OPS));
	keep(sum);
	return (double)(cpu_ns() - from) / OPS;
}

static void print_length(const struct candidate *c, unsigned which)
{
	uint64_t start = lengths[which].start, len = lengths[which].len;
	double pair[ROUNDS], lookup[ROUNDS];

	printf("%-10s one mapping of %-6s | ", c->table.name, lengths[which].name);
	if (start + len - 1 > c->highest) {
		printf("does not fit: not that many bits\n");
		return;
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		void *t = c->table.create();

		for (uint64_t page = 0; page < NEIGHBOURS; page++)
			c->table.map(t, page << PAGE_LG2, 0);
		pair[i] = pairs(c, t, start, start + len - 1);
		lookup[i] = lookups(c, t, start, len);
		c->table.destroy(t);
	}
	printf("%8.1f %8s %8.1f |\n", median(pair, ROUNDS), "", median(lookup, ROUNDS));
}

static void print_row(const struct candidate *c, enum pattern pattern, unsigned nr)
{
	struct table_result r;

	if (nr > c->most[pattern]) {
		printf("%-10s %-11s %8u | does not fit: a node of 4 KiB a mapping\n",
		       c->table.name, pattern_name[pattern], nr);
		return;
	}
	r = measure_table(&c->table, pattern, nr);
	printf("%-10s %-11s %8u | %8.1f %8.1f %8.1f | %8.1f\n", c->table.name,
	       pattern_name[pattern], nr, r.pair, r.churn, r.lookup, r.bytes);
}

int main(void)
{
	static const struct candidate *const all[] = {&candidate_order, &candidate_copied,
						      &candidate_radix};

	printf("%-10s %-11s %8s | %8s %8s %8s | bytes a mapping\n", "", "", "mappings",
	       "pair ns", "churn ns", "lookup ns");
	for (unsigned s = 0; s < SIZES_NR; s++)
		for (unsigned p = 0; p < PATTERNS_NR; p++)
			for (unsigned c = 0; c < 3; c++)
				print_row(all[c], p, sizes[s]);
	for (unsigned l = 0; l < LENGTHS_NR; l++)
		for (unsigned c = 0; c < 3; c++)
			print_length(all[c], l);
	return 0;
}
