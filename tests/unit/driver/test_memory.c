/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Once bookkeeping has its size, no request asks the platform for memory or gives
 * any back: counted over thousands of them, in every mode. */
#include "drv_peer.h"

#define RW	(VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)
#define PAGE	0x1000ull
#define HELD	64u
#define WARM_UP 20000u
#define COUNTED 20000u
#define OWN	(1ull << 40) /* addresses of the request calls */
#define PIECES	4u

/* Calls of the platform's memory functions, of all four. */
static unsigned long calls;
static struct viommu_drv_platform platform;

static void *count_alloc(void *opaque, size_t len, size_t align)
{
	calls++;
	return platform.alloc(opaque, len, align);
}
static void count_free(void *opaque, void *p, size_t len)
{
	calls++;
	platform.free(opaque, p, len);
}
static void *count_alloc_shared(void *opaque, size_t len, size_t align, uint64_t *pa)
{
	calls++;
	return platform.alloc_shared(opaque, len, align, pa);
}
static void count_free_shared(void *opaque, void *p, size_t len)
{
	calls++;
	platform.free_shared(opaque, p, len);
}

struct fixture {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	struct viommu_drv_sg held[HELD][PIECES]; /* iova 0: none */
	unsigned pieces[HELD];
	bool own[HELD]; /* mapped by the request calls */
};

static void setup(struct fixture *f, enum viommu_drv_mode mode, bool no_sync_map,
		  bool packed)
{
	const struct viommu_drv_domain_config config = {
		.mode = mode, .no_sync_map = no_sync_map, .iova_last = OWN - 1};

	*f = (struct fixture){.peer = peer_create()};
	platform = f->peer->platform;
	f->peer->platform.alloc = count_alloc;
	f->peer->platform.free = count_free;
	f->peer->platform.alloc_shared = count_alloc_shared;
	f->peer->platform.free_shared = count_free_shared;
	f->peer->offered |= packed ? 1ull << 34 : 0;
	assert_int_equal(peer_start(f->peer, NULL), 0);
	f->ep = peer_endpoint(f->peer, 3);
	f->domain = peer_domain(f->peer, &config);
	assert_int_equal(viommu_drv_attach(f->domain, f->ep), 0);
	f->peer->silent_log = true;
}

/* One of the request calls. */
static void own(struct fixture *f, unsigned i)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	uint64_t at = OWN + i * 2 * PAGE;

	if (f->own[i])
		assert_int_equal(viommu_drv_unmap(f->domain, at, at + PAGE - 1, &batch),
				 1);
	else
		assert_int_equal(
			viommu_drv_map(f->domain, at, at + PAGE - 1, 0, RW, &batch), 0);
	assert_int_equal(viommu_drv_sync(f->peer->drv, &batch), 0);
	f->own[i] = !f->own[i];
}

/* One of the DMA calls: single buffers and lists, of several sizes. */
static void dma(struct fixture *f, struct rng *rng, unsigned i)
{
	unsigned nr = f->pieces[i];

	if (nr == 1)
		assert_int_equal(viommu_drv_dma_unmap(f->ep, f->held[i][0].iova,
						      f->held[i][0].len),
				 0);
	else if (nr)
		assert_int_equal(viommu_drv_dma_unmap_sg(f->ep, f->held[i], nr), 0);
	f->pieces[i] = 0;
	if (nr)
		return;
	nr = 1 + (unsigned)rng_below(rng, PIECES);
	for (unsigned k = 0; k < nr; k++)
		f->held[i][k] = (struct viommu_drv_sg){.pa = (1 + rng_below(rng, 1000)) *
							     0x100000,
						       .len = PAGE << rng_below(rng, 4)};
	if (nr == 1)
		assert_int_equal(viommu_drv_dma_map(f->ep, f->held[i][0].pa,
						    f->held[i][0].len, RW,
						    &f->held[i][0].iova),
				 0);
	else
		assert_int_equal(viommu_drv_dma_map_sg(f->ep, f->held[i], nr, RW), 0);
	f->pieces[i] = nr;
}

static void use(struct fixture *f, struct rng *rng, unsigned ops)
{
	for (unsigned op = 0; op < ops; op++) {
		unsigned i = (unsigned)rng_below(rng, HELD);

		f->peer->cpu = (unsigned)rng_below(rng, 2);
		if (rng_chance(rng, 30))
			own(f, i);
		else
			dma(f, rng, i);
		if (rng_chance(rng, 1))
			assert_int_equal(viommu_drv_dma_flush(f->domain), 0);
		if (rng_chance(rng, 1)) {
			f->peer->now_ns += 2000000000;
			peer_run_timers(f->peer);
		}
	}
}

static void one_mode(enum viommu_drv_mode mode, bool no_sync_map, bool packed)
{
	struct rng rng = rng_init(1 + mode);
	static struct fixture f;
	struct viommu_drv_stats before, after;
	unsigned long warm;

	setup(&f, mode, no_sync_map, packed);
	use(&f, &rng, WARM_UP);
	warm = calls;
	assert_true(warm > 0);
	viommu_drv_get_stats(f.peer->drv, &before);
	use(&f, &rng, COUNTED);
	viommu_drv_get_stats(f.peer->drv, &after);
	assert_true(after.maps - before.maps > 5000);
	if (calls != warm)
		fail_msg("mode %d, %s, %s: %lu calls", mode,
			 no_sync_map ? "no sync_map" : "sync_map",
			 packed ? "packed" : "split", calls - warm);
	peer_end(f.peer, f.ep, f.domain);
}

static void no_memory_per_request(void **state)
{
	(void)state;
	for (enum viommu_drv_mode mode = VIOMMU_DRV_STRICT;
	     mode <= VIOMMU_DRV_LAZY_SINGLE; mode++)
		for (unsigned i = 0; i < 4; i++)
			one_mode(mode, i & 1, i & 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_memory_per_request),
	};

	return cmocka_run_group_tests_name("driver memory", tests, NULL, NULL);
}
