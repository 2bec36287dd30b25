/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Flush queues, one event after the other: sizes and times, and what happens when
 * there is no timer, another thread is flushing, or a flush fails. The promise
 * under load is test_threads.c's. */
#include <errno.h>
#include <sched.h>

#include "drv_peer.h"

#define RW   (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define PAGE 0x1000ull
/* Looks at what another thread does. */
#define TURNS_MAX 10000000u

static struct fixture {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	uint64_t one, two; /* pages that are mapped */
	uint32_t waits;	   /* atomic: turns of the waiting thread */
	int waiter_result;
} f;

static void (*peer_kick)(void *opaque, uint16_t index);
static void (*peer_relax)(void *opaque, unsigned spins);
static int (*peer_arm)(void *opaque, struct viommu_drv_timer *timer, uint64_t delay_ns);
static void (*on_kick)(void);
static int (*on_arm)(void);

static void kick(void *opaque, uint16_t index)
{
	void (*event)(void) = on_kick;

	on_kick = NULL;
	if (event)
		event();
	peer_kick(opaque, index);
}

static int arm(void *opaque, struct viommu_drv_timer *timer, uint64_t delay_ns)
{
	int (*event)(void) = on_arm;

	on_arm = NULL;
	return event ? event() : peer_arm(opaque, timer, delay_ns);
}

static __thread bool is_waiter;

static void relax(void *opaque, unsigned spins)
{
	if (is_waiter)
		__atomic_add_fetch(&f.waits, 1, __ATOMIC_RELAXED);
	peer_relax(opaque, spins);
}

static void setup(const struct viommu_drv_domain_config *config)
{
	f = (struct fixture){.peer = peer_create()};
	on_kick = NULL;
	on_arm = NULL;
	peer_kick = f.peer->transport.kick;
	f.peer->transport.kick = kick;
	peer_relax = f.peer->platform.relax;
	f.peer->platform.relax = relax;
	peer_arm = f.peer->platform.timer_arm;
	f.peer->platform.timer_arm = arm;
	assert_int_equal(peer_start(f.peer, NULL), 0);
	f.ep = peer_endpoint(f.peer, 3);
	f.domain = peer_domain(f.peer, config);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x5000, PAGE, RW, &f.one), 0);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x9000, PAGE, RW, &f.two), 0);
}

static void teardown(void)
{
	peer_end(f.peer, f.ep, f.domain);
}

static bool reachable(uint64_t iova)
{
	return peer_lookup(f.peer, viommu_drv_domain_id(f.domain), iova);
}

static const struct viommu_drv_domain_config lazy_cpu = {.mode = VIOMMU_DRV_LAZY_CPU};

/* ---- sizes and times ---- */

/* After exactly `entries` unmaps, and not one before, the device hears of it. */
static void full_after(enum viommu_drv_mode mode, uint32_t setting, uint32_t entries)
{
	const struct viommu_drv_domain_config config = {
		.mode = mode, .flush_entries = setting, .flush_ns = UINT64_MAX / 2};
	uint64_t *iova = calloc(entries, sizeof(*iova));
	struct viommu_drv_stats before, after;

	setup(&config);
	f.peer->silent_log = f.peer->blind = true;
	for (uint32_t i = 0; i < entries; i++)
		assert_int_equal(viommu_drv_dma_map(f.ep, 0, PAGE, RW, &iova[i]), 0);
	viommu_drv_get_stats(f.peer->drv, &before);
	for (uint32_t i = 0; i + 1 < entries; i++)
		assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[i], PAGE), 0);
	viommu_drv_get_stats(f.peer->drv, &after);
	assert_int_equal(after.unmaps, before.unmaps);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[entries - 1], PAGE), 0);
	viommu_drv_get_stats(f.peer->drv, &after);
	assert_true(after.unmaps > before.unmaps);
	f.peer->blind = false;
	free(iova);
	teardown();
}

static void sizes(void **state)
{
	(void)state;
	full_after(VIOMMU_DRV_LAZY_CPU, 0, 256);
	full_after(VIOMMU_DRV_LAZY_SINGLE, 0, 32768);
	full_after(VIOMMU_DRV_LAZY_CPU, 7, 7);
	full_after(VIOMMU_DRV_LAZY_SINGLE, 300, 300);
	full_after(VIOMMU_DRV_LAZY_SINGLE, 1, 1);
}

