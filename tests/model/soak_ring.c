/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The hunt for stale translations, through a ring: soak_ring [SECONDS]
 *
 * A driver on a thread of its own sends MAP, UNMAP, ATTACH and DETACH in batches
 * through a virtqueue (split, then packed) in shared memory; the device answers on
 * another; readers translate, hold and touch memory all the while. The rule is that
 * of the standard: what an UNMAP, or a DETACH of the last endpoint, took away is not
 * reached any more once its reply shows in the used ring. The driver fills such pages
 * with poison as soon as it sees the reply, and looks later whether anybody wrote
 * there; a reader that meets poison, or a page of another address or domain, has used
 * a translation after its end.
 *
 * Each request's status is foretold, as requests are executed in order. Pages are
 * plain memory: under the thread sanitizer a stale access is a data race even when
 * its value is harmless. See also soak_stale.c, which goes below the device.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>

#include <viommu/dma.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/errno.h"
#include "device_kit.h"
#include "soak.h"

#define IOVAS	48u /* pages a domain can map */
#define DOMAINS 2u
#define EPS	3u
#define READERS 3u
#define PAGES	160u
#define BATCH	32u
#define NOWHERE -1

/* What an endpoint is attached to, for readers: changes whenever that may be in
 * change, and is odd meanwhile; above the low bit: a count, then the domain + 1. */
#define WHERE_CHANGING	   1u
#define WHERE_STEP	   0x100u
#define WHERE_DOMAIN(word) ((int)((word) >> 1 & 0x7f) - 1)

/* A request under way. */
struct op {
	uint8_t in[PROTO_REQUEST_MAX], tail[PROTO_TAIL_LEN];
	int expect;	    /* 0 or -errno */
	int leaving[IOVAS]; /* pages that are free when it is answered */
	unsigned leaving_nr;
	int ep, to; /* the endpoint that moves, and where; ep NOWHERE: none */
};

static struct {
	struct device_kit kit;
	struct kit_ring ring;
	struct viommu_mem *mem;
	struct viommu_endpoint *ep[EPS];
	uint64_t *ram;
	bool stop, driver_done; /* atomic */
	uint32_t where[EPS];	/* atomic */
	uint64_t checks, held;	/* atomic */

	/* The driver's: how things are when all that was sent is executed. */
	struct op op[BATCH];
	int page[DOMAINS][IOVAS];
	bool used[PAGES];
	int domain[EPS];
	bool moving[EPS];
	uint64_t serial, requests, batches;
	struct rng rng;
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
	check_poison_words(page_words(page), "a write after the reply", page);
}

/* ---- the driver ---- */

static bool domain_exists(unsigned d)
{
	for (unsigned i = 0; i < EPS; i++)
		if (g.domain[i] == (int)d)
			return true;
	return false;
}

static void leave(struct op *op, unsigned d, unsigned first, unsigned last)
{
	for (unsigned i = first; i <= last; i++) {
		if (g.page[d][i] >= 0)
			op->leaving[op->leaving_nr++] = g.page[d][i];
		g.page[d][i] = NOWHERE;
	}
}

/* The page that goes on from the one below, or any. */
static int pick_page(unsigned d, unsigned i)
{
	int lower = i ? g.page[d][i - 1] : NOWHERE;

	if (lower >= 0 && lower + 1 < (int)PAGES && rng_chance(&g.rng, 80))
		return lower + 1;
	return (int)rng_below(&g.rng, PAGES);
}

static bool make_map(struct op *op, struct proto_request *req)
{
	unsigned d = (unsigned)rng_below(&g.rng, DOMAINS);
	unsigned i = (unsigned)rng_below(&g.rng, IOVAS);
	int page = pick_page(d, i);

	if (g.page[d][i] >= 0 || g.used[page])
		return false;
	*req = (struct proto_request){.type = VIRTIO_IOMMU_T_MAP, .domain = d};
	req->start = IOVA_BASE + (uint64_t)i * PAGE_LEN;
	req->last = req->start + PAGE_LEN - 1;
	req->gpa = GPA_BASE + (uint64_t)page * PAGE_LEN;
	req->flags = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE;
	if (!domain_exists(d)) {
		op->expect = -ENOENT;
		return true;
	}
	check_poison(page);
	memset(page_words(page), 0, WORDS * 8);
	page_words(page)[0] = ++g.serial << 16 | d << 8 | i;
	g.page[d][i] = page;
	g.used[page] = true;
	return true;
}

