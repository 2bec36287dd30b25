/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* ATTACH, DETACH, MAP and UNMAP as the driver sends them. Each test is named
 * after the statement in statements.json that it checks. */
#include <errno.h>

#include "drv_peer.h"

#define R  VIOMMU_DRV_READ
#define W  VIOMMU_DRV_WRITE
#define RW (R | W)

struct fixture {
	struct peer *peer;
	struct viommu_drv_endpoint *ep, *other; /* other: unattached */
	struct viommu_drv_domain *domain, *bypass;
};

static struct fixture start_without(uint64_t features)
{
	const struct viommu_drv_domain_config config = {.bypass = true};
	struct fixture f = {.peer = peer_create()};

	f.peer->offered &= ~features;
	assert_int_equal(peer_start(f.peer, NULL), 0);
	f.ep = peer_endpoint(f.peer, 1);
	f.other = peer_endpoint(f.peer, 2);
	f.domain = peer_domain(f.peer, NULL);
	f.bypass = peer_domain(f.peer, &config);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	return f;
}

static struct fixture start(void)
{
	return start_without(0);
}

static void done(struct fixture *f)
{
	assert_int_equal(viommu_drv_endpoint_destroy(f->ep), 0);
	assert_int_equal(viommu_drv_endpoint_destroy(f->other), 0);
	viommu_drv_domain_destroy(f->domain);
	viommu_drv_domain_destroy(f->bypass);
	assert_int_equal(f->peer->wrong, 0);
	peer_destroy(f->peer);
}

static int map(struct fixture *f, struct viommu_drv_domain *domain, uint64_t start_iova,
	       uint64_t last, unsigned flags)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	int r = viommu_drv_map(domain, start_iova, last, 0x7000, flags, &batch);
	int sync = viommu_drv_sync(f->peer->drv, &batch);

	return r ? r : sync;
}

static int unmap(struct fixture *f, struct viommu_drv_domain *domain, uint64_t start_iova,
		 uint64_t last)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	int r = viommu_drv_unmap(domain, start_iova, last, &batch);
	int sync = viommu_drv_sync(f->peer->drv, &batch);

	return sync ? sync : r;
}

static const struct virtio_iommu_req_attach *attach_req(struct fixture *f, unsigned n)
{
	return (const void *)peer_nth(f->peer, VIRTIO_IOMMU_T_ATTACH, n)->bytes;
}

static const struct virtio_iommu_req_map *map_req(struct fixture *f, unsigned n)
{
	return (const void *)peer_nth(f->peer, VIRTIO_IOMMU_T_MAP, n)->bytes;
}

static const struct virtio_iommu_req_unmap *unmap_req(struct fixture *f, unsigned n)
{
	return (const void *)peer_nth(f->peer, VIRTIO_IOMMU_T_UNMAP, n)->bytes;
}

static void driver_attach_01(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(viommu_drv_attach(f.bypass, f.other), 0);
	assert_memory_equal(attach_req(&f, 0)->reserved, "\0\0\0", 4);
	assert_memory_equal(attach_req(&f, 1)->reserved, "\0\0\0", 4);
	done(&f);
}

static void driver_attach_02(void **state)
{
	const struct viommu_drv_endpoint_config config[] = {{.id = 10, .group = 4},
							    {.id = 11, .group = 4}};
	struct viommu_drv_endpoint *ep[2];
	struct fixture f = start();
	struct viommu_drv_domain *second = peer_domain(f.peer, NULL);

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			viommu_drv_endpoint_create(f.peer->drv, &config[i], &ep[i]), 0);
	assert_int_equal(viommu_drv_attach(second, ep[0]), 0);
	assert_int_equal(viommu_drv_attach(f.domain, ep[1]), -EBUSY);
	assert_int_equal(viommu_drv_attach(second, ep[1]), 0);
	assert_int_equal(viommu_drv_attach(f.domain, ep[0]), -EBUSY);
	assert_int_equal(viommu_drv_attach(f.domain, f.other), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(viommu_drv_endpoint_destroy(ep[i]), 0);
	viommu_drv_domain_destroy(second);
	done(&f);
}

static void driver_attach_03(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(viommu_drv_attach(f.bypass, f.other), 0);
	assert_int_equal(viommu_drv_attach(f.bypass, f.ep), 0);
	assert_int_equal(attach_req(&f, 1)->flags, VIRTIO_IOMMU_ATTACH_F_BYPASS);
	assert_int_equal(attach_req(&f, 2)->flags, VIRTIO_IOMMU_ATTACH_F_BYPASS);
	done(&f);
}

static void driver_attach_04(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(viommu_drv_attach(f.bypass, f.other), 0);
	assert_int_equal(viommu_drv_attach(f.domain, f.other), 0);
	assert_int_equal(attach_req(&f, 0)->flags, 0);
	assert_int_equal(attach_req(&f, 2)->flags, 0);
	done(&f);
}

