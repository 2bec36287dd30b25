/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* ATTACH, DETACH, reset, bypass; domains come and go with their endpoints. */
#include "core_kit.h"

static struct core_kit k;

static void domain_lives_with_its_endpoints(void **state)
{
	(void)state;
	core_kit_init(&k, NULL);
	core_kit_endpoint(&k, 1);
	core_kit_endpoint(&k, 2);
	assert_int_equal(space_attach(k.space, 5, 3, false), -ENOENT);
	assert_int_equal(core_kit_counts(&k).domains, 0);
	assert_int_equal(space_attach(k.space, 5, 1, false), 0);
	assert_int_equal(space_attach(k.space, 5, 2, false), 0);
	assert_int_equal(space_attach(k.space, 5, 2, false), 0); /* again */
	assert_int_equal(core_kit_counts(&k).domains, 1);
	assert_int_equal(space_map(k.space, 5, 0, 0xfff, 0, 3), 0);
	assert_int_equal(space_detach(k.space, 5, 1), 0);
	assert_int_equal(core_kit_counts(&k).mappings, 1);
	assert_int_equal(space_detach(k.space, 5, 1), -EINVAL);
	assert_int_equal(space_detach(k.space, 6, 2), -EINVAL);
	assert_int_equal(space_detach(k.space, 5, 3), -ENOENT);
	assert_int_equal(space_detach(k.space, 5, 2), 0);
	assert_int_equal(core_kit_counts(&k).domains, 0);
	assert_int_equal(core_kit_counts(&k).mappings, 0);
	assert_int_equal(space_map(k.space, 5, 0, 0xfff, 0, 3), -ENOENT);
	core_kit_done(&k);
}

static void attach_elsewhere_moves(void **state)
{
	(void)state;
	core_kit_init(&k, NULL);
	core_kit_endpoint(&k, 1);
	assert_int_equal(space_attach(k.space, 5, 1, false), 0);
	assert_int_equal(space_map(k.space, 5, 0, 0xfff, 0, 3), 0);
	assert_int_equal(space_attach(k.space, 6, 1, false), 0);
	assert_int_equal(core_kit_counts(&k).domains, 1);
	assert_int_equal(core_kit_counts(&k).mappings, 0);
	assert_int_equal(core_kit_unmap(&k, 5, 0, 0xfff), -ENOENT);
	core_kit_done(&k);
}

static void bypass_must_match(void **state)
{
	(void)state;
	core_kit_init(&k, NULL);
	core_kit_endpoint(&k, 1);
	core_kit_endpoint(&k, 2);
	assert_int_equal(space_attach(k.space, 5, 1, true), 0);
	assert_int_equal(space_attach(k.space, 5, 2, false), -EINVAL);
	assert_int_equal(space_attach(k.space, 5, 1, false), -EINVAL);
	assert_int_equal(space_attach(k.space, 5, 2, true), 0);
	assert_int_equal(space_detach(k.space, 5, 1), 0);
	assert_int_equal(space_detach(k.space, 5, 2), 0);
	assert_int_equal(space_attach(k.space, 5, 2, false), 0);
	core_kit_done(&k);
}

static void domain_quota(void **state)
{
	const struct space_config cfg = {
		.granule = 4096, .input_last = UINT64_MAX, .max_domains = 2};

	(void)state;
	core_kit_init(&k, &cfg);
	for (uint32_t id = 1; id <= 3; id++)
		core_kit_endpoint(&k, id);
	assert_int_equal(space_attach(k.space, 1, 1, false), 0);
	assert_int_equal(space_attach(k.space, 2, 2, false), 0);
	assert_int_equal(space_attach(k.space, 3, 3, false), -ENOSPC);
	assert_int_equal(core_kit_counts(&k).domains, 2);
	/* the move frees one domain and makes one */
	assert_int_equal(space_attach(k.space, 3, 2, false), 0);
	assert_int_equal(space_attach(k.space, 3, 3, false), 0);
	core_kit_done(&k);
}

static void reserved_regions_bind_the_domain(void **state)
{
	const struct viommu_resv resv[] = {
		{0xfee00000, 0xfeefffff, VIOMMU_RESV_MSI},
		{0x8000, 0xffff, VIOMMU_RESV_RESERVED},
	};
	struct viommu_endpoint_config cfg = {.id = 1, .resv = resv, .resv_nr = 2};
	struct viommu_endpoint *ep;
	unsigned nr;

	(void)state;
	core_kit_init(&k, NULL);
	assert_int_equal(space_endpoint_add(k.space, &cfg, &ep), 0);
	assert_int_equal(endpoint_resv(ep, &nr)[0].start, 0x8000);
	assert_int_equal(nr, 2);
	core_kit_endpoint(&k, 2);
	assert_int_equal(space_attach(k.space, 5, 2, false), 0);
	assert_int_equal(space_map(k.space, 5, 0xfee00000, 0xfee00fff, 0, 3), 0);
	assert_int_equal(space_attach(k.space, 5, 1, false), -EOPNOTSUPP);
	assert_int_equal(core_kit_unmap(&k, 5, 0, UINT64_MAX), 0);
	assert_int_equal(space_attach(k.space, 5, 1, false), 0);
	assert_int_equal(space_map(k.space, 5, 0xfee00000, 0xfee00fff, 0, 3), -EINVAL);
	assert_int_equal(space_map(k.space, 5, 0xfeeff000, 0xfef00fff, 0, 3), -EINVAL);
	assert_int_equal(space_map(k.space, 5, 0, UINT64_MAX, 0, 3), -EINVAL);
	assert_int_equal(space_map(k.space, 5, 0x7000, 0x8fff, 0, 3), -EINVAL);
	assert_int_equal(space_map(k.space, 5, 0x7000, 0x7fff, 0, 3), 0);
	assert_int_equal(space_map(k.space, 5, 0x10000, 0x10fff, 0, 3), 0);
	/* gone with the endpoint */
	assert_int_equal(space_detach(k.space, 5, 1), 0);
	assert_int_equal(space_map(k.space, 5, 0xfee00000, 0xfee00fff, 0, 3), 0);
	core_kit_done(&k);
}

