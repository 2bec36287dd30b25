/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* PROBE, reserved regions and fault reports. Each test is named after the
 * statement in statements.json that it checks. */
#include <errno.h>

#include "dma_kit.h"

#define ROOM 512u

/* msi lies above the two others */
static const struct viommu_resv regions[] = {
	{0xfee00000, 0xfeefffff, VIOMMU_RESV_MSI},
	{0x8000, 0x8fff, VIOMMU_RESV_RESERVED},
	{0xa000, 0xbfff, VIOMMU_RESV_RESERVED},
};
#define REGIONS_NR ARRAY_LEN(regions)

/* Endpoint 1 with regions, endpoint 2 without. */
static struct viommu_endpoint *start(struct dma_kit *d)
{
	struct viommu_endpoint *ep;

	dma_kit_init(d, NULL);
	ep = device_kit_endpoint(&d->kit, 1, regions, REGIONS_NR);
	device_kit_endpoint(&d->kit, 2, NULL, 0);
	return ep;
}

static size_t probe_raw(struct dma_kit *d, uint32_t endpoint, size_t reserved_at,
			uint8_t *out, size_t out_len)
{
	struct proto_request req = {.type = VIRTIO_IOMMU_T_PROBE, .endpoint = endpoint};
	uint8_t in[PROTO_REQUEST_MAX];
	size_t len = proto_encode_request(in, &req);

	if (reserved_at)
		in[reserved_at] = 0xff;
	return device_kit_raw(&d->kit, in, len, out, out_len);
}

static void device_probe_01(void **state)
{
	uint8_t plain[ROOM + 4], out[ROOM + 4];
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(probe_raw(&d, 1, 0, plain, sizeof(plain)), sizeof(plain));
	for (size_t at = 8; at < 72; at++) {
		assert_int_equal(probe_raw(&d, 1, at, out, sizeof(out)), sizeof(out));
		assert_memory_equal(out, plain, sizeof(out));
	}
	dma_kit_done(&d);
}

static void device_probe_02(void **state)
{
	uint8_t properties[ROOM];
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(device_kit_probe(&d.kit, 3, properties, ROOM), -ENOENT);
	assert_memory_equal(properties, ((uint8_t[ROOM]){0}), ROOM);
	dma_kit_done(&d);
}

static void no_probe(struct dma_kit *d)
{
	struct viommu_device_config config = {.features = 1u << VIRTIO_IOMMU_F_MAP_UNMAP};

	dma_kit_init(d, &config);
	device_kit_endpoint(&d->kit, 1, regions, REGIONS_NR);
}

static void device_probe_03(void **state)
{
	uint8_t out[ROOM + 4], untouched[ROOM + 4];
	struct dma_kit d;

	(void)state;
	no_probe(&d);
	memset(untouched, 0xee, sizeof(untouched));
	probe_raw(&d, 1, 0, out, sizeof(out));
	assert_memory_equal(out, untouched, sizeof(out));
	dma_kit_done(&d);
}

static void device_probe_04(void **state)
{
	uint8_t out[ROOM + 4];
	struct dma_kit d;

	(void)state;
	no_probe(&d);
	assert_int_equal(probe_raw(&d, 1, 0, out, sizeof(out)), 0);
	dma_kit_done(&d);
}

/* The properties of endpoint 1; ROOM bytes. */
static void get_properties(uint8_t *properties)
{
	struct dma_kit d;

	start(&d);
	assert_int_equal(device_kit_probe(&d.kit, 1, properties, ROOM), 0);
	dma_kit_done(&d);
}

static void device_probe_05(void **state)
{
	uint8_t p[ROOM];

	(void)state;
	get_properties(p);
	for (size_t i = 0; i < REGIONS_NR; i++)
		assert_int_equal(p[24 * i + 1] & 0xf0, 0);
}

static void device_probe_06(void **state)
{
	uint8_t p[ROOM];

	(void)state;
	get_properties(p);
	for (size_t i = 0; i < REGIONS_NR; i++)
		assert_memory_equal(p + 24 * i, ((uint8_t[4]){1, 0, 20, 0}), 4);
}

static void device_probe_07(void **state)
{
	struct proto_property property;
	struct proto_resv_mem resv;
	size_t at = 0, nr = 0;
	uint8_t p[ROOM];

	(void)state;
	get_properties(p);
	while (proto_next_property(p, ROOM, &at, &property) == 1) {
		bool found = false;

		assert_int_equal(proto_decode_resv_mem(&property, &resv), 0);
		for (size_t i = 0; i < REGIONS_NR; i++)
			found |= regions[i].start == resv.start &&
				 regions[i].last == resv.last &&
				 regions[i].kind == resv.subtype;
		assert_true(found);
		assert_int_equal(at, ++nr * 24);
	}
	assert_int_equal(nr, REGIONS_NR);
}

static void device_probe_08(void **state)
{
	uint8_t out[ROOM + 4], none[ROOM] = {0};
	struct dma_kit d;

	(void)state;
	start(&d);
	for (size_t room = 0; room < ROOM; room += 7) {
		probe_raw(&d, 1, 0, out, room + 4);
		assert_memory_equal(out, none, room); /* zeroes are no property */
	}
	dma_kit_done(&d);
}

