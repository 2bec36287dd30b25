/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Sections: what a writer took out is not looked at any more once it has waited.
 * Readers look at a cell through a pointer; the writer swaps the pointer, waits,
 * and overwrites the old cell. A reader that sees a cell change under it, or the
 * thread sanitizer, finds a section that ended too early.
 */
#include <pthread.h>

#include "test.h"

#include "base/section.h"

#define READERS_NR 2u
#define SWAPS_NR   2000u

struct cell {
	uint64_t a, b; /* the same, or it is being overwritten */
};

struct world {
	struct section sections[READERS_NR];
	struct cell cells[2];
	struct cell *current;
	bool over;
	unsigned long looks[READERS_NR];
	unsigned long torn[READERS_NR];
};

struct reader {
	struct world *world;
	unsigned nr;
};

static void *read_main(void *arg)
{
	struct reader *reader = arg;
	struct world *world = reader->world;
	struct section *section = &world->sections[reader->nr];

	/* Relaxed: only says when to end. */
	while (!load_relaxed(&world->over)) {
		const struct cell *cell;

		section_open(section);
		/* Acquire pairs with the release in swap(): the cell is filled. */
		cell = load_acquire(&world->current);
		world->torn[reader->nr] += cell->a != cell->b;
		section_close(section);
		world->looks[reader->nr]++;
	}
	return NULL;
}

static void swap(struct world *world, uint64_t value)
{
	struct cell *old = world->current;
	struct cell *new = old == &world->cells[0] ? &world->cells[1] : &world->cells[0];

	/* Release pairs with the acquire in read_main(). */
	store_release(&world->current, new);
	section_fence();
	for (unsigned i = 0; i < READERS_NR; i++)
		section_wait(&world->sections[i]);
	/* Nobody looks at it: it may be overwritten in two steps. */
	old->a = value;
	old->b = value;
}

static void writer_waits_for_readers(void **state)
{
	struct world world = {.current = &world.cells[0]};
	struct reader readers[READERS_NR];
	pthread_t threads[READERS_NR];

	(void)state;
	for (unsigned i = 0; i < READERS_NR; i++) {
		readers[i] = (struct reader){&world, i};
		assert_int_equal(
			pthread_create(&threads[i], NULL, read_main, &readers[i]), 0);
	}
	for (uint64_t i = 1; i <= SWAPS_NR; i++)
		swap(&world, i);
	store_relaxed(&world.over, true);
	for (unsigned i = 0; i < READERS_NR; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(world.torn[i], 0);
		assert_false(section_is_open(&world.sections[i]));
	}
}

static void a_new_section_is_not_the_old_one(void **state)
{
	struct section section = {0};
	uint32_t seen;

	(void)state;
	assert_int_equal(section_peek(&section), 0);
	assert_true(section_passed(&section, 0));
	section_wait(&section); /* outside: returns at once */
	section_open(&section);
	assert_true(section_is_open(&section));
	seen = section_peek(&section);
	assert_int_not_equal(seen, 0);
	assert_false(section_passed(&section, seen));
	section_close(&section);
	assert_true(section_passed(&section, seen));
	section_open(&section);
	assert_true(section_passed(&section, seen));
	section_close(&section);
}

/* The count wraps around; an odd one is an open section all the same. */
static void count_wraps_around(void **state)
{
	struct section section = {.count = UINT32_MAX - 1};
	uint32_t seen;

	(void)state;
	section_open(&section);
	seen = section_peek(&section);
	assert_int_equal(seen, UINT32_MAX);
	section_close(&section);
	assert_int_equal(section_peek(&section), 0);
	assert_true(section_passed(&section, seen));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writer_waits_for_readers),
		cmocka_unit_test(a_new_section_is_not_the_old_one),
		cmocka_unit_test(count_wraps_around),
	};

	return cmocka_run_group_tests_name("section", tests, NULL, NULL);
}
