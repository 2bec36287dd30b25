/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The DMA calls: addresses, modes, flush queues, trust. */
#include <errno.h>

#include <base/limits.h>

#include "drv_peer.h"

#define RW (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)

struct fixture {
	struct peer *peer;
	struct viommu_drv_endpoint *ep;
	struct viommu_drv_domain *domain;
	uint32_t id;
};

static struct fixture setup_mode(enum viommu_drv_mode mode, uint32_t entries)
{
	const struct viommu_drv_domain_config config = {.mode = mode,
							.flush_entries = entries};
	struct fixture f = {.peer = peer_create_started()};

	f.ep = peer_endpoint(f.peer, 3);
	f.domain = peer_domain(f.peer, &config);
	f.id = viommu_drv_domain_id(f.domain);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	assert_int_equal(viommu_drv_domain_mode(f.domain), mode);
	return f;
}

static void teardown(struct fixture *f)
{
	peer_end(f->peer, f->ep, f->domain);
}

static uint64_t map(struct fixture *f, uint64_t pa, uint64_t len)
{
	uint64_t iova;

	assert_int_equal(viommu_drv_dma_map(f->ep, pa, len, RW, &iova), 0);
	return iova;
}

/* What the device would reach at an address. */
static uint64_t translate(struct fixture *f, uint64_t iova)
{
	const struct peer_mapping *m = peer_lookup(f->peer, f->id, iova);

	return m ? m->pa + (iova - m->start) : UINT64_MAX;
}

static void strict_map_and_unmap(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	uint64_t iova = map(&f, 0x12345678, 100), two = map(&f, 0x5ffe, 4);

	(void)state;
	assert_int_equal(translate(&f, iova), 0x12345678);
	assert_int_equal(iova & 0xfff, 0x678);
	assert_int_equal(translate(&f, two + 3), 0x6001);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), 2);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova, 5000), -EINVAL);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova + 0x1000, 100), -EINVAL);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova, 0), -EINVAL);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova, 100), 0);
	assert_int_equal(translate(&f, iova), UINT64_MAX);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova, 100), -EINVAL);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, two, 4), 0);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 0, RW, &iova), -EINVAL);
	assert_int_equal(viommu_drv_dma_map(f.ep, UINT64_MAX - 1, 8, RW, &iova), -EINVAL);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 8, 0, &iova), -EINVAL);
	teardown(&f);
}

/* 16 scattered pages are 16 MAPs, one sync, and one UNMAP. */
static void scatter_list(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_sg sg[18];
	unsigned kicks = f.peer->kicks[0];

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		sg[i] = (struct viommu_drv_sg){.pa = 0x100000 + i * 0x3000,
					       .len = 0x1000};
	/* These two are one mapping. */
	sg[16] = (struct viommu_drv_sg){.pa = 0x900800, .len = 0x800};
	sg[17] = (struct viommu_drv_sg){.pa = 0x901000, .len = 0x123};
	assert_int_equal(viommu_drv_dma_map_sg(f.ep, sg, 18, VIOMMU_DRV_READ), 0);
	assert_int_equal(f.peer->kicks[0], kicks + 1);
	assert_int_equal(peer_mapped(f.peer, f.id), 17);
	for (unsigned i = 0; i < 18; i++) {
		assert_int_equal(translate(&f, sg[i].iova), sg[i].pa);
		assert_int_equal(translate(&f, sg[i].iova + sg[i].len - 1),
				 sg[i].pa + sg[i].len - 1);
	}
	assert_int_equal(sg[1].iova, sg[0].iova + 0x1000);
	assert_int_equal(viommu_drv_dma_unmap_sg(f.ep, sg, 17), -EINVAL);
	assert_int_equal(viommu_drv_dma_unmap_sg(f.ep, sg, 18), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 1);
	assert_int_equal(peer_mapped(f.peer, f.id), 0);
	teardown(&f);
}

