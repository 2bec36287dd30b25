/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Endpoints: ids, aliases, reserved regions, limits; and every allocation of the
 * domain layer failing once. */
#include "core_kit.h"

static struct core_kit k;

static int add(uint32_t id, const struct viommu_resv *resv, unsigned nr)
{
	const struct viommu_endpoint_config cfg = {.id = id, .resv = resv, .resv_nr = nr};
	struct viommu_endpoint *ep;

	return space_endpoint_add(k.space, &cfg, &ep);
}

static void ids_and_aliases(void **state)
{
	struct viommu_endpoint *ep;

	(void)state;
	core_kit_init(&k, NULL);
	ep = core_kit_endpoint(&k, 8);
	assert_int_equal(add(8, NULL, 0), -EEXIST);
	assert_int_equal(space_endpoint_alias(ep, 8), -EEXIST);
	for (uint32_t i = 0; i < LIMIT_ENDPOINT_ALIASES; i++)
		assert_int_equal(space_endpoint_alias(ep, 100 + i), 0);
	assert_int_equal(space_endpoint_alias(ep, 200), -ENOSPC);
	assert_int_equal(add(100, NULL, 0), -EEXIST);
	assert_ptr_equal(space_endpoint_find(k.space, 103), ep);
	assert_ptr_equal(space_endpoint_find(k.space, 8), ep);
	assert_null(space_endpoint_find(k.space, 200));
	assert_ptr_equal(endpoint_space(ep), k.space);
	assert_int_equal(core_kit_counts(&k).endpoints, 1);
	/* a request may name the endpoint by any of its ids */
	assert_int_equal(space_attach(k.space, 1, 101, false), 0);
	assert_int_equal(space_detach(k.space, 1, 8), 0);
	space_endpoint_remove(ep);
	assert_null(space_endpoint_find(k.space, 103));
	assert_int_equal(add(103, NULL, 0), 0);
	space_endpoint_remove(NULL);
	core_kit_done(&k);
}

static void removal_detaches(void **state)
{
	struct viommu_endpoint *ep;

	(void)state;
	core_kit_init(&k, NULL);
	ep = core_kit_endpoint(&k, 8);
	assert_int_equal(space_attach(k.space, 1, 8, false), 0);
	assert_int_equal(space_map(k.space, 1, 0, 0xfff, 0, 3), 0);
	space_endpoint_remove(ep);
	assert_int_equal(core_kit_counts(&k).domains, 0);
	assert_int_equal(core_kit_counts(&k).mappings, 0);
	core_kit_done(&k);
}

static void reserved_regions_are_checked(void **state)
{
	const struct viommu_resv reversed[] = {{0x2000, 0x1fff, 0}};
	const struct viommu_resv overlap[] = {{0x2000, 0x2fff, 0}, {0, 0x2000, 0}};
	const struct viommu_resv kind[] = {{0, 0, (enum viommu_resv_kind)2}};
	const struct viommu_resv msi[] = {{0, 1, VIOMMU_RESV_MSI},
					  {2, 3, VIOMMU_RESV_MSI}};
	const struct viommu_resv whole[] = {{0, UINT64_MAX, VIOMMU_RESV_MSI}};

	(void)state;
	core_kit_init(&k, NULL);
	assert_int_equal(add(1, reversed, 1), -EINVAL);
	assert_int_equal(add(1, overlap, 2), -EINVAL);
	assert_int_equal(add(1, kind, 1), -EINVAL);
	assert_int_equal(add(1, msi, 2), -EINVAL);
	assert_int_equal(add(1, whole, 1), 0);
	assert_int_equal(core_kit_counts(&k).endpoints, 1);
	core_kit_done(&k);
}

static void limits(void **state)
{
	static struct viommu_resv resv[LIMIT_RESV_REGIONS + 1];

	(void)state;
	for (unsigned i = 0; i <= LIMIT_RESV_REGIONS; i++)
		resv[i] = (struct viommu_resv){i * 2, i * 2, VIOMMU_RESV_RESERVED};
	core_kit_init(&k, NULL);
	assert_int_equal(add(0, resv, LIMIT_RESV_REGIONS + 1), -ENOSPC);
	assert_int_equal(add(0, resv, LIMIT_RESV_REGIONS), 0);
	for (uint32_t id = 1; id < LIMIT_ENDPOINTS; id++)
		assert_int_equal(add(id, NULL, 0), 0);
	assert_int_equal(add(LIMIT_ENDPOINTS, NULL, 0), -ENOSPC);
	space_endpoint_remove(space_endpoint_find(k.space, 77));
	assert_int_equal(add(LIMIT_ENDPOINTS, NULL, 0), 0);
	core_kit_done(&k);
}

/* ---- every allocation fails once ---- */

static const struct viommu_resv fail_resv[] = {{0x100000000, 0x100000fff, 0}};

static int step(unsigned i)
{
	struct viommu_endpoint *ep = space_endpoint_find(k.space, 1);

	switch (i) {
	case 0:
		return add(1, fail_resv, 1);
	case 1:
		return space_endpoint_alias(ep, 11);
	case 2:
		return space_attach(k.space, 5, 1, false);
	case 3:
		return add(2, fail_resv, 1);
	case 4:
		return space_attach(k.space, 5, 2, false);
	case 5:
		return space_attach(k.space, 6, 2, false);
	default:
		return space_map(k.space, 5, (uint64_t)i << 12,
				 ((uint64_t)i << 12) + 0xfff, 0, 3);
	}
}

#define STEPS 200u

static void same_counts(struct space_counts a, struct space_counts b)
{
	assert_int_equal(a.domains, b.domains);
	assert_int_equal(a.endpoints, b.endpoints);
	assert_int_equal(a.mappings, b.mappings);
	assert_int_equal(a.mapped_bytes, b.mapped_bytes);
}

/* Runs all steps with the nth allocation failing; the failed step changes no
 * count and succeeds when tried again. Whether one failed. */
static bool run_failing(unsigned long nth)
{
	bool failed = false;

	core_kit_init(&k, NULL);
	test_alloc_fail(&k.ta, nth);
	for (unsigned i = 0; i < STEPS; i++) {
		struct space_counts before = core_kit_counts(&k);
		int rc = step(i);

		if (!rc)
			continue;
		assert_int_equal(rc, -ENOMEM);
		same_counts(core_kit_counts(&k), before);
		failed = true;
		test_alloc_fail(&k.ta, 0);
		assert_int_equal(step(i), 0);
	}
	assert_int_equal(core_kit_counts(&k).mappings, STEPS - 6);
	core_kit_done(&k);
	return failed;
}

static void each_allocation_fails(void **state)
{
	unsigned long nth = 1;

	(void)state;
	while (run_failing(nth))
		nth++;
	assert_true(nth > 8);
}

static void creation_fails(void **state)
{
	const struct space_config cfg = {.granule = 1, .input_last = UINT64_MAX};
	struct test_alloc ta;
	struct space *s;

	(void)state;
	test_alloc_init(&ta);
	test_alloc_fail(&ta, 1);
	assert_int_equal(space_create(&cfg, NULL, NULL, &ta.ops, NULL, &s), -ENOMEM);
	assert_int_equal(ta.live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_and_aliases),
		cmocka_unit_test(removal_detaches),
		cmocka_unit_test(reserved_regions_are_checked),
		cmocka_unit_test(limits),
		cmocka_unit_test(each_allocation_fails),
		cmocka_unit_test(creation_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
