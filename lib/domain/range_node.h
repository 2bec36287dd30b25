/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Inside the nodes of the range tree: the sources of range_tree.h only. */
#ifndef VIOMMU_LIB_RANGE_NODE_H
#define VIOMMU_LIB_RANGE_NODE_H

#include "domain/range_tree.h"

#define LEVELS_MASK 15ull /* of range_tree.root; nodes are aligned to more */

/* ---- the order word ---- */

/* All 15 slots appear once: those in use in order of start, then the free ones. */
#define ORDER_EMPTY 0xedcba98765432100ull

static inline unsigned order_nr(uint64_t order)
{
	return order & 15;
}

static inline unsigned order_slot(uint64_t order, unsigned rank)
{
	return (order >> (4 * rank + 4)) & 15;
}

/* The bits of the count and of the first `rank` places. */
static inline uint64_t order_below(unsigned rank)
{
	return rank == RANGE_LEAF_MAX ? ~0ull : (1ull << (4 * rank + 4)) - 1;
}

/* The first free slot moves to place `rank`, the ones behind it move up. */
static inline uint64_t order_insert(uint64_t order, unsigned rank)
{
	unsigned nr = order_nr(order);
	uint64_t slot = order_slot(order, nr);
	uint64_t low = order & order_below(rank);
	uint64_t moved = order & order_below(nr) & ~order_below(rank);
	uint64_t high = order & ~order_below(nr + 1);

	return (low | slot << (4 * rank + 4) | moved << 4 | high) + 1;
}

/* The slot at place `rank` becomes the first free one. */
static inline uint64_t order_remove(uint64_t order, unsigned rank)
{
	unsigned nr = order_nr(order);
	uint64_t slot = order_slot(order, rank);
	uint64_t low = order & order_below(rank);
	uint64_t moved = order & order_below(nr) & ~order_below(rank + 1);
	uint64_t high = order & ~order_below(nr);

	return (low | moved >> 4 | slot << (4 * nr) | high) - 1;
}

static inline uint64_t leaf_order(const struct range_leaf *leaf)
{
	/* Pairs with leaf_publish(): the slots named by the word are filled. */
	return load_acquire(&leaf->order);
}

static inline void leaf_publish(struct range_leaf *leaf, uint64_t order)
{
	/* Pairs with leaf_order(): without it a reader may see an empty slot. */
	store_release(&leaf->order, order);
}

#define FREE_START UINT64_MAX /* of a free slot, once no reader knows it otherwise */

/* Relaxed: which slots count is said by the order word, read before; the writer
 * may be filling a slot that does not. */
static inline uint64_t leaf_start(const struct range_leaf *leaf, unsigned slot)
{
	return load_relaxed(&leaf->start[slot]);
}

/* Whether the first `rank` places of the order are the ranges that start at or
 * below x. */
static inline bool rank_is(const struct range_leaf *leaf, uint64_t order, unsigned rank,
			   uint64_t x)
{
	if (rank > order_nr(order))
		return false;
	if (rank && leaf_start(leaf, order_slot(order, rank - 1)) > x)
		return false;
	return rank == order_nr(order) || leaf_start(leaf, order_slot(order, rank)) > x;
}

/* leaf_rank() when slots that are not in the order got in the way. */
unsigned leaf_rank_slow(const struct range_leaf *leaf, uint64_t order, uint64_t x);

/*
 * How many of the leaf's ranges start at or below x. Counts over all slots in
 * whatever order they are: free ones hold the highest start, so they do not
 * count, except one that is being filled or was just emptied; therefore the
 * result is checked against the order.
 */
static inline unsigned leaf_rank(const struct range_leaf *leaf, uint64_t order,
				 uint64_t x)
{
	unsigned rank = 0;

#pragma GCC unroll 15
	for (unsigned i = 0; i < RANGE_LEAF_MAX; i++)
		rank += leaf_start(leaf, i) <= x;
	return likely(rank_is(leaf, order, rank, x)) ? rank
						     : leaf_rank_slow(leaf, order, x);
}

/* ---- inner nodes ---- */

#define INNER_BLOCK 8u

/* The child that may hold a range that starts at x. Two rounds of independent
 * compares: which block of 8, then where in it. */