static void without_sync_map(void **state)
{
	const struct viommu_drv_domain_config config = {.no_sync_map = true};
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_domain *domain = peer_domain(f.peer, &config);
	struct viommu_drv_sg sg[4];
	unsigned kicks;

	(void)state;
	assert_int_equal(viommu_drv_attach(domain, f.ep), 0);
	kicks = f.peer->kicks[0];
	for (unsigned i = 0; i < 4; i++)
		sg[i] = (struct viommu_drv_sg){.pa = 0x100000 + i * 0x3000,
					       .len = 0x1000};
	assert_int_equal(viommu_drv_dma_map_sg(f.ep, sg, 4, RW), 0);
	assert_int_equal(f.peer->kicks[0], kicks + 4);
	assert_int_equal(viommu_drv_dma_unmap_sg(f.ep, sg, 4), 0);
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	viommu_drv_domain_destroy(domain);
	teardown(&f);
}

/* ---- lazy ---- */

static void lazy_flushes_when_full(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_CPU, 0);
	struct viommu_drv_dma_stats stats;
	uint64_t iova[256];

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		iova[i] = map(&f, 0x100000 + i * 0x2000, 0x1000);
	for (unsigned i = 0; i < 255; i++)
		assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[i], 0x1000), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 0);
	assert_int_equal(peer_mapped(f.peer, f.id), 256);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[3], 0x1000), -EINVAL);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[255], 0x1000), 0);
	assert_int_equal(peer_mapped(f.peer, f.id), 0);
	/* Allocated one after the other: coalesced into very few requests. */
	assert_in_range(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 1, 8);
	viommu_drv_dma_get_stats(f.domain, &stats);
	assert_int_equal(stats.maps, 256);
	assert_int_equal(stats.unmaps, 256);
	assert_int_equal(stats.flushes, 1);
	assert_int_equal(stats.flushed, 256);
	assert_int_equal(stats.flush_requests, peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP));
	assert_int_equal(stats.strict_fallback, 0);
	teardown(&f);
}

static void lazy_flushes_in_time(void **state)
{
	static const uint64_t time_ns[] = {
		[VIOMMU_DRV_LAZY_CPU] = 10000000, [VIOMMU_DRV_LAZY_SINGLE] = 1000000000};

	(void)state;
	for (enum viommu_drv_mode mode = VIOMMU_DRV_LAZY_CPU;
	     mode <= VIOMMU_DRV_LAZY_SINGLE; mode++) {
		struct fixture f = setup_mode(mode, 0);
		uint64_t one = map(&f, 0x5000, 0x1000), two = map(&f, 0x9000, 0x1000);
		struct viommu_drv_dma_stats stats;

		assert_int_equal(viommu_drv_dma_unmap(f.ep, one, 0x1000), 0);
		f.peer->cpu = 1;
		f.peer->now_ns += time_ns[mode] / 2;
		assert_int_equal(viommu_drv_dma_unmap(f.ep, two, 0x1000), 0);
		peer_run_timers(f.peer);
		assert_int_equal(translate(&f, one), 0x5000);
		f.peer->now_ns += time_ns[mode] / 2;
		peer_run_timers(f.peer);
		assert_int_equal(translate(&f, one), UINT64_MAX);
		assert_int_equal(translate(&f, two), UINT64_MAX);
		viommu_drv_dma_get_stats(f.domain, &stats);
		assert_in_range(stats.window_ns, time_ns[mode], time_ns[mode] + 10000);
		/* The timer rests, and is armed again. */
		f.peer->now_ns += 10 * time_ns[mode];
		peer_run_timers(f.peer);
		one = map(&f, 0x5000, 0x1000);
		assert_int_equal(viommu_drv_dma_unmap(f.ep, one, 0x1000), 0);
		f.peer->now_ns += time_ns[mode];
		peer_run_timers(f.peer);
		assert_int_equal(translate(&f, one), UINT64_MAX);
		teardown(&f);
	}
}

static void lazy_flushes_on_demand(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_SINGLE, 0);
	uint64_t one = map(&f, 0x5000, 0x1000);

	(void)state;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, one, 0x1000), 0);
	assert_int_equal(translate(&f, one), 0x5000);
	assert_int_equal(viommu_drv_dma_flush(f.domain), 0);
	assert_int_equal(translate(&f, one), UINT64_MAX);
	assert_int_equal(viommu_drv_dma_flush(f.domain), 0);
	teardown(&f);
}

