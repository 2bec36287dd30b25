/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The range tree against a sorted array: random and adversarial ranges (ends of
 * the 64-bit space, adjacent, nested, huge), and its own rules after each step.
 */
#include "test.h"
#include "test_alloc.h"

#include "base/errno.h"
#include "domain/range_node.h"

#define ORACLE_MAX 6000u

struct oracle {
	struct range range[ORACLE_MAX];
	unsigned nr;
};

static unsigned oracle_at(const struct oracle *o, uint64_t x)
{
	unsigned i = 0;

	while (i < o->nr && o->range[i].start < x)
		i++;
	return i;
}

static bool oracle_meets(const struct oracle *o, uint64_t start, uint64_t last)
{
	for (unsigned i = 0; i < o->nr; i++)
		if (o->range[i].start <= last && o->range[i].last >= start)
			return true;
	return false;
}

static void oracle_insert(struct oracle *o, const struct range *r)
{
	unsigned i = oracle_at(o, r->start);

	memmove(&o->range[i + 1], &o->range[i], (o->nr - i) * sizeof(*r));
	o->range[i] = *r;
	o->nr++;
}

static unsigned oracle_remove(struct oracle *o, uint64_t start, uint64_t last)
{
	unsigned i = oracle_at(o, start), n = 0;

	while (i + n < o->nr && o->range[i + n].start <= last)
		n++;
	memmove(&o->range[i], &o->range[i + n], (o->nr - i - n) * sizeof(o->range[0]));
	o->nr -= n;
	return n;
}

static const struct range *oracle_find(const struct oracle *o, uint64_t x)
{
	for (unsigned i = 0; i < o->nr; i++)
		if (o->range[i].start <= x && o->range[i].last >= x)
			return &o->range[i];
	return NULL;
}

struct model {
	struct test_alloc alloc;
	struct range_pools pools;
	struct range_tree tree;
	struct oracle oracle;
	struct rng rng;
	unsigned shape;
	uint64_t cursor;
};

/* ---- the tree's own rules ---- */

static unsigned check_leaf(const struct range_leaf *leaf, uint64_t lower, uint64_t upper,
			   bool has_upper)
{
	unsigned seen = 0, nr = order_nr(leaf->order);

	assert_true(nr >= 1 && nr <= RANGE_LEAF_MAX);
	for (unsigned i = 0; i < RANGE_LEAF_MAX; i++)
		seen |= 1u << order_slot(leaf->order, i);
	assert_int_equal(seen, (1u << RANGE_LEAF_MAX) - 1);
	for (unsigned i = 0; i < nr; i++) {
		uint64_t start = leaf->start[order_slot(leaf->order, i)];

		assert_true(start >= lower);
		assert_true(!has_upper || start < upper);
		if (i)
			assert_true(start >
				    leaf->entry[order_slot(leaf->order, i - 1)].last);
	}
	return nr;
}

static unsigned check_node(const void *node, unsigned level, uint64_t lower,
			   uint64_t upper, bool has_upper)
{
	const struct range_inner *inner = node;
	unsigned nr = 0;

	if (!level)
		return check_leaf(node, lower, upper, has_upper);
	assert_true(inner->nr >= 1 && inner->nr <= RANGE_INNER_MAX);
	for (unsigned i = inner->nr - 1; i < RANGE_INNER_MAX; i++)
		assert_true(inner->key[i] == UINT64_MAX);
	for (unsigned i = 0; i < inner->nr; i++) {
		bool last = i == inner->nr - 1;

		nr += check_node(inner->child[i], level - 1,
				 i ? inner->key[i - 1] : lower,
				 last ? upper : inner->key[i], last ? has_upper : true);
	}
	return nr;
}

static void check_tree(struct model *m)
{
	unsigned nr = 0;

	if (m->tree.root)
		nr = check_node(root_node(m->tree.root), root_levels(m->tree.root), 0, 0,
				false);
	assert_int_equal(nr, m->oracle.nr);
}

static void same(const struct range *a, const struct range *b)
{
	assert_int_equal(a->start, b->start);
	assert_int_equal(a->last, b->last);
	assert_ptr_equal(a->value, b->value);
}

/* From where a range was found, the ranges beside it are the oracle's, as far as
 * the leaf goes. */
