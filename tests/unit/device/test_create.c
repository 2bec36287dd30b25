/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Creation, configuration space, features, endpoints, PROBE. */
#include <errno.h>

#include "base/limits.h"
#include "device_kit.h"

#define F(name) (1ull << VIRTIO_IOMMU_F_##name)

static void refuse_config(struct viommu_device_config config, const char *field)
{
	struct device_kit kit;

	assert_int_equal(device_kit_try(&kit, &config), -EINVAL);
	assert_non_null(strstr(kit.log, field));
	assert_int_equal(kit.ta.live, 0);
}

static void names_the_bad_field(void **state)
{
	(void)state;
	refuse_config((struct viommu_device_config){.features = F(BYPASS)}, "features");
	refuse_config((struct viommu_device_config){.features = 1ull << 7}, "features");
	refuse_config((struct viommu_device_config){.input_start = 2, .input_last = 1},
		      "input_start");
	refuse_config((struct viommu_device_config){.domain_first = 2, .domain_last = 1},
		      "domain_first");
	refuse_config((struct viommu_device_config){.features = F(MAP_UNMAP),
						    .input_last = 0xffff},
		      "INPUT_RANGE");
	refuse_config(
		(struct viommu_device_config){.features = F(MAP_UNMAP), .domain_last = 9},
		"DOMAIN_RANGE");
	refuse_config((struct viommu_device_config){.features = F(MAP_UNMAP),
						    .boot_bypass = true},
		      "boot_bypass");
}

static void accept_config(struct viommu_device_config config)
{
	struct device_kit kit;

	device_kit_init(&kit, &config);
	device_kit_done(&kit);
}

static void limits_of_the_configuration(void **state)
{
	(void)state;
	accept_config((struct viommu_device_config){.probe_size = LIMIT_PROBE_SIZE_MIN});
	accept_config((struct viommu_device_config){.probe_size = LIMIT_PROBE_SIZE});
	refuse_config(
		(struct viommu_device_config){.probe_size = LIMIT_PROBE_SIZE_MIN - 1},
		"probe_size");
	refuse_config((struct viommu_device_config){.probe_size = LIMIT_PROBE_SIZE + 1},
		      "probe_size");
	accept_config((struct viommu_device_config){.max_mappings = LIMIT_MAPPINGS});
	refuse_config((struct viommu_device_config){.max_mappings = LIMIT_MAPPINGS + 1},
		      "max_mappings");
	accept_config((struct viommu_device_config){.max_domains = LIMIT_DOMAINS});
	refuse_config((struct viommu_device_config){.max_domains = LIMIT_DOMAINS + 1},
		      "max_domains");
	accept_config((struct viommu_device_config){.max_endpoints = LIMIT_ENDPOINTS});
	refuse_config((struct viommu_device_config){.max_endpoints = LIMIT_ENDPOINTS + 1},
		      "max_endpoints");
	accept_config((struct viommu_device_config){.fault_rate = LIMIT_FAULT_RATE});
	refuse_config((struct viommu_device_config){.fault_rate = LIMIT_FAULT_RATE + 1},
		      "fault_rate");
}

static void needs_a_clock(void **state)
{
	struct viommu_device_config config = {0};
	struct viommu_device_ops ops = {0};
	struct viommu_device *dev;
	struct test_alloc ta;

	(void)state;
	test_alloc_init(&ta);
	assert_int_equal(viommu_device_create(&config, &ops, NULL, &ta.ops, NULL, &dev),
			 -EINVAL);
	assert_int_equal(viommu_device_create(&config, NULL, NULL, &ta.ops, NULL, &dev),
			 -EINVAL);
	viommu_device_destroy(NULL);
	viommu_endpoint_remove(NULL);
}

static void get_config(struct device_kit *kit, struct virtio_iommu_config *out)
{
	uint8_t bytes[PROTO_CONFIG_LEN];

	viommu_device_config_read(kit->dev, 0, bytes, sizeof(bytes));
	proto_decode_config(bytes, out);
}

static void presents_its_configuration(void **state)
{
	struct viommu_device_config config = {.page_size_mask = 0x201000,
					      .input_start = 0x1000,
					      .input_last = 0xffffffffff,
					      .domain_first = 3,
					      .domain_last = 77,
					      .probe_size = 600,
					      .boot_bypass = true};
	struct virtio_iommu_config c;
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	get_config(&kit, &c);
	assert_true(c.page_size_mask == 0xfffffffffffff000ull);
	assert_true(!c.input_start && c.input_last == UINT64_MAX);
	assert_true(!c.domain_first && c.domain_last == UINT32_MAX);
	assert_true(c.probe_size == 512 && !c.bypass);
	device_kit_done(&kit);
	device_kit_init(&kit, &config);
	get_config(&kit, &c);
	assert_true(c.page_size_mask == 0x201000);
	assert_true(c.input_start == 0x1000 && c.input_last == 0xffffffffff);
	assert_true(c.domain_first == 3 && c.domain_last == 77);
	assert_true(c.probe_size == 600 && c.bypass == 1);
	device_kit_done(&kit);
}

/* Every offset and length gives the same bytes as one read of all, then zeroes. */
static void reads_any_part_of_it(void **state)
{
	uint8_t all[48] = {0}, part[48];
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	viommu_device_config_read(kit.dev, 0, all, sizeof(all));
	assert_memory_equal(all + 40, ((uint8_t[8]){0}), 8);
	for (uint32_t offset = 0; offset < 48; offset++) {
		for (uint32_t len = 0; offset + len <= 48; len++) {
			memset(part, 0xee, sizeof(part));
			viommu_device_config_read(kit.dev, offset, part, len);
			assert_memory_equal(part, all + offset, len);
			assert_true(len == 48 || part[len] == 0xee);
		}
	}
	viommu_device_config_read(kit.dev, UINT32_MAX, part, 8);
	assert_memory_equal(part, ((uint8_t[8]){0}), 8);
	device_kit_done(&kit);
}

