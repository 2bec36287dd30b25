/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Insertion. Nodes come from the pools, where a reserve was made. */
#include <string.h>

#include "base/err.h"
#include "domain/range_node.h"

struct range_leaf *leaf_new(struct range_tree *t)
{
	struct range_leaf *leaf = pool_take(&t->pools->leaf);

	leaf->order = ORDER_EMPTY;
	for (unsigned i = 0; i < RANGE_LEAF_MAX; i++)
		store_relaxed(&leaf->start[i], FREE_START); /* see leaf_rank() */
	leaf->link = NULL;
	leaf->dead = 0;
	leaf->in_limbo = false;
	leaf->replaced = false;
	/* Relaxed: who still compares it with that of an earlier life finds
	 * another one, whichever. */
	store_relaxed(&leaf->generation, (leaf->generation + 1) & ~1u);
	return leaf;
}

struct range_inner *inner_new(struct range_tree *t)
{
	struct range_inner *inner = pool_take(&t->pools->inner);

	inner->nr = 0;
	inner->link = NULL;
	memset(inner->key, 0xff, sizeof(inner->key));
	return inner;
}

/* Who relied on all ranges of the leaf staying there no longer may. */
static void leaf_kill(struct range_tree *t, struct range_leaf *leaf, uint32_t generation)
{
	/* Pairs with range_place_generation(), see there. */
	store_release(&leaf->generation, generation);
	if (unlikely(generation >= UINT32_MAX - 1))
		t->pools->wrapped = true;
}

static void leaf_to_limbo(struct range_tree *t, struct range_leaf *leaf)
{
	if (leaf->in_limbo)
		return;
	leaf->in_limbo = true;
	leaf->link = t->limbo.leaves;
	t->limbo.leaves = leaf;
}

void leaf_lost_ranges(struct range_tree *t, struct range_leaf *leaf)
{
	leaf_kill(t, leaf, leaf->generation + 2);
	leaf_to_limbo(t, leaf);
}

/* What is taken out of the ranges' new leaf does not show here: odd for good. */
void leaf_retire(struct range_tree *t, struct range_leaf *leaf)
{
	leaf_kill(t, leaf, leaf->generation | 1);
	leaf_to_limbo(t, leaf);
	leaf->replaced = true;
	t->limbo.replaced_nr++;
}

void inner_retire(struct range_tree *t, struct range_inner *inner)
{
	inner->link = t->limbo.inners;
	t->limbo.inners = inner;
	t->limbo.replaced_nr++;
}

static void leaf_put(struct range_leaf *leaf, unsigned rank, const struct range *r)
{
	uint64_t order = leaf->order;
	unsigned slot = order_slot(order, order_nr(order));

	/* Relaxed: leaf_rank() may look at the free slot meanwhile. */
	store_relaxed(&leaf->start[slot], r->start);
	leaf->entry[slot].last = r->last;
	leaf->entry[slot].value = r->value;
	leaf_publish(leaf, order_insert(order, rank));
}

void leaf_append(struct range_leaf *to, const struct range_leaf *from, unsigned first,
		 unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++) {
		unsigned slot = order_slot(from->order, i);
		struct range r = {from->start[slot], from->entry[slot].last,
				  from->entry[slot].value};

		leaf_put(to, order_nr(to->order), &r);
	}
}

void inner_append(struct range_inner *to, uint64_t key, void *child)
{
	if (to->nr)
		to->key[to->nr - 1] = key;
	to->child[to->nr++] = child;
}

/* The way from the root to a leaf. */
struct path {
	struct range_inner *inner[RANGE_LEVELS_MAX + 1]; /* [1]: above the leaf */
	unsigned at[RANGE_LEVELS_MAX + 1];
	unsigned levels;
	struct leaf_pos pos;
};

static bool walk(const struct range_tree *t, uint64_t x, struct path *p)
{
	void *node = root_node(t->root);

	p->levels = root_levels(t->root);
	p->pos.lower = p->pos.upper = 0;
	for (unsigned level = p->levels; level; level--) {
		struct range_inner *inner = node;
		unsigned at = inner_search(inner, x);

		p->inner[level] = inner;
		p->at[level] = at;
		if (at)
			p->pos.lower = inner->key[at - 1];
		if (at < inner->nr - 1)
			p->pos.upper = inner->key[at];
		node = inner->child[at];
		fetch_node(node, level - 1);
	}
	p->pos.leaf = node;
	return node;
}

/* What takes the place of a node: left alone, or two with a separator. */
struct graft {
	void *left, *right; /* right may be NULL */
	uint64_t key;
};

/* How many of 16 go to the left half. A stream of rising or falling addresses
 * must leave full nodes behind it, not half empty ones. */
static unsigned leaf_share(unsigned rank, const struct leaf_pos *pos)
{
	if (rank == RANGE_LEAF_MAX)
		return pos->upper ? 12 : RANGE_LEAF_MAX;
	if (rank == 0)
		return pos->lower ? 4 : 1;
	return (RANGE_LEAF_MAX + 1) / 2;
}

