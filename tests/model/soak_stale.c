/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The hunt for stale translations: soak_stale [SECONDS]
 *
 * Writers map, unmap, attach, detach, reset, switch bypass and take memory away,
 * at random, one at a time as the device does. Readers translate, hold and touch
 * memory all the while. Each mapping's page carries a tag that names domain,
 * address and a serial number; when a removal is answered, its pages are filled
 * with poison before they are used again. A reader that meets poison, a tag of
 * another address or, while its endpoint does not move, of another domain has
 * used a translation after its end; so has one whose write damages poison. Pages
 * mostly go on from those of their neighbours, so that cached translations are of
 * several mappings.
 *
 * Tags are plain memory: under the thread sanitizer a stale access is a data
 * race even when its value is harmless.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>

#include <viommu/dma.h>

#include "base/atomic.h"
#include "base/errno.h"
#include "domain/domain.h"
#include "soak.h"
#include "test_alloc.h"

#define IOVAS	     64u /* pages a domain can map */
#define DOMAINS	     2u
#define EPS	     3u
#define READERS	     4u /* contexts; two share an endpoint */
#define WRITERS	     2u
#define REGIONS	     4u
#define REGION_PAGES 64u
#define PAGES	     (REGIONS * REGION_PAGES)

/* What an endpoint's addresses mean, for readers: a count that is odd while it
 * is being changed, and one of these. */
enum { BLOCKED, BYPASS, IN_DOMAIN /* + domain */ };
#define MEANING(word)  ((word)&0xff)
#define CHANGING(word) ((word)&0x100)

static struct {
	struct test_alloc ta;
	struct space *space;
	struct viommu_mem *mem;
	struct viommu_endpoint *ep[EPS];
	uint64_t *ram;
	bool stop;
	uint32_t meaning[EPS];			   /* atomic */
	uint64_t faults, released, checks, merged; /* atomic */

	/* Below: under the mutex. */
	pthread_mutex_t mutex;
	int page[DOMAINS][IOVAS]; /* mapped there; -1: nothing */
	bool used[PAGES];
	int leaving[PAGES]; /* unmapped, but not answered yet */
	unsigned leaving_nr;
	int domain[EPS]; /* -1: unattached */
	bool bypass;
	uint64_t serial, operations;
} g;

static uint64_t *page_words(int page)
{
	return words_of(g.ram, page);
}

static void poison(int page)
{
	poison_words(page_words(page));
}

static void check_poison(int page)
{
	check_poison_words(page_words(page), "a write after the end", page);
}

static uint64_t make_tag(unsigned domain, unsigned index)
{
	return ++g.serial << 16 | domain << 8 | index;
}

/* ---- writers ---- */

static void wait_released(void)
{
	while (space_pending(g.space))
		sched_yield();
}

static void release_pages(unsigned domain, unsigned first, unsigned last)
{
	for (unsigned i = first; i <= last; i++) {
		int page = g.page[domain][i];

		if (page < 0)
			continue;
		poison(page);
		g.used[page] = false;
		g.page[domain][i] = -1;
	}
}

static bool page_free(int page)
{
	return page >= 0 && page < (int)PAGES && !g.used[page];
}

/* The page that goes on from what is mapped beside, or any. */
static int pick_page(struct rng *rng, unsigned d, unsigned i)
{
	int lower = i ? g.page[d][i - 1] : -1;
	int upper = i + 1 < IOVAS ? g.page[d][i + 1] : -1;

	if (rng_chance(rng, 80) && lower >= 0 && page_free(lower + 1))
		return lower + 1;
	if (rng_chance(rng, 80) && upper >= 0 && page_free(upper - 1))
		return upper - 1;
	return (int)rng_below(rng, PAGES);
}

