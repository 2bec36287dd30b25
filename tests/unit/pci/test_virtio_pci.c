/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The virtio-pci transport, driven as a guest does: through BARs and capabilities. */
#include "virtio_fixture.h"

#include <errno.h>

#include "base/limits.h"

static void test_identity(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cfg_read(f, 0, 4), 0x10571af4);
	assert_true(cfg_read(f, 8, 1) >= 1);	   /* revision: not transitional */
	assert_true(cfg_read(f, 0x2e, 2) >= 0x40); /* subsystem device */
	assert_int_equal(cfg_read(f, 9, 3), 0x00ff00);
	assert_true(f->common_len >= 0x38);
	assert_int_equal(f->device_len, CONFIG_LEN);
	assert_int_equal(f->notify_scale, 4);
	assert_int_equal(f->notify_len, QUEUES * 4);
	assert_int_not_equal(f->window, 0);
	assert_int_equal(rd(f, f->common + NUMQ, 2), QUEUES);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0);
	assert_int_equal(rd(f, f->common + CVECTOR, 2), 0xffff);
}

static void test_offer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(offered_features(f), f->offer | 7ull << 32);
	for (unsigned i = 2; i < 6; i++) {
		wr(f, f->common + DFSELECT, 4, i);
		assert_int_equal(rd(f, f->common + DF, 4), 0);
	}
	wr(f, f->common + DFSELECT, 4, UINT32_MAX);
	assert_int_equal(rd(f, f->common + DF, 4), 0);
	wr(f, f->common + DF, 4, 0x1234); /* read-only */
	assert_int_equal(offered_features(f), f->offer | 7ull << 32);
}

static void test_features_accepted(void **state)
{
	struct fixture *f = *state;

	assert_true(negotiate(f, NEEDED | 0x3));
	assert_int_equal(f->features, NEEDED | 0x3);
	assert_int_equal(viommu_virtio_pci_features(f->vp), NEEDED | 0x3);
	/* Settled: further writes change nothing. */
	accept_features(f, NEEDED | 0x7);
	assert_int_equal(viommu_virtio_pci_features(f->vp), NEEDED | 0x3);
	wr(f, f->common + STATUS, 1, 0);
	assert_int_equal(viommu_virtio_pci_features(f->vp), 0);
}

static void test_features_refused(void **state)
{
	struct fixture *f = *state;

	assert_false(negotiate(f, NEEDED | 1ull << 5)); /* was not offered */
	assert_false(negotiate(f, 1ull << 33));		/* no VERSION_1 */
	assert_false(negotiate(f, 1ull << 32));		/* no ACCESS_PLATFORM */
	f->refuse_features = -1;
	assert_false(negotiate(f, NEEDED));
	f->refuse_features = 0;
	assert_int_equal(viommu_virtio_pci_features(f->vp), 0);
	/* A refused driver may try again without a reset. */
	assert_int_equal(rd(f, f->common + STATUS, 1), 3);
	wr(f, f->common + STATUS, 1, 0xb);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0xb);
}

static void test_features_beyond_64(void **state)
{
	struct fixture *f = *state;

	for (unsigned select = 2; select < 4; select++) {
		wr(f, f->common + STATUS, 1, 0);
		accept_features(f, NEEDED);
		wr(f, f->common + GFSELECT, 4, select);
		wr(f, f->common + GF, 4, 1);
		assert_int_equal(rd(f, f->common + GF, 4), 1);
		wr(f, f->common + STATUS, 1, 0xb);
		assert_int_equal(rd(f, f->common + STATUS, 1), 3);
	}
	wr(f, f->common + GFSELECT, 4, UINT32_MAX);
	wr(f, f->common + GF, 4, 1);
	assert_int_equal(rd(f, f->common + GF, 4), 0);
}

static void test_access_platform_optional(void **state)
{
	struct fixture *f = *state;
	struct viommu_virtio_pci_config c = virtio_config;

	viommu_virtio_pci_destroy(f->vp);
	c.access_platform = false;
	c.packed = false;
	create_with(f, &c, &virtio_ops);
	assert_int_equal(offered_features(f), f->offer | 1ull << 32);
	assert_true(negotiate(f, 1ull << 32));
}

