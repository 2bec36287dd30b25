/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* One test a normative statement about device status, features, reset and the PCI
 * transport; each is named after its id in virtio_statements.json. The driver here
 * is a guest's: it finds the structures through the capabilities and uses BAR 0. */
#include <errno.h>

#include <viommu/virtio_pci.h>

#include "test.h"
#include "test_alloc.h"

enum { QUEUES_NR = 2, SIZE_OFFERED = 64, CONFIG_LEN = 8 };
enum {
	DEVICE_SELECT = 0x00,
	DEVICE_FEATURES = 0x04,
	DRIVER_SELECT = 0x08,
	DRIVER_FEATURES = 0x0c,
	STATUS = 0x14,
	GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_ENABLE = 0x1c,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_RESET = 0x3a,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 0x40 };

#define BIT(n)	     (1ull << (n))
#define NEEDED	     (BIT(VIOMMU_VIRTIO_F_VERSION_1) | BIT(VIOMMU_VIRTIO_F_ACCESS_PLATFORM))
#define F_IN_ORDER   35
#define F_RING_RESET 40
#define OWN_FEATURES                                                                     \
	(0x5full | BIT(VIOMMU_VIRTIO_F_RING_INDIRECT_DESC) |                             \
	 BIT(VIOMMU_VIRTIO_F_RING_EVENT_IDX) | BIT(F_RING_RESET))

struct guest {
	struct test_alloc ta;
	struct viommu_virtio_pci *vp;
	struct viommu_pci *pci;
	unsigned at[5]; /* offsets in BAR 0 by kind of structure */
	uint8_t config[CONFIG_LEN];
	unsigned kicks[QUEUES_NR], resets;
	bool enabled[QUEUES_NR], pin;
};

/* ---- the device ---- */

static uint64_t features(void *opaque)
{
	(void)opaque;
	return OWN_FEATURES;
}

static int set_features(void *opaque, uint64_t value)
{
	(void)opaque;
	/* Bit 1 without bit 0: something this device cannot do. */
	return (value & 3) == 2 ? -EINVAL : 0;
}

static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	memcpy(buf, ((struct guest *)opaque)->config + offset, len);
}

static void config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	memcpy(((struct guest *)opaque)->config + offset, buf, len);
}

static int queue_enable(void *opaque, unsigned queue,
			const struct viommu_virtq_config *ring)
{
	(void)ring;
	((struct guest *)opaque)->enabled[queue] = true;
	return 0;
}

static void queue_disable(void *opaque, unsigned queue)
{
	((struct guest *)opaque)->enabled[queue] = false;
}

static void notify(void *opaque, unsigned queue)
{
	((struct guest *)opaque)->kicks[queue]++;
}

static void reset(void *opaque)
{
	((struct guest *)opaque)->resets++;
}

static const struct viommu_virtio_ops ops = {
	.features = features,
	.set_features = set_features,
	.config_read = config_read,
	.config_write = config_write,
	.queue_enable = queue_enable,
	.queue_disable = queue_disable,
	.notify = notify,
	.reset = reset,
};

static void on_intx(void *opaque, bool asserted)
{
	((struct guest *)opaque)->pin = asserted;
}

static const struct viommu_pci_irq_ops irq_ops = {.intx = on_intx};

/* ---- the guest ---- */

static uint64_t pci_read(struct guest *g, unsigned offset, unsigned len)
{
	uint64_t value = 0;

	viommu_pci_config_read(g->pci, offset, &value, len);
	return value;
}

static void find_structures(struct guest *g)
{
	for (unsigned cap = pci_read(g, 0x34, 1); cap; cap = pci_read(g, cap + 1, 1)) {
		unsigned kind = pci_read(g, cap + 3, 1);

		if (pci_read(g, cap, 1) == 9 && kind < 5)
			g->at[kind] = pci_read(g, cap + 8, 4);
	}
}