static void no_timer_is_strict(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_CPU, 0);
	struct viommu_drv_dma_stats stats;
	uint64_t one = map(&f, 0x5000, 0x1000);

	(void)state;
	f.peer->no_timer = true;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, one, 0x1000), 0);
	assert_int_equal(translate(&f, one), UINT64_MAX);
	viommu_drv_dma_get_stats(f.domain, &stats);
	assert_int_equal(stats.strict_fallback, 1);
	f.peer->no_timer = false;
	teardown(&f);

	/* None at all: the mode is refused. */
	f.peer = peer_create();
	f.peer->platform.timer_arm = NULL;
	assert_int_equal(peer_start(f.peer, NULL), 0);
	f.ep = peer_endpoint(f.peer, 3);
	f.domain = peer_domain(f.peer, NULL);
	assert_int_equal(viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_CPU, 0, 0),
			 VIOMMU_DRV_STRICT);
	teardown(&f);
}

static void no_memory_is_strict(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);

	(void)state;
	for (long nth = 1; nth < 3; nth++) {
		f.peer->allocs = 0;
		f.peer->fail_alloc = nth;
		assert_int_equal(
			viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_CPU, 0, 0),
			VIOMMU_DRV_STRICT);
		assert_int_equal(viommu_drv_domain_mode(f.domain), VIOMMU_DRV_STRICT);
	}
	f.peer->fail_alloc = 0;
	assert_int_equal(viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_CPU, 0, 0),
			 VIOMMU_DRV_LAZY_CPU);
	teardown(&f);
}

static void changing_the_mode_drains(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_CPU, 0);
	const enum viommu_drv_mode modes[] = {VIOMMU_DRV_LAZY_SINGLE, VIOMMU_DRV_STRICT,
					      VIOMMU_DRV_LAZY_CPU};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t iova = map(&f, 0x5000, 0x1000);

		assert_int_equal(viommu_drv_dma_unmap(f.ep, iova, 0x1000), 0);
		assert_int_equal(viommu_drv_domain_set_mode(f.domain, modes[i], 8, 1000),
				 modes[i]);
		assert_int_equal(translate(&f, iova), UINT64_MAX);
	}
	assert_int_equal(viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_SINGLE,
						    LIMIT_DRV_FLUSH_ENTRIES + 1, 0),
			 -EINVAL);
	assert_int_equal(viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_SINGLE,
						    LIMIT_DRV_FLUSH_ENTRIES, 0),
			 VIOMMU_DRV_LAZY_SINGLE);
	teardown(&f);
}

static bool say_untrusted(void *opaque, uint32_t endpoint)
{
	(void)opaque;
	return endpoint == 7;
}

static void untrusted_is_strict(void **state)
{
	const struct viommu_drv_endpoint_config by_caller = {.id = 6, .untrusted = true};
	const struct viommu_drv_domain_config lazy = {.mode = VIOMMU_DRV_LAZY_CPU};
	struct fixture f = {.peer = peer_create()};
	struct viommu_drv_endpoint *bad[2];
	uint64_t iova;

	(void)state;
	f.peer->platform.untrusted = say_untrusted;
	assert_int_equal(peer_start(f.peer, NULL), 0);
	f.ep = peer_endpoint(f.peer, 3);
	bad[0] = peer_endpoint(f.peer, 7); /* the host says so */
	assert_int_equal(viommu_drv_endpoint_create(f.peer->drv, &by_caller, &bad[1]), 0);
	f.domain = peer_domain(f.peer, &lazy);
	f.id = viommu_drv_domain_id(f.domain);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
		assert_int_equal(
			viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_CPU, 0, 0),
			VIOMMU_DRV_LAZY_CPU);
		iova = map(&f, 0x5000, 0x1000);
		assert_int_equal(viommu_drv_dma_unmap(f.ep, iova, 0x1000), 0);
		assert_int_equal(translate(&f, iova), 0x5000);
		/* What waited for a flush is out of the newcomer's reach. */
		assert_int_equal(viommu_drv_attach(f.domain, bad[i]), 0);
		assert_int_equal(translate(&f, iova), UINT64_MAX);
		assert_int_equal(viommu_drv_domain_mode(f.domain), VIOMMU_DRV_STRICT);
		assert_int_equal(
			viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_CPU, 0, 0),
			VIOMMU_DRV_STRICT);
		iova = map(&f, 0x5000, 0x1000);
		assert_int_equal(viommu_drv_dma_unmap(bad[i], iova, 0x1000), 0);
		assert_int_equal(translate(&f, iova), UINT64_MAX);
		assert_int_equal(viommu_drv_endpoint_destroy(bad[i]), 0);
	}
	teardown(&f);
}

