/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* How long to watch the rings, with a clock of our own. */
#include "policy.h"
#include "test.h"

#define US 1000ull

struct clock {
	uint64_t now;
	struct policy policy;
};

/* A request that comes `gap` after the last one ended and takes 2 us: seen by
 * watching if the window is still open, else a miss and a notification. */
static bool request(struct clock *c, uint64_t gap)
{
	uint64_t began = c->now + gap;
	uint64_t deadline = policy_deadline(&c->policy);
	bool seen = deadline && began < deadline;

	if (deadline && !seen)
		policy_miss(&c->policy);
	policy_work(&c->policy, began, began + 2 * US, seen);
	c->now = began + 2 * US;
	return seen;
}

static void start(struct clock *c, uint64_t max_us)
{
	c->now = 1000000;
	policy_init(&c->policy, true, max_us);
}

static void zero_at_start(void **state)
{
	struct clock c;

	(void)state;
	start(&c, 200);
	assert_int_equal(policy_deadline(&c.policy), 0);
	assert_int_equal(policy_window(&c.policy), 0);
}

static void grows_when_requests_are_close(void **state)
{
	struct clock c;
	unsigned i, seen = 0;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 40; i++)
		seen += request(&c, 40 * US);
	/* A dozen or two to learn, then each one. */
	assert_in_range(seen, 15, 40);
	assert_true(request(&c, 40 * US));
	assert_in_range(policy_window(&c.policy), 40 * US, 200 * US);
}

static void does_not_watch_for_rare_requests(void **state)
{
	struct clock c;
	unsigned i;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 100; i++)
		assert_false(request(&c, 5000 * US));
	assert_int_equal(policy_window(&c.policy), 0);
	assert_int_equal(c.policy.missed, 0);
}

static void zero_after_the_guest_goes_quiet(void **state)
{
	struct clock c;
	unsigned i;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 100; i++)
		request(&c, 30 * US);
	assert_true(policy_window(&c.policy) > 0);
	/* From now on one request a second: the time spent watching in vain is
	 * bounded, and soon nothing is watched any more. */
	for (i = 0; i < 20; i++)
		request(&c, 1000000 * US);
	assert_int_equal(policy_window(&c.policy), 0);
}

/* Long gaps end it, close requests bring it back. */
static void misses_end_it(void **state)
{
	struct clock c;
	unsigned i, seen = 0;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 100; i++)
		request(&c, 80 * US);
	assert_true(policy_window(&c.policy) >= 80 * US);
	assert_int_equal(c.policy.missed, 0);
	request(&c, 10000 * US);
	assert_int_equal(c.policy.missed, 1);
	for (i = 0; i < 5; i++)
		request(&c, 10000 * US);
	assert_int_equal(policy_window(&c.policy), 0);
	for (i = 0; i < 20; i++)
		seen += request(&c, 80 * US);
	assert_in_range(seen, 5, 20);
	assert_true(policy_window(&c.policy) >= 80 * US);
}

/* Pairs: every other gap is long, so watching would be in vain half of the
 * time. */
static void pairs(void **state)
{
	struct clock c;
	unsigned i, seen = 0;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 100; i++) {
		seen += request(&c, 20 * US);
		seen += request(&c, 20000 * US);
	}
	assert_int_equal(seen, 0);
}

static void never_above_max(void **state)
{
	struct clock c;
	unsigned i;

	(void)state;
	start(&c, 50);
	for (i = 0; i < 200; i++) {
		request(&c, (i % 2 ? 10 : 49) * US);
		assert_in_range(policy_window(&c.policy), 0, 50 * US);
	}
	assert_true(policy_window(&c.policy) > 0);
}

/* Bursts: the window covers the pause inside a burst, not the one between. */
static void bursts(void **state)
{
	struct clock c;
	unsigned i, j, seen = 0;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 50; i++) {
		for (j = 0; j < 15; j++)
			seen += request(&c, 20 * US);
		request(&c, 20000 * US);
	}
	assert_in_range(seen, 50 * 15 / 2, 50 * 15);
}