static void do_map(struct rng *rng)
{
	unsigned d = (unsigned)rng_below(rng, DOMAINS);
	unsigned i = (unsigned)rng_below(rng, IOVAS);
	int page = pick_page(rng, d, i);
	uint64_t iova = IOVA_BASE + (uint64_t)i * PAGE_LEN;

	if (g.page[d][i] >= 0 || g.used[page])
		return;
	check_poison(page);
	memset(page_words(page), 0, WORDS * 8);
	page_words(page)[0] = make_tag(d, i);
	if (space_map(g.space, d, iova, iova + PAGE_LEN - 1,
		      GPA_BASE + (uint64_t)page * PAGE_LEN, VIOMMU_READ | VIOMMU_WRITE)) {
		poison(page); /* there is no such domain now */
		return;
	}
	g.page[d][i] = page;
	g.used[page] = true;
}

static void do_unmap(struct rng *rng)
{
	unsigned d = (unsigned)rng_below(rng, DOMAINS);
	unsigned first = (unsigned)rng_below(rng, IOVAS);
	unsigned nr = rng_chance(rng, 3) ? (unsigned)rng_below(rng, IOVAS) : 0;
	unsigned last = first + nr < IOVAS ? first + nr : IOVAS - 1;
	unsigned removed;
	int rc = space_unmap(g.space, d, IOVA_BASE + (uint64_t)first * PAGE_LEN,
			     IOVA_BASE + (uint64_t)(last + 1) * PAGE_LEN - 1, &removed);

	if (rc == -EINPROGRESS)
		wait_released();
	else if (rc && rc != -ENOENT)
		stale("unmap", (uint64_t)-rc, first);
	release_pages(d, first, last);
}

/* The UNMAPs of a batch are answered. */
static void do_settle(void)
{
	space_settle(g.space);
	while (g.leaving_nr) {
		int page = g.leaving[--g.leaving_nr];

		poison(page);
		g.used[page] = false;
	}
}

/* One of a batch: others follow, MAPs of the same addresses too. */
static void do_unmap_later(struct rng *rng)
{
	unsigned d = (unsigned)rng_below(rng, DOMAINS);
	unsigned first = (unsigned)rng_below(rng, IOVAS);
	unsigned nr = rng_chance(rng, 3) ? (unsigned)rng_below(rng, IOVAS) : 0;
	unsigned last = first + nr < IOVAS ? first + nr : IOVAS - 1;
	int rc = space_unmap_later(g.space, d, IOVA_BASE + (uint64_t)first * PAGE_LEN,
				   IOVA_BASE + (uint64_t)(last + 1) * PAGE_LEN - 1);

	if (rc == -EINPROGRESS)
		wait_released();
	else if (rc && rc != -ENOENT)
		stale("unmap", (uint64_t)-rc, first);
	for (unsigned i = first; i <= last; i++) {
		if (g.page[d][i] >= 0)
			g.leaving[g.leaving_nr++] = g.page[d][i];
		g.page[d][i] = -1;
	}
}

static void begin_change(unsigned ep)
{
	/* Pairs with the readers' acquire: a change seen is a change ignored. */
	store_release(&g.meaning[ep], g.meaning[ep] + 0x100);
	fence_full();
}

static void end_change(unsigned ep)
{
	uint32_t word = (g.meaning[ep] + 0x100) & ~0xffu;

	if (g.domain[ep] >= 0)
		word |= IN_DOMAIN + (uint32_t)g.domain[ep];
	else
		word |= g.bypass ? BYPASS : BLOCKED;
	/* Pairs with the readers' acquire: the change is complete. */
	store_release(&g.meaning[ep], word);
}

static bool domain_empty(int domain)
{
	for (unsigned i = 0; i < EPS; i++)
		if (g.domain[i] == domain)
			return false;
	return true;
}

static void do_move(struct rng *rng)
{
	unsigned ep = (unsigned)rng_below(rng, EPS);
	int from = g.domain[ep], to = (int)rng_below(rng, DOMAINS + 1) - 1;
	int rc;

	if (from == to)
		return;
	begin_change(ep);
	rc = to < 0 ? space_detach(g.space, (uint32_t)from, 10 + ep)
		    : space_attach(g.space, (uint32_t)to, 10 + ep, false);
	if (rc == -EINPROGRESS)
		wait_released();
	else if (rc)
		stale("attach or detach", (uint64_t)-rc, ep);
	g.domain[ep] = to;
	end_change(ep);
	if (from >= 0 && domain_empty(from))
		release_pages((unsigned)from, 0, IOVAS - 1);
}