/* ---- addresses ---- */

static void endpoint_limits(void **state)
{
	const struct viommu_drv_endpoint_config narrow = {.id = 9, .dma_last = 0xffffff};
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_endpoint *ep;
	uint64_t iova, taken = 0;
	uint64_t big = map(&f, 1ull << 40, 1ull << 36);
	int r;

	(void)state;
	assert_int_equal(big & 0xfff, 0);
	assert_int_equal(viommu_drv_endpoint_create(f.peer->drv, &narrow, &ep), 0);
	assert_int_equal(viommu_drv_attach(f.domain, ep), 0);
	while (!(r = viommu_drv_dma_map(ep, 0x40000, 0x10000, RW, &iova))) {
		assert_true(iova && iova + 0xffff <= 0xffffff);
		taken++;
	}
	assert_int_equal(r, -ENOSPC);
	assert_in_range(taken, 250, 255);
	/* The other endpoint has more. */
	iova = map(&f, 0x40000, 0x10000);
	assert_true(iova > 0xffffff);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1ull << 49, RW, &iova), -ENOSPC);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, big, 1ull << 36), 0);
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	teardown(&f);
}

/* A small address space is used up to the last page, whatever the sizes. */
static void all_addresses_are_used(void **state)
{
	const struct viommu_drv_domain_config config = {.iova_first = 0x100000,
							.iova_last = 0x4fffff};
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_domain *domain = peer_domain(f.peer, &config);
	static uint64_t iova[1024];

	(void)state;
	assert_int_equal(viommu_drv_attach(domain, f.ep), 0);
	for (unsigned round = 0; round < 3; round++) {
		uint64_t size = 0x1000ull << (4 * round);
		unsigned n = 0x400000 / (unsigned)size;
		uint64_t none;

		for (unsigned i = 0; i < n; i++) {
			f.peer->cpu = i & 1;
			iova[i] = map(&f, 0, size);
			assert_true(iova[i] >= 0x100000 && iova[i] + size <= 0x500000);
			assert_int_equal(iova[i] & (size - 1), 0);
		}
		assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1, RW, &none), -ENOSPC);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[i], size), 0);
	}
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	viommu_drv_domain_destroy(domain);
	teardown(&f);
}

/* A lazy domain of 16 pages, all of them unmapped and none flushed. */
static struct viommu_drv_domain *fill_lazily(struct fixture *f, enum viommu_drv_mode mode)
{
	const struct viommu_drv_domain_config config = {
		.mode = mode, .iova_first = 0x10000, .iova_last = 0x1ffff};
	struct viommu_drv_domain *domain = peer_domain(f->peer, &config);
	uint64_t iova[16];

	assert_int_equal(viommu_drv_attach(domain, f->ep), 0);
	for (unsigned i = 0; i < 16; i++)
		iova[i] = map(f, 0x5000, 0x1000);
	for (unsigned i = 0; i < 16; i++) {
		f->peer->cpu = i & 1;
		assert_int_equal(viommu_drv_dma_unmap(f->ep, iova[i], 0x1000), 0);
	}
	assert_int_equal(peer_mapped(f->peer, viommu_drv_domain_id(domain)), 16);
	return domain;
}