static void test_status_bits(void **state)
{
	struct fixture *f = *state;

	wr(f, f->common + STATUS, 1, 4); /* DRIVER_OK without FEATURES_OK */
	assert_int_equal(rd(f, f->common + STATUS, 1), 0);
	assert_int_equal(f->driver_ok, 0);
	bus_master(f, true);
	wr(f, f->common + STATUS, 1, 0x40); /* NEEDS_RESET is the device's */
	assert_int_equal(rd(f, f->common + STATUS, 1), 0);
	wr(f, f->common + STATUS, 1, 0x83);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0x83);
	wr(f, f->common + STATUS, 1, 1); /* a bit is never taken back */
	assert_int_equal(rd(f, f->common + STATUS, 1), 0x83);
	/* All at once, features first. */
	wr(f, f->common + STATUS, 1, 0);
	accept_features(f, NEEDED);
	wr(f, f->common + STATUS, 1, 0xf);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0xf);
	assert_int_equal(f->driver_ok, 1);
	wr(f, f->common + STATUS, 1, 0xf);
	assert_int_equal(f->driver_ok, 1);
	assert_int_equal(viommu_virtio_pci_status(f->vp), 0xf);
}

static void test_reset_by_status(void **state)
{
	struct fixture *f = *state;

	bring_up(f, NEEDED);
	wr(f, f->common + CVECTOR, 2, 1);
	wr(f, f->common + QSELECT, 2, 1);
	wr(f, f->common + QVECTOR, 2, 2);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	assert_true(f->pin);
	wr(f, f->common + STATUS, 1, 0);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0);
	assert_false(f->pin);
	assert_int_equal(f->resets, 2); /* the driver's own at the start, and this */
	assert_int_equal(f->disables, QUEUES);
	assert_int_equal(rd(f, f->isr, 1), 0);
	assert_int_equal(rd(f, f->common + CVECTOR, 2), 0xffff);
	for (unsigned i = 0; i < QUEUES; i++) {
		wr(f, f->common + QSELECT, 2, i);
		assert_int_equal(rd(f, f->common + QENABLE, 2), 0);
		assert_int_equal(rd(f, f->common + QVECTOR, 2), 0xffff);
		assert_int_equal(rd(f, f->common + QSIZE, 2), QUEUE_SIZE);
		assert_int_equal(rd(f, f->common + QDESC, 8), 0);
	}
	/* Nothing comes out of a device that was reset. */
	viommu_virtio_pci_queue_irq(f->vp, 0);
	viommu_virtio_pci_config_irq(f->vp);
	assert_false(f->pin);
	wr(f, f->notify, 2, 0);
	assert_int_equal(f->notified[0], 0);
	bring_up(f, NEEDED); /* and again */
}

static void test_flr_resets(void **state)
{
	struct fixture *f = *state;
	unsigned at;

	bring_up(f, NEEDED);
	f->resets = 0;
	for (at = cfg_read(f, 0x34, 1); cfg_read(f, at, 1) != 0x10;)
		at = cfg_read(f, at + 1, 1);
	cfg_write(f, at + 8, 2, 0x8000);
	assert_int_equal(f->resets, 1);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0);
	viommu_pci_reset(f->pci);
	assert_int_equal(f->resets, 2);
}

static void test_queue_setup(void **state)
{
	struct fixture *f = *state;

	assert_true(negotiate(f, NEEDED | 1ull << 29));
	wr(f, f->common + QSELECT, 2, 1);
	wr(f, f->common + QSIZE, 2, 64);
	/* Halves in any order, and bytes. */
	wr(f, f->common + QDESC + 4, 4, 0x11);
	wr(f, f->common + QDESC, 4, 0x22330000);
	wr(f, f->common + QDRIVER, 4, 0x44550000);
	wr(f, f->common + QDRIVER + 4, 4, 0x66);
	for (unsigned i = 0; i < 8; i++)
		wr(f, f->common + QDEVICE + i, 1, 0x80 + i);
	assert_int_equal(rd(f, f->common + QDESC, 8), 0x1122330000);
	assert_int_equal(rd(f, f->common + QDRIVER + 4, 4), 0x66);
	wr(f, f->common + QENABLE, 2, 1);
	assert_int_equal(rd(f, f->common + QENABLE, 2), 1);
	assert_int_equal(f->ring[1].size, 64);
	assert_int_equal(f->ring[1].desc, 0x1122330000);
	assert_int_equal(f->ring[1].driver, 0x6644550000);
	assert_int_equal(f->ring[1].device, 0x8786858483828180ull);
	assert_true(f->ring[1].event_idx);
	assert_false(f->ring[1].indirect);
	assert_false(f->ring[1].packed);
	/* Fixed while it is enabled. */
	wr(f, f->common + QDESC, 8, 0);
	wr(f, f->common + QSIZE, 2, 128);
	wr(f, f->common + QENABLE, 2, 0);
	assert_int_equal(rd(f, f->common + QENABLE, 2), 1);
	assert_int_equal(rd(f, f->common + QDESC, 8), 0x1122330000);
	assert_int_equal(rd(f, f->common + QSIZE, 2), 64);
	/* The others are untouched. */
	wr(f, f->common + QSELECT, 2, 2);
	assert_int_equal(rd(f, f->common + QDESC, 8), 0);
	assert_int_equal(rd(f, f->common + QSIZE, 2), QUEUE_SIZE);
	assert_int_equal(rd(f, f->common + QNOTIFY, 2), 2);
}

