/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Framing, ATTACH and DETACH. Each test is named after the statement in
 * statements.json that it checks. */
#include <errno.h>

#include "dma_kit.h"

#define BYPASS VIRTIO_IOMMU_ATTACH_F_BYPASS

static const struct viommu_resv msi = {0xfee00000, 0xfeefffff, VIOMMU_RESV_MSI};

/* A device with endpoints 1 and 2. */
static struct viommu_endpoint *start(struct dma_kit *d)
{
	struct viommu_endpoint *ep;

	dma_kit_init(d, NULL);
	ep = device_kit_endpoint(&d->kit, 1, NULL, 0);
	device_kit_endpoint(&d->kit, 2, NULL, 0);
	return ep;
}

static bool attached(struct device_kit *kit, uint32_t domain, uint32_t endpoint)
{
	/* Asking changes nothing: a DETACH from a domain it is not in fails, and
	 * one that works is taken back. */
	struct kit_blob blob = device_kit_save(kit);
	bool yes = kit_detach(kit, domain, endpoint) == 0;

	assert_int_equal(viommu_device_restore(kit->dev, blob.bytes, blob.len), 0);
	free(blob.bytes);
	return yes;
}

static void device_ops_01(void **state)
{
	struct dma_kit d;
	uint8_t properties[512];

	(void)state;
	start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, 3), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, 0xfff), 0);
	assert_int_equal(kit_detach(&d.kit, 1, 1), 0);
	assert_int_equal(device_kit_probe(&d.kit, 1, properties, 512), 0);
	dma_kit_done(&d);
}

/* Sends each unknown type and checks that nothing was written. */
static void device_ops_02(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (unsigned type = 0; type < 256; type++) {
		uint8_t in[PROTO_REQUEST_MAX] = {(uint8_t)type}, out[64], untouched[64];

		if (type >= VIRTIO_IOMMU_T_ATTACH && type <= VIRTIO_IOMMU_T_PROBE)
			continue;
		memset(untouched, 0xee, sizeof(untouched));
		device_kit_raw(&d.kit, in, sizeof(in), out, sizeof(out));
		assert_memory_equal(out, untouched, sizeof(out));
	}
	dma_kit_done(&d);
}

static void device_ops_03(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (unsigned type = 0; type < 256; type++) {
		uint8_t in[PROTO_REQUEST_MAX] = {(uint8_t)type}, out[64];

		if (type >= VIRTIO_IOMMU_T_ATTACH && type <= VIRTIO_IOMMU_T_PROBE)
			continue;
		assert_int_equal(device_kit_raw(&d.kit, in, sizeof(in), out, sizeof(out)),
				 0);
	}
	assert_int_equal(device_kit_stats(&d.kit).unanswered, 251);
	dma_kit_done(&d);
}

/* Status of `req` with one byte of its readable part set to 0xff. */
static int with_byte(struct dma_kit *d, const struct proto_request *req, size_t at)
{
	uint8_t in[PROTO_REQUEST_MAX], tail[PROTO_TAIL_LEN];
	size_t len = proto_encode_request(in, req);

	in[at] = 0xff;
	assert_int_equal(device_kit_raw(&d->kit, in, len, tail, sizeof(tail)),
			 PROTO_TAIL_LEN);
	return proto_decode_tail(tail);
}

static const struct proto_request attach_1_1 = {
	.type = VIRTIO_IOMMU_T_ATTACH, .domain = 1, .endpoint = 1};
static const struct proto_request detach_1_1 = {
	.type = VIRTIO_IOMMU_T_DETACH, .domain = 1, .endpoint = 1};

static void device_ops_04(void **state)
{
	struct proto_request map = {.type = VIRTIO_IOMMU_T_MAP, .domain = 1};
	struct proto_request unmap = {.type = VIRTIO_IOMMU_T_UNMAP, .domain = 1};
	struct proto_request probe = {.type = VIRTIO_IOMMU_T_PROBE, .endpoint = 1};
	uint8_t in[PROTO_REQUEST_MAX], out[512 + PROTO_TAIL_LEN];
	struct dma_kit d;
	size_t probe_len;

	(void)state;
	start(&d);
	map.last = unmap.last = 0xfff;
	probe_len = proto_encode_request(in, &probe);
	for (size_t at = 1; at < PROTO_HEAD_LEN; at++) {
		in[at] = 0xff;
		assert_int_equal(device_kit_raw(&d.kit, in, probe_len, out, sizeof(out)),
				 sizeof(out));
		assert_int_equal(proto_decode_tail(out + 512), 0);
		assert_int_equal(with_byte(&d, &attach_1_1, at), 0);
		assert_int_equal(with_byte(&d, &map, at), 0);
		assert_int_equal(with_byte(&d, &unmap, at), 0);
		assert_int_equal(with_byte(&d, &detach_1_1, at), 0);
	}
	dma_kit_done(&d);
}

