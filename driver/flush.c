/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Flush queues. The promise: an address that was unmapped is not handed out
 * again before an UNMAP that covers it was answered, and that happens when the
 * queue is full, when its time is over, or on demand.
 *
 * Adjacent ranges are unmapped by one request: it starts and ends with whole
 * mappings, and what lies between belongs to the same addresses.
 */
#include "drv.h"

/* Requests between two waits: a failure spoils no more ranges than these. */
#define RUNS_PER_SYNC 64u

/* A number below cpus_nr, whatever the platform says. */
static unsigned this_cpu(const struct viommu_drv *drv)
{
	const struct viommu_drv_platform *p = &drv->platform;
	unsigned cpu = p->cpu ? p->cpu(drv->platform_opaque) : 0;

	return cpu < p->cpus_nr ? cpu : 0;
}

/* ---- sorting: heapsort, no memory, no bad case ---- */

static void sift(struct drv_flush_entry *e, uint32_t root, uint32_t nr)
{
	struct drv_flush_entry moving = e[root];

	for (;;) {
		uint32_t child = 2 * root + 1;

		if (child >= nr)
			break;
		if (child + 1 < nr && e[child + 1].start > e[child].start)
			child++;
		if (e[child].start <= moving.start)
			break;
		e[root] = e[child];
		root = child;
	}
	e[root] = moving;
}

static void sort(struct drv_flush_entry *e, uint32_t nr)
{
	uint32_t i = 1;

	/* Often unmapped in the order of allocation. */
	while (i < nr && e[i - 1].start < e[i].start)
		i++;
	if (i >= nr)
		return;
	for (i = nr / 2; i-- > 0;)
		sift(e, i, nr);
	for (i = nr - 1; i > 0; i--) {
		struct drv_flush_entry top = e[0];

		e[0] = e[i];
		e[i] = top;
		sift(e, 0, i);
	}
}

/* Merges adjacent ranges in place; returns how many are left. */
static uint32_t coalesce(struct drv_flush_entry *e, uint32_t nr)
{
	uint32_t runs = 0;

	for (uint32_t i = 1; i < nr; i++) {
		if (e[runs].last + 1 == e[i].start)
			e[runs].last = e[i].last;
		else
			e[++runs] = e[i];
	}
	return runs + 1;
}

/* ---- flushing ---- */

static void fail_run(struct viommu_drv_domain *domain, const struct drv_flush_entry *run,
		     int error)
{
	const struct viommu_drv *drv = domain->drv;

	drv_dma_lose(domain, run->start, run->last);
	if (drv->ops.flush_failed)
		drv->ops.flush_failed(drv->ops_opaque, domain, run->start, run->last,
				      error);
}

/* Unmaps a few runs and gives their addresses back. */
static int flush_runs(struct viommu_drv_domain *domain,
		      const struct drv_flush_entry *runs, uint32_t nr)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	int r = 0, sync;

	for (uint32_t i = 0; i < nr; i++) {
		int n = viommu_drv_unmap(domain, runs[i].start, runs[i].last, &batch);

		if (n < 0 && !r)
			r = n;
	}
	sync = viommu_drv_sync(domain->drv, &batch);
	if (!r)
		r = sync;
	for (uint32_t i = 0; i < nr; i++) {
		if (r)
			fail_run(domain, &runs[i], r);
		else
			drv_iova_free_range(&domain->dma.iova, runs[i].start,
					    runs[i].last);
	}
	return r;
}

/* Flushes adjacent ring entries; *requests grows by what it took. */
static int flush_entries(struct viommu_drv_domain *domain, struct drv_flush_entry *e,
			 uint32_t nr, uint64_t *requests)
{
	uint32_t runs, done;
	int r = 0;

	if (!nr)
		return 0;
	sort(e, nr);
	runs = coalesce(e, nr);
	for (done = 0; done < runs; done += RUNS_PER_SYNC) {
		uint32_t some = runs - done < RUNS_PER_SYNC ? runs - done : RUNS_PER_SYNC;
		int one = flush_runs(domain, e + done, some);

		if (one && !r)
			r = one;
	}
	*requests += runs;
	return r;
}

/* What to do while another thread flushes the queue. */
enum busy {
	WAIT,	    /* for its end, which comes: its waits are bounded */
	WAIT_OTHER, /* as long as a request may take, if it has another CPU: on this
		     * one it may be what the caller has interrupted */
	LEAVE,	    /* the queue to it; what came since stays there */
	HAND_OVER,  /* what came since: it flushes once more. Never waits */
};

/* Lock held. What is in the queue becomes this flush's; its requests are left to
 * be counted. */