static void test_queue_size(void **state)
{
	struct fixture *f = *state;

	assert_true(negotiate(f, NEEDED));
	wr(f, f->common + QSIZE, 2, 0);
	wr(f, f->common + QSIZE, 2, 100); /* split: powers of two only */
	wr(f, f->common + QSIZE, 2, QUEUE_SIZE * 2);
	assert_int_equal(rd(f, f->common + QSIZE, 2), QUEUE_SIZE);
	wr(f, f->common + QSIZE, 2, 1);
	assert_int_equal(rd(f, f->common + QSIZE, 2), 1);
	assert_true(negotiate(f, NEEDED | 1ull << 34));
	wr(f, f->common + QSIZE, 2, 100);
	assert_int_equal(rd(f, f->common + QSIZE, 2), 100);
	wr(f, f->common + QSIZE, 2, QUEUE_SIZE + 1);
	assert_int_equal(rd(f, f->common + QSIZE, 2), 100);
	wr(f, f->common + QENABLE, 2, 1);
	assert_true(f->ring[0].packed);
}

static void test_queue_that_does_not_exist(void **state)
{
	struct fixture *f = *state;

	assert_true(negotiate(f, NEEDED));
	for (unsigned q = QUEUES; q <= 0xffff; q += 0xffff - QUEUES) {
		wr(f, f->common + QSELECT, 2, q);
		enable(f, q);
		wr(f, f->common + QVECTOR, 2, 1);
		assert_int_equal(rd(f, f->common + QSIZE, 2), 0);
		assert_int_equal(rd(f, f->common + QENABLE, 2), 0);
		assert_int_equal(rd(f, f->common + QVECTOR, 2), 0xffff);
		assert_int_equal(rd(f, f->common + QDESC, 8), 0);
	}
}

static void test_queue_refused(void **state)
{
	struct fixture *f = *state;

	wr(f, f->common + QSELECT, 2, 0);
	wr(f, f->common + QENABLE, 2, 1); /* before FEATURES_OK */
	assert_int_equal(rd(f, f->common + QENABLE, 2), 0);
	assert_true(negotiate(f, NEEDED));
	f->refuse_queue = -EINVAL;
	enable(f, 0);
	assert_int_equal(rd(f, f->common + QENABLE, 2), 0);
	wr(f, f->common + QENABLE, 2, 2); /* only 1 enables */
	f->refuse_queue = 0;
	wr(f, f->common + QENABLE, 2, 0x101);
	assert_int_equal(rd(f, f->common + QENABLE, 2), 0);
	wr(f, f->common + QENABLE, 2, 1);
	assert_int_equal(rd(f, f->common + QENABLE, 2), 1);
}

static void test_ring_reset(void **state)
{
	struct fixture *f = *state;

	bring_up(f, NEEDED);
	wr(f, f->common + QSELECT, 2, 1);
	wr(f, f->common + QRESET, 2, 1); /* not accepted */
	assert_true(f->enabled[1]);
	wr(f, f->common + STATUS, 1, 0);
	bring_up(f, NEEDED | 1ull << 40);
	f->disables = 0;
	wr(f, f->common + QSELECT, 2, 1);
	wr(f, f->common + QVECTOR, 2, 2);
	wr(f, f->common + QRESET, 2, 0); /* only 1 resets */
	assert_true(f->enabled[1]);
	wr(f, f->common + QRESET, 2, 1);
	assert_int_equal(f->disables, 1);
	assert_int_equal(rd(f, f->common + QRESET, 2), 0); /* done */
	assert_int_equal(rd(f, f->common + QENABLE, 2), 0);
	assert_int_equal(rd(f, f->common + QVECTOR, 2), 0xffff);
	wr(f, f->common + QRESET, 2, 1); /* of a disabled queue */
	assert_int_equal(f->disables, 1);
	viommu_virtio_pci_queue_irq(f->vp, 1);
	assert_false(f->pin);
	wr(f, f->notify + 4, 2, 1);
	assert_int_equal(f->notified[1], 0);
	wr(f, f->common + QSIZE, 2, 16);
	enable(f, 1);
	assert_int_equal(f->ring[1].size, 16);
	assert_true(f->enabled[0] && f->enabled[1] && f->enabled[2]);
}