static int setup(void **state)
{
	static const struct viommu_virtio_pci_config config = {
		.virtio_id = 23,
		.class_code = 0,
		.subclass = 0xff,
		.queues_nr = QUEUES_NR,
		.queue_size = SIZE_OFFERED,
		.config_len = CONFIG_LEN,
		.access_platform = true,
		.packed = true,
	};
	static const struct viommu_log silent;
	struct guest *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	test_alloc_init(&g->ta);
	assert_int_equal(
		viommu_virtio_pci_create(&config, &ops, g, &g->ta.ops, &silent, &g->vp),
		0);
	g->pci = viommu_virtio_pci_function(g->vp);
	viommu_pci_set_irq_ops(g->pci, &irq_ops, g);
	find_structures(g);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct guest *g = *state;

	viommu_virtio_pci_destroy(g->vp);
	free(g);
	return 0;
}

static uint64_t bar_get(struct guest *g, unsigned offset, unsigned len)
{
	uint64_t value = 0;

	assert_int_equal(viommu_pci_bar_read(g->pci, 0, offset, &value, len), 0);
	return value;
}

static void bar_set(struct guest *g, unsigned offset, unsigned len, uint64_t value)
{
	assert_int_equal(viommu_pci_bar_write(g->pci, 0, offset, &value, len), 0);
}

/* Fields of the common configuration, and of a queue. */
static uint64_t get(struct guest *g, unsigned field, unsigned len)
{
	return bar_get(g, g->at[1] + field, len);
}

static void set(struct guest *g, unsigned field, unsigned len, uint64_t value)
{
	bar_set(g, g->at[1] + field, len, value);
}

static uint64_t queue_get(struct guest *g, unsigned queue, unsigned field, unsigned len)
{
	set(g, QUEUE_SELECT, 2, queue);
	return get(g, field, len);
}

static void kick(struct guest *g, unsigned queue)
{
	bar_set(g, g->at[2] + 4 * queue, 2, queue);
}

static uint64_t offered(struct guest *g)
{
	uint64_t low;

	set(g, DEVICE_SELECT, 4, 0);
	low = get(g, DEVICE_FEATURES, 4);
	set(g, DEVICE_SELECT, 4, 1);
	return low | get(g, DEVICE_FEATURES, 4) << 32;
}

