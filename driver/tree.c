/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "tree.h"

#include "base/compiler.h"
#include "base/err.h"

/* 32 * 15 and 16 * 31, each with a header, in 512 bytes. */
#define LEAF_NR	   15u
#define INNER_NR   31u
#define CHUNK_NR   15u /* nodes; with its header just under 8 KiB */
#define DEPTH_MAX  12u
#define NODE_ALIGN 64u

struct drv_node {
	uint32_t nr; /* entries in use */
	uint32_t unused;
	union {
		struct drv_range range[LEAF_NR];
		struct {
			/* Every range below child[i] starts at or after key[i],
			 * for i > 0; what is below key[1] goes to child[0]. */
			uint64_t key[INNER_NR];
			struct drv_node *child[INNER_NR];
		};
		struct drv_node *next; /* on the free list */
	};
};

struct drv_chunk {
	struct drv_chunk *next;
	struct drv_node node[CHUNK_NR] __attribute__((aligned(NODE_ALIGN)));
};

/* From the root (level 0) to a leaf, with the place taken at each level. */
struct path {
	struct drv_node *node[DEPTH_MAX];
	unsigned slot[DEPTH_MAX];
};

void drv_tree_init(struct drv_tree *tree, const struct viommu_drv_platform *platform,
		   void *opaque)
{
	*tree = (struct drv_tree){.platform = platform, .opaque = opaque};
}

void drv_tree_fini(struct drv_tree *tree)
{
	while (tree->chunks) {
		struct drv_chunk *chunk = tree->chunks;

		tree->chunks = chunk->next;
		tree->platform->free(tree->opaque, chunk, sizeof(*chunk));
	}
	drv_tree_init(tree, tree->platform, tree->opaque);
}

static void put_node(struct drv_tree *tree, struct drv_node *node)
{
	node->next = tree->free;
	tree->free = node;
	tree->free_nr++;
}

static struct drv_node *take_node(struct drv_tree *tree)
{
	struct drv_node *node = tree->free;

	tree->free = node->next;
	tree->free_nr--;
	node->nr = 0;
	return node;
}

/* Makes sure an insertion finds a node for each level, and one for a new root. */
int drv_tree_reserve(struct drv_tree *tree)
{
	struct drv_chunk *chunk;

	if (likely(tree->free_nr > tree->depth + 1))
		return 0;
	if (tree->depth >= DEPTH_MAX - 1)
		return err(ENOMEM, "tree too deep");
	chunk = tree->platform->alloc(tree->opaque, sizeof(*chunk), NODE_ALIGN);
	if (!chunk)
		return err(ENOMEM, "tree nodes");
	chunk->next = tree->chunks;
	tree->chunks = chunk;
	for (unsigned i = 0; i < CHUNK_NR; i++)
		put_node(tree, &chunk->node[i]);
	return 0;
}

