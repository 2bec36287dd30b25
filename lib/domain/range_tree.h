/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Disjoint closed ranges [start, last] of 64-bit numbers, each with a value, in
 * order: a B+tree whose readers never wait and never retry.
 *
 *   leaf   up to 15 ranges in slots without order; one 64-bit word (`order`)
 *          says which slots are in use and how they are sorted. An insertion
 *          fills a free slot and publishes it with one store of the word, a
 *          removal is one store of the word.
 *   inner  separators and children. Separators never change: a node that
 *          needs other ones is replaced. Child pointers are replaced in place.
 *
 * Writers are serialised by the caller. What readers might still look at is put
 * in limbo: replaced nodes, and the slots of removed ranges. The caller waits
 * until no reader is left that could have seen them and calls
 * range_tree_settle(). Between a removal and its settle nothing may be inserted
 * (a freed slot would be reused under a reader); more may be removed as long as
 * the nodes last (range_pools_can_remove()).
 */
#ifndef VIOMMU_LIB_RANGE_TREE_H
#define VIOMMU_LIB_RANGE_TREE_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/pool.h"

#define RANGE_LEAF_MAX	 15u
#define RANGE_INNER_MAX	 31u
#define RANGE_LEVELS_MAX 12u /* levels of inner nodes; far more than memory allows */

struct range_leaf {
	uint64_t order; /* low 4 bits: ranges; then 4 bits each: slots, sorted */
	uint64_t start[RANGE_LEAF_MAX];
	struct range_entry {
		uint64_t last;
		void *value;
	} entry[RANGE_LEAF_MAX];
	struct range_leaf *link; /* in limbo */
	uint16_t dead;		 /* in limbo: slots whose ranges were removed */
	bool in_limbo;
	bool replaced;	     /* in limbo: the node itself is no longer in the tree */
	uint32_t generation; /* changes when ranges are taken out and when the leaf
			      * is replaced, for good; odd: replaced */
};

struct range_inner {
	uint32_t nr;		       /* children, >= 1 */
	struct range_inner *link;      /* in limbo */
	uint64_t key[RANGE_INNER_MAX]; /* key[i]: lowest start in child[i + 1];
					* all ones from nr - 1 on */
	void *child[RANGE_INNER_MAX];
};

/* Nodes of all trees of an owner. */
struct range_pools {
	struct pool leaf, inner;
	bool wrapped; /* a leaf's generation came round; the owner clears it */
};

struct range_limbo {
	struct range_leaf *leaves;
	struct range_inner *inners;
	uint32_t replaced_nr; /* nodes that wait to be given back */
};

struct range_tree {
	uintptr_t root; /* node | levels of inner nodes above the leaves; 0: empty */
	struct range_pools *pools;
	struct range_limbo limbo;
};

/* A range of the tree. */
struct range {
	uint64_t start, last;
	void *value; /* not NULL where range_tree_remove_one() is used */
};

void range_pools_init(struct range_pools *p, const struct viommu_alloc *alloc);
void range_pools_destroy(struct range_pools *p);
/* Makes sure that one insertion and the removal after it cannot fail. 0, -ENOMEM. */
int range_pools_reserve_slow(struct range_pools *p);
/* Makes sure that nr insertions, though nothing is settled meanwhile, and the removal
 * after each find their nodes. 0, -ENOMEM: not all, or none, is there. */
int range_pools_refill(struct range_pools *p, uint32_t nr);

/* ---- readers: inside a section, or the writer ---- */

/* The range that contains x. */
bool range_tree_find(const struct range_tree *t, uint64_t x, struct range *out);
/* The range with the highest start <= x. */
bool range_tree_at_or_below(const struct range_tree *t, uint64_t x, struct range *out);
/* The range with the lowest start >= x. */
bool range_tree_at_or_above(const struct range_tree *t, uint64_t x, struct range *out);

/* Where a reader found a range: its leaf as it was then. Good while the reader's
 * section is open. */
struct range_place {
	const struct range_leaf *leaf; /* NULL: not the leaf the address belongs to */
	uint64_t order;
	unsigned rank; /* of the range in the order */
};

/* range_tree_find() that also says where, and whether a range beside it in the
 * leaf begins or ends right at it. */
bool range_tree_find_place(const struct range_tree *t, uint64_t x, struct range *out,
			   struct range_place *place, bool *adjoined);
/* The next lower and the next higher range of the leaf; false: there is none. */
bool range_place_lower(struct range_place *p, struct range *out);
bool range_place_higher(struct range_place *p, struct range *out);
/* The leaf's generation: while it is *generation, all ranges of the place are in
 * the tree. NULL: they are not now. Asked before any range beside is looked at. */
const uint32_t *range_place_generation(const struct range_place *p, uint32_t *generation);

/* ---- the writer ---- */

/*
 * 0; -EEXIST: it meets another range. The reserve must have been made:
 * range_tree_insert() itself does not fail for want of memory.
 */
int range_tree_insert(struct range_tree *t, uint64_t start, uint64_t last, void *value);

/*
 * Takes out the ranges whose start is in [start, last]. They are in limbo
 * (range_limbo_for_each()) until the settle. Returns how many.
 */
uint32_t range_tree_remove(struct range_tree *t, uint64_t start, uint64_t last);

/* The common case, faster: takes out the range that is exactly [start, last]
 * from a leaf that stays large enough. NULL: nothing was done; else its value. */
void *range_tree_remove_one(struct range_tree *t, uint64_t start, uint64_t last);

/* Whether [start, last] cuts a range, that is, contains a part of one only. */
bool range_tree_cuts(const struct range_tree *t, uint64_t start, uint64_t last);

/* Gives back what is in limbo; limbo is empty afterwards. */
void range_limbo_settle(struct range_limbo *limbo, struct range_pools *pools);
static inline void range_tree_settle(struct range_tree *t)
{
	range_limbo_settle(&t->limbo, t->pools);
}

/* Nodes one insertion may take: a leaf split, an inner split on each level. */
#define RANGE_INSERT_LEAVES 2u
#define RANGE_INSERT_INNERS (2u * RANGE_LEVELS_MAX + 1u)
/* Nodes one removal must have: a copy on each level of both of its borders. */
#define RANGE_REMOVE_INNERS (2u * RANGE_LEVELS_MAX)

/* Inner nodes that each of many insertions takes, beside the above: nearly full
 * nodes above each of the leaves that are split. A tree can be built that takes one
 * more, here and there. */
#define RANGE_SERIES_INNERS 6u

static inline int range_pools_reserve(struct range_pools *p)
{
	if (likely(p->leaf.free_nr >= RANGE_INSERT_LEAVES &&
		   p->inner.free_nr >= RANGE_INSERT_INNERS + RANGE_REMOVE_INNERS))
		return 0;
	return range_pools_reserve_slow(p);
}

/* Whether a removal has what it must have; so after each insertion's reserve. */
static inline bool range_pools_can_remove(const struct range_pools *p)
{
	return p->inner.free_nr >= RANGE_REMOVE_INNERS;
}

/* The removed ranges in limbo: leaf is a struct range_leaf *, slot an unsigned,
 * bits an unsigned for the loop's own use. Nested loops: no break. */
#define range_limbo_for_each(limbo, leaf, slot, bits)                                    \
	for ((leaf) = (limbo)->leaves; (leaf); (leaf) = (leaf)->link)                    \
		for ((bits) = (leaf)->dead;                                              \
		     (bits) && ((slot) = (unsigned)__builtin_ctz(bits), 1);              \
		     (bits) &= (bits)-1)

#endif
