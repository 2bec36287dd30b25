/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Endpoints that join, have aliases, are reset and leave; over the real domain
 * layer, with accesses. */
#include <errno.h>

#include "base/limits.h"
#include "dma_kit.h"

static const struct viommu_resv msi = {0xfee00000, 0xfeefffff, VIOMMU_RESV_MSI};

static int add(struct dma_kit *d, uint32_t id, const struct viommu_resv *resv,
	       unsigned resv_nr)
{
	struct viommu_endpoint_config config = {
		.id = id, .resv = resv, .resv_nr = resv_nr};
	struct viommu_endpoint *ep;

	return viommu_endpoint_add(d->kit.dev, &config, &ep);
}

static void ids_are_unique(void **state)
{
	struct viommu_resv backwards = {2, 1, VIOMMU_RESV_RESERVED};
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	dma_kit_init(&d, NULL);
	ep = device_kit_endpoint(&d.kit, 1, NULL, 0);
	assert_int_equal(add(&d, 1, NULL, 0), -EEXIST);
	assert_int_equal(viommu_endpoint_add_alias(ep, 2), 0);
	assert_int_equal(add(&d, 2, NULL, 0), -EEXIST);
	assert_int_equal(viommu_endpoint_add_alias(ep, 2), -EEXIST);
	assert_int_equal(viommu_endpoint_add_alias(ep, 1), -EEXIST);
	assert_int_equal(add(&d, 3, &backwards, 1), -EINVAL);
	assert_int_equal(device_kit_stats(&d.kit).endpoints, 1);
	viommu_endpoint_remove(ep);
	assert_int_equal(add(&d, 2, NULL, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), -ENOENT);
	dma_kit_done(&d);
}

/* An alias is the endpoint: requests by either id mean the same. */
static void an_alias_is_the_endpoint(void **state)
{
	struct viommu_endpoint *ep;
	uint8_t one[512], two[512], event[24];
	struct dma_kit d;

	(void)state;
	dma_kit_init(&d, NULL);
	ep = device_kit_endpoint(&d.kit, 1, &msi, 1);
	assert_int_equal(viommu_endpoint_add_alias(ep, 0x80), 0);
	assert_int_equal(device_kit_probe(&d.kit, 1, one, 512), 0);
	assert_int_equal(device_kit_probe(&d.kit, 0x80, two, 512), 0);
	assert_memory_equal(one, two, 512);
	assert_int_equal(kit_attach(&d.kit, 5, 0x80, 0), 0);
	assert_int_equal(kit_map(&d.kit, 5, 0, 0xfff, RAM_GPA, 1), 0);
	assert_int_equal(dma_kit_access(&d, ep, 0, VIOMMU_READ), 0);
	assert_int_equal(kit_attach(&d.kit, 5, 1, 0), 0); /* there already */
	assert_int_equal(dma_kit_access(&d, ep, 0x5000, VIOMMU_READ), -EFAULT);
	assert_true(viommu_device_next_event(d.kit.dev, event));
	assert_memory_equal(event + 8, ((uint8_t[4]){1}), 4);
	assert_int_equal(kit_detach(&d.kit, 5, 1), 0);
	assert_int_equal(kit_detach(&d.kit, 5, 0x80), -EINVAL);
	dma_kit_done(&d);
}

static void limits_of_endpoints(void **state)
{
	static struct viommu_resv resv[LIMIT_RESV_REGIONS + 1];
	struct viommu_device_config config = {.max_endpoints =
						      3 + LIMIT_ENDPOINT_ALIASES};
	struct viommu_endpoint *ep;
	struct dma_kit d;

	(void)state;
	for (uint64_t i = 0; i <= LIMIT_RESV_REGIONS; i++)
		resv[i] = (struct viommu_resv){i << 16, i << 16 | 0xfff, 0};
	dma_kit_init(&d, &config);
	assert_int_equal(add(&d, 1, resv, LIMIT_RESV_REGIONS), 0);
	assert_int_equal(add(&d, 2, resv, LIMIT_RESV_REGIONS + 1), -ENOSPC);
	ep = device_kit_endpoint(&d.kit, 3, NULL, 0);
	for (uint32_t i = 0; i < LIMIT_ENDPOINT_ALIASES; i++)
		assert_int_equal(viommu_endpoint_add_alias(ep, 100 + i), 0);
	assert_int_equal(viommu_endpoint_add_alias(ep, 200), -ENOSPC);
	dma_kit_done(&d);
}

