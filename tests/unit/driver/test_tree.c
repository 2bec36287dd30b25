/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The ordered set of ranges against an array of slots. */
#include <errno.h>
#include <tree.h>

#include "drv_peer.h"

#define SLOTS 4096u

struct model {
	/* owner[i]: 1 + index of the slot where the range over slot i starts */
	uint16_t owner[SLOTS], len[SLOTS];
};

static void check_find(const struct drv_tree *tree, const struct model *m, unsigned at)
{
	const struct drv_range *range = drv_tree_find(tree, at * 16 + 3);
	unsigned i = at;

	while (i < SLOTS && !m->owner[i])
		i++;
	if (i == SLOTS) {
		assert_null(range);
		return;
	}
	assert_non_null(range);
	i = m->owner[i] - 1u;
	assert_int_equal(range->start, i * 16);
	assert_int_equal(range->last, i * 16 + m->len[i] * 16 - 1);
	assert_int_equal(range->pa, i);
}

static void insert(struct drv_tree *tree, struct model *m, unsigned at, unsigned len)
{
	struct drv_range range = {
		.start = at * 16, .last = (at + len) * 16 - 1, .pa = at};
	bool free = true;

	for (unsigned i = at; i < at + len; i++)
		free &= !m->owner[i];
	assert_int_equal(drv_tree_insert(tree, &range), free ? 0 : -EEXIST);
	if (!free)
		return;
	for (unsigned i = at; i < at + len; i++)
		m->owner[i] = (uint16_t)(at + 1);
	m->len[at] = (uint16_t)len;
}

static void remove_range(struct drv_tree *tree, struct model *m, unsigned at,
			 unsigned len)
{
	unsigned end = at + len - 1, removed = 0, last = 0;
	bool cuts =
		(m->owner[at] && m->owner[at] - 1u < at) ||
		(m->owner[end] && end + 1 < SLOTS && m->owner[end + 1] == m->owner[end]);
	uint64_t got;

	assert_int_equal(drv_tree_cuts(tree, at * 16, end * 16 + 15), cuts);
	if (cuts)
		return;
	for (unsigned i = at; i <= end; i++) {
		if (m->owner[i]) {
			removed += m->owner[i] == i + 1;
			last = i * 16 + 15;
		}
		m->owner[i] = 0;
	}
	assert_int_equal(drv_tree_remove(tree, at * 16, end * 16 + 15, &got), removed);
	if (removed)
		assert_int_equal(got, last);
}

static void random_operations(void **state)
{
	struct rng rng = rng_init(test_seed());
	struct peer *peer = peer_create();
	static struct model m;
	struct drv_tree tree;

	(void)state;
	drv_tree_init(&tree, &peer->platform, peer);
	for (unsigned step = 0; step < 200000; step++) {
		/* Fills up and empties in turns. */
		unsigned grow = step / 20000 % 2 ? 20 : 80;
		unsigned at = (unsigned)rng_below(&rng, SLOTS - 64);
		unsigned len =
			1 + (unsigned)rng_below(&rng, rng_chance(&rng, 95) ? 4 : 64);

		if (rng_chance(&rng, grow))
			insert(&tree, &m, at, len);
		else
			remove_range(&tree, &m, at, len);
		check_find(&tree, &m, (unsigned)rng_below(&rng, SLOTS));
	}
	drv_tree_remove(&tree, 0, UINT64_MAX, NULL);
	assert_int_equal(tree.nr, 0);
	assert_null(drv_tree_find(&tree, 0));
	drv_tree_fini(&tree);
	peer_destroy(peer);
}

/* A node's key stays when its first range goes: what is put there later is
 * found all the same. */
static void range_over_an_old_key(void **state)
{
	struct peer *peer = peer_create();
	struct drv_tree tree;

	(void)state;
	drv_tree_init(&tree, &peer->platform, peer);
	for (uint64_t i = 0; i < 200; i++) {
		struct drv_range range = {.start = i * 16, .last = i * 16 + 15};

		assert_int_equal(drv_tree_insert(&tree, &range), 0);
	}
	for (uint64_t at = 0; at < 198; at++) {
		struct drv_range range = {.start = at * 16 + 8, .last = at * 16 + 23};

		drv_tree_remove(&tree, at * 16, at * 16 + 31, NULL);
		assert_int_equal(drv_tree_insert(&tree, &range), 0);
		for (uint64_t a = range.start; a <= range.last; a++)
			assert_int_equal(drv_tree_find(&tree, a)->start, range.start);
		drv_tree_remove(&tree, range.start, range.last, NULL);
		for (uint64_t i = at; i < at + 2; i++) {
			range = (struct drv_range){.start = i * 16, .last = i * 16 + 15};
			assert_int_equal(drv_tree_insert(&tree, &range), 0);
		}
	}
	drv_tree_fini(&tree);
	peer_destroy(peer);
}

static void ends_of_the_address_space(void **state)
{
	struct drv_range low = {.start = 0, .last = 0},
			 high = {.start = 1, .last = UINT64_MAX};
	struct peer *peer = peer_create();
	struct drv_tree tree;

	(void)state;
	drv_tree_init(&tree, &peer->platform, peer);
	assert_int_equal(drv_tree_insert(&tree, &high), 0);
	assert_int_equal(drv_tree_insert(&tree, &low), 0);
	assert_int_equal(drv_tree_insert(&tree, &low), -EEXIST);
	assert_int_equal(drv_tree_find(&tree, UINT64_MAX)->start, 1);
	assert_int_equal(drv_tree_find(&tree, 0)->start, 0);
	assert_true(drv_tree_cuts(&tree, 5, UINT64_MAX));
	assert_int_equal(drv_tree_remove(&tree, 0, UINT64_MAX, NULL), 2);
	assert_int_equal(drv_tree_unite(&tree, 5, 9), 0);
	assert_int_equal(drv_tree_unite(&tree, 8, 20), 0);
	assert_int_equal(drv_tree_unite(&tree, 1, 6), 0);
	assert_int_equal(tree.nr, 1);
	assert_int_equal(drv_tree_find(&tree, 3)->last, 20);
	drv_tree_fini(&tree);
	peer_destroy(peer);
}

static void without_memory(void **state)
{
	struct drv_range range = {.start = 0, .last = 15};
	struct peer *peer = peer_create();
	struct drv_tree tree;
	uint64_t nr = 0;
	int r = 0;

	(void)state;
	drv_tree_init(&tree, &peer->platform, peer);
	peer->fail_alloc = 4;
	while (!(r = drv_tree_insert(&tree, &range))) {
		range.start += 32;
		range.last += 32;
		nr++;
	}
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(tree.nr, nr);
	assert_int_equal(drv_tree_insert(&tree, &range), 0);
	drv_tree_fini(&tree);
	peer_destroy(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
		cmocka_unit_test(range_over_an_old_key),
		cmocka_unit_test(ends_of_the_address_space),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