static struct graft leaf_split(struct range_tree *t, const struct leaf_pos *pos,
			       unsigned rank, const struct range *r)
{
	struct range_leaf *old = pos->leaf, *left = leaf_new(t), *right = leaf_new(t);
	unsigned share = leaf_share(rank, pos);
	/* the new range is one of the left half's */
	unsigned kept = rank < share ? share - 1 : share;

	leaf_append(left, old, 0, kept);
	leaf_append(right, old, kept, RANGE_LEAF_MAX - kept);
	if (rank < share)
		leaf_put(left, rank, r);
	else
		leaf_put(right, rank - share, r);
	leaf_retire(t, old);
	return (struct graft){left, right, right->start[order_slot(right->order, 0)]};
}

/* A copy of children [first, first + nr) of a node with one child more. */
struct widened {
	void *child[RANGE_INNER_MAX + 1];
	uint64_t key[RANGE_INNER_MAX + 1]; /* key[i]: lowest start in child[i] */
};

static void widen(const struct range_inner *old, unsigned at, const struct graft *g,
		  struct widened *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < old->nr; i++) {
		w->key[n] = i ? old->key[i - 1] : 0;
		w->child[n++] = i == at ? g->left : old->child[i];
		if (i == at) {
			w->key[n] = g->key;
			w->child[n++] = g->right;
		}
	}
}

static struct range_inner *inner_from(struct range_tree *t, const struct widened *w,
				      unsigned first, unsigned nr)
{
	struct range_inner *inner = inner_new(t);

	for (unsigned i = first; i < first + nr; i++)
		inner_append(inner, w->key[i], w->child[i]);
	return inner;
}

/* As leaf_share(), of nr children where the new one is number `at`. */
static unsigned inner_share(unsigned at, unsigned nr, bool has_lower, bool has_upper)
{
	if (at == nr - 1 && !has_upper)
		return nr - 2;
	if (at <= 1 && !has_lower)
		return 2;
	return nr / 2;
}

static struct graft inner_graft(struct range_tree *t, const struct path *p,
				unsigned level, const struct graft *g)
{
	struct range_inner *old = p->inner[level];
	unsigned at = p->at[level], nr = old->nr + 1, share;
	struct widened w;

	widen(old, at, g, &w);
	inner_retire(t, old);
	if (nr <= RANGE_INNER_MAX)
		return (struct graft){inner_from(t, &w, 0, nr), NULL, 0};
	share = inner_share(at + 1, nr, p->pos.lower, p->pos.upper);
	return (struct graft){inner_from(t, &w, 0, share),
			      inner_from(t, &w, share, nr - share), w.key[share]};
}

/* Puts the graft in place of what was at the end of the path. The one store
 * that shows it to readers is the last. */
static void attach_graft(struct range_tree *t, const struct path *p, struct graft g)
{
	unsigned level = 1;

	for (; level <= p->levels && g.right; level++)
		g = inner_graft(t, p, level, &g);
	if (level <= p->levels) {
		inner_set_child(p->inner[level], p->at[level], g.left);
	} else if (g.right) {
		struct range_inner *root = inner_new(t);

		inner_append(root, 0, g.left);
		inner_append(root, g.key, g.right);
		tree_set_root(t, root, level);
	} else {
		tree_set_root(t, g.left, level - 1);
	}
}

/* Whether [start, last] meets a range; rank is start's in the leaf. */
static bool meets(const struct range_tree *t, const struct leaf_pos *pos, unsigned rank,
		  uint64_t start, uint64_t last)
{
	const struct range_leaf *leaf = pos->leaf;
	uint64_t order = leaf->order;
	struct range r;

	if (rank) {
		if (leaf->entry[order_slot(order, rank - 1)].last >= start)
			return true;
	} else if (pos->lower && range_tree_find(t, pos->lower - 1, &r) &&
		   r.last >= start) {
		return true;
	}
	if (rank < order_nr(order))
		return leaf->start[order_slot(order, rank)] <= last;
	return pos->upper && pos->upper <= last &&
	       range_tree_at_or_above(t, pos->upper, &r) && r.start <= last;
}

static void insert_first(struct range_tree *t, const struct range *r)
{
	struct range_leaf *leaf = leaf_new(t);

	leaf_put(leaf, 0, r);
	tree_set_root(t, leaf, 0);
}

int range_tree_insert(struct range_tree *t, uint64_t start, uint64_t last, void *value)
{
	struct range r = {start, last, value};
	struct path p;
	unsigned rank;

	if (!walk(t, start, &p)) {
		insert_first(t, &r);
		return 0;
	}
	rank = leaf_rank(p.pos.leaf, p.pos.leaf->order, start);
	if (meets(t, &p.pos, rank, start, last))
		return err(EEXIST, "the range meets another");
	if (likely(order_nr(p.pos.leaf->order) < RANGE_LEAF_MAX))
		leaf_put(p.pos.leaf, rank, &r);
	else
		attach_graft(t, &p, leaf_split(t, &p.pos, rank, &r));
	return 0;
}
