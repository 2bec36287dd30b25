/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Save and restore, over the real domain layer. */
#include <errno.h>

#include "base/compiler.h"
#include "device/device.h"
#include "device/state.h"
#include "device_kit.h"
#include "proto/bytes.h"

#define F(name) (1ull << VIRTIO_IOMMU_F_##name)

static const struct viommu_resv msi = {0xfee00000, 0xfeefffff, VIOMMU_RESV_MSI};

static void add_endpoints(struct device_kit *kit)
{
	device_kit_endpoint(kit, 1, NULL, 0);
	device_kit_endpoint(kit, 2, &msi, 1);
	device_kit_endpoint(kit, 3, NULL, 0);
	device_kit_endpoint(kit, 0x10000, NULL, 0);
}

/* A device with some of everything. */
static void start(struct device_kit *kit)
{
	uint8_t bypass = 1, seen[4];

	device_kit_init(kit, NULL);
	add_endpoints(kit);
	viommu_device_config_write(kit->dev, 36, &bypass, 1);
	viommu_device_config_read(kit->dev, 32, seen, 4);
	assert_int_equal(kit_attach(kit, 5, 1, 0), 0);
	assert_int_equal(kit_attach(kit, 5, 2, 0), 0);
	assert_int_equal(kit_attach(kit, 0, 0x10000, VIRTIO_IOMMU_ATTACH_F_BYPASS), 0);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(kit_map(kit, 5, i << 13, (i << 13) + 0xfff, ~i << 12,
					 (uint32_t)i + 1),
				 0);
	assert_int_equal(kit_map(kit, 5, 1ull << 63, UINT64_MAX, 0, 7), 0);
}

static void round_trip(void **state)
{
	struct kit_blob blob, again;
	struct device_kit a, b;

	(void)state;
	start(&a);
	blob = device_kit_save(&a);
	device_kit_init(&b, NULL);
	add_endpoints(&b);
	assert_int_equal(viommu_device_restore(b.dev, blob.bytes, blob.len), 0);
	again = device_kit_save(&b);
	assert_true(kit_blob_equal(blob, again));
	/* and it works on from there */
	assert_int_equal(kit_unmap(&b, 5, 0, 0xfff), 0);
	assert_int_equal(kit_attach(&b, 0, 3, 0), -EINVAL);
	assert_int_equal(kit_mappings_nr(&a), kit_mappings_nr(&b) + 1);
	free(blob.bytes);
	free(again.bytes);
	device_kit_done(&a);
	device_kit_done(&b);
}

static void says_how_much_room_it_needs(void **state)
{
	uint8_t buf[1024];
	struct device_kit kit;
	size_t need = 0, len;

	(void)state;
	start(&kit);
	assert_int_equal(viommu_device_save(kit.dev, NULL, &need), -ENOSPC);
	assert_int_equal(need,
			 STATE_HEAD_LEN + 4 * STATE_ENDPOINT_LEN + 6 * STATE_MAPPING_LEN);
	len = need - 1;
	assert_int_equal(viommu_device_save(kit.dev, buf, &len), -ENOSPC);
	assert_int_equal(len, need);
	len = sizeof(buf);
	assert_int_equal(viommu_device_save(kit.dev, buf, &len), 0);
	assert_int_equal(len, need);
	device_kit_done(&kit);
}

/* The format is a promise: these are the bytes of version 1. */
static void bytes_of_version_1(void **state)
{
	static const uint8_t head[] = {'v', 'i', 'o', 'm', 'm', 'u',
				       'S', 'T', 1,   0,   0,	0};
	struct kit_blob blob;
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	device_kit_endpoint(&kit, 0x11223344, NULL, 0);
	assert_int_equal(kit_attach(&kit, 7, 0x11223344, 0), 0);
	assert_int_equal(kit_map(&kit, 7, 0x1000, 0x2fff, 0x5000, 3), 0);
	blob = device_kit_save(&kit);
	assert_int_equal(blob.len, 56 + 12 + 32);
	assert_memory_equal(blob.bytes, head, sizeof(head));
	assert_int_equal(get_le64(blob.bytes + 16), blob.len);
	assert_int_equal(get_le64(blob.bytes + 24), VIOMMU_DEVICE_FEATURES_DEFAULT);
	assert_int_equal(get_le32(blob.bytes + 32), 512);
	assert_int_equal(get_le32(blob.bytes + 40), 1);
	assert_int_equal(get_le64(blob.bytes + 48), 1);
	assert_int_equal(get_le32(blob.bytes + 56), 0x11223344);
	assert_int_equal(get_le32(blob.bytes + 60), 7);
	assert_int_equal(get_le32(blob.bytes + 64), STATE_EP_ATTACHED);
	assert_int_equal(get_le32(blob.bytes + 68), 7);
	assert_int_equal(get_le32(blob.bytes + 72), 3);
	assert_int_equal(get_le64(blob.bytes + 76), 0x1000);
	assert_int_equal(get_le64(blob.bytes + 84), 0x2fff);
	assert_int_equal(get_le64(blob.bytes + 92), 0x5000);
	assert_int_equal(crc32_le(0, "123456789", 9), 0xcbf43926);
	free(blob.bytes);
	device_kit_done(&kit);
}