/* The child that holds addr: the last one whose key is not above it. */
static unsigned inner_slot(const struct drv_node *node, uint64_t addr)
{
	unsigned low = 0, high = node->nr - 1;

	while (low < high) {
		unsigned mid = (low + high + 1) / 2;

		if (node->key[mid] <= addr)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

/* The first range of a leaf with last >= addr; nr if there is none. */
static unsigned leaf_slot(const struct drv_node *leaf, uint64_t addr)
{
	unsigned low = 0, high = leaf->nr;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (leaf->range[mid].last >= addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* The leaf where addr belongs; the tree is not empty. */
static struct drv_node *descend(const struct drv_tree *tree, uint64_t addr,
				struct path *path)
{
	struct drv_node *node = tree->root;

	for (unsigned level = 0; level + 1 < tree->depth; level++) {
		path->node[level] = node;
		path->slot[level] = inner_slot(node, addr);
		node = node->child[path->slot[level]];
	}
	path->node[tree->depth - 1] = node;
	return node;
}

/* Moves the path on to the next leaf; NULL at the end. */
static struct drv_node *next_leaf(const struct drv_tree *tree, struct path *path)
{
	unsigned level = tree->depth - 1;

	while (level > 0) {
		struct drv_node *up = path->node[--level];

		if (path->slot[level] + 1 >= up->nr)
			continue;
		path->slot[level]++;
		for (; level + 1 < tree->depth; level++) {
			path->node[level + 1] =
				path->node[level]->child[path->slot[level]];
			path->slot[level + 1] = 0;
		}
		return path->node[level];
	}
	return NULL;
}

/* The last range before the path's leaf, or NULL. */
static struct drv_range *range_before(const struct drv_tree *tree,
				      const struct path *path)
{
	unsigned level = tree->depth - 1;

	while (level > 0) {
		struct drv_node *node = path->node[--level];

		if (!path->slot[level])
			continue;
		node = node->child[path->slot[level] - 1];
		for (; level + 2 < tree->depth; level++)
			node = node->child[node->nr - 1];
		return &node->range[node->nr - 1];
	}
	return NULL;
}

/* drv_tree_find() from the place where addr belongs. */
static struct drv_range *find_at(const struct drv_tree *tree, const struct path *path,
				 struct drv_node *leaf, unsigned slot, uint64_t addr)
{
	/* A key stays when its first range goes, and a range that was added
	 * before it may reach past it. */
	struct drv_range *before = slot ? NULL : range_before(tree, path);
	struct path next;

	if (before && before->last >= addr)
		return before;
	if (slot < leaf->nr)
		return &leaf->range[slot];
	next = *path;
	leaf = next_leaf(tree, &next);
	return leaf ? &leaf->range[0] : NULL;
}

struct drv_range *drv_tree_find(const struct drv_tree *tree, uint64_t addr)
{
	struct path path;
	struct drv_node *leaf;

	if (!tree->root)
		return NULL;
	leaf = descend(tree, addr, &path);
	return find_at(tree, &path, leaf, leaf_slot(leaf, addr), addr);
}

bool drv_tree_cuts(const struct drv_tree *tree, uint64_t start, uint64_t last)
{
	const struct drv_range *range = drv_tree_find(tree, start);

	if (!range || range->start > last)
		return false;
	if (range->start < start)
		return true;
	if (range->last > last)
		return true;
	range = drv_tree_find(tree, last);
	return range && range->start <= last && range->last > last;
}

static void leaf_insert(struct drv_node *leaf, unsigned slot,
			const struct drv_range *range)
{
	for (unsigned i = leaf->nr; i > slot; i--)
		leaf->range[i] = leaf->range[i - 1];
	leaf->range[slot] = *range;
	leaf->nr++;
}

static void inner_insert(struct drv_node *node, unsigned slot, uint64_t key,
			 struct drv_node *child)
{
	for (unsigned i = node->nr; i > slot; i--) {
		node->key[i] = node->key[i - 1];
		node->child[i] = node->child[i - 1];
	}
	node->key[slot] = key;
	node->child[slot] = child;
	node->nr++;
}

/* Splits a full leaf; at its end if the new range comes last, because ranges
 * are often added in ascending order. Returns the right part, never empty. */
static struct drv_node *split_leaf(struct drv_tree *tree, struct drv_node *leaf,
				   unsigned slot, const struct drv_range *range)
{
	struct drv_node *right = take_node(tree);
	unsigned keep = slot == LEAF_NR ? LEAF_NR : LEAF_NR / 2;

	for (unsigned i = keep; i < LEAF_NR; i++)
		right->range[right->nr++] = leaf->range[i];
	leaf->nr = keep;
	if (slot > keep || slot == LEAF_NR)
		leaf_insert(right, slot - keep, range);
	else
		leaf_insert(leaf, slot, range);
	return right;
}

static struct drv_node *split_inner(struct drv_tree *tree, struct drv_node *node,
				    unsigned slot)
{
	struct drv_node *right = take_node(tree);
	unsigned keep = slot == INNER_NR ? INNER_NR - 1 : INNER_NR / 2;

	for (unsigned i = keep; i < INNER_NR; i++) {
		right->key[right->nr] = node->key[i];
		right->child[right->nr++] = node->child[i];
	}
	node->nr = keep;
	return right;
}

static void grow_root(struct drv_tree *tree, uint64_t key, struct drv_node *right)
{
	struct drv_node *root = take_node(tree);

	root->nr = 2;
	root->key[0] = 0;
	root->child[0] = tree->root;
	root->key[1] = key;
	root->child[1] = right;
	tree->root = root;
	tree->depth++;
}

/* Hangs a new right sibling of path's node at `level` into the tree. */
static void insert_up(struct drv_tree *tree, struct path *path, unsigned level,
		      uint64_t key, struct drv_node *right)
{
	while (level > 0) {
		struct drv_node *up = path->node[--level], *more;
		unsigned slot = path->slot[level] + 1;

		if (up->nr < INNER_NR) {
			inner_insert(up, slot, key, right);
			return;
		}
		more = split_inner(tree, up, slot);
		if (slot > up->nr)
			inner_insert(more, slot - up->nr, key, right);
		else
			inner_insert(up, slot, key, right);
		key = more->key[0];
		right = more;
	}
	grow_root(tree, key, right);
}

/* The first range of an empty tree. */
static int plant(struct drv_tree *tree, const struct drv_range *range)
{
	int r = drv_tree_reserve(tree);

	if (r)
		return r;
	tree->root = take_node(tree);
	tree->depth = 1;
	tree->nr = 1;
	leaf_insert(tree->root, 0, range);
	return 0;
}

int drv_tree_insert(struct drv_tree *tree, const struct drv_range *range)
{
	const struct drv_range *next;
	struct drv_node *leaf, *right;
	struct path path;
	unsigned slot;
	int r;

	if (!tree->root)
		return plant(tree, range);
	leaf = descend(tree, range->start, &path);
	slot = leaf_slot(leaf, range->start);
	next = find_at(tree, &path, leaf, slot, range->start);
	if (next && next->start <= range->last)
		return err(EEXIST, "overlaps a range");
	r = drv_tree_reserve(tree);
	if (r)
		return r;
	tree->nr++;
	if (likely(leaf->nr < LEAF_NR)) {
		leaf_insert(leaf, slot, range);
		return 0;
	}
	right = split_leaf(tree, leaf, slot, range);
	insert_up(tree, &path, tree->depth - 1, right->range[0].start, right);
	return 0;
}

/* Takes the empty leaf at the end of the path out of the tree. */
static void drop_leaf(struct drv_tree *tree, struct path *path)
{
	unsigned level = tree->depth - 1;

	put_node(tree, path->node[level]);
	while (level > 0) {
		struct drv_node *up = path->node[--level];

		up->nr--;
		for (unsigned i = path->slot[level]; i < up->nr; i++) {
			up->key[i] = up->key[i + 1];
			up->child[i] = up->child[i + 1];
		}
		if (up->nr)
			break;
		put_node(tree, up);
		if (!level)
			tree->root = NULL;
	}
	if (tree->depth == 1)
		tree->root = NULL;
	if (!tree->root)
		tree->depth = 0;
	while (tree->depth > 1 && tree->root->nr == 1) {
		struct drv_node *root = tree->root;

		tree->root = root->child[0];
		tree->depth--;
		put_node(tree, root);
	}
}

/* Removes the ranges of a leaf that start in [start, last]. */
static unsigned leaf_remove(struct drv_node *leaf, uint64_t start, uint64_t last,
			    uint64_t *end)
{
	unsigned from = leaf_slot(leaf, start), to = from;

	for (; to < leaf->nr && leaf->range[to].start <= last; to++)
		*end = leaf->range[to].last;
	for (unsigned i = to; i < leaf->nr; i++)
		leaf->range[from + i - to] = leaf->range[i];
	leaf->nr -= to - from;
	return to - from;
}

uint64_t drv_tree_remove(struct drv_tree *tree, uint64_t start, uint64_t last,
			 uint64_t *end)
{
	uint64_t removed = 0, at = start;

	while (tree->root) {
		struct path path;
		struct drv_node *leaf = descend(tree, start, &path);
		unsigned nr;

		if (leaf_slot(leaf, start) == leaf->nr)
			leaf = next_leaf(tree, &path);
		nr = leaf ? leaf_remove(leaf, start, last, &at) : 0;
		if (!nr)
			break;
		removed += nr;
		if (!leaf->nr)
			drop_leaf(tree, &path);
		else if (leaf->range[leaf->nr - 1].start > last)
			break; /* the rest is past the end */
	}
	tree->nr -= removed;
	if (end)
		*end = at;
	return removed;
}

int drv_tree_unite(struct drv_tree *tree, uint64_t start, uint64_t last)
{
	struct drv_range all = {.start = start, .last = last};
	const struct drv_range *range;
	int r = drv_tree_reserve(tree);

	if (r)
		return r;
	range = drv_tree_find(tree, start);
	if (range && range->start < all.start)
		all.start = range->start;
	range = drv_tree_find(tree, last);
	if (range && range->start <= last && range->last > all.last)
		all.last = range->last;
	drv_tree_remove(tree, all.start, all.last, NULL);
	return drv_tree_insert(tree, &all);
}
