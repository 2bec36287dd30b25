/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "virtio_fixture.h"

/* ---- the device ---- */

static uint64_t features(void *opaque)
{
	return ((struct fixture *)opaque)->offer;
}

static int set_features(void *opaque, uint64_t value)
{
	struct fixture *f = opaque;

	f->features = value;
	return f->refuse_features;
}

static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	struct fixture *f = opaque;

	assert_true(offset + len <= CONFIG_LEN && len);
	memcpy(buf, f->config + offset, len);
}

static void config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	struct fixture *f = opaque;

	assert_true(offset + len <= CONFIG_LEN && len);
	memcpy(f->config + offset, buf, len);
}

static int queue_enable(void *opaque, unsigned queue,
			const struct viommu_virtq_config *ring)
{
	struct fixture *f = opaque;

	assert_true(queue < QUEUES && !f->enabled[queue]);
	f->ring[queue] = *ring;
	f->enabled[queue] = !f->refuse_queue;
	return f->refuse_queue;
}

static void queue_disable(void *opaque, unsigned queue)
{
	struct fixture *f = opaque;

	assert_true(queue < QUEUES && f->enabled[queue]);
	f->enabled[queue] = false;
	f->disables++;
}

static void notify(void *opaque, unsigned queue)
{
	struct fixture *f = opaque;

	assert_true(queue < QUEUES && f->enabled[queue] && f->driver_ok);
	f->notified[queue]++;
}

static void driver_ok(void *opaque)
{
	((struct fixture *)opaque)->driver_ok++;
}

/* A device that tries to interrupt meanwhile has no effect. */
static void driver_left(void *opaque)
{
	struct fixture *f = opaque;

	assert_false(viommu_pci_bus_master(f->pci));
	f->left++;
	for (unsigned i = 0; i < QUEUES; i++) {
		f->enabled[i] = false;
		viommu_virtio_pci_queue_irq(f->vp, i);
	}
	viommu_virtio_pci_config_irq(f->vp);
}

static void reset(void *opaque)
{
	struct fixture *f = opaque;

	for (int i = 0; i < QUEUES; i++)
		assert_false(f->enabled[i]);
	f->resets++;
	/* A device that tries to interrupt while it is reset has no effect. */
	viommu_virtio_pci_queue_irq(f->vp, 0);
	viommu_virtio_pci_config_irq(f->vp);
}

const struct viommu_virtio_ops virtio_ops = {
	.features = features,
	.set_features = set_features,
	.config_read = config_read,
	.config_write = config_write,
	.queue_enable = queue_enable,
	.queue_disable = queue_disable,
	.notify = notify,
	.driver_ok = driver_ok,
	.driver_left = driver_left,
	.reset = reset,
};

static void on_msix(void *opaque, unsigned vector)
{
	((struct fixture *)opaque)->msix[vector]++;
}

static void on_intx(void *opaque, bool asserted)
{
	((struct fixture *)opaque)->pin = asserted;
}

static const struct viommu_pci_irq_ops irq_ops = {
	.msix = on_msix,
	.intx = on_intx,
	.keeps_msix_table = true,
};

static void count_line(void *opaque, enum viommu_log_level level, const char *msg)
{
	(void)level;
	(void)msg;
	((struct fixture *)opaque)->lines++;
}

/* ---- the guest ---- */

uint64_t cfg_read(struct fixture *f, unsigned offset, unsigned len)
{
	uint64_t value = 0;

	viommu_pci_config_read(f->pci, offset, &value, len);
	return value;
}

void cfg_write(struct fixture *f, unsigned offset, unsigned len, uint64_t value)
{
	viommu_pci_config_write(f->pci, offset, &value, len);
}

uint64_t rd(struct fixture *f, unsigned offset, unsigned len)
{
	uint64_t value = 0;

	assert_int_equal(viommu_pci_bar_read(f->pci, 0, offset, &value, len), 0);
	return value;
}

void wr(struct fixture *f, unsigned offset, unsigned len, uint64_t value)
{
	assert_int_equal(viommu_pci_bar_write(f->pci, 0, offset, &value, len), 0);
}

