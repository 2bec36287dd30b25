/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Feature bits and configuration space. Each test is named after the statement in
 * statements.json that it checks. */
#include <errno.h>

#include "dma_kit.h"

#define F(name) (1ull << VIRTIO_IOMMU_F_##name)

static struct virtio_iommu_config read_config(struct device_kit *kit)
{
	struct virtio_iommu_config config;
	uint8_t bytes[PROTO_CONFIG_LEN];

	viommu_device_config_read(kit->dev, 0, bytes, sizeof(bytes));
	proto_decode_config(bytes, &config);
	return config;
}

static void write_bypass(struct device_kit *kit, uint8_t value)
{
	viommu_device_config_write(kit->dev, offsetof(struct virtio_iommu_config, bypass),
				   &value, 1);
}

static uint64_t default_offer(void)
{
	struct device_kit kit;
	uint64_t features;

	device_kit_init(&kit, NULL);
	features = viommu_device_features(kit.dev);
	device_kit_done(&kit);
	return features;
}

static void device_features_01(void **state)
{
	(void)state;
	assert_true(default_offer() & F(MAP_UNMAP));
}

static void device_features_02(void **state)
{
	struct viommu_device_config config = {.features = F(MAP_UNMAP) | F(BYPASS)};
	struct device_kit kit;

	(void)state;
	assert_false(default_offer() & F(BYPASS));
	assert_int_equal(device_kit_try(&kit, &config), -EINVAL);
}

static void device_features_03(void **state)
{
	struct viommu_device_config config = {.features = F(MAP_UNMAP) | F(BYPASS) |
							  F(BYPASS_CONFIG)};
	struct device_kit kit;

	(void)state;
	assert_true(default_offer() & F(BYPASS_CONFIG));
	assert_int_equal(device_kit_try(&kit, &config), -EINVAL);
}

static void device_config_01(void **state)
{
	static const uint64_t masks[] = {0, 1, 0x1000, 0x40201000, 1ull << 63, ~0ull};
	struct device_kit kit;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		struct viommu_device_config config = {.page_size_mask = masks[i]};
		uint64_t mask, granule;

		device_kit_init(&kit, &config);
		mask = read_config(&kit).page_size_mask;
		assert_true(mask);
		granule = mask & -mask;
		device_kit_endpoint(&kit, 1, NULL, 0);
		assert_int_equal(kit_attach(&kit, 1, 1, 0), 0);
		/* one granule is fine, half of one is not */
		assert_int_equal(kit_map(&kit, 1, granule, 2 * granule - 1, 0, 1), 0);
		if (granule > 1)
			assert_int_equal(kit_map(&kit, 1, 0, granule / 2 - 1, 0, 1),
					 -ERANGE);
		device_kit_done(&kit);
	}
}

static void device_config_02(void **state)
{
	struct viommu_device_config config = {.page_size_mask = 0x40201000};
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, &config);
	assert_true(read_config(&kit).page_size_mask == 0x40201000);
	device_kit_endpoint(&kit, 1, NULL, 0);
	assert_int_equal(kit_attach(&kit, 1, 1, 0), 0);
	/* the further bits are hints: any multiple of the granule maps */
	assert_int_equal(kit_map(&kit, 1, 0x3000, 0x9fff, 0x1000, 1), 0);
	device_kit_done(&kit);
}

static void device_config_03(void **state)
{
	struct viommu_device_config config = {.boot_bypass = true};
	struct dma_kit d;

	(void)state;
	dma_kit_init(&d, &config);
	assert_int_equal(read_config(&d.kit).bypass, 1);
	/* before any driver accepted anything */
	viommu_device_reset(d.kit.dev);
	assert_int_equal(dma_kit_access(&d, device_kit_endpoint(&d.kit, 1, NULL, 0),
					RAM_GPA, VIOMMU_WRITE),
			 0);
	dma_kit_done(&d);
}

static void device_config_04(void **state)
{
	(void)state;
	for (int boot = 0; boot < 2; boot++) {
		struct viommu_device_config config = {.boot_bypass = boot};
		struct device_kit kit;

		device_kit_init(&kit, &config);
		write_bypass(&kit, !boot);
		viommu_device_reset(kit.dev);
		assert_int_equal(read_config(&kit).bypass, !boot);
		device_kit_done(&kit);
	}
}

static void device_config_05(void **state)
{
	(void)state;
	for (int boot = 0; boot < 2; boot++) {
		struct viommu_device_config config = {.boot_bypass = boot};
		struct device_kit kit;

		device_kit_init(&kit, &config);
		write_bypass(&kit, !boot);
		assert_int_equal(read_config(&kit).bypass, !boot);
		viommu_device_system_reset(kit.dev);
		assert_int_equal(read_config(&kit).bypass, boot);
		device_kit_done(&kit);
	}
}

static void device_config_06(void **state)
{
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	for (unsigned value = 0; value < 256; value++) {
		write_bypass(&kit, (uint8_t)value);
		assert_in_range(read_config(&kit).bypass, 0, 1);
	}
	device_kit_done(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_features_01),
		cmocka_unit_test(device_features_02),
		cmocka_unit_test(device_features_03),
		cmocka_unit_test(device_config_01),
		cmocka_unit_test(device_config_02),
		cmocka_unit_test(device_config_03),
		cmocka_unit_test(device_config_04),
		cmocka_unit_test(device_config_05),
		cmocka_unit_test(device_config_06),
	};

	return cmocka_run_group_tests_name("device config", tests, NULL, NULL);
}