static bool make_unmap(struct op *op, struct proto_request *req)
{
	unsigned d = (unsigned)rng_below(&g.rng, DOMAINS);
	unsigned first = (unsigned)rng_below(&g.rng, IOVAS);
	unsigned nr = rng_chance(&g.rng, 5) ? (unsigned)rng_below(&g.rng, IOVAS) : 0;
	unsigned last = first + nr < IOVAS ? first + nr : IOVAS - 1;

	*req = (struct proto_request){.type = VIRTIO_IOMMU_T_UNMAP, .domain = d};
	req->start = IOVA_BASE + (uint64_t)first * PAGE_LEN;
	req->last = IOVA_BASE + (uint64_t)(last + 1) * PAGE_LEN - 1;
	if (domain_exists(d))
		leave(op, d, first, last);
	else
		op->expect = -ENOENT;
	return true;
}

/* One move of an endpoint a batch. */
static bool make_move(struct op *op, struct proto_request *req)
{
	unsigned ep = (unsigned)rng_below(&g.rng, EPS);
	int from = g.domain[ep], to = (int)rng_below(&g.rng, DOMAINS + 1) - 1;

	if (from == to || g.moving[ep])
		return false;
	*req = (struct proto_request){.type = VIRTIO_IOMMU_T_ATTACH, .endpoint = ep};
	if (to == NOWHERE)
		req->type = VIRTIO_IOMMU_T_DETACH;
	req->domain = (uint32_t)(to == NOWHERE ? from : to);
	g.domain[ep] = to;
	if (from != NOWHERE && !domain_exists((unsigned)from))
		leave(op, (unsigned)from, 0, IOVAS - 1);
	op->ep = (int)ep;
	op->to = to;
	g.moving[ep] = true;
	/* Pairs with the readers' acquire: a change seen is a change ignored. */
	store_release(&g.where[ep], g.where[ep] | WHERE_CHANGING);
	fence_full(); /* before the request is sent; pairs with check_where()'s */
	return true;
}

static bool make_op(struct op *op)
{
	unsigned what = (unsigned)rng_below(&g.rng, 100);
	struct drvq_buf bufs[2] = {{(uintptr_t)op->in, 0}};
	struct proto_request req;

	op->expect = 0;
	op->leaving_nr = 0;
	op->ep = NOWHERE;
	if (!(what < 60	  ? make_map(op, &req)
	      : what < 95 ? make_unmap(op, &req)
			  : make_move(op, &req)))
		return false;
	bufs[0].len = (uint32_t)proto_encode_request(op->in, &req);
	bufs[1] = (struct drvq_buf){(uintptr_t)op->tail, sizeof(op->tail)};
	if (drvq_add(&g.ring.q, bufs, 1, 1, op))
		stale("no room in the ring", 0, 0);
	return true;
}

/* Its reply shows in the used ring: from now on its pages are somebody else's. */
static void end_op(struct op *op, uint32_t used)
{
	int status = proto_decode_tail(op->tail);

	if (used != PROTO_TAIL_LEN || status != op->expect)
		stale("another status", (uint64_t)(int64_t)status, used);
	for (unsigned i = 0; i < op->leaving_nr; i++) {
		poison(op->leaving[i]);
		g.used[op->leaving[i]] = false;
	}
	if (op->ep != NOWHERE) {
		uint32_t count = g.where[op->ep] / WHERE_STEP + 1;

		g.moving[op->ep] = false;
		/* Pairs with the readers' acquire: the change is complete. */
		store_release(&g.where[op->ep],
			      count * WHERE_STEP + ((uint32_t)(op->to + 1) << 1));
	}
}

