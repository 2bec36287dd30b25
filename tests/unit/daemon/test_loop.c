/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The thread that drives functions, with a member of the test's own. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "sched_kit.h"
#include "test.h"

struct member {
	struct loop_member head;
	int fd;		      /* "socket": readable, there is a message */
	atomic_uint messages; /* handled */
	atomic_uint requests; /* waiting: the "ring" */
	atomic_uint done;     /* of them */
	atomic_uint arms;     /* times asked to notify */
	atomic_bool armed;
	atomic_bool late;   /* a request turns up while arming */
	atomic_uint soon;   /* times to answer LOOP_SOON */
	atomic_uint urgent; /* LOOP_URGENT: requests are */
	atomic_int tid;	    /* of the thread */
};

static unsigned messages(void *opaque)
{
	struct member *m = opaque;
	uint64_t n;

	if (read(m->fd, &n, sizeof(n)) == sizeof(n))
		atomic_fetch_add(&m->messages, 1);
	return 0;
}

static int message_fd(void *opaque)
{
	return ((struct member *)opaque)->fd;
}

static unsigned work(void *opaque, unsigned budget)
{
	struct member *m = opaque;
	unsigned n = atomic_load(&m->requests);

	atomic_store(&m->armed, false);
	atomic_store(&m->tid, gettid());
	if (atomic_load(&m->soon)) {
		atomic_fetch_sub(&m->soon, 1);
		return LOOP_SOON;
	}
	if (!n)
		return 0;
	if (n > budget)
		n = budget;
	atomic_fetch_sub(&m->requests, n);
	atomic_fetch_add(&m->done, n);
	return LOOP_DONE | atomic_load(&m->urgent) | (n == budget ? LOOP_MORE : 0);
}

static bool arm(void *opaque)
{
	struct member *m = opaque;

	atomic_fetch_add(&m->arms, 1);
	if (atomic_exchange(&m->late, false))
		atomic_fetch_add(&m->requests, 1);
	atomic_store(&m->armed, true);
	return atomic_load(&m->requests) > 0;
}

static unsigned fds(void *opaque, struct pollfd *out, unsigned max)
{
	(void)opaque;
	(void)out;
	(void)max;
	return 0;
}

static int timeout_ms(void *opaque)
{
	(void)opaque;
	return -1;
}

static const struct loop_member_ops ops = {messages, message_fd, work,
					   arm,	     fds,	 timeout_ms};

static void make(struct loop **loop, struct member *m, bool automatic, uint32_t poll_us)
{
	memset(m, 0, sizeof(*m));
	m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	m->head = (struct loop_member){.ops = &ops, .opaque = m};
	assert_int_equal(loop_create("test", automatic, poll_us, loop), 0);
	loop_add(*loop, &m->head);
}

static void start(struct loop **loop, struct member *m, bool automatic, uint32_t poll_us)
{
	make(loop, m, automatic, poll_us);
	assert_int_equal(loop_start(*loop), 0);
}

static void stop(struct loop *loop, struct member *m)
{
	loop_stop(loop);
	loop_remove(loop, &m->head);
	loop_destroy(loop);
	close(m->fd);
}

static void notify(struct member *m)
{
	uint64_t one = 1;

	assert_int_equal(write(m->fd, &one, sizeof(one)), sizeof(one));
}

/* Waits, at most 30 s, until *value is at least want. */
static void await(atomic_uint *value, unsigned want)
{
	unsigned tries = 30000;

	while (atomic_load(value) < want && tries--)
		usleep(1000);
	assert_true(atomic_load(value) >= want);
}

static void await_armed(struct member *m)
{
	unsigned tries = 30000;

	while (!atomic_load(&m->armed) && tries--)
		usleep(1000);
	assert_true(atomic_load(&m->armed));
}

static void waits_for_open(void **state)
{
	struct loop *loop;
	struct member m;

	(void)state;
	start(&loop, &m, false, 0);
	atomic_store(&m.requests, 1);
	usleep(20000);
	assert_int_equal(atomic_load(&m.done), 0);
	loop_open(loop);
	await(&m.done, 1);
	stop(loop, &m);
}

static void sleeps_until_notified(void **state)
{
	struct loop_stats stats;
	struct loop *loop;
	struct member m;
	unsigned i;

	(void)state;
	start(&loop, &m, false, 0);
	loop_open(loop);
	for (i = 1; i <= 50; i++) {
		await_armed(&m);
		atomic_fetch_add(&m.requests, 1);
		notify(&m);
		await(&m.done, i);
	}
	await_armed(&m);
	stop(loop, &m);
	/* Without polling it never watched. The stats are ours once stopped. */
	start(&loop, &m, false, 0);
	loop_get_stats(loop, &stats);
	assert_int_equal(stats.policy.polls, 0);
	stop(loop, &m);
}

/* While it watches no notification is needed, and messages are served. */
static void watches(void **state)
{
	struct loop_stats stats;
	struct loop *loop;
	struct member m;
	unsigned i;

	(void)state;
	start(&loop, &m, false, 100000);
	loop_open(loop);
	atomic_store(&m.requests, 1);
	notify(&m);
	await(&m.done, 1);
	for (i = 2; i <= 20; i++) {
		atomic_fetch_add(&m.requests, 1);
		await(&m.done, i);
	}
	i = atomic_load(&m.messages);
	notify(&m);
	await(&m.messages, i + 1);
	loop_stop(loop);
	loop_get_stats(loop, &stats);
	assert_true(stats.policy.found >= 1);
	stop(loop, &m);
}