/* Refused with a logged reason, and the device is as after a system reset. */
static void refuse(struct device_kit *kit, const void *bytes, size_t len, int error)
{
	struct kit_blob empty, after;
	unsigned logged;

	viommu_device_system_reset(kit->dev);
	empty = device_kit_save(kit);
	logged = kit->log_nr;
	assert_int_equal(viommu_device_restore(kit->dev, bytes, len), error);
	if (error != -ENOMEM) {
		assert_true(kit->log_nr > logged);
		assert_non_null(strstr(kit->log, "saved state"));
	}
	after = device_kit_save(kit);
	assert_true(kit_blob_equal(empty, after));
	free(empty.bytes);
	free(after.bytes);
}

static void every_bit_counts(void **state)
{
	struct kit_blob blob;
	struct device_kit kit;

	(void)state;
	start(&kit);
	blob = device_kit_save(&kit);
	for (size_t bit = 0; bit < blob.len * 8; bit++) {
		size_t at = bit / 8;
		bool version = at >= STATE_AT_VERSION && at < STATE_AT_CRC;

		blob.bytes[at] ^= (uint8_t)(1u << bit % 8);
		refuse(&kit, blob.bytes, blob.len, version ? -EOPNOTSUPP : -EINVAL);
		blob.bytes[at] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t len = 0; len < blob.len; len++)
		refuse(&kit, blob.bytes, len, -EINVAL);
	assert_int_equal(viommu_device_restore(kit.dev, blob.bytes, blob.len), 0);
	free(blob.bytes);
	device_kit_done(&kit);
}

/* Changes a field of a good blob and makes the checksum right again. */
static void refuse_field(struct device_kit *kit, struct kit_blob blob, size_t at,
			 unsigned len, uint64_t value, int error)
{
	uint8_t *copy = malloc(blob.len);

	memcpy(copy, blob.bytes, blob.len);
	for (unsigned i = 0; i < len; i++)
		copy[at + i] = (uint8_t)(value >> 8 * i);
	put_le32(copy + STATE_AT_CRC, 0);
	put_le32(copy + STATE_AT_CRC, crc32_le(0, copy, blob.len));
	refuse(kit, copy, blob.len, error);
	free(copy);
}

static void fields_are_checked(void **state)
{
	size_t ep = STATE_HEAD_LEN, map = ep + 4 * STATE_ENDPOINT_LEN;
	struct kit_blob blob;
	struct device_kit kit;

	(void)state;
	start(&kit);
	blob = device_kit_save(&kit);
	refuse_field(&kit, blob, STATE_AT_FEATURES, 8, F(BYPASS), -ERANGE);
	refuse_field(&kit, blob, STATE_AT_PROBE_SIZE, 4, LIMIT_PROBE_SIZE + 1, -EINVAL);
	refuse_field(&kit, blob, STATE_AT_PROBE_SIZE, 4, 0, -EINVAL);
	refuse_field(&kit, blob, STATE_AT_PROBE_SEEN, 4, 513, -EINVAL);
	refuse_field(&kit, blob, STATE_AT_BYPASS, 4, 2, -EINVAL);
	refuse_field(&kit, blob, STATE_AT_ENDPOINTS, 4, 3, -EINVAL);
	refuse_field(&kit, blob, STATE_AT_ENDPOINTS, 4, UINT32_MAX, -EINVAL);
	refuse_field(&kit, blob, STATE_AT_MAPPINGS, 8, 7, -EINVAL);
	refuse_field(&kit, blob, STATE_AT_MAPPINGS, 8, UINT64_MAX, -EINVAL);
	refuse_field(&kit, blob, ep, 4, 2, -EINVAL);		/* out of order */
	refuse_field(&kit, blob, ep, 4, 0, -ENOENT);		/* not here */
	refuse_field(&kit, blob, ep + 8, 4, 4, -EINVAL);	/* flag */
	refuse_field(&kit, blob, ep + 8, 4, 2, -EINVAL);	/* bypass of nothing */
	refuse_field(&kit, blob, ep + 8, 4, 3, -EINVAL);	/* both kinds */
	refuse_field(&kit, blob, map, 4, 6, -EINVAL);		/* order of domains */
	refuse_field(&kit, blob, map, 4, 4, -EINVAL);		/* no such domain */
	refuse_field(&kit, blob, map + 4, 4, 8, -EINVAL);	/* flag */
	refuse_field(&kit, blob, map + 8, 8, 0x1000, -EINVAL);	/* start > last */
	refuse_field(&kit, blob, map + 16, 8, 0x2000, -EINVAL); /* overlap */
	refuse_field(&kit, blob, map + 16, 8, 0xffe, -ERANGE);	/* granule */
	refuse_field(&kit, blob, map + 24, 8, 1, -ERANGE);
	assert_int_equal(viommu_device_restore(kit.dev, blob.bytes, blob.len), 0);
	free(blob.bytes);
	device_kit_done(&kit);
}

