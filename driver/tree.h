/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * An ordered set of disjoint closed ranges: the mappings of a domain, the free
 * addresses of an allocator. A B+ tree of 512-byte nodes from a pool that grows
 * by chunks and never on removal; nodes are freed when they are empty, not
 * rebalanced. The user serialises.
 */
#ifndef VIOMMU_DRV_TREE_H
#define VIOMMU_DRV_TREE_H

#include "viommu_drv.h"

struct drv_range {
	uint64_t start, last; /* the key; ranges never overlap */
	uint64_t pa;	      /* the user's: physical address of start */
	uint32_t flags;	      /* the user's: VIOMMU_DRV_* */
	uint32_t unused;
};

struct drv_node;
struct drv_chunk;

struct drv_tree {
	const struct viommu_drv_platform *platform; /* where nodes come from */
	void *opaque;
	struct drv_node *root; /* NULL: empty */
	unsigned depth;	       /* levels, 0: empty */
	uint64_t nr;	       /* ranges in the tree */
	struct drv_node *free; /* nodes not in use */
	unsigned free_nr;
	struct drv_chunk *chunks; /* memory of all nodes */
};

void drv_tree_init(struct drv_tree *tree, const struct viommu_drv_platform *platform,
		   void *opaque);
/* Gives all memory back; the tree is empty. */
void drv_tree_fini(struct drv_tree *tree);

/* 0; -EEXIST: overlaps a range; -ENOMEM. Nothing changed on failure. */
int drv_tree_insert(struct drv_tree *tree, const struct drv_range *range);

/* Memory for one more range, so that the next insertion cannot want any. */
int drv_tree_reserve(struct drv_tree *tree);

/* The first range with last >= addr, or NULL. Good until the next change. The
 * caller may move its ends: inwards, or `last` outwards up to the next range. */
struct drv_range *drv_tree_find(const struct drv_tree *tree, uint64_t addr);

/* Whether [start, last] would cut a range in two. */
bool drv_tree_cuts(const struct drv_tree *tree, uint64_t start, uint64_t last);

/* Removes all ranges inside [start, last], which must not cut any. Result: how
 * many there were; if any, *end is the last one's end (NULL: not wanted). */
uint64_t drv_tree_remove(struct drv_tree *tree, uint64_t start, uint64_t last,
			 uint64_t *end);

/* Makes [start, last] part of the set, one with all that it overlaps. */
int drv_tree_unite(struct drv_tree *tree, uint64_t start, uint64_t last);

#endif