static void driver_detach_01(void **state)
{
	struct fixture f = start();
	const struct virtio_iommu_req_detach *req;

	(void)state;
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	req = (const void *)peer_nth(f.peer, VIRTIO_IOMMU_T_DETACH, 0)->bytes;
	assert_memory_equal(req->reserved, "\0\0\0\0\0\0\0", 8);
	assert_int_equal(req->domain, viommu_drv_domain_id(f.domain));
	assert_int_equal(req->endpoint, 1);
	done(&f);
}

static void driver_map_01(void **state)
{
	const uint64_t own = 1ull << 40; /* out of the allocator's way */
	struct fixture f = start();
	struct viommu_drv_domain *other = peer_domain(f.peer, NULL);
	uint64_t iova;
	unsigned maps;

	(void)state;
	for (unsigned bit = 0; bit < 32; bit++)
		assert_int_equal(map(&f, f.domain, own + bit * 0x1000,
				     own + bit * 0x1000 + 0xfff, R | 1u << bit),
				 bit > 2 ? -EINVAL : 0);
	/* Nor does the driver's own mark reach the device, when a mapping that was
	 * unmapped lazily is told again with the rest. */
	assert_int_equal(viommu_drv_domain_set_mode(f.domain, VIOMMU_DRV_LAZY_CPU, 0, 0),
			 VIOMMU_DRV_LAZY_CPU);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0x5000, 0x1000, RW, &iova), 0);
	assert_int_equal(viommu_drv_dma_unmap(f.ep, iova, 0x1000), 0);
	maps = peer_count(f.peer, VIRTIO_IOMMU_T_MAP);
	assert_int_equal(viommu_drv_attach(other, f.ep), 0);
	assert_int_equal(viommu_drv_detach(f.ep), 0);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	assert_true(peer_count(f.peer, VIRTIO_IOMMU_T_MAP) >= maps + 3);
	for (unsigned i = 0; i < peer_count(f.peer, VIRTIO_IOMMU_T_MAP); i++)
		assert_int_equal(map_req(&f, i)->flags & ~7u, 0);
	viommu_drv_domain_destroy(other);
	done(&f);
}

static void driver_map_02(void **state)
{
	struct fixture f = start();
	uint64_t iova;

	(void)state;
	assert_int_equal(viommu_drv_attach(f.bypass, f.other), 0);
	assert_int_equal(map(&f, f.bypass, 0x1000, 0x1fff, RW), -EINVAL);
	assert_int_equal(viommu_drv_dma_map(f.other, 0x5000, 0x1000, RW, &iova), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), 0);
	done(&f);
}

static void driver_map_03(void **state)
{
	struct fixture f = {.peer = peer_create()};

	(void)state;
	/* Bytes as granules, so that one byte would be aligned. */
	f.peer->config.page_size_mask = UINT64_MAX;
	assert_int_equal(peer_start(f.peer, NULL), 0);
	f.ep = peer_endpoint(f.peer, 1);
	f.other = peer_endpoint(f.peer, 2);
	f.domain = peer_domain(f.peer, NULL);
	assert_int_equal(viommu_drv_attach(f.domain, f.ep), 0);
	assert_int_equal(map(&f, f.domain, 0x1000, 0x1000, RW), -EINVAL);
	assert_int_equal(map(&f, f.domain, 0x1000, 0xfff, RW), -EINVAL);
	assert_int_equal(map(&f, f.domain, 0x1000, 0x1001, RW), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), 1);
	done(&f);
}

static void driver_map_04(void **state)
{
	struct fixture f = start();
	uint64_t doorbell;

	(void)state;
	assert_int_equal(viommu_drv_dma_map(f.ep, 0xfee00000, 0x1000, W | VIOMMU_DRV_MMIO,
					    &doorbell),
			 0);
	assert_int_equal(map_req(&f, 0)->flags,
			 VIRTIO_IOMMU_MAP_F_WRITE | VIRTIO_IOMMU_MAP_F_MMIO);
	done(&f);
}

/* Adjacent memory and registers stay two requests: flags are a request's. */
static void driver_map_05(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	struct fixture f = start();

	(void)state;
	assert_int_equal(viommu_drv_map(f.domain, 0x1000, 0x1fff, 0x1000, RW, &batch), 0);
	assert_int_equal(viommu_drv_map(f.domain, 0x2000, 0x2fff, 0x2000,
					W | VIOMMU_DRV_MMIO, &batch),
			 0);
	assert_int_equal(viommu_drv_sync(f.peer->drv, &batch), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), 2);
	assert_int_equal(map_req(&f, 0)->flags, RW);
	assert_int_equal(map_req(&f, 1)->flags, W | VIOMMU_DRV_MMIO);
	done(&f);
}

