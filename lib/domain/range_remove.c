/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Removal. Never fails: what it must have was reserved at insertion. */
#include "domain/range_node.h"

/* A leaf or inner node with this many entries or fewer is merged with one
 * beside it, if both together then fill about two thirds of a node. */
#define SMALL	     3u
#define LEAF_MERGED  10u
#define INNER_MERGED 20u

/* Takes out rank `first` and those behind it up to `last`. */
static uint32_t leaf_take_out(struct range_tree *t, struct range_leaf *leaf,
			      unsigned first, uint64_t last)
{
	uint64_t order = leaf->order;
	uint32_t removed = 0;

	while (first < order_nr(order)) {
		unsigned slot = order_slot(order, first);

		if (leaf->start[slot] > last)
			break;
		leaf->dead |= (uint16_t)(1u << slot);
		order = order_remove(order, first);
		removed++;
	}
	if (removed) {
		leaf_publish(leaf, order);
		leaf_lost_ranges(t, leaf);
	}
	return removed;
}

struct prune {
	struct range_tree *t;
	uint64_t start, last;
	uint32_t removed;
};

static unsigned first_rank(const struct range_leaf *leaf, uint64_t start)
{
	return start ? leaf_rank(leaf, leaf->order, start - 1) : 0;
}

/* NULL when nothing is left of it. */
static void *prune_leaf(struct prune *p, struct range_leaf *leaf)
{
	p->removed += leaf_take_out(p->t, leaf, first_rank(leaf, p->start), p->last);
	if (order_nr(leaf->order))
		return leaf;
	leaf_retire(p->t, leaf);
	return NULL;
}

/* The children of an inner node while it is being worked on. */
struct family {
	unsigned nr;
	void *child[RANGE_INNER_MAX];
	uint64_t key[RANGE_INNER_MAX]; /* lowest start in the child of that index */
};

static unsigned weight(const void *node, unsigned level)
{
	return level ? ((const struct range_inner *)node)->nr
		     : order_nr(((const struct range_leaf *)node)->order);
}

static void *merge_leaves(struct range_tree *t, struct range_leaf *a,
			  struct range_leaf *b)
{
	struct range_leaf *leaf = leaf_new(t);

	leaf_append(leaf, a, 0, order_nr(a->order));
	leaf_append(leaf, b, 0, order_nr(b->order));
	leaf_retire(t, a);
	leaf_retire(t, b);
	return leaf;
}

static void *merge_inners(struct range_tree *t, struct range_inner *a,
			  struct range_inner *b, uint64_t key)
{
	struct range_inner *inner = inner_new(t);

	for (unsigned i = 0; i < a->nr; i++)
		inner_append(inner, i ? a->key[i - 1] : 0, a->child[i]);
	for (unsigned i = 0; i < b->nr; i++)
		inner_append(inner, i ? b->key[i - 1] : key, b->child[i]);
	inner_retire(t, a);
	inner_retire(t, b);
	return inner;
}

/* Whether children i and i + 1 should be one, and nodes can be had for it
 * without touching what the removal itself must have. */
static bool should_merge(const struct range_tree *t, const struct family *f, unsigned i,
			 unsigned level)
{
	unsigned a = weight(f->child[i], level), b = weight(f->child[i + 1], level);

	if ((a > SMALL && b > SMALL) || a + b > (level ? INNER_MERGED : LEAF_MERGED))
		return false;
	return t->pools->inner.free_nr > RANGE_REMOVE_INNERS && t->pools->leaf.free_nr;
}

/* Children around `at` have lost ranges: merges those that became small. */
static void merge_small(struct range_tree *t, struct family *f, unsigned at,
			unsigned level)
{
	unsigned i = at ? at - 1 : 0;

	for (unsigned tries = 0; tries < 3 && i + 1 < f->nr; tries++) {
		if (!should_merge(t, f, i, level)) {
			i++;
			continue;
		}
		f->child[i] = level ? merge_inners(t, f->child[i], f->child[i + 1],
						   f->key[i + 1])
				    : merge_leaves(t, f->child[i], f->child[i + 1]);
		f->nr--;
		for (unsigned j = i + 1; j < f->nr; j++) {
			f->child[j] = f->child[j + 1];
			f->key[j] = f->key[j + 1];
		}
	}
}

static struct range_inner *inner_from(struct range_tree *t, const struct family *f)
{
	struct range_inner *inner = inner_new(t);

	for (unsigned i = 0; i < f->nr; i++)
		inner_append(inner, f->key[i], f->child[i]);
	return inner;
}

static void *prune_node(struct prune *p, void *node, unsigned level);

/* The children that remain, pruned. */
static void prune_children(struct prune *p, struct range_inner *inner, unsigned level,
			   struct family *f)
{
	unsigned first = inner_search(inner, p->start);
	unsigned end = inner_search(inner, p->last) + 1;

	f->nr = 0;
	for (unsigned i = 0; i < inner->nr; i++) {
		void *child = inner->child[i];

		if (i >= first && i < end)
			child = prune_node(p, child, level - 1);
		if (!child)
			continue;
		f->child[f->nr] = child;
		f->key[f->nr++] = i ? inner->key[i - 1] : 0;
	}
	merge_small(p->t, f, first < f->nr ? first : f->nr, level - 1);
}

/* The node, changed in place, or a new one, or NULL when nothing is left. */
static void *prune_inner(struct prune *p, struct range_inner *inner, unsigned level)
{
	struct family f;

	prune_children(p, inner, level, &f);
	if (f.nr == inner->nr) {
		for (unsigned i = 0; i < f.nr; i++)
			if (f.child[i] != inner->child[i])
				inner_set_child(inner, i, f.child[i]);
		return inner;
	}
	inner_retire(p->t, inner);
	return f.nr ? inner_from(p->t, &f) : NULL;
}

/* Depth is bounded by RANGE_LEVELS_MAX. */
static void *prune_node(struct prune *p, void *node, unsigned level)
{
	return level ? prune_inner(p, node, level) : prune_leaf(p, node);
}

static void prune_root(struct prune *p)
{
	unsigned levels = root_levels(p->t->root);
	void *node = prune_node(p, root_node(p->t->root), levels);

	while (node && levels && ((struct range_inner *)node)->nr == 1) {
		struct range_inner *old = node;

		node = old->child[0];
		levels--;
		inner_retire(p->t, old);
	}
	tree_set_root(p->t, node, levels);
}

void *range_tree_remove_one(struct range_tree *t, uint64_t start, uint64_t last)
{
	struct range_leaf *leaf = (struct range_leaf *)leaf_at(t, start);
	unsigned rank, slot;

	if (!leaf)
		return NULL;
	rank = leaf_rank(leaf, leaf->order, start);
	if (!rank || order_nr(leaf->order) <= SMALL + 1)
		return NULL;
	slot = order_slot(leaf->order, rank - 1);
	if (leaf->start[slot] != start || leaf->entry[slot].last != last)
		return NULL;
	leaf->dead |= (uint16_t)(1u << slot);
	leaf_publish(leaf, order_remove(leaf->order, rank - 1));
	leaf_lost_ranges(t, leaf);
	return leaf->entry[slot].value;
}

uint32_t range_tree_remove(struct range_tree *t, uint64_t start, uint64_t last)
{
	struct prune p = {t, start, last, 0};

	if (t->root)
		prune_root(&p);
	return p.removed;
}
