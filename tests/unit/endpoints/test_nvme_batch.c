/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* How many completions share an interrupt, with a clock of our own. */
#include "endpoints/nvme/batch.h"
#include "test.h"

#define US 1000ull

struct queue {
	uint64_t now;
	struct nvme_batch batch;
	unsigned interrupts;
	uint64_t waited; /* of the last completion */
};

/* A turn of the controller. */
static void turn(struct queue *q)
{
	q->interrupts += nvme_batch_due(&q->batch, q->now);
}

static void complete(struct queue *q)
{
	nvme_batch_add(&q->batch, 1, q->now);
	turn(q);
}

/* A guest with one command at a time: the next follows its interrupt. */
static void one_by_one(struct queue *q)
{
	unsigned before = q->interrupts;
	uint64_t began = q->now;

	complete(q);
	while (q->interrupts == before) {
		q->now += 10 * US;
		turn(q);
	}
	q->waited = q->now - began;
	q->now += 20 * US;
}

static void first_ones_are_told_at_once(void **state)
{
	struct queue q = {.now = 1};
	unsigned i;

	(void)state;
	for (i = 0; i < NVME_BATCH_TRY_MIN; i++) {
		complete(&q);
		assert_int_equal(q.interrupts, i + 1);
	}
}

static void nothing_is_told_of_nothing(void **state)
{
	struct queue q = {.now = 1};

	(void)state;
	turn(&q);
	assert_int_equal(q.interrupts, 0);
	complete(&q);
	turn(&q);
	assert_int_equal(q.interrupts, 1);
}

/* A guest that keeps submitting gets the largest batches, and no larger. */
static void a_deep_queue_is_batched(void **state)
{
	struct queue q = {.now = 1};
	unsigned i, before;

	(void)state;
	for (i = 0; i < 1000; i++, q.now += 20 * US)
		complete(&q);
	before = q.interrupts;
	for (i = 0; i < 100 * NVME_BATCH_MAX; i++, q.now += 20 * US)
		complete(&q);
	assert_int_equal(q.interrupts - before, 100);
	assert_int_equal(q.batch.extra, NVME_BATCH_MAX - 1);
}

/* Many in one turn share one interrupt whatever was waited for. */
static void a_turn_is_one_interrupt(void **state)
{
	struct queue q = {.now = 1};

	(void)state;
	nvme_batch_add(&q.batch, 100, q.now);
	turn(&q);
	turn(&q);
	assert_int_equal(q.interrupts, 1);
}

/* One command at a time: few wait, and none longer than the gap. */
static void a_shallow_queue_is_not(void **state)
{
	struct queue q = {.now = 1};
	unsigned i, late = 0;

	(void)state;
	for (i = 0; i < 10000; i++) {
		one_by_one(&q);
		late += q.waited > 0;
		assert_in_range(q.waited, 0, NVME_BATCH_GAP_NS);
	}
	assert_in_range(late, 1, 30);
}

/* The oldest waits at most so long, even if others keep coming. */
static void nobody_waits_for_ever(void **state)
{
	struct queue q = {.now = 1, .batch.extra = NVME_BATCH_MAX - 1};
	uint64_t began;

	(void)state;
	began = q.now;
	while (!q.interrupts) {
		complete(&q);
		q.now += NVME_BATCH_GAP_NS - 1;
	}
	assert_in_range(q.now - began, NVME_BATCH_AGE_NS,
			NVME_BATCH_AGE_NS + 2 * NVME_BATCH_GAP_NS);
}

/* A deep queue becomes shallow: it takes few waits to notice. */
static void it_ends(void **state)
{
	struct queue q = {.now = 1};
	unsigned i, late = 0;

	(void)state;
	for (i = 0; i < 1000; i++, q.now += 20 * US)
		complete(&q);
	for (i = 0; i < 100; i++) {
		one_by_one(&q);
		late += q.waited > 0;
	}
	assert_in_range(late, 1, 16);
}

/* A deep queue whose guest loses its CPU for a moment at every twelfth command, on
 * average: large batches all the same, and soon, whatever has been before. */
static void moments_of_absence_do_not_end_it(void **state)
{
	struct queue q = {.now = 1};
	unsigned i, before, seed = 1;

	(void)state;
	for (i = 0; i < 20000; i++)
		one_by_one(&q);
	before = q.interrupts;
	for (i = 0; i < 40000; i++) {
		complete(&q);
		seed = seed * 1103515245u + 12345u;
		q.now += (seed >> 16) % 12 ? 40 * US : NVME_BATCH_GAP_NS;
		turn(&q);
	}
	assert_in_range(q.interrupts - before, 40000 / NVME_BATCH_MAX, 40000 / 3);
}

/* Two commands at a time: told together, and hardly ever late. */
static void pairs_are_told_as_pairs(void **state)
{
	struct queue q = {.now = 1};
	unsigned i, late = 0;

	(void)state;
	for (i = 0; i < 10000; i++) {
		nvme_batch_add(&q.batch, 1, q.now);
		turn(&q);
		q.now += 10 * US;
		one_by_one(&q);
		late += q.waited > 0;
	}
	assert_in_range(late, 1, 60);
	assert_in_range(q.interrupts, 10000, 12000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_ones_are_told_at_once),
		cmocka_unit_test(nothing_is_told_of_nothing),
		cmocka_unit_test(a_deep_queue_is_batched),
		cmocka_unit_test(a_turn_is_one_interrupt),
		cmocka_unit_test(a_shallow_queue_is_not),
		cmocka_unit_test(nobody_waits_for_ever),
		cmocka_unit_test(it_ends),
		cmocka_unit_test(moments_of_absence_do_not_end_it),
		cmocka_unit_test(pairs_are_told_as_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