/* No addresses are left but those that wait for a flush: it is done at once. */
static void a_flush_makes_room(void **state)
{
	(void)state;
	for (unsigned mode = VIOMMU_DRV_LAZY_CPU; mode <= VIOMMU_DRV_LAZY_SINGLE;
	     mode++) {
		struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
		struct viommu_drv_domain *domain = fill_lazily(&f, mode);
		unsigned unmaps = peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP);
		uint64_t all, none;

		/* All sixteen, in one piece. */
		assert_int_equal(viommu_drv_dma_map(f.ep, 0x5000, 0x10000, RW, &all), 0);
		assert_int_equal(all, 0x10000);
		assert_in_range(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), unmaps + 1,
				unmaps + 16);
		/* Now there is nothing to flush, and nothing is sent. */
		unmaps = f.peer->log_nr;
		assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1, RW, &none), -ENOSPC);
		assert_int_equal(f.peer->log_nr, unmaps);
		assert_int_equal(viommu_drv_dma_unmap(f.ep, all, 0x10000), 0);
		assert_int_equal(viommu_drv_detach(f.ep), 0);
		viommu_drv_domain_destroy(domain);
		teardown(&f);
	}
}

static void reserved_regions(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	const struct viommu_drv_domain_config config = {.iova_last = 0xffffff};
	struct peer *peer = peer_create();
	struct fixture f = {.peer = peer};
	const struct viommu_drv_resv *resv;
	uint64_t iova, start, last;
	unsigned nr;

	(void)state;
	size_t at =
		peer_add_resv(peer, 0, VIRTIO_IOMMU_RESV_MEM_T_MSI, 0x400000, 0x4fffff);
	peer_add_resv(peer, at, VIRTIO_IOMMU_RESV_MEM_T_RESERVED, 0x10000, 0x100ff);
	assert_int_equal(peer_start(peer, NULL), 0);
	f.ep = peer_endpoint(peer, 3);
	resv = viommu_drv_endpoint_resv(f.ep, &nr);
	assert_int_equal(nr, 2);
	assert_int_equal(resv[0].start, 0x10000);
	assert_int_equal(viommu_drv_endpoint_msi(f.ep, &start, &last), 0);
	assert_int_equal(start, 0x400000);
	assert_int_equal(last, 0x4fffff);
	f.domain = peer_domain(peer, &config);
	assert_int_equal(viommu_drv_map(f.domain, 0x10000, 0x10fff, 0, RW, &batch), 0);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), -EBUSY);
	assert_int_equal(viommu_drv_unmap(f.domain, 0x10000, 0x10fff, &batch), 1);
	assert_int_equal(viommu_drv_sync(peer->drv, &batch), 0);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	assert_int_equal(viommu_drv_map(f.domain, 0x4ff000, 0x500fff, 0, RW, &batch),
			 -EBUSY);
	while (!viommu_drv_dma_map(f.ep, 0, 0x4000, RW, &iova)) {
		assert_true(iova + 0x3fff < 0x400000 || iova > 0x4fffff);
		assert_true(iova + 0x3fff < 0x10000 || iova > 0x100ff);
	}
	teardown(&f);
}

static void bypass_domain(void **state)
{
	const struct viommu_drv_domain_config config = {.bypass = true};
	const struct viommu_drv_endpoint_config narrow = {.id = 9,
							  .dma_last = 0xffffffff};
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_domain *bypass = peer_domain(f.peer, &config);
	struct viommu_drv_endpoint *ep;
	uint64_t iova;
	void *p;

	(void)state;
	assert_int_equal(viommu_drv_endpoint_create(f.peer->drv, &narrow, &ep), 0);
	assert_int_equal(viommu_drv_dma_map(ep, 0x123, 5, RW, &iova), -ENXIO);
	assert_int_equal(viommu_drv_attach(bypass, ep), 0);
	assert_int_equal(viommu_drv_dma_map(ep, 0x123, 5, RW, &iova), 0);
	assert_int_equal(iova, 0x123);
	assert_int_equal(viommu_drv_dma_unmap(ep, iova, 5), 0);
	assert_int_equal(viommu_drv_dma_map(ep, 0xffffffff, 2, RW, &iova), -ERANGE);
	assert_int_equal(viommu_drv_map(bypass, 0, 0xfff, 0, RW, &batch), -EINVAL);
	assert_int_equal(viommu_drv_attach(bypass, f.ep), 0);
	assert_int_equal(viommu_drv_dma_alloc(f.ep, 100, &p, &iova), 0);
	assert_int_equal(iova, (uintptr_t)p);
	assert_int_equal(viommu_drv_dma_free(f.ep, p, 100, iova), 0);
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	viommu_drv_domain_destroy(bypass);
	teardown(&f);
}