static void check_place(struct model *m, uint64_t x, const struct range *found)
{
	struct range_place place, lower, higher;
	const struct range *o;
	struct range r, beside;
	uint32_t generation;
	bool adjoined;

	assert_int_equal(range_tree_find_place(&m->tree, x, &r, &place, &adjoined),
			 found != NULL);
	if (!found)
		return;
	same(&r, found);
	if (adjoined)
		assert_true((found > m->oracle.range && found[-1].last + 1 == r.start) ||
			    (found + 1 < m->oracle.range + m->oracle.nr &&
			     found[1].start == r.last + 1));
	if (!place.leaf)
		return;
	assert_ptr_equal(range_place_generation(&place, &generation),
			 &place.leaf->generation);
	lower = higher = place;
	for (o = found; range_place_lower(&lower, &beside);)
		same(&beside, --o);
	for (o = found; range_place_higher(&higher, &beside);)
		same(&beside, ++o);
	assert_int_equal(lower.rank, 0);
	assert_int_equal(higher.rank, order_nr(place.order) - 1);
}

static void check_lookups(struct model *m, uint64_t x)
{
	const struct range *found = oracle_find(&m->oracle, x);
	unsigned above = oracle_at(&m->oracle, x);
	struct range r;

	assert_int_equal(range_tree_find(&m->tree, x, &r), found != NULL);
	if (found)
		same(&r, found);
	check_place(m, x, found);
	assert_int_equal(range_tree_at_or_above(&m->tree, x, &r), above < m->oracle.nr);
	if (above < m->oracle.nr)
		same(&r, &m->oracle.range[above]);
}

static void check_around(struct model *m, uint64_t x)
{
	check_lookups(m, x);
	check_lookups(m, x - 1);
	check_lookups(m, x + 1);
	check_lookups(m, rng_next(&m->rng));
	check_lookups(m, 0);
	check_lookups(m, UINT64_MAX);
}

/* ---- operations ---- */

/* The shapes of addresses; each stresses another way of splitting. */
static struct range make_range(struct model *m)
{
	uint64_t len, start;

	switch (m->shape) {
	case 0: /* dense: neighbours touch */
		start = rng_below(&m->rng, 4096) * 16;
		len = 1 + rng_below(&m->rng, 16);
		break;
	case 1: /* rising */
		start = m->cursor += 64;
		len = 1 + rng_below(&m->rng, 64);
		break;
	case 2: /* falling from the end */
		start = UINT64_MAX - 63 - (m->cursor += 64);
		len = 64;
		break;
	case 3: /* the ends of the space, any size */
		start = rng_chance(&m->rng, 50) ? rng_below(&m->rng, 8)
						: UINT64_MAX - rng_below(&m->rng, 8);
		len = rng_chance(&m->rng, 20) ? UINT64_MAX : 1 + rng_below(&m->rng, 4);
		break;
	default: /* anything */
		start = rng_next(&m->rng) >> rng_below(&m->rng, 50);
		len = 1 + (rng_next(&m->rng) >> (20 + rng_below(&m->rng, 44)));
	}
	return (struct range){start,
			      len - 1 > UINT64_MAX - start ? UINT64_MAX : start + len - 1,
			      (void *)(uintptr_t)((start ^ len) | 1)};
}

static void insert(struct model *m)
{
	struct range r = make_range(m);
	bool meets = oracle_meets(&m->oracle, r.start, r.last);

	if (m->oracle.nr == ORACLE_MAX)
		return;
	assert_int_equal(range_pools_reserve(&m->pools), 0);
	assert_int_equal(range_tree_insert(&m->tree, r.start, r.last, r.value),
			 meets ? -EEXIST : 0);
	if (!meets)
		oracle_insert(&m->oracle, &r);
	range_tree_settle(&m->tree);
	check_around(m, r.start);
	check_around(m, r.last);
}

/* What a reader remembers of a leaf. */
struct memory {
	const uint32_t *generation_now; /* NULL: of none */
	uint32_t generation;
};

static struct memory remember(struct model *m, uint64_t x)
{
	struct memory memory = {NULL, 0};
	struct range_place place;
	struct range r;
	bool adjoined;