static void send_batch(void)
{
	unsigned nr = 0, tries = 1 + (unsigned)rng_below(&g.rng, BATCH);
	struct drvq_used used;

	for (; tries; tries--)
		nr += make_op(&g.op[nr]);
	(void)drvq_publish(&g.ring.q);
	g.requests += nr;
	g.batches++;
	while (nr) {
		int r = drvq_poll(&g.ring.q, &used);

		if (r < 0)
			stale("the ring", (uint64_t)-r, 0);
		if (r) {
			end_op(used.cookie, used.len);
			nr--;
		} else {
			sched_yield(); /* more threads than processors */
		}
	}
}

static void *driver(void *arg)
{
	(void)arg;
	while (!load_relaxed(&g.stop)) /* no pair: only when to end */
		send_batch();
	store_release(&g.driver_done, true); /* pairs with device() */
	return NULL;
}

/* ---- the device ---- */

static void *device(void *arg)
{
	struct rng rng = rng_init((uintptr_t)arg);

	/* Pairs with driver(): nothing is under way any more. */
	while (!load_acquire(&g.driver_done)) {
		unsigned budget = 1 + (unsigned)rng_below(&rng, 2 * BATCH);

		if (!(viommu_device_process(g.kit.dev, budget) & VIOMMU_WORK_DONE))
			sched_yield();
	}
	return NULL;
}

static uint64_t clock_ns(void *opaque)
{
	(void)opaque;
	return 1000000000; /* stands still: no hold is given up */
}

/* ---- readers ---- */

struct reader {
	unsigned nr, ep;
	struct viommu_dma *dma;
	struct iovec iov[4];
	struct viommu_hold hold[4];
	struct viommu_sg sg;
	uint64_t tag; /* of the first page held */
	struct rng rng;
};

/* One page in a section: it stays what it is until the end. */
static uint64_t touch(struct reader *r, uint64_t *words, unsigned index)
{
	uint64_t tag = words[0], turns = rng_chance(&r->rng, 2) ? 4096 : 64;

	check_tag(tag, index);
	for (turns = rng_below(&r->rng, turns); turns; turns--)
		cpu_relax();
	words[SCRATCH + r->nr] = tag;
	__asm__ __volatile__("" : : : "memory");
	if (words[0] != tag)
		stale("changed in a section", words[0], tag);
	return tag;
}

static void check_where(const struct reader *r, uint32_t before, uint64_t tag)
{
	uint32_t after;

	fence_full();			       /* pairs with the one in make_move() */
	after = load_acquire(&g.where[r->ep]); /* pairs with end_op() */
	if (before != after || before & WHERE_CHANGING)
		return;
	if ((int)(tag >> 8 & 0xff) != WHERE_DOMAIN(before))
		stale("another domain", tag, before);
}

static void read_one(struct reader *r, unsigned index)
{
	/* pairs with end_op() */
	uint32_t before = load_acquire(&g.where[r->ep]);
	uint64_t iova = IOVA_BASE + (uint64_t)index * PAGE_LEN, tag = 0;
	struct viommu_span span;
	bool reached;

	viommu_dma_begin(r->dma);
	reached = !viommu_dma_reach(r->dma, iova, 4 * PAGE_LEN,
				    VIOMMU_READ | VIOMMU_WRITE, &span);
	for (uint64_t at = 0; reached && at < span.len; at += PAGE_LEN)
		tag = touch(r, (uint64_t *)((char *)span.hva + at), index++);
	viommu_dma_end(r->dma);
	if (reached)
		check_where(r, before, tag);
}

static void take_hold(struct reader *r, unsigned index)
{
	uint64_t iova = IOVA_BASE + (uint64_t)index * PAGE_LEN;

	r->sg = (struct viommu_sg){r->iov, 0, 4, r->hold, 0, 4, 0};
	if (viommu_dma_get(r->dma, iova, PAGE_LEN, VIOMMU_READ | VIOMMU_WRITE, &r->sg))
		return;
	r->tag = *(uint64_t *)r->iov[0].iov_base;
	check_tag(r->tag, index);
	add_relaxed(&g.held, 1); /* a counter, no pair */
}

static void drop_hold(struct reader *r)
{
	uint64_t *words = r->iov[0].iov_base;

	if (words[0] != r->tag)
		stale("changed while held", words[0], r->tag);
	words[SCRATCH + r->nr] = r->tag;
	viommu_dma_put(r->dma, &r->sg);
}