static void test_kicks(void **state)
{
	struct fixture *f = *state;
	struct viommu_virtio_pci_stats s;

	assert_true(negotiate(f, NEEDED));
	enable(f, 0);
	wr(f, f->notify, 2, 0); /* before DRIVER_OK */
	assert_int_equal(f->notified[0], 0);
	wr(f, f->common + STATUS, 1, 0xf);
	wr(f, f->notify, 2, 0);
	wr(f, f->notify, 4, 0);
	wr(f, f->notify, 1, 0);
	wr(f, f->notify + 4, 2, 1);	     /* not enabled */
	wr(f, f->notify + 4 * QUEUES, 2, 0); /* past the last */
	wr(f, f->notify + 0xffc, 2, 0);
	assert_int_equal(f->notified[0], 3);
	assert_int_equal(f->notified[1], 0);
	viommu_virtio_pci_get_stats(f->vp, &s);
	assert_int_equal(s.kicks[0], 3);
	assert_int_equal(s.kicks_ignored, 4);
	assert_int_equal(rd(f, f->notify, 4), 0);
}

static void test_isr_and_intx(void **state)
{
	struct fixture *f = *state;
	struct viommu_virtio_pci_stats s;

	bring_up(f, NEEDED);
	viommu_virtio_pci_queue_irq(f->vp, 1);
	assert_true(f->pin);
	viommu_virtio_pci_config_irq(f->vp);
	wr(f, f->isr, 1, 0); /* not writable */
	assert_int_equal(rd(f, f->isr, 1), 3);
	assert_false(f->pin);
	assert_int_equal(rd(f, f->isr, 1), 0);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	assert_int_equal(rd(f, f->isr, 4), 1); /* any width */
	assert_false(f->pin);
	viommu_virtio_pci_queue_irq(f->vp, QUEUES);
	viommu_virtio_pci_queue_irq(f->vp, UINT32_MAX);
	assert_false(f->pin);
	viommu_virtio_pci_get_stats(f->vp, &s);
	assert_int_equal(s.irqs[0], 1);
	assert_int_equal(s.irqs[1], 1);
	assert_int_equal(s.config_irqs, 1);
}

static void test_msix_vectors(void **state)
{
	struct fixture *f = *state;

	bring_up(f, NEEDED);
	enable_msix(f);
	viommu_virtio_pci_queue_irq(f->vp, 0); /* no vector yet */
	wr(f, f->common + CVECTOR, 2, 0);
	wr(f, f->common + QSELECT, 2, 0);
	wr(f, f->common + QVECTOR, 2, QUEUES); /* the last there is */
	assert_int_equal(rd(f, f->common + CVECTOR, 2), 0);
	assert_int_equal(rd(f, f->common + QVECTOR, 2), QUEUES);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	assert_int_equal(rd(f, f->isr, 1), 0); /* a queue's bit is for INTx */
	viommu_virtio_pci_config_irq(f->vp);
	assert_int_equal(f->msix[QUEUES], 1);
	assert_int_equal(f->msix[0], 1);
	assert_false(f->pin);
	assert_int_equal(rd(f, f->isr, 1), 2); /* DPDK asks it what has changed */
	assert_int_equal(rd(f, f->isr, 1), 0);
	/* One past the last: the read-back tells the driver. */
	wr(f, f->common + QVECTOR, 2, QUEUES + 1);
	assert_int_equal(rd(f, f->common + QVECTOR, 2), 0xffff);
	wr(f, f->common + CVECTOR, 2, 0x8000);
	assert_int_equal(rd(f, f->common + CVECTOR, 2), 0xffff);
	viommu_virtio_pci_config_irq(f->vp); /* a driver that polls */
	assert_int_equal(rd(f, f->isr, 1), 2);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	assert_int_equal(f->msix[QUEUES], 1);
}