/* What turns up while notification is being asked for is not slept over. */
static void late_request(void **state)
{
	struct loop *loop;
	struct member m;
	unsigned i;

	(void)state;
	start(&loop, &m, false, 0);
	loop_open(loop);
	for (i = 1; i <= 100; i++) {
		atomic_store(&m.late, true);
		loop_wake(loop);
		await(&m.done, i);
	}
	stop(loop, &m);
}

static void big_batches(void **state)
{
	struct loop *loop;
	struct member m;

	(void)state;
	start(&loop, &m, true, 200);
	loop_open(loop);
	atomic_store(&m.requests, 100000);
	loop_wake(loop);
	await(&m.done, 100000);
	stop(loop, &m);
}

static void comes_back_soon(void **state)
{
	struct loop *loop;
	struct member m;

	(void)state;
	start(&loop, &m, false, 0);
	atomic_store(&m.soon, 5);
	atomic_store(&m.requests, 1);
	loop_open(loop);
	await(&m.done, 1);
	stop(loop, &m);
}

/* ---- calls ---- */

struct order {
	atomic_uint *ran, *dropped;
	unsigned sleep_ms;
	pthread_t on;
};

static void run_order(void *arg)
{
	struct order *order = arg;

	usleep(order->sleep_ms * 1000);
	order->on = pthread_self();
	atomic_fetch_add(order->ran, 1);
}

static void drop_order(void *arg)
{
	struct order *order = arg;

	atomic_fetch_add(order->dropped, 1);
	free(order);
}

static struct order *new_order(atomic_uint *ran, atomic_uint *dropped, unsigned sleep_ms)
{
	struct order *order = calloc(1, sizeof(*order));

	*order = (struct order){.ran = ran, .dropped = dropped, .sleep_ms = sleep_ms};
	return order;
}

static void calls(void **state)
{
	atomic_uint ran = 0, dropped = 0;
	struct loop *loop;
	struct order *order;
	struct member m;
	unsigned i;

	(void)state;
	start(&loop, &m, true, 200);
	loop_open(loop);
	for (i = 0; i < 200; i++) {
		order = new_order(&ran, &dropped, 0);
		assert_true(loop_call(loop, run_order, order, drop_order, 5000));
		assert_false(pthread_equal(order->on, pthread_self()));
		free(order);
	}
	assert_int_equal(atomic_load(&ran), 200);
	assert_int_equal(atomic_load(&dropped), 0);
	loop_stop(loop);
	/* A loop that does not run: on the caller's thread. */
	order = new_order(&ran, &dropped, 0);
	assert_true(loop_call(loop, run_order, order, drop_order, 1));
	assert_true(pthread_equal(order->on, pthread_self()));
	free(order);
	stop(loop, &m);
}

/* A thread that is busy: the caller gets away, the call is made all the same. */
static void call_too_late(void **state)
{
	atomic_uint ran = 0, dropped = 0;
	struct loop *loop;
	struct member m;

	(void)state;
	start(&loop, &m, true, 200);
	loop_open(loop);
	assert_false(loop_call(loop, run_order, new_order(&ran, &dropped, 100),
			       drop_order, 10));
	assert_false(
		loop_call(loop, run_order, new_order(&ran, &dropped, 0), drop_order, 10));
	await(&dropped, 2);
	assert_int_equal(atomic_load(&ran), 2);
	stop(loop, &m);
}

static void request(struct member *m)
{
	unsigned want = atomic_load(&m->done) + 1;

	atomic_fetch_add(&m->requests, 1);
	notify(m);
	await(&m->done, want);
}

/* Makes requests until the thread has that scheduling policy, 30 s at most. */
static void await_policy(struct member *m, int policy)
{
	unsigned tries = 10000;

	do {
		request(m);
		usleep(3000);
	} while (sched_getscheduler(atomic_load(&m->tid)) != policy && --tries);
	assert_int_not_equal(tries, 0);
}

/* Urgent work raises the thread, work that is not lets it fall back in time; and one
 * that may not rise goes on as it is. */
static void urgent_and_calm(void **state)
{
	int own = sched_getscheduler(0), first = first_policy();
	struct hurry hurry = {.allowed = false};
	struct loop *loop;
	struct member m;

	(void)state;
	make(&loop, &m, true, 200);
	assert_int_equal(!hurry_allow(&hurry), first != own);
	loop_set_hurry(loop, &hurry);
	assert_int_equal(loop_start(loop), 0);
	loop_open(loop);
	await_policy(&m, own);
	for (unsigned round = 0; round < 3; round++) {
		atomic_store(&m.urgent, LOOP_URGENT);
		await_policy(&m, first);
		atomic_store(&m.urgent, 0);
		await_policy(&m, own);
	}
	/* The test's own thread is not the one that was meant. */
	assert_int_equal(sched_getscheduler(0), own);
	stop(loop, &m);
}

/* Started as SCHED_BATCH, say with chrt, it stays that. */
static void inherits_policy(void **state)
{
	int own = sched_getscheduler(0);
	struct loop *loop;
	struct member m;

	(void)state;
	assert_true(take_policy(SCHED_BATCH));
	start(&loop, &m, true, 200);
	assert_true(take_policy(own));
	loop_open(loop);
	request(&m);
	assert_int_equal(sched_getscheduler(atomic_load(&m.tid)), SCHED_BATCH);
	stop(loop, &m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urgent_and_calm),
		cmocka_unit_test(inherits_policy),
		cmocka_unit_test(waits_for_open),
		cmocka_unit_test(sleeps_until_notified),
		cmocka_unit_test(watches),
		cmocka_unit_test(late_request),
		cmocka_unit_test(big_batches),
		cmocka_unit_test(comes_back_soon),
		cmocka_unit_test(calls),
		cmocka_unit_test(call_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