static void do_bypass(void)
{
	for (unsigned i = 0; i < EPS; i++)
		begin_change(i);
	g.bypass = !g.bypass;
	space_set_bypass(g.space, g.bypass);
	for (unsigned i = 0; i < EPS; i++)
		end_change(i);
}

/* A region goes away and comes back; meanwhile it is poison. */
static void do_memory(struct rng *rng)
{
	static uint64_t saved[REGION_PAGES][WORDS];
	int first = (int)(rng_below(rng, REGIONS) * REGION_PAGES);
	uint64_t gpa = GPA_BASE + (uint64_t)first * PAGE_LEN;
	uint64_t len = REGION_PAGES * PAGE_LEN;
	int rc = viommu_mem_remove(g.mem, gpa, len);

	if (rc && rc != -EINPROGRESS)
		stale("mem_remove", (uint64_t)-rc, gpa);
	while (viommu_mem_busy(g.mem, gpa, len))
		sched_yield();
	for (int i = 0; i < (int)REGION_PAGES; i++) {
		memcpy(saved[i], page_words(first + i), sizeof(saved[i]));
		poison(first + i);
	}
	sched_yield();
	for (int i = 0; i < (int)REGION_PAGES; i++) {
		check_poison(first + i);
		memcpy(page_words(first + i), saved[i], sizeof(saved[i]));
	}
	if (viommu_mem_add(g.mem, gpa, len, page_words(first), 0))
		stale("mem_add", gpa, len);
}

static void operate(struct rng *rng)
{
	unsigned what = (unsigned)rng_below(rng, 1000);

	if (what < 640)
		do_map(rng);
	else if (what < 720)
		do_unmap(rng);
	else if (what < 950)
		do_unmap_later(rng);
	else if (what < 960)
		do_settle();
	else if (what < 980)
		do_move(rng);
	else if (what < 985)
		do_bypass();
	else if (what < 995)
		do_memory(rng);
	else
		space_endpoint_reset(g.ep[rng_below(rng, EPS)]);
	g.operations++;
}

static void *writer(void *seed)
{
	struct rng rng = rng_init((uintptr_t)seed);

	while (!load_relaxed(&g.stop)) {
		pthread_mutex_lock(&g.mutex);
		for (unsigned i = 0; i < 16; i++)
			operate(&rng);
		do_settle();
		pthread_mutex_unlock(&g.mutex);
		if (rng_chance(&rng, 10))
			sched_yield();
	}
	return NULL;
}

/* ---- readers ---- */

struct reader {
	unsigned nr, ep;
	uint64_t seed;
	struct viommu_dma *dma;
	struct iovec iov[8];
	struct viommu_hold hold[8];
	struct viommu_sg sg;
	uint64_t tag[8]; /* of the pages held */
	unsigned index;	 /* first one */
};

/* One page in a section: it stays what it is until the end. */
static void touch(struct reader *r, uint64_t *words, unsigned index, uint64_t *tag)
{
	*tag = words[0];
	check_tag(*tag, index);
	words[SCRATCH + r->nr] = *tag;
	for (unsigned i = 0; i < index; i++)
		cpu_relax();
	__asm__ __volatile__("" : : : "memory");
	if (words[0] != *tag)
		stale("changed in a section", words[0], *tag);
}

/* What a translation gave: a page, or several as one. */
static void touch_span(struct reader *r, const struct viommu_span *span, unsigned index,
		       uint64_t *tag)
{
	uint64_t other;

	touch(r, span->hva, index, tag);
	for (uint64_t at = PAGE_LEN; at < span->len; at += PAGE_LEN) {
		add_relaxed(&g.merged, 1); /* a counter, no pair */
		touch(r, (uint64_t *)((char *)span->hva + at), ++index, &other);
		if ((*tag ^ other) & 0xff00)
			stale("two domains", *tag, other);
	}
}