static void driver_map_06(void **state)
{
	struct fixture f = start();
	uint64_t iova;

	(void)state;
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 0x1000, R, &iova), 0);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 0x1000, RW, &iova), 0);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 0x1000, W, &iova), 0);
	assert_int_equal(map_req(&f, 0)->flags, VIRTIO_IOMMU_MAP_F_READ);
	assert_int_equal(map_req(&f, 1)->flags,
			 VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE);
	assert_int_equal(map_req(&f, 2)->flags, VIRTIO_IOMMU_MAP_F_WRITE);
	done(&f);
}

static void driver_map_07(void **state)
{
	struct fixture f = start_without(1ull << VIRTIO_IOMMU_F_MMIO);
	uint64_t iova;

	(void)state;
	assert_int_equal(map(&f, f.domain, 0x1000, 0x1fff, W | VIOMMU_DRV_MMIO),
			 -EOPNOTSUPP);
	assert_int_equal(viommu_drv_dma_map(f.ep, 0, 1, W | VIOMMU_DRV_MMIO, &iova),
			 -EOPNOTSUPP);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_MAP), 0);
	done(&f);
}

static void driver_unmap_01(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(map(&f, f.domain, 0x1000, 0x1fff, RW), 0);
	assert_int_equal(unmap(&f, f.domain, 0x1000, 0x1fff), 1);
	assert_memory_equal(unmap_req(&f, 0)->reserved, "\0\0\0", 4);
	done(&f);
}

static void driver_unmap_02(void **state)
{
	struct fixture f = start();

	(void)state;
	for (uint64_t at = 0x1000; at < 0x9000; at += 0x1000)
		assert_int_equal(map(&f, f.domain, at, at + 0xfff, RW), 0);
	assert_int_equal(unmap(&f, f.domain, 0x2000, 0x6fff), 5);
	assert_int_equal(unmap_req(&f, 0)->virt_start, 0x2000);
	assert_int_equal(unmap_req(&f, 0)->virt_last, 0x6fff);
	assert_int_equal(unmap(&f, f.domain, 0x2000, 0x6fff), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 1);
	done(&f);
}

static void driver_unmap_03(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(map(&f, f.domain, 0x4000, 0x4fff, RW), 0);
	assert_int_equal(map(&f, f.domain, 0x8000, 0x8fff, RW), 0);
	assert_int_equal(unmap(&f, f.domain, 0, UINT64_MAX), 2);
	/* The hole between them is in it, those around are cut off. */
	assert_int_equal(unmap_req(&f, 0)->virt_start, 0x4000);
	assert_int_equal(unmap_req(&f, 0)->virt_last, 0x8fff);
	done(&f);
}

static void driver_unmap_04(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(map(&f, f.domain, 0x4000, 0x7fff, RW), 0);
	assert_int_equal(unmap(&f, f.domain, 0x5000, 0x7fff), -ERANGE);
	assert_int_equal(unmap(&f, f.domain, 0x5000, 0xffff), -ERANGE);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 0);
	assert_int_equal(unmap(&f, f.domain, 0x3800, 0x7fff), 1);
	done(&f);
}

static void driver_unmap_05(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(map(&f, f.domain, 0x4000, 0x7fff, RW), 0);
	assert_int_equal(unmap(&f, f.domain, 0x4000, 0x6fff), -ERANGE);
	assert_int_equal(unmap(&f, f.domain, 0, 0x4000), -ERANGE);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 0);
	assert_int_equal(unmap(&f, f.domain, 0x4000, 0x8800), 1);
	done(&f);
}

static void driver_unmap_06(void **state)
{
	struct fixture f = start();

	(void)state;
	assert_int_equal(viommu_drv_attach(f.bypass, f.other), 0);
	assert_int_equal(unmap(&f, f.bypass, 0x1000, 0x1fff), -EINVAL);
	assert_int_equal(viommu_drv_dma_unmap(f.other, 0x1000, 0x1000), 0);
	assert_int_equal(viommu_drv_dma_flush(f.bypass), 0);
	assert_int_equal(peer_count(f.peer, VIRTIO_IOMMU_T_UNMAP), 0);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(driver_attach_01), cmocka_unit_test(driver_attach_02),
		cmocka_unit_test(driver_attach_03), cmocka_unit_test(driver_attach_04),
		cmocka_unit_test(driver_detach_01), cmocka_unit_test(driver_map_01),
		cmocka_unit_test(driver_map_02),    cmocka_unit_test(driver_map_03),
		cmocka_unit_test(driver_map_04),    cmocka_unit_test(driver_map_05),
		cmocka_unit_test(driver_map_06),    cmocka_unit_test(driver_map_07),
		cmocka_unit_test(driver_unmap_01),  cmocka_unit_test(driver_unmap_02),
		cmocka_unit_test(driver_unmap_03),  cmocka_unit_test(driver_unmap_04),
		cmocka_unit_test(driver_unmap_05),  cmocka_unit_test(driver_unmap_06),
	};

	return cmocka_run_group_tests_name("driver requests", tests, NULL, NULL);
}