/* Regions of several endpoints that touch, nest and overlap are one union. */
static void reserved_regions_merge(void **state)
{
	const struct viommu_resv a[] = {{0x1000, 0x2fff, 0}, {0x8000, 0x8fff, 0}};
	const struct viommu_resv b[] = {{0x2000, 0x3fff, 0}, {0x5000, 0x9fff, 0}};
	const struct viommu_endpoint_config cfg[] = {{.id = 1, .resv = a, .resv_nr = 2},
						     {.id = 2, .resv = b, .resv_nr = 2}};
	struct viommu_endpoint *ep;

	(void)state;
	core_kit_init(&k, NULL);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(space_endpoint_add(k.space, &cfg[i], &ep), 0);
		assert_int_equal(space_attach(k.space, 5, cfg[i].id, false), 0);
	}
	for (uint64_t page = 0; page < 12; page++) {
		bool reserved = (page >= 1 && page <= 3) || (page >= 5 && page <= 9);

		assert_int_equal(
			space_map(k.space, 5, page << 12, (page << 12) + 0xfff, 0, 3),
			reserved ? -EINVAL : 0);
	}
	core_kit_done(&k);
}

static void reset_keeps_endpoints_and_bypass(void **state)
{
	(void)state;
	core_kit_init(&k, NULL);
	for (uint32_t id = 1; id <= 5; id++) {
		core_kit_endpoint(&k, id);
		assert_int_equal(space_attach(k.space, id / 2, id, false), 0);
	}
	space_set_bypass(k.space, true);
	assert_int_equal(space_reset(k.space), 0);
	assert_int_equal(core_kit_counts(&k).domains, 0);
	assert_int_equal(core_kit_counts(&k).endpoints, 5);
	assert_true(space_get_bypass(k.space));
	core_kit_done(&k);
}

struct seen {
	uint64_t id[64];
	unsigned nr;
};

static bool see_domain(void *opaque, const struct space_domain_info *info)
{
	struct seen *seen = opaque;

	assert_int_equal(info->endpoints, 1);
	assert_int_equal(info->mappings, 2);
	seen->id[seen->nr++] = info->id;
	return seen->nr < 3;
}

static bool see_mapping(void *opaque, const struct viommu_mapping_info *info)
{
	struct seen *seen = opaque;

	assert_int_equal(info->last, info->start + 0xfff);
	assert_int_equal(info->gpa, info->start + 0x100000);
	assert_int_equal(info->flags, 5);
	seen->id[seen->nr++] = (uint64_t)info->domain << 32 | info->start;
	return true;
}

static bool see_endpoint(void *opaque, const struct viommu_endpoint_info *info)
{
	struct seen *seen = opaque;

	assert_true(info->attached);
	assert_false(info->bypass);
	assert_int_equal(info->domain, info->id * 10);
	seen->id[seen->nr++] = info->id;
	return true;
}

static void visits_are_in_order(void **state)
{
	static const uint32_t ids[] = {7, 3, 90, 1};
	struct seen seen = {.nr = 0};

	(void)state;
	core_kit_init(&k, NULL);
	for (unsigned i = 0; i < 4; i++) {
		uint32_t id = ids[i];

		core_kit_endpoint(&k, id);
		assert_int_equal(space_attach(k.space, id * 10, id, false), 0);
		assert_int_equal(space_map(k.space, id * 10, 0x9000, 0x9fff, 0x109000, 5),
				 0);
		assert_int_equal(space_map(k.space, id * 10, 0x2000, 0x2fff, 0x102000, 5),
				 0);
	}
	space_visit_domains(k.space, see_domain, &seen);
	assert_int_equal(seen.nr, 3); /* the visitor had enough */
	seen.nr = 0;
	space_visit_endpoints(k.space, see_endpoint, &seen);
	assert_int_equal(seen.nr, 4);
	seen.nr = 0;
	space_visit_mappings(k.space, see_mapping, &seen);
	assert_int_equal(seen.nr, 8);
	for (unsigned i = 1; i < seen.nr; i++)
		assert_true(seen.id[i] > seen.id[i - 1]);
	core_kit_done(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domain_lives_with_its_endpoints),
		cmocka_unit_test(attach_elsewhere_moves),
		cmocka_unit_test(bypass_must_match),
		cmocka_unit_test(domain_quota),
		cmocka_unit_test(reserved_regions_bind_the_domain),
		cmocka_unit_test(reserved_regions_merge),
		cmocka_unit_test(reset_keeps_endpoints_and_bypass),
		cmocka_unit_test(visits_are_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