static void write_byte(struct device_kit *kit, uint32_t offset, uint8_t value)
{
	viommu_device_config_write(kit->dev, offset, &value, 1);
}

static uint8_t bypass_of(struct device_kit *kit)
{
	struct virtio_iommu_config c;

	get_config(kit, &c);
	return c.bypass;
}

static void bypass_byte_takes_0_and_1(void **state)
{
	static const uint8_t wide[4] = {1};
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	write_byte(&kit, 36, 1);
	assert_int_equal(bypass_of(&kit), 1);
	write_byte(&kit, 36, 0);
	assert_int_equal(bypass_of(&kit), 0);
	assert_int_equal(device_kit_stats(&kit).config_writes_ignored, 0);
	for (unsigned value = 2; value < 256; value++)
		write_byte(&kit, 36, (uint8_t)value);
	assert_int_equal(device_kit_stats(&kit).config_writes_ignored, 254);
	for (uint32_t offset = 0; offset < 44; offset++)
		if (offset != 36)
			write_byte(&kit, offset, 1);
	viommu_device_config_write(kit.dev, 36, wide, 4);
	viommu_device_config_write(kit.dev, 36, wide, 0);
	assert_int_equal(device_kit_stats(&kit).config_writes_ignored, 254 + 43 + 2);
	assert_int_equal(bypass_of(&kit), 0);
	assert_int_equal(kit.needs_resets, 0);
	device_kit_done(&kit);
}

static void bypass_byte_needs_its_feature(void **state)
{
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	assert_int_equal(viommu_device_set_features(kit.dev, F(MAP_UNMAP)), 0);
	write_byte(&kit, 36, 1);
	assert_int_equal(bypass_of(&kit), 0);
	assert_int_equal(device_kit_stats(&kit).config_writes_ignored, 1);
	device_kit_done(&kit);
}

static void features_are_checked(void **state)
{
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	assert_true(viommu_device_features(kit.dev) == VIOMMU_DEVICE_FEATURES_DEFAULT);
	assert_int_equal(viommu_device_set_features(kit.dev, F(BYPASS)), -EINVAL);
	assert_int_equal(viommu_device_set_features(kit.dev, 1ull << 63), -EINVAL);
	/* bits of the transport are not ours to judge */
	assert_int_equal(viommu_device_set_features(kit.dev, 1ull << 32 | 1ull << 34 |
								     F(MAP_UNMAP)),
			 0);
	device_kit_done(&kit);
}

static void probe_size_grows_with_endpoints(void **state)
{
	struct viommu_resv resv[22];
	struct viommu_endpoint_config config = {.id = 1, .resv = resv, .resv_nr = 22};
	struct viommu_device_config fixed = {.probe_size = 95};
	struct virtio_iommu_config c;
	struct viommu_endpoint *ep;
	struct device_kit kit;

	(void)state;
	for (unsigned i = 0; i < 22; i++)
		resv[i] = (struct viommu_resv){i * 0x2000, i * 0x2000 + 0xfff, 0};
	device_kit_init(&kit, &fixed); /* room for three */
	config.resv_nr = 4;
	assert_int_equal(viommu_endpoint_add(kit.dev, &config, &ep), -ENOSPC);
	assert_non_null(strstr(kit.log, "probe_size"));
	config.resv_nr = 3;
	assert_int_equal(viommu_endpoint_add(kit.dev, &config, &ep), 0);
	get_config(&kit, &c);
	assert_int_equal(c.probe_size, 95);
	assert_int_equal(kit.config_changes, 0);
	device_kit_done(&kit);
}

static void probe_without_the_feature(void **state)
{
	struct viommu_device_config config = {.features = F(MAP_UNMAP)};
	struct virtio_iommu_config c;
	uint8_t properties[512];
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, &config);
	get_config(&kit, &c);
	assert_int_equal(c.probe_size, 0);
	assert_int_equal(device_kit_probe(&kit, 1, properties, 512), UNANSWERED);
	device_kit_done(&kit);
}

static void requests_that_need_map_unmap(void **state)
{
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	device_kit_endpoint(&kit, 1, NULL, 0);
	assert_int_equal(viommu_device_set_features(kit.dev, 0), 0);
	assert_int_equal(kit_attach(&kit, 1, 1, 0), 0);
	assert_int_equal(kit_map(&kit, 1, 0, 0xfff, 0, 1), -EOPNOTSUPP);
	assert_int_equal(kit_unmap(&kit, 1, 0, 0xfff), -EOPNOTSUPP);
	device_kit_done(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_bad_field),
		cmocka_unit_test(limits_of_the_configuration),
		cmocka_unit_test(needs_a_clock),
		cmocka_unit_test(presents_its_configuration),
		cmocka_unit_test(reads_any_part_of_it),
		cmocka_unit_test(bypass_byte_takes_0_and_1),
		cmocka_unit_test(bypass_byte_needs_its_feature),
		cmocka_unit_test(features_are_checked),
		cmocka_unit_test(probe_size_grows_with_endpoints),
		cmocka_unit_test(probe_without_the_feature),
		cmocka_unit_test(requests_that_need_map_unmap),
	};

	return cmocka_run_group_tests_name("device create", tests, NULL, NULL);
}
