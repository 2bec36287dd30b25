/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* lib/domain/range_tree.h as it is. */
#include <stdlib.h>

#include "candidates.h"
#include "domain/range_tree.h"

struct order {
	struct counted_alloc alloc;
	struct range_pools pools;
	struct range_tree tree;
};

static void *create(void)
{
	struct order *o = calloc(1, sizeof(*o));

	counted_alloc_init(&o->alloc);
	range_pools_init(&o->pools, &o->alloc.ops);
	o->tree.pools = &o->pools;
	return o;
}

static void destroy(void *t)
{
	struct order *o = t;

	range_pools_destroy(&o->pools);
	free(o);
}

static void map_range(void *t, uint64_t start, uint64_t last)
{
	struct order *o = t;

	if (range_pools_reserve(&o->pools) || range_tree_insert(&o->tree, start, last, o))
		abort();
	if (o->tree.limbo.replaced_nr)
		range_tree_settle(&o->tree);
}

static void unmap_range(void *t, uint64_t start, uint64_t last)
{
	struct order *o = t;

	if (!range_tree_remove_one(&o->tree, start, last))
		range_tree_remove(&o->tree, start, last);
	range_tree_settle(&o->tree);
}

static void map(void *t, uint64_t iova, uint64_t gpa)
{
	(void)gpa;
	map_range(t, iova, iova + 4095);
}

static void unmap(void *t, uint64_t iova)
{
	unmap_range(t, iova, iova + 4095);
}

static uint64_t lookup(void *t, uint64_t iova)
{
	struct order *o = t;
	struct range r;

	return range_tree_find(&o->tree, iova, &r) ? iova - r.start : 0;
}

static size_t bytes(void *t)
{
	return ((struct order *)t)->alloc.live_len;
}

const struct candidate candidate_order = {
	{"order", create, destroy, map, unmap, lookup, bytes},
	map_range,
	unmap_range,
	ANY_NUMBER,
	UINT64_MAX};
