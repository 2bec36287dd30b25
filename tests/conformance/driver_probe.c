/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* PROBE, its properties, and fault reports. Each test is named after the
 * statement in statements.json that it checks. */
#include <errno.h>

#include <drv.h>

#include "drv_peer.h"

#define RW (VIOMMU_DRV_READ | VIOMMU_DRV_WRITE)

/* A driver on a device with these properties, which probes one endpoint. */
static struct viommu_drv_endpoint *probe(struct peer *peer, int expected)
{
	const struct viommu_drv_endpoint_config config = {.id = 6};
	struct viommu_drv_endpoint *ep = NULL;

	if (!peer->drv)
		assert_int_equal(peer_start(peer, NULL), 0);
	assert_int_equal(viommu_drv_endpoint_create(peer->drv, &config, &ep), expected);
	return ep;
}

static void expect_regions(struct peer *peer, unsigned expected)
{
	struct viommu_drv_endpoint *ep = probe(peer, 0);
	unsigned nr;

	viommu_drv_endpoint_resv(ep, &nr);
	assert_int_equal(nr, expected);
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	peer_destroy(peer);
}

static void driver_probe_01(void **state)
{
	static const uint32_t sizes[] = {24, 28, 512, 4096, LIMIT_DRV_PROBE_SIZE};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct peer *peer = peer_create();

		peer->config.probe_size = sizes[i];
		assert_int_equal(viommu_drv_endpoint_destroy(probe(peer, 0)), 0);
		assert_int_equal(peer->log[0].out_len, sizes[i] + 4);
		/* It may grow while the driver runs. */
		peer->config.probe_size = 100;
		assert_int_equal(viommu_drv_endpoint_destroy(probe(peer, 0)), 0);
		assert_int_equal(peer->log[1].out_len, 104);
		peer->config.probe_size = LIMIT_DRV_PROBE_SIZE + 1;
		probe(peer, -EIO);
		peer->config.probe_size = 0;
		assert_int_equal(viommu_drv_endpoint_destroy(probe(peer, 0)), 0);
		assert_int_equal(peer->log_nr, 2);
		peer_destroy(peer);
	}
}

static void driver_probe_02(void **state)
{
	struct peer *peer = peer_create();
	const struct virtio_iommu_req_probe *req;

	(void)state;
	assert_int_equal(viommu_drv_endpoint_destroy(probe(peer, 0)), 0);
	req = (const void *)peer->log[0].bytes;
	for (unsigned i = 0; i < sizeof(req->reserved); i++)
		assert_int_equal(req->reserved[i], 0);
	peer_destroy(peer);
}

static void driver_probe_03(void **state)
{
	struct peer *peer = peer_create();
	size_t at = peer_add_prop(peer, 0, 0x7ff, 8, NULL);

	(void)state;
	peer_add_prop(peer, at, 2, 0, NULL);
	expect_regions(peer, 0);
}

static void driver_probe_04(void **state)
{
	/* A RESV_MEM with more than today's fields. */
	uint8_t value[40] = {0};
	struct peer *peer = peer_create();
	uint64_t last = 0xffff;
	size_t at;

	(void)state;
	memcpy(value + 12, &last, 8);
	memset(value + 20, 0x11, 20);
	at = peer_add_prop(peer, 0, VIRTIO_IOMMU_PROBE_T_RESV_MEM, sizeof(value), value);
	peer_add_resv(peer, at, 0, 0x100000, 0x1fffff);
	expect_regions(peer, 2);
	/* One with fewer makes no sense, nor one that ends beyond the list. */
	peer = peer_create();
	peer_add_prop(peer, 0, VIRTIO_IOMMU_PROBE_T_RESV_MEM, 19, value);
	probe(peer, -EIO);
	peer_destroy(peer);
	peer = peer_create();
	peer_add_prop(peer, 0, 0x123, PEER_PROPS_LEN - 3, NULL);
	probe(peer, -EIO);
	peer_destroy(peer);
	peer = peer_create();
	peer_add_prop(peer, 0, 0x123, PEER_PROPS_LEN - 4, NULL);
	expect_regions(peer, 0);
	peer = peer_create();
	peer_add_resv(peer, 0, 0, 0x2000, 0x1fff);
	probe(peer, -EIO);
	peer_destroy(peer);
}

