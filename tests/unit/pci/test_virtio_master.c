/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Which driver the virtio-pci transport serves: bus mastering. */
#include "virtio_fixture.h"

/* A driver that is up, with MSI-X and vectors: 0 configuration, i + 1 queue i. */
static void bring_up_msix(struct fixture *f)
{
	assert_true(negotiate(f, NEEDED | 1ull << 40));
	enable_msix(f);
	wr(f, f->common + CVECTOR, 2, 0);
	for (unsigned i = 0; i < QUEUES; i++) {
		enable(f, i);
		wr(f, f->common + QVECTOR, 2, i + 1);
	}
	wr(f, f->common + STATUS, 1, 0xf);
}

/* Whatever the driver and the device try. */
static void expect_nobody_is_served(struct fixture *f)
{
	struct viommu_virtio_pci_stats before, after;

	memset(f->msix, 0, sizeof(f->msix));
	memset(f->notified, 0, sizeof(f->notified));
	viommu_virtio_pci_get_stats(f->vp, &before);
	for (unsigned i = 0; i < QUEUES; i++) {
		enable(f, i);
		wr(f, f->common + QRESET, 2, 1);
		enable(f, i);
		assert_int_equal(rd(f, f->common + QENABLE, 2), 0);
		assert_false(f->enabled[i]);
		wr(f, f->notify + 4 * i, 2, i);
		viommu_virtio_pci_queue_irq(f->vp, i);
		assert_int_equal(f->notified[i], 0);
	}
	wr(f, f->common + STATUS, 1, 0xf);
	viommu_virtio_pci_config_irq(f->vp);
	viommu_virtio_pci_needs_reset(f->vp);
	for (unsigned i = 0; i <= QUEUES; i++)
		assert_int_equal(f->msix[i], 0);
	viommu_virtio_pci_get_stats(f->vp, &after);
	assert_int_equal(after.kicks_ignored, before.kicks_ignored + QUEUES);
	assert_int_equal(after.config_irqs, before.config_irqs);
}

/* Off and on again at once is seen: nothing lies between but the two writes. */
static void test_driver_that_leaves(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 1; i <= 2; i++) {
		bring_up_msix(f);
		assert_int_equal(f->driver_ok, i);
		f->disables = f->lines = 0;
		bus_master(f, false);
		assert_int_equal(f->left, i);
		bus_master(f, true);
		assert_int_equal(f->left, i);
		assert_int_equal(f->disables, 0);
		assert_int_equal(f->lines, 1);
		expect_nobody_is_served(f);
		bus_master(f, false);
		bus_master(f, true);
		expect_nobody_is_served(f);
		assert_int_equal(f->left, i);
		assert_int_equal(f->driver_ok, i);
		if (i & 1)
			wr(f, f->common + STATUS, 1, 0);
		else
			viommu_pci_reset(f->pci);
	}
	bring_up_msix(f);
	wr(f, f->notify, 2, 0);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	assert_int_equal(f->notified[0], 1);
	assert_int_equal(f->msix[1], 1);
}

/* A device that does not ask for it loses its queues one by one. */
static void test_driver_leaves_a_simple_device(void **state)
{
	struct viommu_virtio_ops simple = virtio_ops;
	struct fixture *f = *state;

	simple.driver_left = NULL;
	viommu_virtio_pci_destroy(f->vp);
	create_with(f, &virtio_config, &simple);
	bring_up_msix(f);
	wr(f, f->common + QSELECT, 2, 1);
	wr(f, f->common + QRESET, 2, 1); /* one that is not enabled is not told */
	f->disables = 0;
	bus_master(f, false);
	bus_master(f, true);
	assert_int_equal(f->disables, QUEUES - 1);
	expect_nobody_is_served(f);
	assert_int_equal(f->disables, QUEUES - 1);
	bring_up_msix(f);
	assert_int_equal(f->driver_ok, 2);
}

/* Before DRIVER_OK nobody leaves; other bits of the register mean nothing. */
static void test_bus_mastering_on_the_way_up(void **state)
{
	struct fixture *f = *state;

	assert_true(negotiate(f, NEEDED));
	enable(f, 0);
	bus_master(f, false);
	bus_master(f, true);
	assert_true(f->enabled[0]);
	wr(f, f->common + STATUS, 1, 0xf);
	assert_int_equal(f->driver_ok, 1);
	cfg_write(f, 4, 2, 4); /* memory off */
	cfg_write(f, 4, 2, 0x406);
	assert_int_equal(f->left, 0);
	assert_int_equal(f->driver_ok, 1);
	/* Written as a byte, or with its neighbours. */
	cfg_write(f, 4, 1, 2);
	assert_int_equal(f->left, 1);
	bring_up(f, NEEDED);
	cfg_write(f, 0, 8, 0);
	assert_int_equal(f->left, 2);
}

/* Some firmware masters the bus only after DRIVER_OK. */
static void test_driver_that_masters_the_bus_late(void **state)
{
	struct fixture *f = *state;

	assert_true(negotiate(f, NEEDED));
	enable_msix(f);
	wr(f, f->common + CVECTOR, 2, 0);
	bus_master(f, false);
	enable(f, 0);
	wr(f, f->common + QVECTOR, 2, 1);
	wr(f, f->common + STATUS, 1, 0xf);
	wr(f, f->notify, 2, 0);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	viommu_virtio_pci_config_irq(f->vp);
	assert_int_equal(f->driver_ok, 0);
	assert_int_equal(f->notified[0], 0);
	assert_int_equal(f->msix[0], 0);
	/* Now it may look at the rings, and hears what it would have heard. */
	bus_master(f, true);
	assert_int_equal(f->driver_ok, 1);
	assert_int_equal(f->msix[0], 1);
	assert_int_equal(f->msix[1], 0);
	wr(f, f->notify, 2, 0);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	assert_int_equal(f->notified[0], 1);
	assert_int_equal(f->msix[1], 1);
	/* And it may leave as any other. */
	bus_master(f, false);
	assert_int_equal(f->left, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_driver_that_leaves),
		CASE(test_driver_leaves_a_simple_device),
		CASE(test_bus_mastering_on_the_way_up),
		CASE(test_driver_that_masters_the_bus_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
