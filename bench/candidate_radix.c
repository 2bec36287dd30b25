/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * A radix tree like a page table: four levels of 512 entries over 48 bits, an
 * entry for each page or, where a mapping covers all an entry stands for, one
 * large entry. An update is one store an entry, so readers need nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "candidates.h"

#define BITS   9u
#define FAN    (1u << BITS)
#define LEVELS 4u
#define LEAF   1ull /* entry: low bit set: a mapping; else a node */

struct node {
	uint64_t entry[FAN];
	uint32_t used;
};

struct radix {
	struct counted_alloc alloc;
	struct pool nodes;
	struct node *root;
};

static struct node *node_new(struct radix *r)
{
	struct node *node;

	if (pool_reserve(&r->nodes, 1))
		abort();
	node = pool_take(&r->nodes);
	memset(node, 0, sizeof(*node));
	return node;
}

static void *create(void)
{
	struct radix *r = calloc(1, sizeof(*r));

	counted_alloc_init(&r->alloc);
	pool_init(&r->nodes, &r->alloc.ops, sizeof(struct node), 64);
	r->root = node_new(r);
	return r;
}

static void destroy(void *t)
{
	struct radix *r = t;

	pool_destroy(&r->nodes);
	free(r);
}

static unsigned shift_of(unsigned level)
{
	return PAGE_LG2 + BITS * level;
}

/* Sets (value) or clears (0) what [first, last] covers below a node that starts
 * at `base`. */
static void fill(struct radix *r, struct node *node, unsigned level, uint64_t base,
		 uint64_t first, uint64_t last, uint64_t value)
{
	uint64_t len = 1ull << shift_of(level);
	unsigned i = first > base ? (unsigned)((first - base) >> shift_of(level)) : 0;

	for (; i < FAN && base + i * len <= last; i++) {
		uint64_t start = base + i * len, *entry = &node->entry[i];

		if (first <= start && last >= start + len - 1) {
			node->used += !*entry;
			node->used -= !value;
			__atomic_store_n(entry, value, __ATOMIC_RELEASE);
			continue;
		}
		if (!*entry) {
			*entry = (uintptr_t)node_new(r);
			node->used++;
		}
		fill(r, (struct node *)(uintptr_t)*entry, level - 1, start, first, last,
		     value);
		if (!((struct node *)(uintptr_t)*entry)->used) {
			pool_give(&r->nodes, (void *)(uintptr_t)*entry);
			*entry = 0;
			node->used--;
		}
	}
}

static void map_range(void *t, uint64_t start, uint64_t last)
{
	struct radix *r = t;

	fill(r, r->root, LEVELS - 1, 0, start, last, start | LEAF);
}

static void unmap_range(void *t, uint64_t start, uint64_t last)
{
	struct radix *r = t;

	fill(r, r->root, LEVELS - 1, 0, start, last, 0);
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
	const struct radix *r = t;
	const struct node *node = r->root;

	for (unsigned level = LEVELS; level--;) {
		uint64_t entry = __atomic_load_n(
			&node->entry[(iova >> shift_of(level)) & (FAN - 1)],
			__ATOMIC_ACQUIRE);

		if (entry & LEAF || !entry)
			return entry;
		node = (const struct node *)(uintptr_t)entry;
	}
	return 0;
}

static size_t bytes(void *t)
{
	return ((struct radix *)t)->alloc.live_len;
}

const struct candidate candidate_radix = {
	{"radix", create, destroy, map, unmap, lookup, bytes},
	map_range,
	unmap_range,
	{~0u, ~0u, 70000},
	(1ull << 48) - 1};
