/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The promise of unmapping, with threads, against a ledger of every page of the
 * domain's addresses. The ledger is told of a page when the caller maps it, before
 * the caller unmaps it, and when the device answers the UNMAP that covers it:
 *
 *     FREE -- map returns --> MAPPED -- unmap is called --> WAITING
 *       ^------------ the device answers UNMAP ---------------'
 *
 * so it can say whether an address was handed out too early, whether a page in use
 * was unmapped, and which pages still wait: none after a strict unmap and after a
 * flush on demand, no more than the queues are long, none once its time is over.
 * The clock is a fake; it moves when the workers rest, and the timer with it. The
 * device answers in any order, some UNMAPs much later: what was freed too early shows.
 */
#include <errno.h>
#include <sched.h>

#include "drv_peer.h"

#define RW	 (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define PAGE	 0x1000ull
#define FIRST	 0x100000ull
#define PAGES	 2048u
#define WORKERS	 3u
#define CPUS	 2u
#define PHASES	 30u
#define OPS	 60u /* of a worker in a phase */
#define HELD_MAX 8u
#define ENTRIES	 16u
#define FLUSH_NS 1000000ull
#define FOREVER	 (1ull << 60)

enum page_state { FREE, MAPPED, WAITING };

struct page {
	enum page_state state;
	bool first;	   /* of what was unmapped together */
	bool returned;	   /* the unmap call is over */
	uint32_t turn;	   /* counts the maps of this page */
	uint64_t since_ns; /* WAITING: when it was unmapped */
};

enum broken {
	REUSED_EARLY,	 /* mapped while it waits */
	UNMAPPED_IN_USE, /* by the device, before the caller did */
	STRICT_WAITS,	 /* after a strict unmap */
	FLUSHED_WAITS,	 /* after a flush on demand, or a change of mode */
	TOO_MANY_WAIT,	 /* more than the queues are long */
	TOO_LONG,	 /* its time is over */
	CALL_FAILED,
	PROMISES
};

struct ledger {
	pthread_mutex_t lock; /* of all here */
	struct page page[PAGES];
	unsigned broken[PROMISES];
};

struct stage {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	struct ledger ledger;
	enum viommu_drv_mode mode;
	bool change_modes; /* while the workers work */
	unsigned workers_nr;
	pthread_barrier_t rest; /* workers and the director, around each phase */
	uint32_t stop;		/* atomic: the device ends */
	uint32_t working;	/* atomic: workers inside the phase */
};

struct worker {
	struct stage *stage;
	struct rng rng;
	unsigned cpu;
	uint64_t held[HELD_MAX], len[HELD_MAX]; /* iova 0: none */
	uint64_t maps;
};

static __thread unsigned this_cpu;

static unsigned get_cpu(void *opaque)
{
	(void)opaque;
	return this_cpu;
}

/* ---- the ledger ---- */

static struct page *page_at(struct stage *s, uint64_t iova)
{
	uint64_t i = (iova - FIRST) / PAGE;

	return iova < FIRST || i >= PAGES ? NULL : &s->ledger.page[i];
}

static void note(struct stage *s, enum broken what)
{
	pthread_mutex_lock(&s->ledger.lock);
	s->ledger.broken[what]++;
	pthread_mutex_unlock(&s->ledger.lock);
}

static void ledger_map(struct stage *s, uint64_t iova, uint64_t len)
{
	pthread_mutex_lock(&s->ledger.lock);
	for (uint64_t at = iova; at < iova + len; at += PAGE) {
		struct page *page = page_at(s, at);

		s->ledger.broken[REUSED_EARLY] += page->state != FREE;
		*page = (struct page){.state = MAPPED, .turn = page->turn + 1};
	}
	pthread_mutex_unlock(&s->ledger.lock);
}

static void ledger_unmap(struct stage *s, uint64_t iova, uint64_t len)
{
	uint64_t now = __atomic_load_n(&s->peer->now_ns, __ATOMIC_RELAXED);

	pthread_mutex_lock(&s->ledger.lock);
	for (uint64_t at = iova; at < iova + len; at += PAGE) {
		struct page *page = page_at(s, at);

		page->state = WAITING;
		page->first = at == iova;
		page->since_ns = now;
	}
	pthread_mutex_unlock(&s->ledger.lock);
}