static void refuse_in(struct viommu_device_config config, int error)
{
	struct device_kit kit, other;
	struct kit_blob blob;

	start(&kit);
	blob = device_kit_save(&kit);
	device_kit_init(&other, &config);
	add_endpoints(&other);
	refuse(&other, blob.bytes, blob.len, error);
	free(blob.bytes);
	device_kit_done(&kit);
	device_kit_done(&other);
}

static void fits_only_a_device_like_it(void **state)
{
	struct viommu_device_config none = {.features = VIOMMU_DEVICE_FEATURES_DEFAULT &
							~F(MMIO)};

	(void)state;
	refuse_in(none, -ERANGE);
	none.features = VIOMMU_DEVICE_FEATURES_DEFAULT & ~F(PROBE);
	refuse_in(none, -ERANGE);
	refuse_in((struct viommu_device_config){.page_size_mask = 0x10000}, -ERANGE);
	refuse_in((struct viommu_device_config){.input_last = 0xffff}, -ERANGE);
	refuse_in((struct viommu_device_config){.domain_first = 6, .domain_last = 9},
		  -ERANGE);
	refuse_in((struct viommu_device_config){.probe_size = 600}, -ERANGE);
	refuse_in((struct viommu_device_config){.max_mappings = 5}, -ENOMEM);
	refuse_in((struct viommu_device_config){.max_domains = 1}, -ERANGE);
	none.features = VIOMMU_DEVICE_FEATURES_DEFAULT & ~F(BYPASS_CONFIG);
	refuse_in(none, -ERANGE);
}

/* Bypass is on, and nothing was negotiated, so only the byte itself can tell. */
static void bypass_needs_its_feature(void **state)
{
	struct viommu_device_config on = {.boot_bypass = true};
	struct viommu_device_config off = {.features = VIOMMU_DEVICE_FEATURES_DEFAULT &
						       ~F(BYPASS_CONFIG)};
	struct device_kit kit, other;
	struct kit_blob blob;

	(void)state;
	device_kit_init(&kit, &on);
	viommu_device_reset(kit.dev);
	blob = device_kit_save(&kit);
	device_kit_init(&other, &off);
	refuse(&other, blob.bytes, blob.len, -ERANGE);
	free(blob.bytes);
	device_kit_done(&kit);
	device_kit_done(&other);
}

/* The driver was told more than the endpoints here need: that holds. */
static void keeps_a_larger_probe_size(void **state)
{
	struct viommu_resv resv[30];
	struct device_kit kit, other;
	struct kit_blob blob;

	(void)state;
	for (uint64_t i = 0; i < 30; i++)
		resv[i] = (struct viommu_resv){i << 20, i << 20 | 0xfff, 0};
	device_kit_init(&kit, NULL);
	viommu_endpoint_remove(device_kit_endpoint(&kit, 9, resv, 30));
	blob = device_kit_save(&kit);
	device_kit_init(&other, NULL);
	assert_int_equal(viommu_device_restore(other.dev, blob.bytes, blob.len), 0);
	assert_int_equal(other.dev->probe_size, 720);
	assert_int_equal(other.config_changes, 0);
	free(blob.bytes);
	device_kit_done(&kit);
	device_kit_done(&other);
}

static void tells_of_a_larger_probe_size(void **state)
{
	struct viommu_resv resv[30];
	struct device_kit kit, other;
	struct kit_blob blob;

	(void)state;
	for (uint64_t i = 0; i < 30; i++)
		resv[i] = (struct viommu_resv){i << 20, i << 20 | 0xfff, 0};
	start(&kit);
	blob = device_kit_save(&kit);
	device_kit_init(&other, NULL);
	add_endpoints(&other);
	device_kit_endpoint(&other, 9, resv, 30);
	other.config_changes = 0;
	assert_int_equal(viommu_device_restore(other.dev, blob.bytes, blob.len), 0);
	assert_int_equal(other.config_changes, 1);
	assert_int_equal(other.dev->probe_size, 720);
	assert_int_equal(other.dev->probe_seen, 512);
	free(blob.bytes);
	device_kit_done(&kit);
	device_kit_done(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(says_how_much_room_it_needs),
		cmocka_unit_test(bytes_of_version_1),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(fields_are_checked),
		cmocka_unit_test(fits_only_a_device_like_it),
		cmocka_unit_test(bypass_needs_its_feature),
		cmocka_unit_test(keeps_a_larger_probe_size),
		cmocka_unit_test(tells_of_a_larger_probe_size),
	};

	return cmocka_run_group_tests_name("device state", tests, NULL, NULL);
}
