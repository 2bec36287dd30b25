/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* When a thread goes before others, with a clock of our own. */
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hurry.h"
#include "sched_kit.h"
#include "test.h"

#define MS 1000000ull

static struct hurry make(void)
{
	struct hurry hurry = {.allowed = false};

	assert_int_equal(hurry_allow(&hurry), 0);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	return hurry;
}

/* A look, and whether the thread goes first after it. */
static bool look(struct hurry *hurry, bool urgent, uint64_t now)
{
	int policy;

	hurry_look(hurry, urgent, now);
	policy = sched_getscheduler(0);
	assert_true(policy == SCHED_RR || policy == SCHED_OTHER);
	assert_int_equal(hurry->on, policy == SCHED_RR);
	return policy == SCHED_RR;
}

static void while_urgent(void **state)
{
	struct hurry hurry = make();
	uint64_t now = 5 * MS;

	(void)state;
	assert_false(look(&hurry, false, now));
	assert_true(look(&hurry, true, now));
	hurry_slept(&hurry);
	assert_true(look(&hurry, false, now + HURRY_CALM_NS));
	assert_false(look(&hurry, false, now + HURRY_CALM_NS + 1));
	assert_false(look(&hurry, false, now + 100 * HURRY_CALM_NS));
	assert_true(look(&hurry, true, now + 100 * HURRY_CALM_NS));
	assert_false(look(&hurry, false, now + 102 * HURRY_CALM_NS));
}

/* Others get a tenth of the time from one that never sleeps. */
static void pauses(void **state)
{
	struct hurry hurry = make();
	uint64_t now, start = 1000 * MS, first = 0, longest = 0, began = 0;
	bool on = false, is;

	(void)state;
	for (now = start; now < start + 1000 * MS; now += MS / 20) {
		is = look(&hurry, true, now);
		first += is;
		if (is && !on)
			began = now;
		if (is && now - began > longest)
			longest = now - began;
		on = is;
	}
	assert_in_range(first, 20000 * 89 / 100, 20000 * 92 / 100);
	assert_true(longest <= HURRY_STRETCH_NS);
	assert_false(look(&hurry, false, now + HURRY_CALM_NS + 1));
}

/* One that sleeps at times needs no pause. */
static void sleeps(void **state)
{
	struct hurry hurry = make();
	uint64_t now;

	(void)state;
	for (now = 1000 * MS; now < 2000 * MS; now += MS) {
		assert_true(look(&hurry, true, now));
		if (now % (9 * MS) == 0)
			hurry_slept(&hurry);
	}
	assert_false(look(&hurry, false, now + HURRY_CALM_NS + 1));
}

/* The wish for short slices, if the kernel knows it, outlives the change. */
static void keeps_slice(void **state)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime_ns, deadline_ns, period_ns;
		uint32_t more[2];
	} wish = {.size = 48, .runtime_ns = 300000}, was, is;
	struct hurry hurry = make();

	(void)state;
	assert_int_equal(syscall(SYS_sched_setattr, 0, &wish, 0), 0);
	assert_int_equal(syscall(SYS_sched_getattr, 0, &was, sizeof(was), 0), 0);
	assert_true(look(&hurry, true, MS));
	assert_false(look(&hurry, false, 1000 * MS));
	assert_int_equal(syscall(SYS_sched_getattr, 0, &is, sizeof(is), 0), 0);
	assert_int_equal(is.runtime_ns, was.runtime_ns);
}

/* What was not allowed is not tried; a thread that is there already is left alone. */
static void left_alone(void **state)
{
	struct hurry hurry = {.allowed = false};

	(void)state;
	hurry_look(&hurry, true, MS);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_true(take_policy(SCHED_RR));
	assert_int_equal(hurry_allow(&hurry), -EALREADY);
	assert_false(hurry.allowed);
	hurry_look(&hurry, true, MS);
	hurry_look(&hurry, false, 1000 * MS);
	assert_int_equal(sched_getscheduler(0), SCHED_RR);
	assert_true(take_policy(SCHED_OTHER));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(while_urgent), cmocka_unit_test(pauses),
		cmocka_unit_test(sleeps),	cmocka_unit_test(keeps_slice),
		cmocka_unit_test(left_alone),
	};

	/* Without the right to it there is nothing to see. */
	if (sched_getscheduler(0) != SCHED_OTHER || first_policy() != SCHED_RR)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