static inline unsigned inner_search(const struct range_inner *inner, uint64_t x)
{
	const uint64_t *key = inner->key;
	unsigned block = INNER_BLOCK *
			 ((key[INNER_BLOCK - 1] <= x) + (key[2 * INNER_BLOCK - 1] <= x) +
			  (key[3 * INNER_BLOCK - 1] <= x));
	unsigned at = block;

#pragma GCC unroll 7
	for (unsigned i = 0; i < INNER_BLOCK - 1; i++)
		at += key[block + i] <= x;
	/* x of all ones also counts the unused keys */
	return at < inner->nr ? at : inner->nr - 1;
}

static inline void *inner_child(const struct range_inner *inner, unsigned i)
{
	/* Pairs with inner_set_child(): the child's contents are there. */
	return load_acquire(&inner->child[i]);
}

static inline void inner_set_child(struct range_inner *inner, unsigned i, void *child)
{
	/* Pairs with inner_child(), see there. */
	store_release(&inner->child[i], child);
}

/* ---- descent ---- */

/* All lines of a node at once: its parts are looked at one after the other. */
static inline void fetch_inner(const void *node)
{
	for (unsigned i = 0; i < sizeof(struct range_inner); i += CACHE_LINE)
		__builtin_prefetch((const char *)node + i);
}

static inline void fetch_leaf(const void *node)
{
	for (unsigned i = 0; i < sizeof(struct range_leaf); i += CACHE_LINE)
		__builtin_prefetch((const char *)node + i);
}

static inline void fetch_node(const void *node, unsigned level)
{
	if (level)
		fetch_inner(node);
	else
		fetch_leaf(node);
}

static inline void *root_node(uintptr_t root)
{
	return (void *)(root & ~(uintptr_t)LEVELS_MASK);
}

static inline unsigned root_levels(uintptr_t root)
{
	return root & LEVELS_MASK;
}

static inline uintptr_t tree_root(const struct range_tree *t)
{
	/* Pairs with tree_set_root(): the node's contents are there. */
	return load_acquire(&t->root);
}

static inline void tree_set_root(struct range_tree *t, void *node, unsigned levels)
{
	/* Pairs with tree_root(), see there. */
	store_release(&t->root, node ? (uintptr_t)node | levels : 0);
}

/* The leaf where x belongs; NULL: the tree is empty. */
static inline const struct range_leaf *leaf_at(const struct range_tree *t, uint64_t x)
{
	uintptr_t root = tree_root(t);
	void *node = root_node(root);

	for (unsigned level = root_levels(root); level; level--) {
		const struct range_inner *inner = node;

		node = inner_child(inner, inner_search(inner, x));
		fetch_node(node, level - 1);
	}
	return node;
}

/* The same with the bounds of what starts in it. */
struct leaf_pos {
	struct range_leaf *leaf;
	uint64_t lower; /* 0: no lower bound */
	uint64_t upper; /* first start that belongs to the next leaf; 0: none does */
};

static inline bool leaf_find(const struct range_tree *t, uint64_t x, struct leaf_pos *pos)
{
	uintptr_t root = tree_root(t);
	void *node = root_node(root);

	pos->lower = pos->upper = 0;
	for (unsigned level = root_levels(root); level; level--) {
		const struct range_inner *inner = node;
		unsigned at = inner_search(inner, x);

		if (at)
			pos->lower = inner->key[at - 1];
		if (at < inner->nr - 1)
			pos->upper = inner->key[at];
		node = inner_child(inner, at);
		fetch_node(node, level - 1);
	}
	pos->leaf = node;
	return node;
}

/* ---- shared by insertion and removal ---- */

struct range_leaf *leaf_new(struct range_tree *t);
struct range_inner *inner_new(struct range_tree *t);
/* The node was replaced; readers may still be in it. */
void leaf_retire(struct range_tree *t, struct range_leaf *leaf);
void inner_retire(struct range_tree *t, struct range_inner *inner);
/* Ranges were taken out of it: after the order that says so was published. */
void leaf_lost_ranges(struct range_tree *t, struct range_leaf *leaf);
/* Appends to a node that no reader sees yet. */
void leaf_append(struct range_leaf *to, const struct range_leaf *from, unsigned first,
		 unsigned nr);
void inner_append(struct range_inner *to, uint64_t key, void *child);

#endif
