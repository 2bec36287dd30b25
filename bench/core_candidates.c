/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * bench_core_candidates: the structures that were tried for mappings, alone (no
 * domains, no sections, no IOTLB), and what one long mapping costs each.
 */
#include <stdio.h>
#include <stdlib.h>

#include "candidates.h"
#include "core.h"

#define LONG_PAIRS 2000u

/* A mapping of 1 GiB that starts one page past a 2 MiB boundary. */
static double long_pair(const struct candidate *c)
{
	void *t = c->table.create();
	uint64_t start;
	double ns;

	start = cpu_ns();
	for (unsigned i = 0; i < LONG_PAIRS; i++) {
		c->map_range(t, 0x40001000, 0x80000fff);
		c->unmap_range(t, 0x40001000, 0x80000fff);
	}
	ns = (double)(cpu_ns() - start) / LONG_PAIRS;
	c->table.destroy(t);
	return ns;
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
	for (unsigned c = 0; c < 3; c++)
		printf("%-10s one mapping of 1 GiB, map+unmap: %.0f ns\n",
		       all[c]->table.name, long_pair(all[c]));
	return 0;
}