static void test_device_config(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rd(f, f->device, 8), 0x0807060504030201ull);
	assert_int_equal(rd(f, f->device + 36, 1), 37);
	/* What lies behind reads as zero, across the end too. */
	assert_int_equal(rd(f, f->device + 36, 4), 37);
	assert_int_equal(rd(f, f->device + 32, 8), 0x2524232221ull);
	assert_int_equal(rd(f, f->device + 40, 8), 0);
	assert_int_equal(rd(f, f->device + 0xff8, 8), 0);
	wr(f, f->device + 36, 4, 0x11223344);
	assert_int_equal(f->config[36], 0x44);
	wr(f, f->device + 37, 1, 0xff);
	wr(f, f->device + 1, 2, 0xbeef);
	assert_int_equal(f->config[1], 0xef);
	assert_int_equal(f->config[2], 0xbe);
}

static void test_generation(void **state)
{
	struct fixture *f = *state;
	unsigned before = rd(f, f->common + GENERATION, 1);

	viommu_virtio_pci_config_irq(f->vp); /* nobody has read anything */
	assert_int_equal(rd(f, f->common + GENERATION, 1), before);
	rd(f, f->device, 4);
	/* Even 256 changes between two reads look different. */
	for (int i = 0; i < 256; i++)
		viommu_virtio_pci_config_irq(f->vp);
	assert_int_not_equal(rd(f, f->common + GENERATION, 1), before);
	before = rd(f, f->common + GENERATION, 1);
	rd(f, f->device, 4);
	assert_int_equal(rd(f, f->common + GENERATION, 1), before);
	wr(f, f->common + GENERATION, 1, before + 1); /* read-only */
	assert_int_equal(rd(f, f->common + GENERATION, 1), before);
}

static void test_needs_reset(void **state)
{
	struct fixture *f = *state;

	viommu_virtio_pci_needs_reset(f->vp); /* before DRIVER_OK: no interrupt */
	assert_int_equal(rd(f, f->common + STATUS, 1), 0x40);
	assert_false(f->pin);
	bring_up(f, NEEDED);
	viommu_virtio_pci_needs_reset(f->vp);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0x4f);
	assert_int_equal(rd(f, f->isr, 1), 2);
	wr(f, f->common + STATUS, 1, 0xf);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0x4f);
	wr(f, f->common + STATUS, 1, 0);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0);
}

static void window(struct fixture *f, uint32_t offset, uint32_t len)
{
	cfg_write(f, f->window + 4, 1, 0);
	cfg_write(f, f->window + 8, 4, offset);
	cfg_write(f, f->window + 12, 4, len);
}

static void test_config_window(void **state)
{
	struct fixture *f = *state;

	window(f, f->device + 4, 4);
	assert_int_equal(cfg_read(f, f->window + 16, 4), 0x08070605);
	window(f, f->device + 1, 1);
	assert_int_equal(cfg_read(f, f->window + 16, 1), 2);
	window(f, f->common + STATUS, 1);
	cfg_write(f, f->window + 16, 1, 3);
	assert_int_equal(rd(f, f->common + STATUS, 1), 3);
	window(f, f->common + QSELECT, 2);
	cfg_write(f, f->window + 16, 4, 0xffff0002);
	assert_int_equal(rd(f, f->common + QSELECT, 2), 2);
	/* Refused: width, alignment, range, BAR. */
	window(f, f->common + STATUS, 3);
	cfg_write(f, f->window + 16, 4, 0x0f0f0f0f);
	window(f, f->common + STATUS, 0);
	cfg_write(f, f->window + 16, 4, 0x0f0f0f0f);
	window(f, f->common + 0x13, 2);
	cfg_write(f, f->window + 16, 4, 0x0f0f0f0f);
	window(f, 0xfffffffc, 4);
	cfg_write(f, f->window + 16, 4, 0x0f0f0f0f);
	cfg_read(f, f->window + 16, 4);
	cfg_write(f, f->window + 4, 1, 0xff);
	cfg_write(f, f->window + 16, 4, 0x0f0f0f0f);
	cfg_read(f, f->window + 16, 4);
	assert_int_equal(rd(f, f->common + STATUS, 1), 3);
	/* The whole of configuration space is read at once by a VMM. */
	viommu_pci_reset(f->pci);
	bring_up(f, NEEDED);
	viommu_virtio_pci_queue_irq(f->vp, 0);
	cfg_read(f, f->window + 16, 4); /* length 0: ISR is not touched */
	assert_true(f->pin);
	/* A reset through the window, from inside it. */
	window(f, f->common + STATUS, 1);
	cfg_write(f, f->window + 16, 1, 0);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0);
}

