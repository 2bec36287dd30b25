/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A B+tree with leaves of 32 sorted ranges, copied whole for each change; one
 * store of a child pointer shows the copy. Inner nodes are copied when children
 * come or go. Old nodes are freed at once here: a real one would keep them until
 * readers are gone, so this flatters it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "candidates.h"

#define WIDTH  32u
#define LEVELS 10u

struct node {
	uint32_t nr;
	uint32_t level;		/* 0: leaf */
	uint64_t key[WIDTH];	/* leaf: starts; inner: lowest start of a child;
				 * all ones beyond nr */
	uint64_t value[WIDTH];	/* leaf: last; inner: child */
	uint64_t value2[WIDTH]; /* leaf: what it maps to */
};

struct copied {
	struct counted_alloc alloc;
	struct pool nodes;
	struct node *root;
};

struct path {
	struct node *node[LEVELS];
	unsigned at[LEVELS];
	unsigned nr;
};

static struct node *node_new(struct copied *t, unsigned level)
{
	struct node *node;

	if (pool_reserve(&t->nodes, 1))
		abort();
	node = pool_take(&t->nodes);
	node->nr = 0;
	node->level = level;
	memset(node->key, 0xff, sizeof(node->key));
	return node;
}

static void *create(void)
{
	struct copied *t = calloc(1, sizeof(*t));

	counted_alloc_init(&t->alloc);
	pool_init(&t->nodes, &t->alloc.ops, sizeof(struct node), 64);
	t->root = node_new(t, 0);
	return t;
}

static void destroy(void *table)
{
	struct copied *t = table;

	pool_destroy(&t->nodes);
	free(t);
}

/* How many keys are <= x: which block of 8, then where in it. */
static unsigned rank(const struct node *n, uint64_t x)
{
	unsigned at = 8 * ((n->key[7] <= x) + (n->key[15] <= x) + (n->key[23] <= x));
	const uint64_t *key = n->key + at;

#pragma GCC unroll 8
	for (unsigned i = 0; i < 8; i++)
		at += key[i] <= x;
	return at < n->nr ? at : n->nr;
}

static void fetch(const struct node *n)
{
	for (unsigned i = 0; i < 576; i += 64)
		__builtin_prefetch((const char *)n + i);
}

static struct node *walk(const struct copied *t, uint64_t x, struct path *p)
{
	struct node *node = t->root;

	p->nr = 0;
	while (node->level) {
		unsigned at = rank(node, x);

		p->node[p->nr] = node;
		p->at[p->nr++] = at ? at - 1 : 0;
		node = (struct node *)(uintptr_t)__atomic_load_n(
			&node->value[at ? at - 1 : 0], __ATOMIC_ACQUIRE);
		fetch(node);
	}
	return node;
}

static void put(struct node *n, uint64_t key, uint64_t value, uint64_t value2)
{
	n->key[n->nr] = key;
	n->value[n->nr] = value;
	n->value2[n->nr++] = value2;
}

static void copy(struct node *to, const struct node *from, unsigned first, unsigned end)
{
	unsigned nr = end - first;

	memcpy(&to->key[to->nr], &from->key[first], nr * 8);
	memcpy(&to->value[to->nr], &from->value[first], nr * 8);
	if (!from->level)
		memcpy(&to->value2[to->nr], &from->value2[first], nr * 8);
	to->nr += nr;
}

/* The child at the end of the path becomes `child`. */
static void set_child(struct copied *t, const struct path *p, unsigned depth,
		      struct node *child)
{
	if (!depth)
		__atomic_store_n(&t->root, child, __ATOMIC_RELEASE);
	else
		__atomic_store_n(&p->node[depth - 1]->value[p->at[depth - 1]],
				 (uint64_t)(uintptr_t)child, __ATOMIC_RELEASE);
}

/* `old`, with one entry put in at `at`, or two halves of that. */
static void replace_with(struct copied *t, const struct path *p, unsigned depth,
			 struct node *old, unsigned at, const uint64_t entry[3])
{
	struct node *left = node_new(t, old->level), *right;
	uint64_t up[3] = {0};

	if (old->nr < WIDTH) {
		copy(left, old, 0, at);
		put(left, entry[0], entry[1], entry[2]);
		copy(left, old, at, old->nr);
		set_child(t, p, depth, left);
		pool_give(&t->nodes, old);
		return;
	}
	right = node_new(t, old->level);
	copy(left, old, 0, at < WIDTH / 2 ? at : WIDTH / 2);
	if (at <= WIDTH / 2) {
		put(left, entry[0], entry[1], entry[2]);
		copy(left, old, at, WIDTH / 2);
		copy(right, old, WIDTH / 2, WIDTH);
	} else {
		copy(right, old, WIDTH / 2, at);
		put(right, entry[0], entry[1], entry[2]);
		copy(right, old, at, WIDTH);
	}
	pool_give(&t->nodes, old);
	up[0] = right->key[0];
	up[1] = (uintptr_t)right;
	if (depth) {
		struct node *parent = p->node[depth - 1];

		parent->value[p->at[depth - 1]] = (uintptr_t)left;
		if (left->key[0] < parent->key[p->at[depth - 1]])
			parent->key[p->at[depth - 1]] = left->key[0];
		replace_with(t, p, depth - 1, parent, p->at[depth - 1] + 1, up);
		return;
	}
	t->root = node_new(t, left->level + 1);
	put(t->root, 0, (uintptr_t)left, 0);
	put(t->root, up[0], up[1], 0);
}

static void map_range(void *table, uint64_t start, uint64_t last)
{
	struct copied *t = table;
	const uint64_t entry[3] = {start, last, 0};
	struct path p;
	struct node *leaf = walk(t, start, &p);
	unsigned at = rank(leaf, start);

	if (at && leaf->value[at - 1] >= start)
		abort();
	replace_with(t, &p, p.nr, leaf, at, entry);
}

static void take_out(struct copied *t, const struct path *p, unsigned depth,
		     struct node *old, unsigned at)
{
	struct node *node;

	if (old->nr == 1 && depth) {
		take_out(t, p, depth - 1, p->node[depth - 1], p->at[depth - 1]);
	} else {
		node = node_new(t, old->level);
		copy(node, old, 0, at);
		copy(node, old, at + 1, old->nr);
		set_child(t, p, depth, node);
	}
	pool_give(&t->nodes, old);
}

static void unmap_range(void *table, uint64_t start, uint64_t last)
{
	struct copied *t = table;
	struct path p;
	struct node *leaf = walk(t, start, &p);
	unsigned at = rank(leaf, start);

	if (!at || leaf->key[at - 1] != start || leaf->value[at - 1] != last)
		abort();
	take_out(t, &p, p.nr, leaf, at - 1);
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
	struct path p;
	struct node *leaf = walk(t, iova, &p);
	unsigned at = rank(leaf, iova);

	if (!at || leaf->value[at - 1] < iova)
		return 0;
	return iova - leaf->key[at - 1] + leaf->value2[at - 1];
}

static size_t bytes(void *t)
{
	return ((struct copied *)t)->alloc.live_len;
}

const struct candidate candidate_copied = {
	{"copied", create, destroy, map, unmap, lookup, bytes},
	map_range,
	unmap_range,
	ANY_NUMBER,
	UINT64_MAX};