static void device_ops_05(void **state)
{
	uint8_t in[PROTO_REQUEST_MAX], tail[PROTO_TAIL_LEN];
	struct dma_kit d;
	size_t len;

	(void)state;
	start(&d);
	len = proto_encode_request(in, &attach_1_1);
	for (int i = 0; i < 2; i++) { /* a success, then a failure */
		in[4] = (uint8_t)(1 + i);
		in[16] = (uint8_t)i;
		device_kit_raw(&d.kit, in, len, tail, sizeof(tail));
		assert_int_equal(proto_decode_tail(tail), i ? -EINVAL : 0);
		assert_memory_equal(tail + 1, ((uint8_t[3]){0}), 3);
	}
	dma_kit_done(&d);
}

static void device_ops_06(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d);
	assert_int_equal(dma_kit_access(&d, ep, RAM_GPA, VIOMMU_READ), -EFAULT);
	assert_int_equal(dma_kit_access(&d, ep, RAM_GPA, VIOMMU_WRITE), -EFAULT);
	assert_int_equal(d.ram[0], 0);
	assert_int_equal(device_kit_stats(&d.kit).faults[VIRTIO_IOMMU_FAULT_R_DOMAIN], 2);
	dma_kit_done(&d);
}

static void device_attach_01(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (size_t at = 16; at < 20; at++)
		assert_int_equal(with_byte(&d, &attach_1_1, at), -EINVAL);
	assert_int_equal(device_kit_stats(&d.kit).domains, 0);
	dma_kit_done(&d);
}

static void device_attach_02(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (unsigned bit = 1; bit < 32; bit++)
		assert_int_equal(kit_attach(&d.kit, 1, 1, 1u << bit), -EINVAL);
	/* without the feature, BYPASS is no flag either */
	assert_int_equal(viommu_device_set_features(d.kit.dev, 1u << 2), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 1, BYPASS), -EINVAL);
	assert_int_equal(device_kit_stats(&d.kit).domains, 0);
	dma_kit_done(&d);
}

static void device_attach_03(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 3, 0), -ENOENT);
	assert_int_equal(kit_attach(&d.kit, 1, UINT32_MAX, BYPASS), -ENOENT);
	dma_kit_done(&d);
}

static void device_attach_04(void **state)
{
	struct viommu_endpoint *one, *two;
	struct dma_kit d;

	(void)state;
	dma_kit_init(&d, NULL);
	one = device_kit_endpoint(&d.kit, 1, NULL, 0);
	two = device_kit_endpoint(&d.kit, 2, NULL, 0);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 2, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 3), 0);
	assert_int_equal(dma_kit_access(&d, one, 0, VIOMMU_WRITE), 0);
	assert_int_equal(dma_kit_access(&d, two, 0, VIOMMU_READ), 0);
	assert_int_equal(device_kit_stats(&d.kit).domains, 1);
	dma_kit_done(&d);
}

/* This device takes any number of endpoints a domain, so it never refuses for
 * that; where a second one cannot join, the status is UNSUPP. */
static void device_attach_05(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	device_kit_endpoint(&d.kit, 3, &msi, 1);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 2, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, msi.start, msi.last, 0, 3), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 3, 0), -EOPNOTSUPP);
	dma_kit_done(&d);
}

static void device_attach_06(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 2, BYPASS), -EINVAL);
	assert_int_equal(kit_attach(&d.kit, 2, 2, BYPASS), 0);
	assert_int_equal(kit_attach(&d.kit, 2, 1, 0), -EINVAL);
	assert_true(attached(&d.kit, 1, 1));
	assert_true(attached(&d.kit, 2, 2));
	dma_kit_done(&d);
}

static void device_attach_07(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 2, 1, 0), 0);
	assert_false(attached(&d.kit, 1, 1));
	assert_true(attached(&d.kit, 2, 1));
	dma_kit_done(&d);
}

static void device_attach_08(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 3), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), 0);
	assert_int_equal(kit_attach(&d.kit, 2, 1, 0), 0);
	/* as after a DETACH: domain 1 is gone with its mappings */
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), -EFAULT);
	assert_int_equal(kit_mappings_nr(&d.kit), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, 3), -ENOENT);
	dma_kit_done(&d);
}

/* Any endpoint can be moved; a move that cannot end well, because the new domain
 * has mappings where the endpoint has a reserved region, is UNSUPP and is not
 * begun. */