/* turn: of the first page, read when it was mapped. */
static void ledger_unmapped(struct stage *s, uint64_t iova, uint64_t len, uint32_t turn)
{
	pthread_mutex_lock(&s->ledger.lock);
	for (uint64_t at = iova; at < iova + len; at += PAGE) {
		struct page *page = page_at(s, at);

		/* Or it is somebody else's by now. */
		if (page->state != WAITING || (at == iova && page->turn != turn))
			break;
		page->returned = true;
		s->ledger.broken[STRICT_WAITS] +=
			s->mode == VIOMMU_DRV_STRICT && !s->change_modes;
	}
	pthread_mutex_unlock(&s->ledger.lock);
}

/* The device is about to answer. */
static void on_answer(struct peer *peer, const struct peer_request *req,
		      struct peer_reply *reply)
{
	const struct virtio_iommu_req_unmap *unmap = (const void *)req->bytes;
	struct stage *s = peer->script_arg;

	if (req->type != VIRTIO_IOMMU_T_UNMAP || reply->status)
		return;
	pthread_mutex_lock(&s->ledger.lock);
	for (uint64_t at = unmap->virt_start; at < unmap->virt_last; at += PAGE) {
		struct page *page = page_at(s, at);

		s->ledger.broken[UNMAPPED_IN_USE] += page->state == MAPPED;
		page->state = FREE;
	}
	pthread_mutex_unlock(&s->ledger.lock);
}

/* What was unmapped, and how often the page had been mapped until then. */
struct snapshot {
	bool waits[PAGES];
	uint32_t turn[PAGES];
};

static void look(struct stage *s, struct snapshot *shot)
{
	pthread_mutex_lock(&s->ledger.lock);
	for (unsigned i = 0; i < PAGES; i++) {
		const struct page *page = &s->ledger.page[i];

		shot->waits[i] = page->state == WAITING && page->returned;
		shot->turn[i] = page->turn;
	}
	pthread_mutex_unlock(&s->ledger.lock);
}

/* Nothing of what waited then waits now. */
static void look_again(struct stage *s, const struct snapshot *shot)
{
	pthread_mutex_lock(&s->ledger.lock);
	for (unsigned i = 0; i < PAGES; i++) {
		const struct page *page = &s->ledger.page[i];

		s->ledger.broken[FLUSHED_WAITS] += shot->waits[i] &&
						   page->state == WAITING &&
						   page->turn == shot->turn[i];
	}
	pthread_mutex_unlock(&s->ledger.lock);
}

/* ---- threads ---- */

static void *device(void *opaque)
{
	struct stage *s = opaque;
	struct rng order = rng_init(7), rng = rng_init(8);

	s->peer->shuffle = &order;
	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		for (uint64_t n = rng_below(&rng, 6); n; n--)
			sched_yield();
		peer_work(s->peer);
	}
	return NULL;
}

static void unmap(struct worker *w, unsigned i)
{
	struct stage *s = w->stage;
	uint64_t iova = w->held[i], len = w->len[i];
	uint32_t turn;

	w->held[i] = 0;
	pthread_mutex_lock(&s->ledger.lock);
	turn = page_at(s, iova)->turn;
	pthread_mutex_unlock(&s->ledger.lock);
	ledger_unmap(s, iova, len);
	if (viommu_drv_dma_unmap(s->ep, iova, len))
		note(s, CALL_FAILED);
	ledger_unmapped(s, iova, len, turn);
}

static void map(struct worker *w, unsigned i)
{
	struct stage *s = w->stage;
	uint64_t len = PAGE << rng_below(&w->rng, 3);

	int r = viommu_drv_dma_map(s->ep, 0x40000000, len, RW, &w->held[i]);

	if (r) {
		w->held[i] = 0;
		if (r != -ENOSPC)
			note(s, CALL_FAILED);
		return;
	}
	ledger_map(s, w->held[i], len);
	w->len[i] = len;
	w->maps++;
}

static void flush(struct stage *s)
{
	struct snapshot shot;

	look(s, &shot);
	if (viommu_drv_dma_flush(s->domain))
		note(s, CALL_FAILED);
	look_again(s, &shot);
}