/* If the endpoint did not move from before to after the section. */
static void check_meaning(uint32_t before, uint32_t after, bool reached, uint64_t tag)
{
	if (before != after || CHANGING(before))
		return;
	if (!reached)
		return; /* not mapped, or memory away */
	if (MEANING(before) < IN_DOMAIN)
		stale("reached without a domain", tag, before);
	if ((tag >> 8 & 0xff) != MEANING(before) - IN_DOMAIN)
		stale("another domain", tag, before);
}

static void read_one(struct reader *r, unsigned index)
{
	struct viommu_span span;
	bool reached = false;
	uint32_t before, after;
	uint64_t tag = 0;

	before = load_acquire(&g.meaning[r->ep]); /* pairs with end_change() */
	viommu_dma_begin(r->dma);
	if (!viommu_dma_reach(r->dma, IOVA_BASE + (uint64_t)index * PAGE_LEN,
			      4 * PAGE_LEN, VIOMMU_READ | VIOMMU_WRITE, &span)) {
		touch_span(r, &span, index, &tag);
		reached = true;
	}
	viommu_dma_end(r->dma);
	fence_full(); /* pairs with the one in begin_change() */
	after = load_acquire(&g.meaning[r->ep]);
	check_meaning(before, after, reached, tag);
}

/* In bypass an address is guest-physical: allowed then and only then. */
static void read_bypass(struct reader *r, struct rng *rng)
{
	uint64_t gpa = GPA_BASE + rng_below(rng, PAGES) * PAGE_LEN + 2048;
	struct viommu_span span;
	uint32_t before, after;
	int rc;

	before = load_acquire(&g.meaning[r->ep]); /* pairs with end_change() */
	viommu_dma_begin(r->dma);
	rc = viommu_dma_reach(r->dma, gpa, 8, VIOMMU_READ, &span);
	viommu_dma_end(r->dma);
	fence_full(); /* pairs with the one in begin_change() */
	after = load_acquire(&g.meaning[r->ep]);
	if (before == after && !CHANGING(before) && MEANING(before) != BYPASS && !rc)
		stale("bypass", gpa, before);
}

static void read_many(struct reader *r, unsigned index)
{
	uint64_t len = 4 * PAGE_LEN, tag;
	struct iovec iov[4];
	int nr;

	viommu_dma_begin(r->dma);
	nr = viommu_dma_sg(r->dma, IOVA_BASE + (uint64_t)index * PAGE_LEN, len,
			   VIOMMU_READ | VIOMMU_WRITE, iov, 4);
	for (int i = 0; i < nr; i++)
		for (size_t at = 0; at < iov[i].iov_len; at += PAGE_LEN)
			touch(r, (uint64_t *)((char *)iov[i].iov_base + at), index++,
			      &tag);
	viommu_dma_end(r->dma);
}

static uint64_t *held_words(struct reader *r, unsigned page)
{
	size_t at = (size_t)page * PAGE_LEN;
	unsigned i = 0;

	while (at >= r->iov[i].iov_len)
		at -= r->iov[i++].iov_len;
	return (uint64_t *)((char *)r->iov[i].iov_base + at);
}

static void take_hold(struct reader *r, unsigned index, unsigned nr)
{
	r->sg = (struct viommu_sg){r->iov, 0, 8, r->hold, 0, 8, 0};
	r->index = index;
	if (viommu_dma_get(r->dma, IOVA_BASE + (uint64_t)index * PAGE_LEN,
			   (uint64_t)nr * PAGE_LEN, VIOMMU_READ | VIOMMU_WRITE, &r->sg))
		return;
	for (unsigned i = 0; i < nr; i++) {
		r->tag[i] = held_words(r, i)[0];
		check_tag(r->tag[i], index + i);
	}
}

static void drop_hold(struct reader *r)
{
	for (unsigned i = 0; i < r->sg.len / PAGE_LEN; i++) {
		if (held_words(r, i)[0] != r->tag[i])
			stale("changed while held", held_words(r, i)[0], r->tag[i]);
		held_words(r, i)[SCRATCH + r->nr] = r->tag[i];
	}
	viommu_dma_put(r->dma, &r->sg);
}