static void device_probe_09(void **state)
{
	uint8_t properties[ROOM];
	struct dma_kit d;

	(void)state;
	start(&d);
	for (uint32_t room = 0; room < ROOM; room++)
		for (uint32_t id = 1; id <= 2; id++) /* with regions, without */
			assert_int_equal(device_kit_probe(&d.kit, id, properties, room),
					 -EINVAL);
	assert_int_equal(device_kit_probe(&d.kit, 1, properties, ROOM), 0);
	dma_kit_done(&d);
}

static void device_probe_10(void **state)
{
	uint8_t p[ROOM], none[ROOM] = {0};
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(device_kit_probe(&d.kit, 1, p, ROOM), 0);
	assert_memory_equal(p + 24 * REGIONS_NR, none, ROOM - 24 * REGIONS_NR);
	assert_int_equal(device_kit_probe(&d.kit, 2, p, ROOM), 0);
	assert_memory_equal(p, none, ROOM);
	dma_kit_done(&d);
}

static void device_resv_mem_01(void **state)
{
	uint8_t p[ROOM];

	(void)state;
	get_properties(p);
	for (size_t i = 0; i < REGIONS_NR; i++)
		assert_memory_equal(p + 24 * i + 5, ((uint8_t[3]){0}), 3);
}

static int add_regions(const struct viommu_resv *resv, unsigned nr)
{
	struct viommu_endpoint_config config = {.id = 9, .resv = resv, .resv_nr = nr};
	struct viommu_endpoint *ep;
	struct device_kit kit;
	int r;

	device_kit_init(&kit, NULL);
	r = viommu_endpoint_add(kit.dev, &config, &ep);
	device_kit_done(&kit);
	return r;
}

static void device_resv_mem_02(void **state)
{
	struct viommu_resv two[2] = {{0, 0xfff, VIOMMU_RESV_MSI},
				     {0x2000, 0x2fff, VIOMMU_RESV_MSI}};

	(void)state;
	assert_int_equal(add_regions(two, 2), -EINVAL);
	two[1].kind = VIOMMU_RESV_RESERVED;
	assert_int_equal(add_regions(two, 2), 0);
}

static void device_resv_mem_03(void **state)
{
	struct viommu_resv two[2] = {{0x1000, 0x1fff, VIOMMU_RESV_RESERVED},
				     {0x1fff, 0x2fff, VIOMMU_RESV_RESERVED}};

	(void)state;
	assert_int_equal(add_regions(two, 2), -EINVAL);
	two[1].start = 0x2000;
	assert_int_equal(add_regions(two, 2), 0);
}

static void device_resv_mem_04(void **state)
{
	struct dma_kit d;

	(void)state;
	start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0x7000, 0x8fff, 0, 3), -EINVAL);
	assert_int_equal(kit_map(&d.kit, 1, 0xb000, 0xcfff, 0, 3), -EINVAL);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xffffffff, 0, 3), -EINVAL);
	assert_int_equal(kit_map(&d.kit, 1, 0xfee01000, 0xfee01fff, 0, 3), -EINVAL);
	assert_int_equal(kit_map(&d.kit, 1, 0x9000, 0x9fff, 0, 3), 0);
	/* regions of an endpoint hold for its whole domain, and for no other */
	assert_int_equal(kit_attach(&d.kit, 2, 2, 0), 0);
	assert_int_equal(kit_map(&d.kit, 2, 0, 0xffffffff, 0, 3), 0);
	dma_kit_done(&d);
}

/* In a domain nothing is ever mapped there, so an access ends as a fault. */
static void device_resv_mem_05(void **state)
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	ep = start(&d);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0xfee00000, VIOMMU_WRITE), -EFAULT);
	assert_int_equal(dma_kit_access(&d, ep, 0xa000, VIOMMU_READ), -EFAULT);
	dma_kit_done(&d);
}

/* One fault of each kind, as 24 bytes on the wire. */
static void get_events(uint8_t event[3][24])
{
	struct viommu_endpoint *ep;
	struct dma_kit d;

	ep = start(&d);
	dma_kit_access(&d, ep, 0x12345678, VIOMMU_READ);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	dma_kit_access(&d, ep, 0x12345678, VIOMMU_WRITE);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 1), 0);
	dma_kit_access(&d, ep, 0x10, VIOMMU_WRITE);
	for (int i = 0; i < 3; i++)
		assert_true(viommu_device_next_event(d.kit.dev, event[i]));
	assert_false(viommu_device_next_event(d.kit.dev, event[0]));
	dma_kit_done(&d);
}

static void device_fault_01(void **state)
{
	uint8_t event[3][24];

	(void)state;
	get_events(event);
	for (int i = 0; i < 3; i++) {
		assert_memory_equal(event[i] + 1, ((uint8_t[3]){0}), 3);
		assert_memory_equal(event[i] + 12, ((uint8_t[4]){0}), 4);
	}
	assert_int_equal(event[0][0], VIRTIO_IOMMU_FAULT_R_DOMAIN);
	assert_int_equal(event[1][0], VIRTIO_IOMMU_FAULT_R_MAPPING);
	assert_int_equal(event[2][0], VIRTIO_IOMMU_FAULT_R_MAPPING);
}

