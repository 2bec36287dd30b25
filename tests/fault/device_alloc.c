/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Every allocation of every call fails once, in turn: the call says -ENOMEM (a
 * request: NOMEM), the state is what it was before, nothing leaks, and the same
 * call works afterwards.
 */
#include <errno.h>

#include "device_kit.h"

/* Allocations that failed; a sweep over none would prove nothing. */
static unsigned long failed_nr;

struct step {
	struct device_kit *kit;
	int (*run)(struct step *s);
	struct viommu_endpoint_config ep_config;
	struct viommu_endpoint *ep;
	struct proto_request req;
	struct kit_blob blob;
};

/* Runs a step with its 1st, 2nd, ... allocation failing until it works. */
static void sweep(struct step *s)
{
	struct kit_blob before = device_kit_save(s->kit), after;
	int r;

	for (unsigned long nth = 1;; nth++) {
		test_alloc_fail(&s->kit->ta, nth);
		r = s->run(s);
		test_alloc_fail(&s->kit->ta, 0);
		if (!r)
			break;
		assert_int_equal(r, -ENOMEM);
		after = device_kit_save(s->kit);
		assert_true(kit_blob_equal(before, after));
		free(after.bytes);
		failed_nr++;
	}
	free(before.bytes);
}

static int add_endpoint(struct step *s)
{
	return viommu_endpoint_add(s->kit->dev, &s->ep_config, &s->ep);
}

static int add_alias(struct step *s)
{
	return viommu_endpoint_add_alias(s->ep, s->ep_config.id + 0x1000);
}

static int send(struct step *s)
{
	return device_kit_request(s->kit, &s->req);
}

static int restore(struct step *s)
{
	return viommu_device_restore(s->kit->dev, s->blob.bytes, s->blob.len);
}

static void sweep_request(struct device_kit *kit, struct proto_request req)
{
	struct step s = {.kit = kit, .run = send, .req = req};

	sweep(&s);
}

static void sweep_endpoint(struct device_kit *kit, uint32_t id)
{
	static const struct viommu_resv resv[2] = {
		{0xfee00000, 0xfeefffff, VIOMMU_RESV_MSI},
		{0xfd00000000, 0xfdffffffff, VIOMMU_RESV_RESERVED}};
	struct step s = {.kit = kit,
			 .run = add_endpoint,
			 .ep_config = {.id = id, .resv = resv, .resv_nr = id % 3}};

	sweep(&s);
	s.run = add_alias;
	sweep(&s);
}

static void create_sweep(void **state)
{
	unsigned long nth = 0;
	struct device_kit kit;
	int r = device_kit_try(&kit, NULL);

	(void)state;
	do {
		if (!r)
			viommu_device_destroy(kit.dev);
		assert_int_equal(kit.ta.live, 0);
		test_alloc_fail(&kit.ta, ++nth);
		r = device_kit_create(&kit, NULL);
		assert_true(!r || r == -ENOMEM);
	} while (r);
	assert_true(nth > 2);
	test_alloc_fail(&kit.ta, 0);
	device_kit_done(&kit);
}

static void endpoint_sweep(void **state)
{
	struct device_kit kit;

	(void)state;
	failed_nr = 0;
	device_kit_init(&kit, NULL);
	for (uint32_t id = 0; id < 300; id++)
		sweep_endpoint(&kit, id);
	assert_true(failed_nr > 100);
	device_kit_done(&kit);
}

static void attach_sweep(void **state)
{
	struct device_kit kit;

	(void)state;
	failed_nr = 0;
	device_kit_init(&kit, NULL);
	for (uint32_t id = 0; id < 100; id++)
		sweep_endpoint(&kit, id);
	failed_nr = 0;
	for (uint32_t id = 0; id < 100; id++) /* one domain each, then one for all */
		sweep_request(&kit, (struct proto_request){.type = VIRTIO_IOMMU_T_ATTACH,
							   .domain = id,
							   .endpoint = id});
	for (uint32_t id = 0; id < 100; id++)
		sweep_request(&kit, (struct proto_request){.type = VIRTIO_IOMMU_T_ATTACH,
							   .domain = 1000,
							   .endpoint = id});
	assert_true(failed_nr > 100);
	device_kit_done(&kit);
}

static void map_sweep(void **state)
{
	struct device_kit kit;

	(void)state;
	failed_nr = 0;
	device_kit_init(&kit, NULL);
	device_kit_endpoint(&kit, 1, NULL, 0);
	assert_int_equal(kit_attach(&kit, 1, 1, 0), 0);
	for (uint64_t i = 0; i < 1200; i++)
		sweep_request(&kit,
			      (struct proto_request){.type = VIRTIO_IOMMU_T_MAP,
						     .domain = 1,
						     .start = i << 13,
						     .last = (i << 13) + 0xfff,
						     .flags = VIRTIO_IOMMU_MAP_F_READ});
	assert_true(failed_nr);
	device_kit_done(&kit);
}

/* Needs no memory at all: the way out must not be barred. */
static void removals_need_none(void **state)
{
	struct device_kit kit;

	(void)state;
	device_kit_init(&kit, NULL);
	device_kit_endpoint(&kit, 1, NULL, 0);
	assert_int_equal(kit_attach(&kit, 1, 1, 0), 0);
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(kit_map(&kit, 1, i << 13, (i << 13) + 0xfff, 0, 1), 0);
	kit.ta.fail_after = true;
	test_alloc_fail(&kit.ta, 1);
	for (uint64_t i = 0; i < 250; i++)
		assert_int_equal(kit_unmap(&kit, 1, i << 14, (i << 14) + 0xfff), 0);
	assert_int_equal(kit_unmap(&kit, 1, 0, UINT64_MAX), 0);
	assert_int_equal(kit_detach(&kit, 1, 1), 0);
	viommu_device_system_reset(kit.dev);
	assert_int_equal(kit.ta.calls, 0);
	test_alloc_fail(&kit.ta, 0);
	device_kit_done(&kit);
}

static void restore_sweep(void **state)
{
	struct device_kit kit;
	struct step s = {.kit = &kit, .run = restore};

	(void)state;
	failed_nr = 0;
	device_kit_init(&kit, NULL);
	for (uint32_t id = 0; id < 20; id++)
		sweep_endpoint(&kit, id);
	for (uint32_t id = 0; id < 20; id++)
		assert_int_equal(kit_attach(&kit, id % 7, id, 0), 0);
	for (uint64_t i = 0; i < 700; i++)
		assert_int_equal(kit_map(&kit, i % 7, i << 13, (i << 13) + 0xfff, 0, 1),
				 0);
	s.blob = device_kit_save(&kit);
	viommu_device_destroy(kit.dev);
	assert_int_equal(device_kit_create(&kit, NULL), 0);
	for (uint32_t id = 0; id < 20; id++)
		sweep_endpoint(&kit, id);
	failed_nr = 0;
	sweep(&s);
	assert_true(failed_nr > 3);
	free(s.blob.bytes);
	device_kit_done(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_sweep),	      cmocka_unit_test(endpoint_sweep),
		cmocka_unit_test(attach_sweep),	      cmocka_unit_test(map_sweep),
		cmocka_unit_test(removals_need_none), cmocka_unit_test(restore_sweep),
	};

	return cmocka_run_group_tests_name("device allocations", tests, NULL, NULL);
}