static void *reader(void *arg)
{
	struct reader *r = arg;
	struct rng rng = rng_init(r->seed);

	for (uint64_t n = 1; !load_relaxed(&g.stop); n++) {
		unsigned what = (unsigned)rng_below(&rng, 100);
		unsigned index = (unsigned)rng_below(&rng, IOVAS - 4);

		if (what < 75)
			read_one(r, index);
		else if (what < 80)
			read_bypass(r, &rng);
		else if (what < 90)
			read_many(r, index);
		else if (r->sg.hold_nr)
			drop_hold(r);
		else
			take_hold(r, index, 1 + (unsigned)rng_below(&rng, 4));
		if (n % 32)
			continue;
		add_relaxed(&g.checks, 32); /* a counter, no pair */
		sched_yield(); /* more threads than processors: let writers run */
	}
	if (r->sg.hold_nr)
		drop_hold(r);
	return NULL;
}

/* ---- frame ---- */

static void on_fault(void *opaque, const struct space_fault *fault)
{
	(void)opaque;
	(void)fault;
	add_relaxed(&g.faults, 1); /* a counter, no pair */
}

static void on_released(void *opaque)
{
	(void)opaque;
	add_relaxed(&g.released, 1); /* a counter, no pair */
}

static void check(int rc)
{
	if (rc)
		stale("set-up", (uint64_t)-rc, 0);
}

static void setup(void)
{
	const struct space_config cfg = {.granule = PAGE_LEN, .input_last = UINT64_MAX};
	const struct space_ops ops = {.fault = on_fault, .released = on_released};

	test_alloc_init(&g.ta);
	pthread_mutex_init(&g.mutex, NULL);
	g.ram = aligned_alloc(PAGE_LEN, PAGES * PAGE_LEN);
	for (int i = 0; i < (int)PAGES; i++)
		poison(i);
	memset(g.page, 0xff, sizeof(g.page));
	check(space_create(&cfg, &ops, NULL, &g.ta.ops, NULL, &g.space));
	check(viommu_mem_create(&g.ta.ops, &g.mem));
	for (unsigned i = 0; i < REGIONS; i++)
		check(viommu_mem_add(
			g.mem, GPA_BASE + (uint64_t)i * REGION_PAGES * PAGE_LEN,
			REGION_PAGES * PAGE_LEN, page_words((int)(i * REGION_PAGES)), 0));
	for (unsigned i = 0; i < EPS; i++) {
		struct viommu_endpoint_config ep = {.id = 10 + i};

		check(space_endpoint_add(g.space, &ep, &g.ep[i]));
		g.domain[i] = -1;
	}
}

static void run(unsigned seconds, uint64_t seed)
{
	pthread_t thread[READERS + WRITERS];
	struct reader readers[READERS];

	for (unsigned i = 0; i < READERS; i++) {
		readers[i] =
			(struct reader){.nr = i, .ep = i % EPS, .seed = seed * 31 + i};
		check(viommu_dma_create(g.ep[i % EPS], g.mem, &g.ta.ops, NULL, NULL,
					&readers[i].dma));
		pthread_create(&thread[i], NULL, reader, &readers[i]);
	}
	for (uintptr_t i = 0; i < WRITERS; i++)
		pthread_create(&thread[READERS + i], NULL, writer,
			       (void *)(uintptr_t)(seed * 17 + i));
	nanosleep(&(struct timespec){seconds, 0}, NULL);
	store_relaxed(&g.stop, true);
	for (unsigned i = 0; i < READERS + WRITERS; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < READERS; i++)
		viommu_dma_destroy(readers[i].dma);
}

int main(int argc, char **argv)
{
	unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2;

	setup();
	run(seconds ? seconds : 1, test_seed());
	space_destroy(g.space);
	viommu_mem_destroy(g.mem);
	free(g.ram);
	if (g.ta.live)
		stale("leak", g.ta.live, 0);
	printf("%llu changes, %llu reads, %llu of merged pages, %llu faults, "
	       "%llu waits for holds: nothing stale\n",
	       (unsigned long long)g.operations, (unsigned long long)g.checks,
	       (unsigned long long)g.merged, (unsigned long long)g.faults,
	       (unsigned long long)g.released);
	return 0;
}
