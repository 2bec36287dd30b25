/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The request sequences of QEMU's virtio-iommu qtest, which hold the standard's
 * seven examples of UNMAP; with a granule of one byte, as they are written. */
#include <errno.h>

#include "base/compiler.h"
#include "device_kit.h"

#define R VIRTIO_IOMMU_MAP_F_READ

static void start(struct device_kit *kit)
{
	struct viommu_device_config config = {.page_size_mask = 1, .boot_bypass = true};

	device_kit_init(kit, &config);
	device_kit_endpoint(kit, 0, NULL, 0);
}

static void config(void **state)
{
	struct virtio_iommu_config c;
	uint8_t bytes[PROTO_CONFIG_LEN];
	struct device_kit kit;

	(void)state;
	start(&kit);
	viommu_device_config_read(kit.dev, 0, bytes, sizeof(bytes));
	proto_decode_config(bytes, &c);
	assert_true(c.input_start == 0 && c.input_last >= UINT32_MAX);
	assert_true(c.domain_first == 0 && c.domain_last == UINT32_MAX);
	assert_int_equal(c.bypass, 1);
	device_kit_done(&kit);
}

static void attach_detach(void **state)
{
	struct device_kit kit;

	(void)state;
	start(&kit);
	assert_int_equal(kit_attach(&kit, 0, 0, 0), 0);
	assert_int_equal(kit_attach(&kit, 0, 444, 0), -ENOENT);
	assert_int_equal(kit_detach(&kit, 0, 1), -ENOENT);
	assert_int_equal(kit_attach(&kit, 1, 0, 0), 0);
	assert_int_equal(kit_detach(&kit, 0, 0), -EINVAL);
	assert_int_equal(kit_detach(&kit, 1, 0), 0);
	assert_int_equal(kit_attach(&kit, 1, 0, 0), 0);
	assert_int_equal(kit_map(&kit, 1, 0x0000, 0x0fff, 0xa1000, R), 0);
	assert_int_equal(kit_map(&kit, 1, 0x2000, 0x2fff, 0xb1000, R), 0);
	assert_int_equal(kit_detach(&kit, 1, 0), 0);
	assert_int_equal(kit_mappings_nr(&kit), 0);
	device_kit_done(&kit);
}

static void map_unmap_opening(void **state)
{
	struct device_kit kit;

	(void)state;
	start(&kit);
	assert_int_equal(kit_attach(&kit, 1, 0, 0), 0);
	assert_int_equal(kit_map(&kit, 0, 0, 0xfff, 0xa1000, R), -ENOENT);
	assert_int_equal(kit_map(&kit, 1, 0, 0xfff, 0xa1000, R), 0);
	assert_int_equal(kit_map(&kit, 1, 0, 0xffff, 0xb1000, R), -EINVAL);
	assert_int_equal(kit_unmap(&kit, 4, 0x10, 0xfff), -ENOENT);
	assert_int_equal(kit_unmap(&kit, 1, 0x10, 0xfff), -ERANGE);
	assert_int_equal(kit_unmap(&kit, 1, 0, 0x1000), 0);
	assert_int_equal(kit_mappings_nr(&kit), 0);
	device_kit_done(&kit);
}

/* A row: MAP (gpa given) or UNMAP of bytes, its end, and how many are left. */
struct row {
	uint64_t start, last, gpa;
	int status;
	unsigned left;
};

static void run(const struct row *rows, size_t nr)
{
	struct device_kit kit;

	start(&kit);
	assert_int_equal(kit_attach(&kit, 1, 0, 0), 0);
	for (size_t i = 0; i < nr; i++) {
		const struct row *r = &rows[i];
		int status = r->gpa ? kit_map(&kit, 1, r->start, r->last, r->gpa, R)
				    : kit_unmap(&kit, 1, r->start, r->last);

		assert_int_equal(status, r->status);
		assert_int_equal(kit_mappings_nr(&kit), r->left);
	}
	device_kit_done(&kit);
}

static void map_unmap_seven_examples(void **state)
{
	static const struct row rows[] = {
		{0, 4, 0, 0, 0},			/* 1 */
		{0, 9, 0xa1000, 0, 1}, {0, 9, 0, 0, 0}, /* 2 */
		{0, 4, 0xb1000, 0, 1}, {5, 9, 0xb2000, 0, 2},
		{0, 9, 0, 0, 0}, /* 3 */
		{0, 9, 0xc1000, 0, 1}, {0, 4, 0, -ERANGE, 1},
		{0, 10, 0, 0, 0}, /* 4, and its clean-up */
		{0, 4, 0xd1000, 0, 1}, {5, 9, 0xd2000, 0, 2},
		{0, 4, 0, 0, 1},       {5, 9, 0, 0, 0}, /* 5 */
		{0, 4, 0xe2000, 0, 1}, {0, 9, 0, 0, 0}, /* 6 */
		{0, 4, 0xf2000, 0, 1}, {10, 14, 0xf3000, 0, 2},
		{0, 14, 0, 0, 0}, /* 7 */
	};

	(void)state;
	run(rows, ARRAY_LEN(rows));
}

static void map_unmap_closing(void **state)
{
	static const struct row rows[] = {
		{10, 14, 0xf3000, 0, 1},
		{0, 4, 0xf2000, 0, 2},
		{0, 4, 0, 0, 1},
		{10, 14, 0xf3000, -EINVAL, 1},
	};

	(void)state;
	run(rows, ARRAY_LEN(rows));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config),
		cmocka_unit_test(attach_detach),
		cmocka_unit_test(map_unmap_opening),
		cmocka_unit_test(map_unmap_seven_examples),
		cmocka_unit_test(map_unmap_closing),
	};

	return cmocka_run_group_tests_name("qtest sequences", tests, NULL, NULL);
}