static void coherent_buffers(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_CPU, 0);
	uint64_t iova, virt;
	void *p;

	(void)state;
	assert_int_equal(viommu_drv_dma_alloc(f.ep, 5000, &p, &iova), 0);
	assert_int_equal(translate(&f, iova + 4999), (uintptr_t)p + 4999);
	assert_int_equal(viommu_drv_dma_map_virt(f.ep, p, 10, RW, &virt), 0);
	assert_int_equal(translate(&f, virt), (uintptr_t)p);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, virt, 10), 0);
	/* At once, though the mode is lazy: the memory is given back. */
	assert_int_equal(viommu_drv_dma_free(f.ep, p, 5000, iova), 0);
	assert_int_equal(translate(&f, iova), UINT64_MAX);
	assert_int_equal(viommu_drv_dma_alloc(f.ep, 0, &p, &iova), -EINVAL);
	teardown(&f);
}

/* 64 GiB in one request, and out again. */
static void large_static_maps(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);

	(void)state;
	assert_int_equal(viommu_drv_map(f.domain, 0, (64ull << 30) - 1, 0, RW, &batch),
			 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), 1);
	assert_int_equal(viommu_drv_unmap(f.domain, 0, UINT64_MAX, &batch), 1);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	teardown(&f);
}

/* ---- failures ---- */

static void fail_unmaps(struct peer *peer, const struct peer_request *req,
			struct peer_reply *reply)
{
	(void)peer;
	if (req->type == VIRTIO_IOMMU_T_UNMAP)
		reply->status = VIRTIO_IOMMU_S_DEVERR;
}

static void fail_maps(struct peer *peer, const struct peer_request *req,
		      struct peer_reply *reply)
{
	if (req->type == VIRTIO_IOMMU_T_MAP && peer->mappings_nr > 2) {
		peer->mappings_nr--;
		reply->status = VIRTIO_IOMMU_S_NOMEM;
	}
}

static void fail_maps_beyond_three(struct peer *peer, const struct peer_request *req,
				   struct peer_reply *reply)
{
	if (req->type == VIRTIO_IOMMU_T_MAP && peer->mappings_nr > 3) {
		peer->mappings_nr--;
		reply->status = VIRTIO_IOMMU_S_NOMEM;
	}
}

/* An address whose UNMAP failed is not handed out before a reset. */
static void failed_unmap_is_lost(void **state)
{
	const struct viommu_drv_domain_config small = {.iova_first = 0x10000,
						       .iova_last = 0x1ffff};
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_domain *domain = peer_domain(f.peer, &small);
	struct viommu_drv_dma_stats stats;
	uint64_t lost, iova;

	(void)state;
	assert_int_equal(viommu_drv_attach(domain, f.ep), 0);
	lost = map(&f, 0x5000, 0x4000);
	f.peer->script = fail_unmaps;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, lost, 0x4000), -EREMOTEIO);
	f.peer->script = NULL;
	viommu_drv_dma_get_stats(domain, &stats);
	assert_int_equal(stats.lost_bytes, 0x4000);
	for (unsigned i = 0; i < 12; i++) {
		iova = map(&f, 0x5000, 0x1000);
		assert_true(iova < lost || iova > lost + 0x3fff);
	}
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1, RW, &iova), -ENOSPC);
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	assert_int_equal(map(&f, 0x5000, 0x4000), lost);
	viommu_drv_dma_get_stats(domain, &stats);
	assert_int_equal(stats.lost_bytes, 0);
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	viommu_drv_domain_destroy(domain);
	teardown(&f);
}