struct claim {
	uint32_t head, nr;
	uint64_t since_ns, requests;
};
static struct claim claim(struct drv_flush *q)
{
	q->taken = q->nr;
	q->again = false;
	return (struct claim){.head = q->head, .nr = q->nr, .since_ns = q->oldest_ns};
}

/* Lock held. The claimed entries are dealt with. */
static void release(struct viommu_drv_domain *domain, struct drv_flush *q,
		    const struct claim *c, int error)
{
	uint64_t window = drv_now(domain->drv) - c->since_ns;

	q->head = (q->head + c->nr) % q->size;
	q->nr -= c->nr;
	q->flushes++;
	q->flushed += c->nr;
	q->requests += c->requests;
	if (window > q->window_ns)
		q->window_ns = window;
	if (error) {
		q->failures++;
		q->error = error;
	}
	q->taken = 0;
}

/* Claimed entries are this thread's alone: no lock. */
static int flush_claim(struct viommu_drv_domain *domain, struct drv_flush *q,
		       struct claim *c)
{
	uint32_t first = q->size - c->head < c->nr ? q->size - c->head : c->nr;
	int r = flush_entries(domain, q->entries + c->head, first, &c->requests);
	int more = flush_entries(domain, q->entries, c->nr - first, &c->requests);

	return r ? r : more;
}

/* No lock held. A turn of waiting for whoever flushes on `flusher`; false: it is
 * left to it. */
static bool wait_for_flusher(const struct viommu_drv *drv, enum busy busy,
			     unsigned flusher, struct drv_wait *wait)
{
	bool late;

	if (busy != WAIT && busy != WAIT_OTHER)
		return false;
	/* Without CPU numbers there is only the time to go by. */
	if (busy == WAIT_OTHER && drv->platform.cpu && flusher == this_cpu(drv))
		return false;
	late = drv_wait_turn(drv, wait);
	return busy == WAIT || !late;
}

/* 0, or a failure of this flush or of one that was waited for. */
static int flush_queue(struct viommu_drv_domain *domain, struct drv_flush *q,
		       enum busy busy)
{
	const struct viommu_drv *drv = domain->drv;
	uintptr_t state = drv_lock(drv, &q->lock);
	uint64_t failures = q->failures;
	struct drv_wait wait = {0};
	bool more = true;
	int r;

	while (q->flushing) {
		unsigned flusher = q->flusher;

		q->again |= busy == HAND_OVER;
		drv_unlock(drv, &q->lock, state);
		if (!wait_for_flusher(drv, busy, flusher, &wait))
			return 0;
		state = drv_lock(drv, &q->lock);
	}
	q->flusher = this_cpu(drv);
	/* Again only if asked meanwhile: once for each call of a timer. */
	while (more && q->nr) {
		struct claim c = claim(q);

		q->flushing = true;
		drv_unlock(drv, &q->lock, state);
		r = flush_claim(domain, q, &c);
		state = drv_lock(drv, &q->lock);
		release(domain, q, &c, r);
		q->flushing = false;
		more = q->again;
	}
	r = q->failures == failures ? 0 : q->error;
	drv_unlock(drv, &q->lock, state);
	return r;
}

static int flush_all(struct viommu_drv_domain *domain, enum busy busy)
{
	int r = 0;

	if (!domain->dma.queues)
		return 0;
	for (unsigned i = 0; i < domain->drv->platform.cpus_nr; i++) {
		int one = flush_queue(domain, &domain->dma.queues[i], busy);

		if (!r)
			r = one;
	}
	return r;
}

int viommu_drv_dma_flush(struct viommu_drv_domain *domain)
{
	return flush_all(domain, WAIT);
}

bool drv_flush_for_room(struct viommu_drv_domain *domain)
{
	const struct viommu_drv *drv = domain->drv;
	bool any = false;

	for (unsigned i = 0; domain->dma.queues && i < drv->platform.cpus_nr; i++) {
		struct drv_flush *q = &domain->dma.queues[i];
		uintptr_t state = drv_lock(drv, &q->lock);

		any |= q->nr;
		drv_unlock(drv, &q->lock, state);
	}
	/* What failed was told, and gives nothing back. */
	if (any)
		(void)flush_all(domain, WAIT_OTHER);
	return any;
}

/* ---- the timer ---- */

void viommu_drv_timer(struct viommu_drv_timer *timer)
{
	struct drv_dma *dma = container_of(timer, struct drv_dma, timer);
	struct viommu_drv_domain *domain =
		container_of(dma, struct viommu_drv_domain, dma);

	/* Before the queues are looked at: an entry that comes later finds the
	 * timer unarmed. Pairs with the exchange in push(), which happens under
	 * the queue's lock; the lock orders the two. */
	(void)exchange_full(&dma->armed, 0u);
	/* May interrupt a thread that is flushing, so it must not wait for it.
	 * Failures are told by flush_failed. */
	(void)flush_all(domain, HAND_OVER);
}

