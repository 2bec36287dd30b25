/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "domain/range_tree.h"

#include <string.h>

#include "base/err.h"
#include "domain/range_node.h"

void range_pools_init(struct range_pools *p, const struct viommu_alloc *alloc)
{
	/* Two cache lines: keys and order of a leaf are fetched as one pair. */
	pool_init(&p->leaf, alloc, sizeof(struct range_leaf), 2 * CACHE_LINE);
	pool_init(&p->inner, alloc, sizeof(struct range_inner), CACHE_LINE);
}

void range_pools_destroy(struct range_pools *p)
{
	pool_destroy(&p->leaf);
	pool_destroy(&p->inner);
}

int range_pools_reserve_slow(struct range_pools *p)
{
	int rc = pool_reserve(&p->leaf, RANGE_INSERT_LEAVES);

	return rc ? rc
		  : pool_reserve(&p->inner, RANGE_INSERT_INNERS + RANGE_REMOVE_INNERS);
}

int range_pools_refill(struct range_pools *p, uint32_t nr)
{
	int leaf = pool_reserve(&p->leaf, RANGE_INSERT_LEAVES * nr);
	int inner = pool_reserve(&p->inner, RANGE_INSERT_INNERS + RANGE_REMOVE_INNERS +
						    RANGE_SERIES_INNERS * nr);

	return leaf ? leaf : inner;
}

unsigned leaf_rank_slow(const struct range_leaf *leaf, uint64_t order, uint64_t x)
{
	unsigned rank = 0;

	while (rank < order_nr(order) && leaf_start(leaf, order_slot(order, rank)) <= x)
		rank++;
	return rank;
}

static void fill(const struct range_leaf *leaf, unsigned slot, struct range *out)
{
	out->start = leaf->start[slot];
	out->last = leaf->entry[slot].last;
	out->value = leaf->entry[slot].value;
}

/*
 * A leaf's ranges start in [lower, upper), but the highest of the leaf before
 * may reach into it. When the leaf has nothing at or below x, that one is it.
 * Each turn goes to strictly lower addresses.
 */
static bool at_or_below_slow(const struct range_tree *t, uint64_t x, struct range *out)
{
	for (;;) {
		struct leaf_pos pos;
		uint64_t order;
		unsigned rank;

		if (!leaf_find(t, x, &pos))
			return false;
		order = leaf_order(pos.leaf);
		rank = leaf_rank(pos.leaf, order, x);
		if (rank) {
			fill(pos.leaf, order_slot(order, rank - 1), out);
			return true;
		}
		if (!pos.lower)
			return false;
		x = pos.lower - 1;
	}
}

bool range_tree_at_or_below(const struct range_tree *t, uint64_t x, struct range *out)
{
	const struct range_leaf *leaf = leaf_at(t, x);
	uint64_t order;
	unsigned rank;

	if (!leaf)
		return false;
	order = leaf_order(leaf);
	rank = leaf_rank(leaf, order, x);
	if (unlikely(!rank))
		return at_or_below_slow(t, x, out);
	fill(leaf, order_slot(order, rank - 1), out);
	return true;
}

bool range_tree_find(const struct range_tree *t, uint64_t x, struct range *out)
{
	return range_tree_at_or_below(t, x, out) && x <= out->last;
}

static bool adjoins(const struct range_place *p, const struct range *r)
{
	const struct range_leaf *leaf = p->leaf;

	if (p->rank + 1 < order_nr(p->order) &&
	    leaf_start(leaf, order_slot(p->order, p->rank + 1)) - 1 == r->last)
		return true;
	return p->rank &&
	       leaf->entry[order_slot(p->order, p->rank - 1)].last + 1 == r->start;
}

bool range_tree_find_place(const struct range_tree *t, uint64_t x, struct range *out,
			   struct range_place *place, bool *adjoined)
{
	const struct range_leaf *leaf = leaf_at(t, x);
	unsigned rank;

	*adjoined = false;
	if (!leaf)
		return false;
	place->leaf = leaf;
	place->order = leaf_order(leaf);
	rank = leaf_rank(leaf, place->order, x);
	if (unlikely(!rank)) {
		place->leaf = NULL;
		return at_or_below_slow(t, x, out) && x <= out->last;
	}
	place->rank = rank - 1;
	fill(leaf, order_slot(place->order, rank - 1), out);
	if (x > out->last)
		return false;
	*adjoined = adjoins(place, out);
	return true;
}

bool range_place_lower(struct range_place *p, struct range *out)
{
	if (!p->rank)
		return false;
	fill(p->leaf, order_slot(p->order, --p->rank), out);
	return true;
}

bool range_place_higher(struct range_place *p, struct range *out)
{
	if (p->rank + 1 >= order_nr(p->order))
		return false;
	fill(p->leaf, order_slot(p->order, ++p->rank), out);
	return true;
}

const uint32_t *range_place_generation(const struct range_place *p, uint32_t *generation)
{
	/* Pairs with leaf_kill(): with a generation we see the order it came
	 * after, so that one of the two tells of each removal before. */
	*generation = load_acquire(&p->leaf->generation);
	if ((*generation & 1) || leaf_order(p->leaf) != p->order)
		return NULL;
	return &p->leaf->generation;
}

bool range_tree_at_or_above(const struct range_tree *t, uint64_t x, struct range *out)
{
	for (;;) {
		struct leaf_pos pos;
		uint64_t order;
		unsigned rank;

		if (!leaf_find(t, x, &pos))
			return false;
		order = leaf_order(pos.leaf);
		rank = x ? leaf_rank(pos.leaf, order, x - 1) : 0;
		if (rank < order_nr(order)) {
			fill(pos.leaf, order_slot(order, rank), out);
			return true;
		}
		if (!pos.upper)
			return false;
		x = pos.upper;
	}
}

bool range_tree_cuts(const struct range_tree *t, uint64_t start, uint64_t last)
{
	struct range r;

	if (range_tree_find(t, start, &r) && r.start < start)
		return true;
	return range_tree_find(t, last, &r) && r.last > last;
}

void range_limbo_settle(struct range_limbo *limbo, struct range_pools *pools)
{
	while (limbo->leaves) {
		struct range_leaf *leaf = limbo->leaves;

		limbo->leaves = leaf->link;
		for (; leaf->dead; leaf->dead &= (uint16_t)(leaf->dead - 1))
			store_relaxed(&leaf->start[__builtin_ctz(leaf->dead)],
				      FREE_START); /* see leaf_rank() */
		leaf->in_limbo = false;
		if (leaf->replaced)
			pool_give(&pools->leaf, leaf);
	}
	while (limbo->inners) {
		struct range_inner *inner = limbo->inners;

		limbo->inners = inner->link;
		pool_give(&pools->inner, inner);
	}
	limbo->replaced_nr = 0;
}