static void *work(void *opaque)
{
	struct worker *w = opaque;
	struct stage *s = w->stage;

	this_cpu = w->cpu;
	for (unsigned phase = 0; phase < PHASES; phase++) {
		pthread_barrier_wait(&s->rest);
		for (unsigned op = 0; op < OPS; op++) {
			unsigned i = (unsigned)rng_below(&w->rng, HELD_MAX);

			if (w->held[i])
				unmap(w, i);
			else
				map(w, i);
			/* Not in every phase: it would hide a lazy timer. */
			if (phase % 3 == 0 && rng_chance(&w->rng, 3))
				flush(s);
		}
		for (unsigned i = 0; phase + 1 == PHASES && i < HELD_MAX; i++)
			if (w->held[i])
				unmap(w, i);
		__atomic_sub_fetch(&s->working, 1, __ATOMIC_RELEASE);
		pthread_barrier_wait(&s->rest);
	}
	return NULL;
}

/* ---- the director ---- */

static void change_modes(struct stage *s, struct rng *rng)
{
	while (s->change_modes && __atomic_load_n(&s->working, __ATOMIC_ACQUIRE)) {
		enum viommu_drv_mode mode = (enum viommu_drv_mode)rng_below(rng, 3);
		struct snapshot shot;

		look(s, &shot);
		if (viommu_drv_domain_set_mode(s->domain, mode, ENTRIES, FLUSH_NS) !=
		    (int)mode)
			note(s, CALL_FAILED);
		look_again(s, &shot);
		for (uint64_t n = rng_below(rng, 50); n; n--)
			sched_yield();
	}
}

/* Unmaps that wait; *oldest: since when. */
static unsigned waiting(struct stage *s, uint64_t *oldest)
{
	unsigned nr = 0;

	*oldest = FOREVER;
	pthread_mutex_lock(&s->ledger.lock);
	for (unsigned i = 0; i < PAGES; i++) {
		const struct page *page = &s->ledger.page[i];

		if (page->state != WAITING)
			continue;
		nr += page->first;
		if (page->since_ns < *oldest)
			*oldest = page->since_ns;
	}
	pthread_mutex_unlock(&s->ledger.lock);
	return nr;
}

/* Where the clock moved while workers worked, one may have been kept between
 * adding a page and arming the timer for all: times count from now. */
static void restart_times(struct stage *s)
{
	pthread_mutex_lock(&s->ledger.lock);
	for (unsigned i = 0; i < PAGES; i++)
		s->ledger.page[i].since_ns =
			__atomic_load_n(&s->peer->now_ns, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->ledger.lock);
}

/* All workers rest. alone: there was one, and no timer beside it. */
static void check_rest(struct stage *s, bool alone)
{
	/* One worker starts a flush as soon as its queue is full; several may find
	 * that another one is flushing, for which each queue has room. */
	unsigned most = alone ? ENTRIES - 1 : 2 * ENTRIES * CPUS;
	uint64_t oldest, now;

	if (waiting(s, &oldest) > most)
		note(s, TOO_MANY_WAIT);
	/* To the moment when the oldest one has to be gone, then to when all have. */
	while (oldest != FOREVER) {
		now = __atomic_load_n(&s->peer->now_ns, __ATOMIC_RELAXED);
		if (oldest + FLUSH_NS > now)
			now = oldest + FLUSH_NS;
		__atomic_store_n(&s->peer->now_ns, now, __ATOMIC_RELAXED);
		peer_run_timers(s->peer);
		(void)waiting(s, &oldest);
		if (oldest != FOREVER && oldest + FLUSH_NS <= now) {
			note(s, TOO_LONG);
			break;
		}
	}
}

static void direct(struct stage *s, struct rng *rng)
{
	for (unsigned phase = 0; phase < PHASES; phase++) {
		__atomic_store_n(&s->working, s->workers_nr, __ATOMIC_RELEASE);
		pthread_barrier_wait(&s->rest);
		change_modes(s, rng);
		/* Some phases end later than their pages may wait. */
		while (__atomic_load_n(&s->working, __ATOMIC_ACQUIRE)) {
			if (phase % 3 == 1) {
				__atomic_add_fetch(&s->peer->now_ns, FLUSH_NS / 8,
						   __ATOMIC_RELAXED);
				peer_run_timers(s->peer);
			}
			sched_yield();
		}
		pthread_barrier_wait(&s->rest);
		if (phase % 3 == 1)
			restart_times(s);
		check_rest(s, s->workers_nr == 1 && phase % 3 != 1);
	}
}

