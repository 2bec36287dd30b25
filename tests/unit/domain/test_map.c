/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* MAP and UNMAP: what is refused and changes nothing, ends of the space, quota. */
#include "core_kit.h"

static struct core_kit k;

#define DOMAIN 7u

/* Endpoint 1 in DOMAIN, endpoint 2 in a bypass domain 9. */
static void begin(const struct space_config *cfg)
{
	core_kit_init(&k, cfg);
	core_kit_endpoint(&k, 1);
	core_kit_endpoint(&k, 2);
	assert_int_equal(space_attach(k.space, DOMAIN, 1, false), 0);
	assert_int_equal(space_attach(k.space, 9, 2, true), 0);
}

static int map(uint64_t start, uint64_t last)
{
	return space_map(k.space, DOMAIN, start, last, 0, VIRTIO_IOMMU_MAP_F_READ);
}

static void map_refuses(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(space_map(k.space, 8, 0x1000, 0x1fff, 0, 3), -ENOENT);
	assert_int_equal(space_map(k.space, 9, 0x1000, 0x1fff, 0, 3), -EINVAL);
	assert_int_equal(map(0x1000, 0x0fff), -ERANGE);
	assert_int_equal(map(0x1000, 0x1000), -ERANGE);
	assert_int_equal(map(0x1001, 0x1fff), -ERANGE);
	assert_int_equal(map(0x1000, 0x1ffe), -ERANGE);
	assert_int_equal(map(0x1000, 0x2000), -ERANGE);
	assert_int_equal(space_map(k.space, DOMAIN, 0, 0xfff, 0x1001, 3), -ERANGE);
	/* the last byte may be the last of guest-physical space, not past it */
	assert_int_equal(space_map(k.space, DOMAIN, 0, 0x1fff, UINT64_MAX - 0xfff, 3),
			 -ERANGE);
	assert_int_equal(space_map(k.space, DOMAIN, 0, 0xfff, UINT64_MAX - 0xfff, 3), 0);
	assert_int_equal(core_kit_counts(&k).mappings, 1);
	core_kit_done(&k);
}

static void input_range(void **state)
{
	const struct space_config cfg = {
		.granule = 4096, .input_start = 0x10000, .input_last = 0x1ffff};

	(void)state;
	begin(&cfg);
	assert_int_equal(map(0xf000, 0x10fff), -ERANGE);
	assert_int_equal(map(0x1f000, 0x20fff), -ERANGE);
	assert_int_equal(map(0x20000, 0x20fff), -ERANGE);
	assert_int_equal(map(0x10000, 0x1ffff), 0);
	core_kit_done(&k);
}

static void overlap(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(map(0x4000, 0x7fff), 0);
	assert_int_equal(map(0x4000, 0x7fff), -EINVAL);
	assert_int_equal(map(0x5000, 0x5fff), -EINVAL);
	assert_int_equal(map(0x3000, 0x4fff), -EINVAL);
	assert_int_equal(map(0x7000, 0x8fff), -EINVAL);
	assert_int_equal(map(0x0000, 0xffff), -EINVAL);
	assert_int_equal(map(0x3000, 0x3fff), 0);
	assert_int_equal(map(0x8000, 0x8fff), 0);
	assert_int_equal(core_kit_counts(&k).mappings, 3);
	assert_int_equal(core_kit_counts(&k).mapped_bytes, 0x6000);
	core_kit_done(&k);
}

static void unmap_whole_mappings_only(void **state)
{
	unsigned removed = 99;

	(void)state;
	begin(NULL);
	assert_int_equal(map(0x0000, 0x3fff), 0);
	assert_int_equal(map(0x4000, 0x7fff), 0);
	assert_int_equal(space_unmap(k.space, DOMAIN, 0x0000, 0x2fff, &removed), -ERANGE);
	assert_int_equal(removed, 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x1000, 0x1fff), -ERANGE);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x1000, 0x7fff), -ERANGE);
	/* the first would go, the second would be cut: none goes */
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x0000, 0x6fff), -ERANGE);
	assert_int_equal(core_kit_counts(&k).mappings, 2);
	assert_int_equal(space_unmap(k.space, DOMAIN, 0, 0xffff, &removed), 0);
	assert_int_equal(removed, 2);
	assert_int_equal(core_kit_counts(&k).mapped_bytes, 0);
	core_kit_done(&k);
}

static void unmap_holes_and_nothing(void **state)
{
	unsigned removed;

	(void)state;
	begin(NULL);
	assert_int_equal(space_unmap(k.space, DOMAIN, 0, UINT64_MAX, &removed), 0);
	assert_int_equal(removed, 0);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(map(i << 20, (i << 20) + 0xfff), 0);
	assert_int_equal(space_unmap(k.space, DOMAIN, 0x1000, 0xfffff, &removed), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(space_unmap(k.space, DOMAIN, 0x1000, 0xafffff, &removed), 0);
	assert_int_equal(removed, 10);
	assert_int_equal(space_unmap(k.space, DOMAIN, 0, UINT64_MAX, &removed), 0);
	assert_int_equal(removed, 90);
	assert_int_equal(core_kit_unmap(&k, 8, 0, 0xfff), -ENOENT);
	assert_int_equal(core_kit_unmap(&k, 9, 0, 0xfff), -EINVAL);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x1000, 0xfff), -ERANGE);
	core_kit_done(&k);
}