static void find_caps(struct fixture *f)
{
	for (unsigned at = cfg_read(f, 0x34, 1); at; at = cfg_read(f, at + 1, 1)) {
		unsigned offset = cfg_read(f, at + 8, 4), len = cfg_read(f, at + 12, 4);

		if (cfg_read(f, at, 1) != 9)
			continue;
		assert_int_equal(cfg_read(f, at + 4, 1), 0); /* BAR 0 */
		switch (cfg_read(f, at + 3, 1)) {
		case 1:
			f->common = offset;
			f->common_len = len;
			break;
		case 2:
			f->notify = offset;
			f->notify_len = len;
			f->notify_scale = cfg_read(f, at + 16, 4);
			assert_int_equal(cfg_read(f, at + 2, 1), 20);
			break;
		case 3:
			f->isr = offset;
			assert_true(len >= 1);
			break;
		case 4:
			f->device = offset;
			f->device_len = len;
			assert_int_equal(cfg_read(f, at + 2, 1), 16);
			break;
		case 5:
			f->window = at;
			break;
		default:
			fail();
		}
	}
}

void create_with(struct fixture *f, const struct viommu_virtio_pci_config *cfg,
		 const struct viommu_virtio_ops *o)
{
	assert_int_equal(viommu_virtio_pci_create(cfg, o, f, &f->ta.ops, &f->log, &f->vp),
			 0);
	f->pci = viommu_virtio_pci_function(f->vp);
	viommu_pci_set_irq_ops(f->pci, &irq_ops, f);
	find_caps(f);
}

const struct viommu_virtio_pci_config virtio_config = {
	.virtio_id = 23,
	.class_code = 0,
	.subclass = 0xff,
	.queues_nr = QUEUES,
	.queue_size = QUEUE_SIZE,
	.config_len = CONFIG_LEN,
	.access_platform = true,
	.packed = true,
};

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	test_alloc_init(&f->ta);
	f->log = (struct viommu_log){count_line, f, VIOMMU_LOG_DEBUG};
	f->offer = 0x5full | 1ull << 28 | 1ull << 29 | 1ull << 40;
	for (int i = 0; i < CONFIG_LEN; i++)
		f->config[i] = (uint8_t)(i + 1);
	create_with(f, &virtio_config, &virtio_ops);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	viommu_virtio_pci_destroy(f->vp);
	assert_int_equal(f->ta.live, 0);
	free(f);
	return 0;
}

uint64_t offered_features(struct fixture *f)
{
	uint64_t low;

	wr(f, f->common + DFSELECT, 4, 0);
	low = rd(f, f->common + DF, 4);
	wr(f, f->common + DFSELECT, 4, 1);
	return low | rd(f, f->common + DF, 4) << 32;
}

void accept_features(struct fixture *f, uint64_t value)
{
	for (unsigned i = 0; i < 2; i++) {
		wr(f, f->common + GFSELECT, 4, i);
		wr(f, f->common + GF, 4, (uint32_t)(value >> (32 * i)));
	}
}

void bus_master(struct fixture *f, bool on)
{
	cfg_write(f, 4, 2, on ? 6 : 2); /* memory, and bus master */
}

bool negotiate(struct fixture *f, uint64_t value)
{
	bus_master(f, true);
	wr(f, f->common + STATUS, 1, 0);
	wr(f, f->common + STATUS, 1, 1);
	wr(f, f->common + STATUS, 1, 3);
	accept_features(f, value);
	wr(f, f->common + STATUS, 1, 0xb);
	return rd(f, f->common + STATUS, 1) == 0xb;
}

void enable(struct fixture *f, unsigned queue)
{
	wr(f, f->common + QSELECT, 2, queue);
	wr(f, f->common + QDESC, 8, 0x10000 + queue * 0x10000);
	wr(f, f->common + QDRIVER, 8, 0x12000 + queue * 0x10000);
	wr(f, f->common + QDEVICE, 8, 0x13000 + queue * 0x10000);
	wr(f, f->common + QENABLE, 2, 1);
}

void bring_up(struct fixture *f, uint64_t value)
{
	assert_true(negotiate(f, value));
	for (unsigned i = 0; i < QUEUES; i++)
		enable(f, i);
	wr(f, f->common + STATUS, 1, 0xf);
	assert_int_equal(rd(f, f->common + STATUS, 1), 0xf);
}

void enable_msix(struct fixture *f)
{
	bus_master(f, true); /* a message is a write */
	for (unsigned at = cfg_read(f, 0x34, 1); at; at = cfg_read(f, at + 1, 1))
		if (cfg_read(f, at, 1) == 0x11)
			cfg_write(f, at + 2, 2, 0x8000);
	assert_true(viommu_pci_msix_enabled(f->pci));
}