static void driver_probe_05(void **state)
{
	struct peer *peer = peer_create();

	(void)state;
	for (uint16_t bits = 0x1000, n = 0; bits; bits = (uint16_t)(bits << 1), n++) {
		uint16_t type = VIRTIO_IOMMU_PROBE_T_RESV_MEM | bits;

		peer_add_resv(peer, n * 24u, 0, n * 0x1000, n * 0x1000 + 0xfff);
		memcpy(peer->props + n * 24u, &type, 2);
	}
	expect_regions(peer, 0);
}

static void driver_probe_06(void **state)
{
	uint16_t odd = 0x8000 | VIRTIO_IOMMU_PROBE_T_RESV_MEM;
	struct peer *peer = peer_create();
	size_t at = peer_add_prop(peer, 0, 0x7ff, 12, NULL);

	(void)state;
	peer_add_resv(peer, at, 0, 0x1000, 0x1fff);
	memcpy(peer->props + at, &odd, 2);
	at = peer_add_resv(peer, at + 24, 0, 0x3000, 0x3fff);
	peer_add_resv(peer, at, 1, 0x2000, 0x2fff);
	expect_regions(peer, 2);
}

/* The limit of regions: at it, and one past it. */
static void regions_limit(void **state)
{
	(void)state;
	for (unsigned extra = 0; extra < 2; extra++) {
		/* Does not fit into the peer's room for properties: the parser. */
		static uint8_t props[(LIMIT_DRV_RESV_REGIONS + 1) * 24];
		struct peer *peer = peer_create();

		memset(props, 0, sizeof(props));
		for (unsigned i = 0; i < LIMIT_DRV_RESV_REGIONS + extra; i++) {
			peer_add_resv(peer, 0, 0, i * 0x2000ull, i * 0x2000ull + 0xfff);
			memcpy(props + i * 24, peer->props, 24);
		}
		assert_int_equal(drv_probe_parse(props, sizeof(props), NULL, 0),
				 extra ? -EIO : (int)LIMIT_DRV_RESV_REGIONS);
		peer_destroy(peer);
	}
}

static void driver_resv_mem_01(void **state)
{
	struct viommu_drv_batch batch = VIOMMU_DRV_BATCH_INIT;
	const struct viommu_drv_domain_config small = {.iova_last = 0x1fffff};
	struct peer *peer = peer_create();
	struct viommu_drv_domain *domain;
	struct viommu_drv_endpoint *ep;
	uint64_t iova;
	size_t at;

	(void)state;
	at = peer_add_resv(peer, 0, VIRTIO_IOMMU_RESV_MEM_T_RESERVED, 0x10000, 0x1ffff);
	peer_add_resv(peer, at, VIRTIO_IOMMU_RESV_MEM_T_MSI, 0x100000, 0x17ffff);
	ep = probe(peer, 0);
	domain = peer_domain(peer, &small);
	assert_int_equal(viommu_drv_attach(domain, ep), 0);
	assert_int_equal(viommu_drv_map(domain, 0x1f000, 0x20fff, 0, RW, &batch), -EBUSY);
	assert_int_equal(viommu_drv_map(domain, 0xff000, 0x100fff, 0, RW, &batch),
			 -EBUSY);
	assert_int_equal(viommu_drv_map(domain, 0, 0x1fffff, 0, RW, &batch), -EBUSY);
	while (!viommu_drv_dma_map(ep, 0, 0x2000, RW, &iova))
		;
	for (unsigned i = 0; i < peer->mappings_nr; i++) {
		const struct peer_mapping *m = &peer->mappings[i];

		assert_true(m->last < 0x10000 || m->start > 0x1ffff);
		assert_true(m->last < 0x100000 || m->start > 0x17ffff);
	}
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	viommu_drv_domain_destroy(domain);
	peer_destroy(peer);
}

static void driver_resv_mem_02(void **state)
{
	struct peer *peer = peer_create();

	(void)state;
	peer_add_resv(peer, 0, 0, 0x1000, 0x1fff);
	memset(peer->props + 5, 0xff, 3);
	expect_regions(peer, 1);
}

static void driver_resv_mem_03(void **state)
{
	struct peer *peer = peer_create();
	const struct viommu_drv_resv *resv;
	struct viommu_drv_endpoint *ep;
	unsigned nr;

	(void)state;
	peer_add_resv(peer, 0, 0x77, 0x1000, 0x1fff);
	ep = probe(peer, 0);
	resv = viommu_drv_endpoint_resv(ep, &nr);
	assert_int_equal(nr, 1);
	assert_int_equal(resv[0].kind, VIOMMU_DRV_RESV_RESERVED);
	assert_int_equal(viommu_drv_endpoint_destroy(ep), 0);
	peer_destroy(peer);
}

