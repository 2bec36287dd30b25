/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The flush queue's promise with threads: no address is handed out again before
 * its UNMAP was answered. The device's naive model says so: a MAP over a mapping
 * that is still there counts as wrong. Strict unmaps and flushes on demand are
 * looked up in the model, and the mode changes and the device is reset meanwhile.
 */
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "drv_peer.h"

#define RW	 (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define THREADS	 3u
#define ROUNDS	 3000u
#define HELD_MAX 16u

struct stage {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	uint32_t stop;	  /* atomic: device and timer end */
	uint32_t working; /* atomic: worker threads that are not done */
	bool resets;	  /* the device is reset meanwhile */
};

struct worker {
	struct stage *stage;
	struct rng rng;
	uint64_t maps, errors;
};

static __thread unsigned cpu;

static unsigned thread_cpu(void *opaque)
{
	(void)opaque;
	return cpu;
}

static void *device(void *opaque)
{
	struct stage *s = opaque;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		peer_work(s->peer);
		sched_yield();
	}
	return NULL;
}

static void *timer(void *opaque)
{
	struct stage *s = opaque;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		peer_run_timers(s->peer);
		sched_yield();
	}
	return NULL;
}

/* Whether the device reaches anything at an address. */
static bool reachable(struct stage *s, uint64_t iova)
{
	bool found;

	pthread_mutex_lock(&s->peer->device_lock);
	found = peer_lookup(s->peer, viommu_drv_domain_id(s->domain), iova);
	pthread_mutex_unlock(&s->peer->device_lock);
	return found;
}

static void unmap(struct worker *w, uint64_t iova, uint64_t len)
{
	struct stage *s = w->stage;
	int r = viommu_drv_dma_unmap(s->ep, iova, len);

	/* A queue that is being reset refuses; that is told, and it is enough. */
	if (r)
		w->errors++;
	if (r && !s->resets)
		fail_msg("unmap: %d", r);
}

static void *work(void *opaque)
{
	struct worker *w = opaque;
	struct stage *s = w->stage;
	uint64_t held[HELD_MAX] = {0}, len[HELD_MAX];

	cpu = (unsigned)rng_below(&w->rng, 2);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned i = (unsigned)rng_below(&w->rng, HELD_MAX);

		if (held[i]) {
			unmap(w, held[i], len[i]);
			held[i] = 0;
			continue;
		}
		len[i] = 0x1000ull << rng_below(&w->rng, 3);
		if (viommu_drv_dma_map(s->ep, 0x100000 * round, len[i], RW, &held[i])) {
			held[i] = 0;
			w->errors++;
			assert_true(s->resets);
			continue;
		}
		w->maps++;
		/* As its interrupt would; a reset empties that ring as well. */
		if (viommu_drv_poll_events(s->peer->drv) < 0)
			assert_true(s->resets);
		if (!s->resets)
			assert_true(reachable(s, held[i]));
		if (rng_chance(&w->rng, 1)) {
			struct viommu_drv_dma_stats dma;
			struct viommu_drv_stats stats;

			(void)viommu_drv_dma_flush(s->domain);
			viommu_drv_get_stats(s->peer->drv, &stats);
			viommu_drv_dma_get_stats(s->domain, &dma);
		}
	}
	for (unsigned i = 0; i < HELD_MAX; i++)
		if (held[i])
			unmap(w, held[i], len[i]);
	__atomic_sub_fetch(&s->working, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Control calls while the others work. */
static void disturb(struct stage *s, struct rng *rng)
{
	static const enum viommu_drv_mode modes[] = {
		VIOMMU_DRV_STRICT, VIOMMU_DRV_LAZY_CPU, VIOMMU_DRV_LAZY_SINGLE};

	while (__atomic_load_n(&s->working, __ATOMIC_ACQUIRE)) {
		enum viommu_drv_mode mode = modes[rng_below(rng, 3)];
		int r = viommu_drv_domain_set_mode(s->domain, mode,
						   1 + (uint32_t)rng_below(rng, 40),
						   1000 + rng_below(rng, 300000));

		if (!s->resets)
			assert_int_equal(r, mode);
		if (s->resets && rng_chance(rng, 30))
			assert_int_equal(viommu_drv_reset(s->peer->drv), 0);
		usleep((useconds_t)rng_below(rng, 3000));
	}
}

static void run(bool resets)
{
	const struct viommu_drv_domain_config config = {
		.mode = VIOMMU_DRV_LAZY_CPU, .flush_entries = 8, .flush_ns = 200000};
	struct rng rng = rng_init(test_seed());
	struct stage s = {.peer = peer_create(), .resets = resets, .working = THREADS};
	struct worker worker[THREADS];
	pthread_t threads[THREADS], dev, tick;

	s.peer->threaded = s.peer->real_clock = s.peer->silent_log = true;
	s.peer->platform.cpu = thread_cpu;
	pthread_create(&dev, NULL, device, &s);
	pthread_create(&tick, NULL, timer, &s);
	assert_int_equal(peer_start(s.peer, NULL), 0);
	s.ep = peer_endpoint(s.peer, 4);
	s.domain = peer_domain(s.peer, &config);
	assert_int_equal(viommu_drv_attach(s.domain, s.ep), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){.stage = &s, .rng = rng_init(rng_next(&rng))};
		pthread_create(&threads[i], NULL, work, &worker[i]);
	}
	disturb(&s, &rng);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(worker[i].maps > 0);
	}
	assert_int_equal(viommu_drv_dma_flush(s.domain), 0);
	pthread_mutex_lock(&s.peer->device_lock);
	if (!resets)
		assert_int_equal(peer_mapped(s.peer, viommu_drv_domain_id(s.domain)), 0);
	assert_int_equal(s.peer->wrong, 0);
	pthread_mutex_unlock(&s.peer->device_lock);
	assert_int_equal(viommu_drv_endpoint_destroy(s.ep), 0);
	viommu_drv_domain_destroy(s.domain);
	viommu_drv_destroy(s.peer->drv);
	s.peer->drv = NULL;
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(dev, NULL);
	pthread_join(tick, NULL);
	peer_destroy(s.peer);
}

static void no_reuse_before_the_flush(void **state)
{
	(void)state;
	run(false);
}

static void resets_meanwhile(void **state)
{
	(void)state;
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_reuse_before_the_flush),
		cmocka_unit_test(resets_meanwhile),
	};

	return cmocka_run_group_tests_name("driver threads", tests, NULL, NULL);
}