static int try_create(struct fixture *f, const struct viommu_virtio_pci_config *c,
		      const struct viommu_virtio_ops *o)
{
	struct viommu_virtio_pci *vp = NULL;
	int r = viommu_virtio_pci_create(c, o, f, &f->ta.ops, &f->log, &vp);

	viommu_virtio_pci_destroy(vp);
	return r;
}

#define REFUSED(change)                                                                  \
	do {                                                                             \
		struct viommu_virtio_pci_config c = virtio_config;                       \
		change;                                                                  \
		assert_int_equal(try_create(f, &c, &virtio_ops), -EINVAL);               \
	} while (0)

static void test_create_checks(void **state)
{
	struct fixture *f = *state;
	struct viommu_virtio_pci_config most = virtio_config;

	REFUSED(c.queues_nr = 0);
	REFUSED(c.queues_nr = VIOMMU_VIRTIO_QUEUES_MAX + 1);
	REFUSED(c.queue_size = 0);
	REFUSED(c.queue_size = 100);
	REFUSED(c.config_len = 4097);
	most.queues_nr = VIOMMU_VIRTIO_QUEUES_MAX;
	most.config_len = 4096;
	assert_int_equal(try_create(f, &most, &virtio_ops), 0);
	most.config_len = 0;
	assert_int_equal(try_create(f, &most, &virtio_ops), 0);
	assert_int_equal(try_create(f, &virtio_config, &(struct viommu_virtio_ops){0}),
			 -EINVAL);
	for (unsigned nth = 1; nth <= 2; nth++) {
		test_alloc_fail(&f->ta, nth);
		assert_int_equal(try_create(f, &virtio_config, &virtio_ops), -ENOMEM);
	}
}

static void test_guest_cannot_flood_the_log(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < LIMIT_GUEST_LOG_LINES; i++)
		assert_false(negotiate(f, 0));
	assert_int_equal(f->lines, LIMIT_GUEST_LOG_LINES);
	assert_false(negotiate(f, 0));
	assert_int_equal(f->lines, LIMIT_GUEST_LOG_LINES);
}

static void random_access(struct fixture *f, struct rng *r)
{
	uint8_t buf[16];
	unsigned len = (unsigned)rng_below(r, sizeof(buf) + 1);
	uint64_t offset = (rng_next(r) & 3) << 12 | rng_below(r, 0x48);
	uint64_t fill = rng_chance(r, 50) ? rng_below(r, 16) : rng_next(r);

	memset(buf, 0, sizeof(buf));
	memcpy(buf, &fill, sizeof(fill));
	switch (rng_below(r, 6)) {
	case 0:
	case 1:
		viommu_pci_bar_write(f->pci, 0, offset, buf, len);
		break;
	case 2:
		viommu_pci_bar_read(f->pci, 0, offset, buf, len);
		break;
	case 3:
		viommu_pci_config_write(f->pci, rng_below(r, 0x110), buf, len);
		break;
	case 4:
		viommu_pci_config_read(f->pci, rng_below(r, 0x110), buf, len);
		break;
	default:
		viommu_virtio_pci_queue_irq(f->vp, rng_below(r, QUEUES + 1));
		viommu_virtio_pci_config_irq(f->vp);
	}
}

/* Whatever the guest does: the device's own asserts hold, a driver gets through. */
static void test_random_guest(void **state)
{
	struct fixture *f = *state;
	struct rng r = rng_init(test_seed());

	for (int i = 0; i < 200; i++) {
		if (rng_chance(&r, 50))
			bring_up(f, NEEDED | 1ull << 40);
		for (int j = 0; j < 300; j++)
			random_access(f, &r);
		viommu_pci_reset(f->pci);
	}
	bring_up(f, NEEDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_identity),
		CASE(test_offer),
		CASE(test_features_accepted),
		CASE(test_features_refused),
		CASE(test_features_beyond_64),
		CASE(test_access_platform_optional),
		CASE(test_status_bits),
		CASE(test_reset_by_status),
		CASE(test_flr_resets),
		CASE(test_queue_setup),
		CASE(test_queue_size),
		CASE(test_queue_that_does_not_exist),
		CASE(test_queue_refused),
		CASE(test_ring_reset),
		CASE(test_kicks),
		CASE(test_isr_and_intx),
		CASE(test_msix_vectors),
		CASE(test_device_config),
		CASE(test_generation),
		CASE(test_needs_reset),
		CASE(test_config_window),
		CASE(test_create_checks),
		CASE(test_guest_cannot_flood_the_log),
		CASE(test_random_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
