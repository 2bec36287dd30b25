/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* MAP and UNMAP. Each test is named after the statement in statements.json that
 * it checks. */
#include <errno.h>

#include "dma_kit.h"

#define R    VIRTIO_IOMMU_MAP_F_READ
#define W    VIRTIO_IOMMU_MAP_F_WRITE
#define MMIO VIRTIO_IOMMU_MAP_F_MMIO

/* Endpoint 1 in domain 1, endpoint 2 in the bypass domain 2. */
static struct viommu_endpoint *start(struct dma_kit *d)
{
	struct viommu_endpoint *ep;

	dma_kit_init(d, NULL);
	ep = device_kit_endpoint(&d->kit, 1, NULL, 0);
	device_kit_endpoint(&d->kit, 2, NULL, 0);
	assert_int_equal(kit_attach(&d->kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d->kit, 2, 2, VIRTIO_IOMMU_ATTACH_F_BYPASS), 0);
	return ep;
}

static void device_map_01(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_map(&d.kit, 1, 0x1001, 0x1fff, 0, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x1800, 0x1fff, 0, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, 0x800, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, 1, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1ffe, 0, R), -ERANGE);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x2000, 0, R), -ERANGE);
	assert_int_equal(kit_mappings_nr(&d.kit), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, 0, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0xfffffffffffff000, UINT64_MAX, 0, R), 0);
	dma_kit_done(&d);
}

static void device_map_02(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_map(&d.kit, 1, 0x4000, 0x7fff, 0, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x4000, 0x7fff, 0, R), -EINVAL); /* same */
	assert_int_equal(kit_map(&d.kit, 1, 0x5000, 0x5fff, 0, R), -EINVAL); /* inside */
	assert_int_equal(kit_map(&d.kit, 1, 0x0000, 0xffff, 0, R), -EINVAL); /* around */
	assert_int_equal(kit_map(&d.kit, 1, 0x3000, 0x4fff, 0, R), -EINVAL); /* start */
	assert_int_equal(kit_map(&d.kit, 1, 0x7000, 0x8fff, 0, R), -EINVAL); /* end */
	assert_int_equal(kit_mappings_nr(&d.kit), 1);
	assert_int_equal(kit_map(&d.kit, 1, 0x3000, 0x3fff, 0, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x8000, 0x8fff, 0, R), 0);
	dma_kit_done(&d);
}

static void device_map_03(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (unsigned bit = 3; bit < 32; bit++)
		assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, R | 1u << bit), -EINVAL);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, 0, R | MMIO), 0);
	/* MMIO is a flag only where the feature was negotiated */
	assert_int_equal(viommu_device_set_features(d.kit.dev, 1u << 2), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, R | MMIO), -EINVAL);
	assert_int_equal(kit_mappings_nr(&d.kit), 1);
	dma_kit_done(&d);
}

static void device_map_04(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_map(&d.kit, 3, 0, 0xfff, 0, R), -ENOENT);
	assert_int_equal(kit_detach(&d.kit, 1, 1), 0); /* its last endpoint */
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, R), -ENOENT);
	dma_kit_done(&d);
}

static void device_map_05(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_map(&d.kit, 2, 0, 0xfff, 0, R), -EINVAL);
	dma_kit_done(&d);
}

static void device_map_06(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d);
	assert_int_equal(kit_map(&d.kit, 1, 0x0000, 0x0fff, RAM_GPA, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, RAM_GPA, R | W), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_WRITE), -EFAULT);
	assert_int_equal(d.ram[0], 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0x1000, VIOMMU_WRITE), 0);
	assert_int_equal(d.ram[0], 0x77);
	dma_kit_done(&d);
}

/* The MAY is not used: this device has no hardware that could not do it. */
static void device_map_07(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, W), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_WRITE), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), -EFAULT);
	dma_kit_done(&d);
}

/* UNMAP of page 0 of domain 1 with one reserved byte set. */
static int unmap_reserved(struct dma_kit *d, size_t at)
{
	struct proto_request req = {
		.type = VIRTIO_IOMMU_T_UNMAP, .domain = 1, .last = 0xfff};
	uint8_t in[PROTO_REQUEST_MAX], tail[PROTO_TAIL_LEN];
	size_t len = proto_encode_request(in, &req);

	in[at] = 0xff;
	device_kit_raw(&d->kit, in, len, tail, sizeof(tail));
	return proto_decode_tail(tail);
}

/* The MAY is not used: reserved is ignored, because drivers are about that send
 * what was on their stack. */
static void device_unmap_01(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (size_t at = 24; at < 28; at++)
		assert_int_equal(unmap_reserved(&d, at), 0);
	dma_kit_done(&d);
}

static void device_unmap_02(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (size_t at = 24; at < 28; at++) {
		assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, R), 0);
		unmap_reserved(&d, at);
		assert_int_equal(kit_mappings_nr(&d.kit), 0);
	}
	dma_kit_done(&d);
}

static void device_unmap_03(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_unmap(&d.kit, 3, 0, 0xfff), -ENOENT);
	dma_kit_done(&d);
}

static void device_unmap_04(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_unmap(&d.kit, 2, 0, UINT64_MAX), -EINVAL);
	dma_kit_done(&d);
}

static void device_unmap_05(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_map(&d.kit, 1, 0x4000, 0x7fff, 0, R), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x4000, 0x6fff), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x5000, 0x7fff), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x5000, 0x5fff), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x4001, 0x7fff), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x4000, 0x7ffe), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, 0x4000), -ERANGE);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x7fff, UINT64_MAX), -ERANGE);
	dma_kit_done(&d);
}

static void device_unmap_06(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_map(&d.kit, 1, 0x0000, 0x0fff, 0, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x1000, 0x1fff, 0, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x4000, 0x7fff, 0, R), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x9000, 0x9fff, 0, R), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, 0x4fff), -ERANGE);
	assert_int_equal(kit_mappings_nr(&d.kit), 4);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x5000, UINT64_MAX), -ERANGE);
	assert_int_equal(kit_mappings_nr(&d.kit), 4);
	dma_kit_done(&d);
}

static void device_unmap_07(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, UINT64_MAX), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0x1234, 0x1234), 0);
	for (uint64_t at = 0; at < 0x10000; at += 0x2000)
		assert_int_equal(kit_map(&d.kit, 1, at, at + 0xfff, 0, R), 0);
	/* starts and ends in holes, off the granule */
	assert_int_equal(kit_unmap(&d.kit, 1, 0x1800, 0x77ff), 0);
	assert_int_equal(kit_mappings_nr(&d.kit), 5);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, UINT64_MAX), 0);
	assert_int_equal(kit_mappings_nr(&d.kit), 0);
	dma_kit_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_map_01),   cmocka_unit_test(device_map_02),
		cmocka_unit_test(device_map_03),   cmocka_unit_test(device_map_04),
		cmocka_unit_test(device_map_05),   cmocka_unit_test(device_map_06),
		cmocka_unit_test(device_map_07),   cmocka_unit_test(device_unmap_01),
		cmocka_unit_test(device_unmap_02), cmocka_unit_test(device_unmap_03),
		cmocka_unit_test(device_unmap_04), cmocka_unit_test(device_unmap_05),
		cmocka_unit_test(device_unmap_06), cmocka_unit_test(device_unmap_07),
	};

	return cmocka_run_group_tests_name("device map", tests, NULL, NULL);
}