static void device_attach_09(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	device_kit_endpoint(&d.kit, 3, &msi, 1);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, msi.start, msi.last, 0, 3), 0);
	assert_int_equal(kit_attach(&d.kit, 2, 3, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 3, 0), -EOPNOTSUPP);
	assert_true(attached(&d.kit, 2, 3));
	dma_kit_done(&d);
}

static void device_attach_10(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	device_kit_endpoint(&d.kit, 3, &msi, 1);
	device_kit_endpoint(&d.kit, 4, &msi, 1);
	assert_int_equal(kit_attach(&d.kit, 1, 3, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 4, 0), 0); /* the same properties */
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, 0, 3), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0); /* none at all */
	assert_true(attached(&d.kit, 1, 4));
	dma_kit_done(&d);
}

static void device_attach_11(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	device_kit_endpoint(&d.kit, 3, &msi, 1);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	/* the last byte of a mapping on the first of the region */
	assert_int_equal(kit_map(&d.kit, 1, msi.start - 0x1000, msi.start + 0xfff, 0, 3),
			 0);
	assert_int_equal(kit_attach(&d.kit, 1, 3, 0), -EOPNOTSUPP);
	assert_false(attached(&d.kit, 1, 3));
	dma_kit_done(&d);
}

static void device_attach_12(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d);
	for (uint32_t domain = 0; domain < 20; domain++) {
		assert_int_equal(kit_attach(&d.kit, domain, 1, domain & 1), 0);
		assert_true(attached(&d.kit, domain, 1));
		assert_int_equal(dma_kit_access(&d, ep, RAM_GPA, VIOMMU_READ),
				 domain & 1 ? 0 : -EFAULT);
	}
	assert_int_equal(kit_attach(&d.kit, UINT32_MAX, 1, 0), 0);
	assert_true(attached(&d.kit, UINT32_MAX, 1));
	dma_kit_done(&d);
}

static void device_detach_01(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	for (size_t at = 12; at < 20; at++) {
		assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
		assert_int_equal(with_byte(&d, &detach_1_1, at), 0);
	}
	dma_kit_done(&d);
}

static void device_detach_02(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_detach(&d.kit, 1, 3), -ENOENT);
	assert_int_equal(kit_detach(&d.kit, 9, 3), -ENOENT);
	dma_kit_done(&d);
}

static void device_detach_03(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 2, 2, 0), 0);
	assert_int_equal(kit_detach(&d.kit, 9, 1), -EINVAL);
	assert_int_equal(kit_detach(&d.kit, 2, 1), -EINVAL);
	assert_int_equal(kit_detach(&d.kit, 1, 1), 0);
	assert_int_equal(kit_detach(&d.kit, 1, 1), -EINVAL);
	dma_kit_done(&d);
}

static void device_detach_04(void **state)
{
	struct viommu_endpoint *ep;
	struct viommu_dma *dma;
	struct dma_kit d;
	uint8_t byte;

	(void)state;
	ep = start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 2, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 3), 0);
	/* one context all along, so that it has the translation cached */
	assert_int_equal(viommu_dma_create(ep, d.mem, &d.kit.ta.ops, NULL, NULL, &dma),
			 0);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), 0);
	assert_int_equal(kit_detach(&d.kit, 1, 1), 0);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), -EFAULT);
	assert_int_equal(kit_mappings_nr(&d.kit), 1); /* endpoint 2 has it still */
	viommu_dma_destroy(dma);
	dma_kit_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_ops_01),    cmocka_unit_test(device_ops_02),
		cmocka_unit_test(device_ops_03),    cmocka_unit_test(device_ops_04),
		cmocka_unit_test(device_ops_05),    cmocka_unit_test(device_ops_06),
		cmocka_unit_test(device_attach_01), cmocka_unit_test(device_attach_02),
		cmocka_unit_test(device_attach_03), cmocka_unit_test(device_attach_04),
		cmocka_unit_test(device_attach_05), cmocka_unit_test(device_attach_06),
		cmocka_unit_test(device_attach_07), cmocka_unit_test(device_attach_08),
		cmocka_unit_test(device_attach_09), cmocka_unit_test(device_attach_10),
		cmocka_unit_test(device_attach_11), cmocka_unit_test(device_attach_12),
		cmocka_unit_test(device_detach_01), cmocka_unit_test(device_detach_02),
		cmocka_unit_test(device_detach_03), cmocka_unit_test(device_detach_04),
	};

	return cmocka_run_group_tests_name("device requests", tests, NULL, NULL);
}