/* There is no timer. Other CPUs have left entries since this one said it would
 * arm it, and count on that. 0, or the failure of the own queue's flush. */
static int without_timer(struct viommu_drv_domain *domain, struct drv_flush *own)
{
	/* Ordered before the look at the queues by their locks: who adds to a
	 * queue after that sees it and tries to arm the timer itself. */
	store_relaxed(&domain->dma.armed, 0u);
	add_relaxed(&domain->dma.fallback, 1);
	(void)flush_all(domain, HAND_OVER);
	return flush_queue(domain, own, WAIT);
}

/* ---- adding ---- */

enum { PUSH_FULL = 1, PUSH_ARM = 2, PUSH_REFUSED = 4 };

/* Lock held. What is to be done after it. */
static unsigned push(struct viommu_drv_domain *domain, struct drv_flush *q,
		     uint64_t start, uint64_t last)
{
	unsigned todo = 0;

	if (!q->accepting || q->nr == q->size)
		return PUSH_REFUSED;
	if (q->nr == q->taken)
		q->oldest_ns = drv_now(domain->drv);
	q->entries[(q->head + q->nr) % q->size] = (struct drv_flush_entry){start, last};
	q->nr++;
	if (q->nr - q->taken >= q->full)
		todo |= PUSH_FULL;
	/* See viommu_drv_timer(). */
	if (!load_relaxed(&domain->dma.armed) && !exchange_full(&domain->dma.armed, 1u))
		todo |= PUSH_ARM;
	return todo;
}

static struct drv_flush *choose_queue(struct viommu_drv_domain *domain)
{
	unsigned cpu = 0;

	if (load_relaxed(&domain->dma.mode) == VIOMMU_DRV_LAZY_CPU)
		cpu = this_cpu(domain->drv);
	return &domain->dma.queues[cpu];
}

int drv_flush_add(struct viommu_drv_domain *domain, uint64_t start, uint64_t last)
{
	const struct viommu_drv *drv = domain->drv;
	struct drv_flush *q = choose_queue(domain);
	uintptr_t state = drv_lock(drv, &q->lock);
	unsigned todo = push(domain, q, start, last);

	drv_unlock(drv, &q->lock, state);
	if (todo & PUSH_REFUSED)
		return 1;
	/* Relaxed: a mode that changes meanwhile drains, whatever the time was. */
	if (todo & PUSH_ARM &&
	    drv->platform.timer_arm(drv->platform_opaque, &domain->dma.timer,
				    load_relaxed(&domain->dma.flush_ns)) < 0)
		return without_timer(domain, q);
	return todo & PUSH_FULL ? flush_queue(domain, q, LEAVE) : 0;
}

/* ---- starting and stopping; control ---- */

static void free_queue(struct viommu_drv_domain *domain, struct drv_flush *q)
{
	drv_free(domain->drv, q->entries, q->size * sizeof(*q->entries));
	q->entries = NULL;
	q->size = 0;
}

int drv_flush_start(struct viommu_drv_domain *domain, unsigned queues_nr, uint32_t full)
{
	for (unsigned i = 0; i < queues_nr; i++) {
		struct drv_flush *q = &domain->dma.queues[i];
		struct drv_flush_entry *entries =
			drv_alloc(domain->drv, 2ull * full * sizeof(*entries));
		uintptr_t state;

		if (!entries) {
			(void)drv_flush_stop(domain);
			return err(ENOMEM, "flush queue");
		}
		state = drv_lock(domain->drv, &q->lock);
		q->entries = entries;
		q->size = 2 * full;
		q->full = full;
		q->head = q->nr = 0;
		q->accepting = true;
		drv_unlock(domain->drv, &q->lock, state);
	}
	return 0;
}

int drv_flush_stop(struct viommu_drv_domain *domain)
{
	const struct viommu_drv *drv = domain->drv;
	struct drv_dma *dma = &domain->dma;
	int r;

	if (!dma->queues)
		return 0;
	for (unsigned i = 0; i < drv->platform.cpus_nr; i++) {
		uintptr_t state = drv_lock(drv, &dma->queues[i].lock);

		dma->queues[i].accepting = false;
		drv_unlock(drv, &dma->queues[i].lock, state);
	}
	r = flush_all(domain, WAIT);
	if (drv->platform.timer_arm)
		drv->platform.timer_cancel(drv->platform_opaque, &dma->timer);
	store_relaxed(&dma->armed, 0u);
	for (unsigned i = 0; i < drv->platform.cpus_nr; i++)
		free_queue(domain, &dma->queues[i]);
	return r;
}