static void start(struct stage *s)
{
	/* The clock runs fast; the device is not timed. */
	const struct viommu_drv_config patient = {.request_timeout_ns = FOREVER};
	const struct viommu_drv_domain_config config = {
		.mode = s->mode,
		.flush_entries = ENTRIES,
		.flush_ns = FLUSH_NS,
		.iova_first = FIRST,
		.iova_last = FIRST + PAGES * PAGE - 1,
	};

	s->peer->platform.cpu = get_cpu;
	s->peer->platform.cpus_nr = CPUS;
	s->peer->tick_ns = 0;
	assert_int_equal(peer_start(s->peer, &patient), 0);
	s->ep = peer_endpoint(s->peer, 4);
	s->domain = peer_domain(s->peer, &config);
	assert_int_equal(viommu_drv_attach(s->domain, s->ep), 0);
	s->peer->script_arg = s;
	s->peer->script = on_answer;
	s->peer->threaded = s->peer->silent_log = true;
}

static void finish(struct stage *s)
{
	static const char *const name[] = {
		"an address was handed out before its unmap was answered",
		"a page in use was unmapped",
		"a strict unmap returned before its answer",
		"a flush on demand returned before an answer",
		"more unmaps wait than the queues are long",
		"an unmap waits longer than its time",
		"a call failed",
	};
	uint64_t oldest;

	assert_int_equal(waiting(s, &oldest), 0);
	assert_int_equal(peer_mapped(s->peer, viommu_drv_domain_id(s->domain)), 0);
	assert_int_equal(viommu_drv_endpoint_destroy(s->ep), 0);
	viommu_drv_domain_destroy(s->domain);
	for (unsigned i = 0; i < PROMISES; i++)
		if (s->ledger.broken[i])
			fail_msg("%s: %u times", name[i], s->ledger.broken[i]);
	assert_int_equal(s->peer->wrong, 0);
	peer_destroy(s->peer);
}

static void run(enum viommu_drv_mode mode, unsigned workers_nr, bool modes_change)
{
	struct rng rng = rng_init(test_seed());
	struct worker worker[WORKERS] = {0};
	pthread_t threads[WORKERS], dev;
	static struct stage s;

	s = (struct stage){.peer = peer_create(),
			   .mode = mode,
			   .change_modes = modes_change,
			   .workers_nr = workers_nr};
	pthread_mutex_init(&s.ledger.lock, NULL);
	pthread_barrier_init(&s.rest, NULL, workers_nr + 1);
	start(&s);
	pthread_create(&dev, NULL, device, &s);
	for (unsigned i = 0; i < workers_nr; i++) {
		worker[i] = (struct worker){
			.stage = &s, .rng = rng_init(rng_next(&rng)), .cpu = i % CPUS};
		pthread_create(&threads[i], NULL, work, &worker[i]);
	}
	direct(&s, &rng);
	for (unsigned i = 0; i < workers_nr; i++) {
		pthread_join(threads[i], NULL);
		assert_true(worker[i].maps > 0);
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(dev, NULL);
	s.peer->threaded = false;
	s.peer->shuffle = NULL;
	finish(&s);
	pthread_mutex_destroy(&s.ledger.lock);
	pthread_barrier_destroy(&s.rest);
}

static void strict(void **state)
{
	(void)state;
	run(VIOMMU_DRV_STRICT, WORKERS, false);
}

static void lazy_cpu(void **state)
{
	(void)state;
	run(VIOMMU_DRV_LAZY_CPU, WORKERS, false);
	run(VIOMMU_DRV_LAZY_CPU, 1, false);
}

static void lazy_single(void **state)
{
	(void)state;
	run(VIOMMU_DRV_LAZY_SINGLE, WORKERS, false);
	run(VIOMMU_DRV_LAZY_SINGLE, 1, false);
}

static void modes_change(void **state)
{
	(void)state;
	run(VIOMMU_DRV_LAZY_CPU, WORKERS, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict),
		cmocka_unit_test(lazy_cpu),
		cmocka_unit_test(lazy_single),
		cmocka_unit_test(modes_change),
	};

	return cmocka_run_group_tests_name("driver flush model", tests, NULL, NULL);
}