/* ---- fault reports ---- */

static struct virtio_iommu_fault a_fault(void)
{
	return (struct virtio_iommu_fault){
		.reason = VIRTIO_IOMMU_FAULT_R_MAPPING,
		.flags = VIRTIO_IOMMU_FAULT_F_WRITE | VIRTIO_IOMMU_FAULT_F_ADDRESS,
		.endpoint = 0x12345678,
		.address = 0xdead0000beefull,
	};
}

static void send(struct peer *peer, const struct virtio_iommu_fault *fault, int expected)
{
	assert_true(peer_send_event(peer, fault, sizeof(*fault), sizeof(*fault)));
	assert_int_equal(viommu_drv_poll_events(peer->drv), expected);
}

static void expect_fault(const struct peer *peer, enum viommu_drv_fault_reason reason)
{
	const struct viommu_drv_fault *got = &peer->faults[peer->faults_nr - 1];

	assert_int_equal(got->reason, reason);
	assert_int_equal(got->flags, VIOMMU_DRV_FAULT_WRITE | VIOMMU_DRV_FAULT_ADDRESS);
	assert_int_equal(got->endpoint, 0x12345678);
	assert_int_equal(got->address, 0xdead0000beefull);
}

static void driver_fault_01(void **state)
{
	struct peer *peer = peer_create_started();
	struct viommu_drv_stats stats;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct virtio_iommu_fault fault = a_fault();

		fault.reserved[i] = 1;
		send(peer, &fault, 0);
	}
	viommu_drv_get_stats(peer->drv, &stats);
	assert_int_equal(stats.events_bad, 3);
	assert_int_equal(peer->faults_nr, 0);
	peer_destroy(peer);
}

static void driver_fault_02(void **state)
{
	struct peer *peer = peer_create_started();
	struct virtio_iommu_fault fault = a_fault();

	(void)state;
	memset(fault.reserved1, 0xff, sizeof(fault.reserved1));
	/* More than the ring: buffers go back. */
	for (unsigned i = 0; i < 100; i++) {
		send(peer, &fault, 1);
		expect_fault(peer, VIOMMU_DRV_FAULT_MAPPING);
		peer->faults_nr = 0;
	}
	peer_destroy(peer);
}

static void driver_fault_03(void **state)
{
	struct peer *peer = peer_create_started();
	struct virtio_iommu_fault fault = a_fault();

	(void)state;
	fault.flags |= ~7u & ~VIRTIO_IOMMU_FAULT_F_ADDRESS;
	send(peer, &fault, 1);
	expect_fault(peer, VIOMMU_DRV_FAULT_MAPPING);
	/* Without ADDRESS the address means nothing. */
	fault.flags = VIRTIO_IOMMU_FAULT_F_READ;
	send(peer, &fault, 1);
	assert_int_equal(peer->faults[1].flags, VIOMMU_DRV_FAULT_READ);
	assert_int_equal(peer->faults[1].address, 0);
	peer_destroy(peer);
}

static void driver_fault_04(void **state)
{
	struct peer *peer = peer_create_started();

	(void)state;
	for (unsigned reason = 0; reason < 256; reason++) {
		struct virtio_iommu_fault fault = a_fault();

		fault.reason = (uint8_t)reason;
		peer->faults_nr = 0;
		send(peer, &fault, 1);
		expect_fault(peer, reason == 1	 ? VIOMMU_DRV_FAULT_DOMAIN
				   : reason == 2 ? VIOMMU_DRV_FAULT_MAPPING
						 : VIOMMU_DRV_FAULT_UNKNOWN);
	}
	peer_destroy(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(driver_probe_01),
		cmocka_unit_test(driver_probe_02),
		cmocka_unit_test(driver_probe_03),
		cmocka_unit_test(driver_probe_04),
		cmocka_unit_test(driver_probe_05),
		cmocka_unit_test(driver_probe_06),
		cmocka_unit_test(regions_limit),
		cmocka_unit_test(driver_resv_mem_01),
		cmocka_unit_test(driver_resv_mem_02),
		cmocka_unit_test(driver_resv_mem_03),
		cmocka_unit_test(driver_fault_01),
		cmocka_unit_test(driver_fault_02),
		cmocka_unit_test(driver_fault_03),
		cmocka_unit_test(driver_fault_04),
	};

	return cmocka_run_group_tests_name("driver probe", tests, NULL, NULL);
}