/* The device has room for three mappings, and one waits for its flush. */
static void a_flush_makes_room_in_the_device(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_CPU, 0);
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct viommu_drv_sg sg = {.pa = 0x5000, .len = 0x1000};
	uint64_t iova[3], more;
	unsigned maps;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		iova[i] = map(&f, 0x5000, 0x1000);
	f.peer->script = fail_maps_beyond_three;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[1], 0x1000), 0);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x9000, 0x1000, RW, &more), 0);
	assert_int_equal(translate(&f, iova[1]), UINT64_MAX);
	assert_int_equal(translate(&f, more), 0x9000);
	/* Nothing waits: it is not tried again. */
	maps = peer_count(f.peer, VIRTIO_IOMMU_T_MAP);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1, RW, &iova[1]), -ENOMEM);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), maps + 1);
	/* A batch is the caller's, who hears of it from the sync. */
	assert_int_equal(viommu_drv_dma_unmap(f.ep, more, 0x1000), 0);
	assert_int_equal(viommu_drv_dma_queue_sg(f.ep, &sg, 1, RW, &batch), 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), -ENOMEM);
	assert_int_equal(viommu_drv_dma_unmap_sg(f.ep, &sg, 1), 0);
	assert_int_equal(viommu_drv_dma_flush(f.domain), 0);
	assert_int_equal(peer_mapped(f.peer, f.id), 2);
	f.peer->script = NULL;
	teardown(&f);
}

/* A flush for room that fails makes none. */
static void failed_flush_makes_no_room(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_domain *domain = fill_lazily(&f, VIOMMU_DRV_LAZY_CPU);
	struct viommu_drv_dma_stats stats;
	uint64_t iova;

	(void)state;
	f.peer->script = fail_unmaps;
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1, RW, &iova), -ENOSPC);
	f.peer->script = NULL;
	assert_int_equal(f.peer->flush_failed_bytes, 0x10000);
	viommu_drv_dma_get_stats(domain, &stats);
	assert_int_equal(stats.lost_bytes, 0x10000);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1, RW, &iova), -ENOSPC);
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	viommu_drv_domain_destroy(domain);
	teardown(&f);
}

static void failed_flush_is_told(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_CPU, 4);
	uint64_t iova[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		iova[i] = map(&f, 0x5000, 0x1000);
	f.peer->script = fail_unmaps;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[i], 0x1000), 0);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova[3], 0x1000), -EREMOTEIO);
	assert_int_equal(f.peer->flush_failed_bytes, 0x4000);
	f.peer->script = NULL;
	teardown(&f);
}

static void failed_map_leaves_nothing(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	struct viommu_drv_sg sg[5];
	uint64_t before = map(&f, 0x5000, 0x1000);

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		sg[i] = (struct viommu_drv_sg){.pa = i * 0x3000, .len = 0x1000};
	f.peer->script = fail_maps;
	assert_int_equal(viommu_drv_dma_map_sg(f.ep, sg, 5, RW), -ENOMEM);
	f.peer->script = NULL;
	assert_int_equal(peer_mapped(f.peer, f.id), 1);
	assert_int_equal(viommu_drv_dma_map_sg(f.ep, sg, 5, RW), 0);
	assert_int_equal(viommu_drv_dma_unmap_sg(f.ep, sg, 5), 0);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, before, 0x1000), 0);
	teardown(&f);
}

static void lazy_queue_and_reset(void **state)
{
	struct fixture f = setup_mode(VIOMMU_DRV_LAZY_CPU, 0);
	uint64_t kept = map(&f, 0x5000, 0x1000), freed = map(&f, 0x9000, 0x1000);

	(void)state;
	assert_int_equal(viommu_drv_dma_unmap(f.ep, freed, 0x1000), 0);
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	assert_int_equal(translate(&f, kept), 0x5000);
	assert_int_equal(translate(&f, freed), UINT64_MAX);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, kept, 0x1000), 0);
	teardown(&f);
}

/* The device did not come back: a mapping that it never hears of is no mapping. */
static void a_reset_that_fails(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = setup_mode(VIOMMU_DRV_STRICT, 0);
	uint64_t kept = map(&f, 0x5000, 0x1000), iova;

	(void)state;
	f.peer->refuse_features = true;
	assert_int_equal(viommu_drv_reset(f.peer->drv), -ENODEV);
	assert_int_equal(viommu_drv_health(f.peer->drv), -EIO);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x9000, 0x1000, RW, &iova), -EIO);
	assert_int_equal(viommu_drv_map(f.domain, 0, 0xfff, 0x9000, RW, &batch), -EIO);
	f.peer->refuse_features = false;
	assert_int_equal(viommu_drv_reset(f.peer->drv), 0);
	assert_int_equal(translate(&f, kept), 0x5000);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x9000, 0x1000, RW, &iova), 0);
	assert_int_equal(translate(&f, iova), 0x9000);
	teardown(&f);
}