	if (range_tree_find_place(&m->tree, x, &r, &place, &adjoined) && place.leaf &&
	    r.start == x)
		memory.generation_now =
			range_place_generation(&place, &memory.generation);
	return memory;
}

static void remove_range(struct model *m, uint64_t start, uint64_t last)
{
	struct memory memory = remember(m, start);
	struct range_leaf *leaf;
	unsigned slot, bits, dead = 0;
	unsigned want = oracle_remove(&m->oracle, start, last);
	uint32_t inners = m->pools.inner.free_nr;

	if (rng_chance(&m->rng, 50) && range_tree_remove_one(&m->tree, start, last))
		assert_int_equal(want, 1);
	else
		assert_int_equal(range_tree_remove(&m->tree, start, last), want);
	range_limbo_for_each(&m->tree.limbo, leaf, slot, bits)
	{
		assert_true(leaf->start[slot] >= start && leaf->start[slot] <= last);
		dead++;
	}
	assert_int_equal(dead, want);
	if (memory.generation_now)
		assert_int_not_equal(*memory.generation_now, memory.generation);
	range_tree_settle(&m->tree);
	assert_true(m->pools.inner.free_nr >= inners); /* the reserve is whole again */
	check_around(m, start);
	check_around(m, last);
}

static void remove_some(struct model *m)
{
	uint64_t start = rng_next(&m->rng), last;

	if (m->oracle.nr && rng_chance(&m->rng, 90)) {
		unsigned i = (unsigned)rng_below(&m->rng, m->oracle.nr);
		unsigned n =
			rng_chance(&m->rng, 5) ? (unsigned)rng_below(&m->rng, 400) : 0;
		unsigned j = i + n < m->oracle.nr ? i + n : m->oracle.nr - 1;

		start = m->oracle.range[i].start;
		last = m->oracle.range[j].last;
	} else {
		last = start | rng_next(&m->rng) >> rng_below(&m->rng, 64);
	}
	remove_range(m, start, last);
}

static void run(struct model *m, unsigned steps, unsigned insert_percent)
{
	for (unsigned i = 0; i < steps; i++) {
		if (rng_chance(&m->rng, insert_percent))
			insert(m);
		else
			remove_some(m);
		if (i % 64 == 0)
			check_tree(m);
	}
	check_tree(m);
}

static void setup(struct model *m, unsigned shape, uint64_t seed)
{
	test_alloc_init(&m->alloc);
	range_pools_init(&m->pools, &m->alloc.ops);
	m->tree = (struct range_tree){.pools = &m->pools};
	m->oracle.nr = 0;
	m->rng = rng_init(seed + shape);
	m->shape = shape;
	m->cursor = 0;
}

static void teardown(struct model *m)
{
	remove_range(m, 0, UINT64_MAX);
	assert_int_equal(m->tree.root, 0);
	range_pools_destroy(&m->pools);
	assert_int_equal(m->alloc.live, 0);
}

static struct model model;

static void random_operations(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned shape = 0; shape < 5; shape++) {
		setup(&model, shape, seed);
		run(&model, 3000, 75);
		run(&model, 3000, 30);
		run(&model, 1500, 60);
		teardown(&model);
	}
}

/* Thinned out, a tree must not keep a node for each range that is left. */
static void sparse_tree_shrinks(void **state)
{
	uint32_t used;

	(void)state;
	setup(&model, 1, 1);
	for (unsigned i = 0; i < 5000; i++) {
		assert_int_equal(range_pools_reserve(&model.pools), 0);
		assert_int_equal(range_tree_insert(&model.tree, i * 10, i * 10 + 9, NULL),
				 0);
		range_tree_settle(&model.tree);
	}
	for (unsigned i = 0; i < 5000; i++) {
		if (i % 20 == 0)
			continue;
		assert_int_equal(range_tree_remove(&model.tree, i * 10, i * 10 + 9), 1);
		range_tree_settle(&model.tree);
	}
	used = (uint32_t)(model.pools.leaf.total_len / sizeof(struct range_leaf)) -
	       model.pools.leaf.free_nr;
	assert_in_range(used, 1, 250 / 3 + 10);
	assert_int_equal(range_tree_remove(&model.tree, 0, UINT64_MAX), 250);
	range_tree_settle(&model.tree);
	teardown(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
		cmocka_unit_test(sparse_tree_shrinks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