static void device_fault_02(void **state)
{
	uint8_t event[3][24];

	(void)state;
	get_events(event);
	assert_memory_equal(event[0] + 4, ((uint8_t[4]){1, 1, 0, 0}), 4);
	assert_memory_equal(event[1] + 4, ((uint8_t[4]){2, 1, 0, 0}), 4);
	assert_memory_equal(event[2] + 4, ((uint8_t[4]){2, 1, 0, 0}), 4);
}

static void device_fault_03(void **state)
{
	struct viommu_endpoint *ep;
	uint8_t event[3][24];
	struct dma_kit d;

	(void)state;
	get_events(event);
	for (int i = 0; i < 3; i++)
		assert_memory_equal(event[i] + 8, ((uint8_t[4]){1, 0, 0, 0}), 4);
	/* an endpoint that is gone by the time of the report is not named */
	ep = start(&d);
	dma_kit_access(&d, ep, 0, VIOMMU_READ);
	viommu_endpoint_remove(ep);
	assert_false(viommu_device_next_event(d.kit.dev, event[0]));
	assert_int_equal(device_kit_stats(&d.kit).events_dropped, 1);
	dma_kit_done(&d);
}

/* The MAY is not used: the address is always told. */
static void device_fault_04(void **state)
{
	uint8_t event[3][24];

	(void)state;
	get_events(event);
	for (int i = 0; i < 2; i++)
		assert_memory_equal(event[i] + 16, ((uint8_t[8]){0x78, 0x56, 0x34, 0x12}),
				    8);
	assert_memory_equal(event[2] + 16, ((uint8_t[8]){0x10}), 8);
}

/* Gives event buffers of 23, 0x18 - 1 and 24 bytes, then reports one fault. */
static void report_into_small(struct kit_transfer t[3])
{
	struct kit_ring_kind kind = {.size = 8};
	struct rng rng = rng_init(1);
	struct viommu_endpoint *ep;
	struct kit_ring ring;
	struct dma_kit d;

	ep = start(&d);
	kit_ring_init(&ring, &d.kit, VIOMMU_QUEUE_EVENT, kind);
	for (int i = 0; i < 3; i++) {
		t[i] = (struct kit_transfer){.out_len = i == 2 ? 24 : 23};
		memset(t[i].out, 0xee, sizeof(t[i].out));
		assert_int_equal(kit_ring_add(&ring, &t[i], &rng, 2), 0);
	}
	drvq_publish(&ring.q);
	dma_kit_access(&d, ep, 0, VIOMMU_READ);
	assert_true(viommu_device_process(d.kit.dev, 8) & VIOMMU_WORK_DONE);
	assert_int_equal(kit_ring_collect(&ring), 3);
	kit_ring_done(&ring, &d.kit, VIOMMU_QUEUE_EVENT);
	dma_kit_done(&d);
}

static void device_fault_05(void **state)
{
	struct kit_transfer t[3];
	uint8_t untouched[24];

	(void)state;
	memset(untouched, 0xee, sizeof(untouched));
	report_into_small(t);
	assert_memory_equal(t[0].out, untouched, 24);
	assert_memory_equal(t[1].out, untouched, 24);
	assert_int_equal(t[2].used, 24);
}

/* There is no older, shorter layout to fall back to: the buffer goes back with
 * length 0, and the report waits for one that is large enough. */
static void device_fault_06(void **state)
{
	struct kit_transfer t[3];

	(void)state;
	report_into_small(t);
	assert_int_equal(t[0].used, 0);
	assert_int_equal(t[1].used, 0);
	assert_int_equal(t[2].out[0], VIRTIO_IOMMU_FAULT_R_DOMAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_probe_01),
		cmocka_unit_test(device_probe_02),
		cmocka_unit_test(device_probe_03),
		cmocka_unit_test(device_probe_04),
		cmocka_unit_test(device_probe_05),
		cmocka_unit_test(device_probe_06),
		cmocka_unit_test(device_probe_07),
		cmocka_unit_test(device_probe_08),
		cmocka_unit_test(device_probe_09),
		cmocka_unit_test(device_probe_10),
		cmocka_unit_test(device_resv_mem_01),
		cmocka_unit_test(device_resv_mem_02),
		cmocka_unit_test(device_resv_mem_03),
		cmocka_unit_test(device_resv_mem_04),
		cmocka_unit_test(device_resv_mem_05),
		cmocka_unit_test(device_fault_01),
		cmocka_unit_test(device_fault_02),
		cmocka_unit_test(device_fault_03),
		cmocka_unit_test(device_fault_04),
		cmocka_unit_test(device_fault_05),
		cmocka_unit_test(device_fault_06),
	};

	return cmocka_run_group_tests_name("device probe", tests, NULL, NULL);
}