/* From reset to FEATURES_OK. Whether it stuck. */
static bool negotiate(struct guest *g, uint64_t wanted)
{
	const uint16_t command = 2 | 4; /* memory, bus master */

	viommu_pci_config_write(g->pci, 4, &command, sizeof(command));
	set(g, STATUS, 1, 0);
	set(g, STATUS, 1, ACKNOWLEDGE | DRIVER);
	for (unsigned half = 0; half < 2; half++) {
		set(g, DRIVER_SELECT, 4, half);
		set(g, DRIVER_FEATURES, 4, (uint32_t)(wanted >> (32 * half)));
	}
	set(g, STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return get(g, STATUS, 1) & FEATURES_OK;
}

static void enable(struct guest *g, unsigned queue)
{
	set(g, QUEUE_SELECT, 2, queue);
	set(g, QUEUE_DESC, 8, 0x10000);
	set(g, QUEUE_DRIVER, 8, 0x12000);
	set(g, QUEUE_DEVICE, 8, 0x13000);
	set(g, QUEUE_ENABLE, 2, 1);
}

static void bring_up(struct guest *g, uint64_t wanted)
{
	assert_true(negotiate(g, wanted));
	for (unsigned i = 0; i < QUEUES_NR; i++)
		enable(g, i);
	set(g, STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

/* ---- device status ---- */

static void virtio_device_status_01(void **state)
{
	struct guest *g = *state;

	assert_true(negotiate(g, NEEDED));
	enable(g, 0);
	kick(g, 0);
	assert_int_equal(g->kicks[0], 0);
	viommu_virtio_pci_queue_irq(g->vp, 0);
	assert_false(g->pin);
	set(g, STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	kick(g, 0);
	assert_int_equal(g->kicks[0], 1);
	viommu_virtio_pci_queue_irq(g->vp, 0);
	assert_true(g->pin);
}

static void virtio_device_status_02(void **state)
{
	struct guest *g = *state;

	bring_up(g, NEEDED);
	viommu_virtio_pci_needs_reset(g->vp);
	assert_true(get(g, STATUS, 1) & NEEDS_RESET);
	/* Nothing but a reset takes it away. */
	set(g, STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	assert_true(get(g, STATUS, 1) & NEEDS_RESET);
	set(g, STATUS, 1, 0);
	assert_int_equal(get(g, STATUS, 1), 0);
}

static void virtio_device_status_03(void **state)
{
	struct guest *g = *state;

	bring_up(g, NEEDED);
	viommu_virtio_pci_needs_reset(g->vp);
	assert_true(g->pin);
	assert_int_equal(bar_get(g, g->at[3], 1), 2); /* ISR: configuration */
}

/* ---- features ---- */

/* Transport bits depend on VERSION_1; it is there in every offer. */
static void virtio_device_features_01(void **state)
{
	struct guest *g = *state;

	assert_true(offered(g) & BIT(VIOMMU_VIRTIO_F_RING_PACKED));
	assert_true(offered(g) & BIT(VIOMMU_VIRTIO_F_VERSION_1));
}

static void virtio_device_features_02(void **state)
{
	struct guest *g = *state;
	uint64_t own = offered(g) & ~NEEDED;

	/* Every subset of the optional bits that the device can do. */
	for (uint64_t some = own;; some = (some - 1) & own) {
		if ((some & 3) != 2)
			assert_true(negotiate(g, some | NEEDED));
		if (!some)
			break;
	}
}

static void virtio_device_features_03(void **state)
{
	struct guest *g = *state;

	assert_false(negotiate(g, NEEDED | 2));	     /* the device says no */
	assert_false(negotiate(g, NEEDED | BIT(5))); /* never offered */
	assert_false(negotiate(g, NEEDED & ~BIT(VIOMMU_VIRTIO_F_VERSION_1)));
	assert_false(negotiate(g, NEEDED & ~BIT(VIOMMU_VIRTIO_F_ACCESS_PLATFORM)));
}

static void virtio_device_features_04(void **state)
{
	struct guest *g = *state;
	uint64_t own = offered(g);

	for (unsigned bit = 0; bit < 64; bit++)
		if (own & BIT(bit))
			assert_true(negotiate(g, NEEDED | BIT(bit) | (bit == 1)));
}

static void virtio_device_features_05(void **state)
{
	struct guest *g = *state;
	uint64_t own = offered(g);

	for (unsigned turn = 0; turn < 10; turn++) {
		bring_up(g, own);
		assert_int_equal(viommu_virtio_pci_features(g->vp), own);
	}
}

static void virtio_device_features_06(void **state)
{
	assert_true(offered(*state) & BIT(VIOMMU_VIRTIO_F_VERSION_1));
}

/* Not offered: chains are given back as they are done. A driver that takes it all
 * the same is refused. */
static void virtio_device_features_07(void **state)
{
	assert_false(offered(*state) & BIT(F_IN_ORDER));
	assert_false(negotiate(*state, NEEDED | BIT(F_IN_ORDER)));
}

/* ---- reset ---- */

static void virtio_device_reset_01(void **state)
{
	struct guest *g = *state;

	bring_up(g, NEEDED);
	viommu_pci_reset(g->pci); /* FLR or the bus */
	assert_int_equal(get(g, STATUS, 1), 0);
	assert_int_equal(viommu_virtio_pci_status(g->vp), 0);
}

static void virtio_device_reset_02(void **state)
{
	struct guest *g = *state;

	bring_up(g, NEEDED);
	viommu_virtio_pci_queue_irq(g->vp, 0);
	set(g, STATUS, 1, 0);
	assert_false(g->pin);
	assert_false(g->enabled[0] || g->enabled[1]);
	viommu_virtio_pci_queue_irq(g->vp, 0);
	viommu_virtio_pci_config_irq(g->vp);
	assert_false(g->pin);
	kick(g, 0);
	assert_int_equal(g->kicks[0], 0);
}

/* ---- configuration ---- */

static void virtio_device_config_01(void **state)
{
	struct guest *g = *state;

	for (unsigned i = 0; i < CONFIG_LEN; i++)
		g->config[i] = (uint8_t)(0x11 * i);
	assert_int_equal(bar_get(g, g->at[4], 4), 0x33221100);
	set(g, STATUS, 1, ACKNOWLEDGE);
	assert_int_equal(bar_get(g, g->at[4] + 4, 2), 0x5544);
	set(g, STATUS, 1, ACKNOWLEDGE | DRIVER);
	assert_int_equal(bar_get(g, g->at[4] + 7, 1), 0x77);
}

static void virtio_device_config_generation_01(void **state)
{
	struct guest *g = *state;

	bring_up(g, NEEDED);
	for (unsigned i = 0; i < 600; i++) {
		uint64_t before = get(g, GENERATION, 1);

		bar_get(g, g->at[4], 4);
		g->config[0]++;
		viommu_virtio_pci_config_irq(g->vp);
		bar_get(g, g->at[4], 4);
		assert_int_not_equal(get(g, GENERATION, 1), before);
	}
}

/* ---- PCI ---- */

static void virtio_device_pci_common_01(void **state)
{
	struct guest *g = *state;
	unsigned before;

	bring_up(g, NEEDED);
	before = g->resets;
	set(g, STATUS, 1, 0);
	assert_int_equal(g->resets, before + 1);
	assert_int_equal(get(g, STATUS, 1), 0);
}

static void virtio_device_pci_common_02(void **state)
{
	struct guest *g = *state;

	bring_up(g, NEEDED);
	for (unsigned i = 0; i < QUEUES_NR; i++)
		assert_int_equal(queue_get(g, i, QUEUE_ENABLE, 2), 1);
	set(g, STATUS, 1, 0);
	for (unsigned i = 0; i < QUEUES_NR; i++)
		assert_int_equal(queue_get(g, i, QUEUE_ENABLE, 2), 0);
}

static void virtio_device_pci_common_03(void **state)
{
	assert_int_equal(queue_get(*state, QUEUES_NR - 1, QUEUE_SIZE, 2), SIZE_OFFERED);
	assert_int_equal(queue_get(*state, QUEUES_NR, QUEUE_SIZE, 2), 0);
	assert_int_equal(queue_get(*state, 0xffff, QUEUE_SIZE, 2), 0);
}

static void virtio_device_pci_common_04(void **state)
{
	struct guest *g = *state;

	assert_true(negotiate(g, NEEDED));
	for (unsigned size = 0; size <= 2 * SIZE_OFFERED; size++) {
		uint64_t now;

		set(g, QUEUE_SELECT, 2, 0);
		set(g, QUEUE_SIZE, 2, size);
		now = get(g, QUEUE_SIZE, 2);
		assert_int_equal(now & (now - 1), 0);
		assert_in_range(now, 1, SIZE_OFFERED);
	}
}

static void virtio_device_queue_reset_01(void **state)
{
	struct guest *g = *state;

	bring_up(g, NEEDED | BIT(F_RING_RESET));
	set(g, QUEUE_SELECT, 2, 0);
	set(g, QUEUE_RESET, 2, 1);
	assert_false(g->enabled[0]);
	assert_int_equal(get(g, QUEUE_RESET, 2), 0);
	viommu_virtio_pci_queue_irq(g->vp, 0);
	assert_false(g->pin);
	kick(g, 0);
	assert_int_equal(g->kicks[0], 0);
	/* The other queue goes on. */
	kick(g, 1);
	assert_int_equal(g->kicks[1], 1);
	viommu_virtio_pci_queue_irq(g->vp, 1);
	assert_true(g->pin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(virtio_device_status_01, setup, teardown),
		cmocka_unit_test_setup_teardown(virtio_device_status_02, setup, teardown),
		cmocka_unit_test_setup_teardown(virtio_device_status_03, setup, teardown),
		cmocka_unit_test_setup_teardown(virtio_device_features_01, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_features_02, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_features_03, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_features_04, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_features_05, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_features_06, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_features_07, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_reset_01, setup, teardown),
		cmocka_unit_test_setup_teardown(virtio_device_reset_02, setup, teardown),
		cmocka_unit_test_setup_teardown(virtio_device_config_01, setup, teardown),
		cmocka_unit_test_setup_teardown(virtio_device_config_generation_01, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_pci_common_01, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_pci_common_02, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_pci_common_03, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_pci_common_04, setup,
						teardown),
		cmocka_unit_test_setup_teardown(virtio_device_queue_reset_01, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("virtio transport", tests, NULL, NULL);
}
