/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#ifndef BENCH_CANDIDATES_H
#define BENCH_CANDIDATES_H

#include "core.h"

struct candidate {
	struct table table;
	void (*map_range)(void *t, uint64_t start, uint64_t last);
	void (*unmap_range)(void *t, uint64_t start, uint64_t last);
	unsigned most[PATTERNS_NR]; /* mappings that fit a machine of 8 GiB */
	uint64_t highest;	    /* address it can map */
};

#define ANY_NUMBER                                                                       \
	{                                                                                \
		~0u, ~0u, ~0u                                                            \
	}

/* What the library uses; the same B+tree with sorted leaves that are copied for
 * each change; a page-table-like radix tree with large leaves. */
extern const struct candidate candidate_order, candidate_copied, candidate_radix;

#endif