static void a_device_has_so_many(void **state)
{
	struct viommu_device_config config = {.max_endpoints = 2};
	struct dma_kit d;

	(void)state;
	dma_kit_init(&d, &config);
	assert_int_equal(add(&d, 1, NULL, 0), 0);
	assert_int_equal(add(&d, 2, NULL, 0), 0);
	assert_int_equal(add(&d, 3, NULL, 0), -ENOSPC);
	dma_kit_done(&d);
}

static void reset_keeps_the_attachment(void **state)
{
	struct viommu_endpoint *ep;
	struct viommu_dma *dma;
	struct dma_kit d;
	uint8_t byte;

	(void)state;
	dma_kit_init(&d, NULL);
	ep = device_kit_endpoint(&d.kit, 1, NULL, 0);
	assert_int_equal(viommu_dma_create(ep, d.mem, &d.kit.ta.ops, NULL, NULL, &dma),
			 0);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 1), 0);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), 0);
	viommu_endpoint_reset(ep);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), 0);
	assert_int_equal(kit_unmap(&d.kit, 1, 0, 0xfff), 0);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), -EFAULT);
	viommu_dma_destroy(dma);
	dma_kit_done(&d);
}

static void leaving_ends_its_domain(void **state)
{
	struct viommu_endpoint *one, *two;
	struct dma_kit d;

	(void)state;
	dma_kit_init(&d, NULL);
	one = device_kit_endpoint(&d.kit, 1, NULL, 0);
	two = device_kit_endpoint(&d.kit, 2, NULL, 0);
	assert_int_equal(kit_attach(&d.kit, 1, 1, 0), 0);
	assert_int_equal(kit_attach(&d.kit, 1, 2, 0), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 1), 0);
	viommu_endpoint_remove(one);
	assert_int_equal(dma_kit_access(&d, two, 0, VIOMMU_READ), 0);
	viommu_endpoint_remove(two);
	assert_int_equal(kit_mappings_nr(&d.kit), 0);
	assert_int_equal(kit_map(&d.kit, 1, 0, 0xfff, RAM_GPA, 1), -ENOENT);
	dma_kit_done(&d);
}

static bool stop_at_once(void *opaque, const struct viommu_endpoint_info *info)
{
	(void)info;
	++*(unsigned *)opaque;
	return false;
}

static bool check_bypass(void *opaque, const struct viommu_endpoint_info *info)
{
	++*(unsigned *)opaque;
	assert_int_equal(info->attached, info->id == 2);
	assert_int_equal(info->domain, info->id == 2 ? 7 : 0);
	return true;
}

static void visits_endpoints(void **state)
{
	struct dma_kit d;
	unsigned nr = 0;

	(void)state;
	dma_kit_init(&d, NULL);
	for (uint32_t id = 1; id < 4; id++)
		device_kit_endpoint(&d.kit, id, NULL, 0);
	assert_int_equal(kit_attach(&d.kit, 7, 2, VIRTIO_IOMMU_ATTACH_F_BYPASS), 0);
	viommu_device_visit_endpoints(d.kit.dev, check_bypass, &nr);
	assert_int_equal(nr, 3);
	viommu_device_visit_endpoints(d.kit.dev, stop_at_once, &nr);
	assert_int_equal(nr, 4);
	dma_kit_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_unique),
		cmocka_unit_test(an_alias_is_the_endpoint),
		cmocka_unit_test(limits_of_endpoints),
		cmocka_unit_test(a_device_has_so_many),
		cmocka_unit_test(reset_keeps_the_attachment),
		cmocka_unit_test(leaving_ends_its_domain),
		cmocka_unit_test(visits_endpoints),
	};

	return cmocka_run_group_tests_name("device endpoints", tests, NULL, NULL);
}