/* Not before the time is over, and then at once. The clock stands still. */
static void flushed_after(uint64_t ns)
{
	f.peer->tick_ns = 0;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	f.peer->now_ns += ns - 1;
	peer_run_timers(f.peer);
	assert_true(reachable(f.one));
	f.peer->now_ns++;
	peer_run_timers(f.peer);
	assert_false(reachable(f.one));
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x5000, PAGE, RW, &f.one), 0);
}

static void times(void **state)
{
	static const struct {
		enum viommu_drv_mode mode;
		uint64_t setting, ns;
	} cases[] = {
		{VIOMMU_DRV_LAZY_CPU, 0, 10000000},
		{VIOMMU_DRV_LAZY_SINGLE, 0, 1000000000},
		{VIOMMU_DRV_LAZY_CPU, 123456, 123456},
		{VIOMMU_DRV_LAZY_SINGLE, 1000, 1000},
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const struct viommu_drv_domain_config config = {
			.mode = cases[i].mode, .flush_ns = cases[i].setting};

		setup(&config);
		flushed_after(cases[i].ns);
		/* And when the mode is chosen later. */
		assert_int_equal(viommu_drv_domain_set_mode(f.domain, cases[i].mode, 0,
							    2 * cases[i].ns),
				 cases[i].mode);
		flushed_after(2 * cases[i].ns);
		teardown();
	}
}

/* ---- no timer ---- */

/* Another CPU unmaps while this one is being told that there is no timer. */
static int refuse_while_another_counts_on_it(void)
{
	f.peer->cpu ^= 1;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.two, PAGE), 0);
	f.peer->cpu ^= 1;
	return -1;
}

static void no_timer_for_anybody(void **state)
{
	struct viommu_drv_dma_stats stats;

	(void)state;
	setup(&lazy_cpu);
	on_arm = refuse_while_another_counts_on_it;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	assert_false(reachable(f.one));
	assert_false(reachable(f.two));
	viommu_drv_dma_get_stats(f.domain, &stats);
	assert_int_equal(stats.strict_fallback, 1);
	teardown();
}

static void unmap_two_and_fire(void)
{
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.two, PAGE), 0);
	/* From now on there is no timer. */
	f.peer->no_timer = true;
	f.peer->now_ns += 20000000;
	peer_run_timers(f.peer);
	assert_true(reachable(f.two));
}

/* The timer interrupts a flush: what came since is flushed by it too. */
static void timer_during_a_flush(void **state)
{
	(void)state;
	setup(&lazy_cpu);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	on_kick = unmap_two_and_fire;
	assert_int_equal(viommu_drv_dma_flush(f.domain), 0);
	assert_false(reachable(f.one));
	assert_false(reachable(f.two));
	teardown();
}

static uint64_t three;

static void unmap_three_without_a_timer(void)
{
	f.peer->cpu = 1;
	on_arm = refuse_while_another_counts_on_it;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, three, PAGE), 0);
	assert_false(reachable(three));
}

/* The first CPU's queue is being flushed when the second one is refused a timer
 * that the first one counts on. */
static void no_timer_during_a_flush(void **state)
{
	(void)state;
	setup(&lazy_cpu);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0xd000, PAGE, RW, &three), 0);
	f.peer->cpu = 0;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	f.peer->now_ns += 20000000;
	on_kick = unmap_three_without_a_timer;
	peer_run_timers(f.peer);
	assert_false(reachable(f.one));
	assert_false(reachable(f.two));
	teardown();
}

/* ---- a flush that fails ---- */

static void fail_unmaps(struct peer *peer, const struct peer_request *req,
			struct peer_reply *reply)
{
	(void)peer;
	if (req->type == VIRTIO_IOMMU_T_UNMAP)
		reply->status = VIRTIO_IOMMU_S_DEVERR;
}

static void work(void *opaque, uint16_t index)
{
	(void)index;
	peer_work(opaque);
}

/* ---- no addresses left while another thread flushes ---- */

static const struct viommu_drv_domain_config two_pages = {
	.mode = VIOMMU_DRV_LAZY_CPU, .iova_first = PAGE, .iova_last = 3 * PAGE - 1};

#define TIMEOUT_NS 10000000000ull /* the driver's default */

static int map_result;