/* One round of everything, with the nth allocation failing. */
static void use_everything(struct peer *peer)
{
	const struct viommu_drv_domain_config lazy = {.mode = VIOMMU_DRV_LAZY_CPU,
						      .flush_entries = 16};
	const struct viommu_drv_endpoint_config config = {.id = 3};
	struct viommu_drv_endpoint *ep = NULL;
	struct viommu_drv_domain *domain = NULL;
	uint64_t iova[200];
	void *p;

	if (viommu_drv_endpoint_create(peer->drv, &config, &ep) ||
	    viommu_drv_domain_create(peer->drv, &lazy, &domain) ||
	    viommu_drv_attach(domain, ep))
		goto out;
	if (!viommu_drv_dma_alloc(ep, 5000, &p, &iova[0]))
		assert_int_equal(viommu_drv_dma_free(ep, p, 5000, iova[0]), 0);
	for (unsigned i = 0; i < 200; i++)
		if (viommu_drv_dma_map(ep, i * 0x3000, 0x1000, RW, &iova[i]))
			iova[i] = 0;
	for (unsigned i = 0; i < 200; i += 2)
		if (iova[i])
			assert_int_equal(viommu_drv_dma_unmap(ep, iova[i], 0x1000), 0);
	assert_int_equal(viommu_drv_dma_flush(domain), 0);
	assert_int_equal(viommu_drv_reset(peer->drv), 0);
	for (unsigned i = 1; i < 200; i += 2)
		if (iova[i])
			assert_int_equal(viommu_drv_dma_unmap(ep, iova[i], 0x1000), 0);
out:
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	if (domain)
		assert_int_equal(peer_mapped(peer, viommu_drv_domain_id(domain)), 0);
	viommu_drv_domain_destroy(domain);
}

static void each_allocation_fails(void **state)
{
	bool done = false;
	long nth;

	(void)state;
	for (nth = 1; !done; nth++) {
		struct peer *peer = peer_create();

		peer_add_resv(peer, 0, 0, 0x10000, 0x100ff);
		assert_int_equal(peer_start(peer, NULL), 0);
		peer->allocs = 0;
		peer->fail_alloc = nth;
		use_everything(peer);
		assert_int_equal(peer->wrong, 0);
		done = peer->allocs < nth;
		peer_destroy(peer);
	}
	assert_true(nth > 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_map_and_unmap),
		cmocka_unit_test(scatter_list),
		cmocka_unit_test(without_sync_map),
		cmocka_unit_test(lazy_flushes_when_full),
		cmocka_unit_test(lazy_flushes_in_time),
		cmocka_unit_test(lazy_flushes_on_demand),
		cmocka_unit_test(no_timer_is_strict),
		cmocka_unit_test(no_memory_is_strict),
		cmocka_unit_test(changing_the_mode_drains),
		cmocka_unit_test(untrusted_is_strict),
		cmocka_unit_test(endpoint_limits),
		cmocka_unit_test(all_addresses_are_used),
		cmocka_unit_test(a_flush_makes_room),
		cmocka_unit_test(reserved_regions),
		cmocka_unit_test(bypass_domain),
		cmocka_unit_test(coherent_buffers),
		cmocka_unit_test(large_static_maps),
		cmocka_unit_test(failed_unmap_is_lost),
		cmocka_unit_test(a_flush_makes_room_in_the_device),
		cmocka_unit_test(failed_flush_makes_no_room),
		cmocka_unit_test(failed_flush_is_told),
		cmocka_unit_test(failed_map_leaves_nothing),
		cmocka_unit_test(lazy_queue_and_reset),
		cmocka_unit_test(a_reset_that_fails),
		cmocka_unit_test(each_allocation_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