static void *reader(void *arg)
{
	struct reader *r = arg;

	/* Reads on until the last reply: the driver may wait for what is held. */
	for (uint64_t n = 1; !load_acquire(&g.driver_done); n++) { /* as device() */
		unsigned index = (unsigned)rng_below(&r->rng, IOVAS - 4);

		if (rng_chance(&r->rng, 90))
			read_one(r, index);
		else if (r->sg.hold_nr)
			drop_hold(r);
		else
			take_hold(r, index);
		if (n % 32)
			continue;
		add_relaxed(&g.checks, 32); /* a counter, no pair */
		sched_yield();
	}
	if (r->sg.hold_nr)
		drop_hold(r);
	return NULL;
}

/* ---- frame ---- */

static void check(int rc)
{
	if (rc)
		stale("set-up", (uint64_t)-rc, 0);
}

static void setup(uint64_t seed, bool packed)
{
	static const struct viommu_device_config config;
	static const struct viommu_device_ops ops = {.now_ns = clock_ns};

	memset(&g, 0, sizeof(g));
	g.rng = rng_init(seed);
	test_alloc_init(&g.kit.ta);
	g.ram = aligned_alloc(PAGE_LEN, PAGES * PAGE_LEN);
	for (int i = 0; i < (int)PAGES; i++)
		poison(i);
	memset(g.page, 0xff, sizeof(g.page));
	check(viommu_mem_create(&g.kit.ta.ops, &g.mem));
	check(viommu_mem_add(g.mem, GPA_BASE, PAGES * PAGE_LEN, g.ram, 0));
	check(viommu_device_create(&config, &ops, NULL, &g.kit.ta.ops, NULL, &g.kit.dev));
	check(viommu_device_set_features(g.kit.dev, viommu_device_features(g.kit.dev)));
	for (unsigned i = 0; i < EPS; i++) {
		g.domain[i] = NOWHERE;
		g.ep[i] = device_kit_endpoint(&g.kit, i, NULL, 0);
	}
	kit_ring_init(&g.ring, &g.kit, VIOMMU_QUEUE_REQUEST,
		      (struct kit_ring_kind){.size = 2 * BATCH,
					     .packed = packed,
					     .event_idx = rng_chance(&g.rng, 50)});
}

static void run(unsigned ms, uint64_t seed)
{
	const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
	struct reader readers[READERS];
	pthread_t thread[READERS + 2];

	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){
			.nr = i, .ep = i % EPS, .rng = rng_init(seed * 31 + i)};
		check(viommu_dma_create(g.ep[i % EPS], g.mem, &g.kit.ta.ops, NULL, NULL,
					&readers[i].dma));
	}
	for (unsigned i = 0; i < READERS; i++)
		check(pthread_create(&thread[i], NULL, reader, &readers[i]));
	check(pthread_create(&thread[READERS], NULL, device, (void *)(uintptr_t)seed));
	check(pthread_create(&thread[READERS + 1], NULL, driver, NULL));
	nanosleep(&time, NULL);
	store_relaxed(&g.stop, true); /* no pair: only when to end */
	for (unsigned i = 0; i < READERS + 2; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < READERS; i++)
		viommu_dma_destroy(readers[i].dma);
}

static void tear_down(void)
{
	kit_ring_done(&g.ring, &g.kit, VIOMMU_QUEUE_REQUEST);
	viommu_device_destroy(g.kit.dev);
	check(viommu_mem_remove(g.mem, GPA_BASE, PAGES * PAGE_LEN));
	viommu_mem_destroy(g.mem);
	free(g.ram);
	if (g.kit.ta.live)
		stale("leak", g.kit.ta.live, 0);
}

int main(int argc, char **argv)
{
	unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2;
	uint64_t seed = test_seed();

	for (int packed = 0; packed < 2; packed++) {
		setup(seed + (unsigned)packed, packed);
		run(500 * (seconds ? seconds : 1), seed);
		printf("%s: %llu requests in %llu batches, %llu reads, %llu holds: "
		       "nothing stale\n",
		       packed ? "packed" : "split", (unsigned long long)g.requests,
		       (unsigned long long)g.batches, (unsigned long long)g.checks,
		       (unsigned long long)g.held);
		tear_down();
	}
	return 0;
}