static void fixed(void **state)
{
	struct clock c;

	(void)state;
	start(&c, 0);
	policy_init(&c.policy, false, 100);
	assert_int_equal(policy_deadline(&c.policy), 0);
	request(&c, 5000 * US);
	assert_int_equal(policy_deadline(&c.policy), c.now + 100 * US);
	request(&c, 5000 * US);
	assert_int_equal(c.policy.missed, 1);
	assert_int_equal(policy_window(&c.policy), 100 * US);
	policy_init(&c.policy, false, 0);
	request(&c, 1);
	assert_int_equal(policy_deadline(&c.policy), 0);
}

static void counts(void **state)
{
	struct clock c;
	unsigned i, seen = 0;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 100; i++)
		seen += request(&c, 25 * US);
	assert_int_equal(c.policy.found, seen);
	policy_more(&c.policy, c.now + 7);
	assert_int_equal(c.policy.ended_ns, c.now + 7);
	assert_int_equal(c.policy.found, seen);
}

/* 17 requests after a pause; how many were seen. */
static unsigned one_io(struct clock *c)
{
	unsigned seen = request(c, 250 * US);

	for (unsigned i = 0; i < 16; i++)
		seen += request(c, 8 * US);
	return seen;
}

/* Linux puts the requests of an I/O into the ring one by one: what is between those
 * says nothing about the pause between two I/Os. */
static void parts_of_one_io(void **state)
{
	struct clock c;
	unsigned i, seen = 0;

	(void)state;
	start(&c, 500);
	for (i = 0; i < 20; i++)
		one_io(&c);
	for (i = 0; i < 20; i++)
		seen += one_io(&c);
	assert_int_equal(seen, 20 * 17);
}

/* Each of them was notified for: that is worth watching, however close they are. */
static void close_requests_bring_it_back(void **state)
{
	struct clock c;
	unsigned i, seen = 0;

	(void)state;
	start(&c, 200);
	for (i = 0; i < 50; i++)
		seen += request(&c, 5 * US);
	assert_in_range(seen, 30, 50);
}

/* Watching takes a CPU from the guest: only for gaps that cost less than a kick, and not
 * for long. */
static void crowded(void **state)
{
	struct clock c;
	unsigned i;

	(void)state;
	start(&c, 500);
	for (i = 0; i < 100; i++)
		request(&c, 150 * US);
	assert_in_range(policy_window(&c.policy), 190 * US, 250 * US);
	c.policy.crowded = true;
	assert_in_range(policy_window(&c.policy), 190 * US, 250 * US);
	for (i = 0; i < 100; i++)
		request(&c, i % 2 ? 300 * US : 60 * US);
	assert_int_equal(policy_window(&c.policy), POLICY_CROWDED_MAX_NS);
	for (i = 0; i < 100; i++)
		request(&c, 250 * US);
	assert_int_equal(policy_window(&c.policy), 0);
	assert_int_equal(policy_deadline(&c.policy), 0);
	c.policy.crowded = false;
	assert_in_range(policy_window(&c.policy), 310 * US, 400 * US);
	/* A short maximum stays what it was, and what is fixed stays fixed. */
	start(&c, 50);
	c.policy.crowded = true;
	for (i = 0; i < 100; i++)
		request(&c, 40 * US);
	assert_in_range(policy_window(&c.policy), 50 * US, 50 * US);
	policy_init(&c.policy, false, 500);
	c.policy.crowded = true;
	assert_int_equal(policy_window(&c.policy), 500 * US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zero_at_start),
		cmocka_unit_test(grows_when_requests_are_close),
		cmocka_unit_test(does_not_watch_for_rare_requests),
		cmocka_unit_test(zero_after_the_guest_goes_quiet),
		cmocka_unit_test(misses_end_it),
		cmocka_unit_test(pairs),
		cmocka_unit_test(never_above_max),
		cmocka_unit_test(bursts),
		cmocka_unit_test(fixed),
		cmocka_unit_test(crowded),
		cmocka_unit_test(counts),
		cmocka_unit_test(parts_of_one_io),
		cmocka_unit_test(close_requests_bring_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