/* Interrupts the flush: waiting for it would never end. */
static void map_three(void)
{
	int r = viommu_drv_dma_map(f.ep, 0xd000, PAGE, RW, &three);

	__atomic_store_n(&map_result, r, __ATOMIC_RELEASE);
}

/* The thread that flushes was moved to another CPU before. */
static void move_and_map_three(void)
{
	f.peer->cpu ^= 1;
	map_three();
}

static void map_interrupts_a_flush(void **state)
{
	uint64_t start;

	(void)state;
	setup(&two_pages);
	f.peer->tick_ns = 1000000;
	start = f.peer->now_ns;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	map_result = 0;
	on_kick = map_three;
	assert_int_equal(viommu_drv_dma_flush(f.domain), 0);
	assert_int_equal(map_result, -ENOSPC);
	assert_in_range(f.peer->now_ns - start, 0, TIMEOUT_NS - 1);
	map_three();
	assert_int_equal(map_result, 0);
	assert_int_equal(three, f.one);
	teardown();
}

/* As above, where the CPU's number does not tell: the wait has an end. */
static void map_waits_with_an_end(void **state)
{
	uint64_t start;

	(void)state;
	setup(&two_pages);
	f.peer->tick_ns = 1000000;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	map_result = 0;
	start = f.peer->now_ns;
	on_kick = move_and_map_three;
	assert_int_equal(viommu_drv_dma_flush(f.domain), 0);
	assert_int_equal(map_result, -ENOSPC);
	assert_in_range(f.peer->now_ns - start, TIMEOUT_NS, 2 * TIMEOUT_NS);
	teardown();
}

static void *wait_for_the_flush(void *unused)
{
	is_waiter = true;
	f.waiter_result = viommu_drv_dma_flush(f.domain);
	return unused;
}

static void *map_behind_the_flush(void *unused)
{
	is_waiter = true;
	map_three();
	return unused;
}

static pthread_t waiter;

static void start(void *(*thread)(void *))
{
	pthread_create(&waiter, NULL, thread, NULL);
	/* It is in the queue behind this flush. */
	for (unsigned i = 0; i < TURNS_MAX; i++) {
		if (__atomic_load_n(&f.waits, __ATOMIC_RELAXED))
			return;
		sched_yield();
	}
	fail_msg("it does not wait");
}

static void start_waiter(void)
{
	start(wait_for_the_flush);
}

static void start_map(void)
{
	f.peer->cpu ^= 1;
	start(map_behind_the_flush);
}

/* Another CPU's flush ends, and its addresses are there. */
static void map_waits_for_a_flush(void **state)
{
	(void)state;
	setup(&two_pages);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	f.peer->threaded = true;
	peer_kick = work;
	on_kick = start_map;
	map_result = -1;
	assert_int_equal(viommu_drv_dma_flush(f.domain), 0);
	/* The test's thread is the device. */
	for (unsigned i = 0; i < TURNS_MAX; i++) {
		if (__atomic_load_n(&map_result, __ATOMIC_ACQUIRE) != -1)
			break;
		peer_work(f.peer);
		sched_yield();
	}
	pthread_join(waiter, NULL);
	assert_int_equal(map_result, 0);
	assert_int_equal(three, f.one);
	f.peer->threaded = false;
	teardown();
}

/* Who waited for another one's flush must not think that all is well. */
static void waiting_for_a_flush_that_fails(void **state)
{
	(void)state;
	setup(&lazy_cpu);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, f.one, PAGE), 0);
	f.peer->script = fail_unmaps;
	f.peer->threaded = true;
	peer_kick = work;
	on_kick = start_waiter;
	assert_int_equal(viommu_drv_dma_flush(f.domain), -EREMOTEIO);
	pthread_join(waiter, NULL);
	assert_int_equal(f.waiter_result, -EREMOTEIO);
	assert_int_equal(f.peer->flush_failed_nr, 1);
	f.peer->script = NULL;
	f.peer->threaded = false;
	teardown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(times),
		cmocka_unit_test(no_timer_for_anybody),
		cmocka_unit_test(timer_during_a_flush),
		cmocka_unit_test(no_timer_during_a_flush),
		cmocka_unit_test(map_interrupts_a_flush),
		cmocka_unit_test(map_waits_with_an_end),
		cmocka_unit_test(map_waits_for_a_flush),
		cmocka_unit_test(waiting_for_a_flush_that_fails),
	};

	return cmocka_run_group_tests_name("driver flush", tests, NULL, NULL);
}