static void ends_of_the_space(void **state)
{
	const struct space_config bytes = {.granule = 1, .input_last = UINT64_MAX};
	unsigned removed;

	(void)state;
	begin(NULL);
	assert_int_equal(map(0, UINT64_MAX), 0);
	assert_int_equal(map(0x1000, 0x1fff), -EINVAL);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX - 1), -ERANGE);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x1000, UINT64_MAX), -ERANGE);
	assert_int_equal(space_unmap(k.space, DOMAIN, 0, UINT64_MAX, &removed), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(map(0, UINT64_MAX - 4096), 0);
	assert_int_equal(map(UINT64_MAX - 4095, UINT64_MAX), 0);
	core_kit_done(&k);

	begin(&bytes);
	assert_int_equal(map(UINT64_MAX, UINT64_MAX), 0);
	assert_int_equal(map(UINT64_MAX - 1, UINT64_MAX - 1), 0);
	assert_int_equal(map(UINT64_MAX - 2, UINT64_MAX - 1), -EINVAL);
	assert_int_equal(map(0, 0), 0);
	assert_int_equal(core_kit_counts(&k).mapped_bytes, 3);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, UINT64_MAX, UINT64_MAX), 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	assert_int_equal(core_kit_counts(&k).mappings, 0);
	core_kit_done(&k);
}

static void quota_and_recovery(void **state)
{
	const struct space_config cfg = {
		.granule = 4096, .input_last = UINT64_MAX, .max_mappings = 100};

	(void)state;
	begin(&cfg);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(map(i << 12, (i << 12) + 0xfff), 0);
	assert_int_equal(map(100 << 12, (100 << 12) + 0xfff), -ENOMEM);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x5000, 0x5fff), 0);
	assert_int_equal(map(100 << 12, (100 << 12) + 0xfff), 0);
	assert_int_equal(map(0x5000, 0x5fff), -ENOMEM);
	core_kit_done(&k);
}

/* The library's own limit: no configuration gets past it. */
static void quota_limits(void **state)
{
	struct space_config cfg = {.granule = 4096, .input_last = UINT64_MAX};
	struct test_alloc ta;
	struct space *s;

	(void)state;
	test_alloc_init(&ta);
	cfg.max_mappings = LIMIT_MAPPINGS;
	cfg.max_domains = LIMIT_DOMAINS;
	cfg.max_endpoints = LIMIT_ENDPOINTS;
	assert_int_equal(space_create(&cfg, NULL, NULL, &ta.ops, NULL, &s), 0);
	space_destroy(s);
	cfg.max_mappings = LIMIT_MAPPINGS + 1;
	assert_int_equal(space_create(&cfg, NULL, NULL, &ta.ops, NULL, &s), -EINVAL);
	cfg.max_mappings = 0;
	cfg.max_domains = LIMIT_DOMAINS + 1;
	assert_int_equal(space_create(&cfg, NULL, NULL, &ta.ops, NULL, &s), -EINVAL);
	cfg.max_domains = 0;
	cfg.max_endpoints = LIMIT_ENDPOINTS + 1;
	assert_int_equal(space_create(&cfg, NULL, NULL, &ta.ops, NULL, &s), -EINVAL);
	cfg.max_endpoints = 0;
	cfg.granule = 3;
	assert_int_equal(space_create(&cfg, NULL, NULL, &ta.ops, NULL, &s), -EINVAL);
	cfg.granule = 0;
	assert_int_equal(space_create(&cfg, NULL, NULL, &ta.ops, NULL, &s), -EINVAL);
	space_destroy(NULL);
	assert_int_equal(ta.live, 0);
}

/* Memory runs out while mapping: -ENOMEM, nothing changes, and when there is
 * memory again it goes on. Removal needs none. */
static void pools_run_out(void **state)
{
	uint64_t mapped = 0;

	(void)state;
	begin(NULL);
	k.ta.fail_after = true;
	test_alloc_fail(&k.ta, 3);
	while (!map(mapped << 13, (mapped << 13) + 0xfff))
		mapped++;
	assert_true(mapped > 100);
	assert_int_equal(core_kit_counts(&k).mappings, mapped);
	assert_int_equal(map(mapped << 13, (mapped << 13) + 0xfff), -ENOMEM);
	for (uint64_t i = 0; i < mapped; i += 2)
		assert_int_equal(core_kit_unmap(&k, DOMAIN, i << 13, (i << 13) + 0xfff),
				 0);
	for (uint64_t i = 0; i < mapped; i += 2)
		assert_int_equal(map(i << 13, (i << 13) + 0xfff), 0);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	test_alloc_fail(&k.ta, 0);
	for (uint64_t i = 0; i < 2 * mapped; i++)
		assert_int_equal(map(i << 13, (i << 13) + 0xfff), 0);
	core_kit_done(&k);
}

/* Once grown, nothing on the way of MAP and UNMAP allocates. */
static void no_allocation_once_grown(void **state)
{
	unsigned long calls;

	(void)state;
	begin(NULL);
	for (unsigned round = 0; round < 3; round++) {
		calls = k.ta.calls;
		for (uint64_t i = 0; i < 5000; i++)
			assert_int_equal(map(i << 13, (i << 13) + 0xfff), 0);
		assert_int_equal(core_kit_unmap(&k, DOMAIN, 0, UINT64_MAX), 0);
	}
	assert_int_equal(k.ta.calls, calls);
	core_kit_done(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_refuses),
		cmocka_unit_test(input_range),
		cmocka_unit_test(overlap),
		cmocka_unit_test(unmap_whole_mappings_only),
		cmocka_unit_test(unmap_holes_and_nothing),
		cmocka_unit_test(ends_of_the_space),
		cmocka_unit_test(quota_and_recovery),
		cmocka_unit_test(quota_limits),
		cmocka_unit_test(pools_run_out),
		cmocka_unit_test(no_allocation_once_grown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
