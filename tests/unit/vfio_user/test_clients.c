/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The sequences of two real clients, message by message: QEMU 11.1 as it was
 * logged from power-on to the driver's use, and Cloud Hypervisor as its client
 * is written, with a virtio device behind the server in both.
 */
#include "fixture.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <viommu/virtio_pci.h>

enum { QUEUES = 2, CONFIG = VFU_REGION_CONFIG };

/* The same server, before a virtio device. */
struct guest {
	struct fixture *f;
	struct viommu_pci *plain; /* the fixture's own function, put aside */
	struct viommu_virtio_pci *vp;
	unsigned kicks[QUEUES], enabled, resets;
};

static uint64_t features(void *opaque)
{
	(void)opaque;
	return 0x57;
}

static int set_features(void *opaque, uint64_t value)
{
	(void)opaque;
	(void)value;
	return 0;
}

static int queue_enable(void *opaque, unsigned queue,
			const struct viommu_virtq_config *ring)
{
	(void)queue;
	(void)ring;
	((struct guest *)opaque)->enabled++;
	return 0;
}

static void queue_disable(void *opaque, unsigned queue)
{
	(void)queue;
	((struct guest *)opaque)->enabled--;
}

static void notify(void *opaque, unsigned queue)
{
	((struct guest *)opaque)->kicks[queue]++;
}

static void reset(void *opaque)
{
	((struct guest *)opaque)->resets++;
}

static int setup_guest(void **state)
{
	static const struct viommu_virtio_ops ops = {
		.features = features,
		.set_features = set_features,
		.queue_enable = queue_enable,
		.queue_disable = queue_disable,
		.notify = notify,
		.reset = reset,
	};
	static const struct viommu_virtio_pci_config config = {.virtio_id = 23,
							       .subclass = 0xff,
							       .queues_nr = QUEUES,
							       .queue_size = 256};
	struct guest *g = calloc(1, sizeof(*g));
	void *s = NULL;

	setup(&s);
	g->f = s;
	g->plain = g->f->pci;
	viommu_vfu_destroy(g->f->vfu);
	assert_int_equal(viommu_virtio_pci_create(&config, &ops, g, &g->f->ta.ops,
						  &g->f->log, &g->vp),
			 0);
	g->f->pci = viommu_virtio_pci_function(g->vp);
	assert_int_equal(create_server(g->f, "guest", g->f->pci, g->f->mem, &g->f->vfu),
			 0);
	*state = g;
	return 0;
}

static int teardown_guest(void **state)
{
	struct guest *g = *state;
	void *s = g->f;

	vfu_client_close(&g->f->c);
	viommu_vfu_destroy(g->f->vfu);
	g->f->vfu = NULL;
	viommu_virtio_pci_destroy(g->vp);
	g->f->pci = g->plain;
	free(g);
	return teardown(&s);
}

static uint64_t rd(struct guest *g, uint32_t region, uint64_t offset, uint32_t len)
{
	uint64_t value = 0;

	assert_int_equal(vfu_client_read(&g->f->c, region, offset, &value, len), 0);
	return value;
}

static void wr(struct guest *g, uint32_t region, uint64_t offset, uint32_t len,
	       uint64_t value)
{
	assert_int_equal(vfu_client_write(&g->f->c, region, offset, &value, len), 0);
}

/* A guest's BAR write, as QEMU sends it. */
static void post(struct guest *g, uint64_t offset, uint32_t len, uint64_t value)
{
	assert_true(vfu_client_write_posted(&g->f->c, 0, offset, &value, len));
}

static unsigned find_cap(struct guest *g, uint8_t id)
{
	unsigned at = rd(g, CONFIG, 0x34, 1);

	while (at && rd(g, CONFIG, at, 1) != id)
		at = rd(g, CONFIG, at + 1, 1);
	assert_int_not_equal(at, 0);
	return at;
}

static uint64_t taken(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* ---- the guest's driver, the same under both ---- */

/* Posted writes and reads through BAR 0, up to DRIVER_OK and one kick a queue. */
static void drive(struct guest *g)
{
	wr(g, CONFIG, 4, 2, 6); /* memory, bus master */
	post(g, 0x14, 1, 0);
	assert_int_equal(rd(g, 0, 0x14, 1), 0);
	post(g, 0x14, 1, 1);
	post(g, 0x14, 1, 3);
	post(g, 0x00, 4, 1);
	assert_int_equal(rd(g, 0, 0x04, 4), 1); /* VERSION_1 */
	for (uint32_t i = 0; i < 2; i++) {
		post(g, 0x08, 4, i);
		post(g, 0x0c, 4, i ? 1 : 0x57);
	}
	post(g, 0x14, 1, 0xb);
	assert_int_equal(rd(g, 0, 0x14, 1), 0xb);
	post(g, 0x10, 2, 0);
	assert_int_equal(rd(g, 0, 0x10, 2), 0);
	for (uint16_t q = 0; q < QUEUES; q++) {
		post(g, 0x16, 2, q);
		assert_int_equal(rd(g, 0, 0x18, 2), 256);
		post(g, 0x18, 2, 256);
		for (unsigned half = 0x20; half < 0x38; half += 4)
			post(g, half, 4, half & 4 ? 1 : 0x10000 * half);
		post(g, 0x1a, 2, q + 1u);
		assert_int_equal(rd(g, 0, 0x1a, 2), q + 1u);
		post(g, 0x1c, 2, 1);
	}
	post(g, 0x14, 1, 0xf);
	post(g, 0x3000, 2, 0);
	post(g, 0x3004, 2, 1);
	assert_int_equal(rd(g, 0, 0x14, 1), 0xf);
	assert_int_equal(g->enabled, QUEUES);
	assert_true(g->kicks[0] && g->kicks[1]);
}

/* ---- QEMU 11.1 ---- */

#define BELOW_4G 0x80000000ull
#define ABOVE_4G 0x80000000ull

static void qemu_maps(struct fixture *f, int ram)
{
	struct vfu_client *c = &f->c;

	assert_int_equal(vfu_client_dma_map(c, 0, 0xc0000, ram, 0, 3), 0);
	assert_int_equal(vfu_client_dma_map(c, 0xc0000, 0x20000, -1, 0, 1), 0);
	assert_int_equal(vfu_client_dma_map(c, 0xe0000, 0x20000, -1, 0, 1), 0);
	assert_int_equal(
		vfu_client_dma_map(c, 0x100000, BELOW_4G - 0x100000, ram, 0x100000, 3),
		0);
	assert_int_equal(vfu_client_dma_map(c, 0xfffc0000, 0x40000, -1, 0, 1), 0);
	assert_int_equal(vfu_client_dma_map(c, 0x100000000, ABOVE_4G, ram, BELOW_4G, 3),
			 0);
}

/* Firmware opens the shadow area: RAM where the ROM was. */
static void qemu_shadows(struct fixture *f, int ram)
{
	struct vfu_client *c = &f->c;

	assert_int_equal(vfu_client_dma_unmap(c, 0, 0xc0000, 0), 0);
	assert_int_equal(vfu_client_dma_unmap(c, 0xc0000, 0x20000, 0), 0);
	assert_int_equal(vfu_client_dma_unmap(c, 0xe0000, 0x20000, 0), 0);
	assert_int_equal(vfu_client_dma_unmap(c, 0x100000, BELOW_4G - 0x100000, 0), 0);
	assert_int_equal(vfu_client_dma_map(c, 0, BELOW_4G, ram, 0, 3), 0);
}

static void qemu_closes_shadow(struct fixture *f, int ram)
{
	struct vfu_client *c = &f->c;

	assert_int_equal(vfu_client_dma_unmap(c, 0, BELOW_4G, 0), 0);
	assert_int_equal(vfu_client_dma_unmap(c, 0xfffc0000, 0x40000, 0), 0);
	assert_int_equal(vfu_client_dma_unmap(c, 0x100000000, ABOVE_4G, 0), 0);
	qemu_maps(f, ram);
}

static void qemu_realize(struct guest *g)
{
	struct vfu_client *c = &g->f->c;
	struct vfu_device_info info;
	struct vfu_region_info region;
	struct vfu_irq_info irq;
	uint8_t config[4096];

	assert_int_equal(vfu_client_device_info(c, &info), 0);
	assert_true(info.regions_nr >= 9 && info.irqs_nr >= 3);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(vfu_client_region_info(c, i, &region), 0);
	assert_int_equal(vfu_client_region_info(c, CONFIG, &region), 0);
	assert_int_equal(region.size, 4096);
	assert_int_equal(vfu_client_irq_info(c, VFU_IRQ_ERR, &irq), 0);
	assert_int_equal(irq.count, 1); /* or it prints a warning */
	assert_int_equal(vfu_client_read(c, CONFIG, 0, config, 4096), 0);
	for (unsigned bar = 0x10; bar < 0x28; bar += 4) {
		uint32_t old = (uint32_t)rd(g, CONFIG, bar, 4);

		wr(g, CONFIG, bar, 4, 0xffffffff);
		rd(g, CONFIG, bar, 4);
		wr(g, CONFIG, bar, 4, old);
	}
	assert_int_equal(vfu_client_irq_info(c, VFU_IRQ_MSIX, &irq), 0);
	assert_int_equal(irq.count, QUEUES + 1);
	assert_int_equal(vfu_client_irq_info(c, VFU_IRQ_INTX, &irq), 0);
	assert_int_equal(irq.count, 1);
	assert_int_equal(vfu_client_irq_info(c, VFU_IRQ_REQ, &irq), 0);
}

/* All off, MSI-X on in configuration space, first without, then with eventfds. */
static void qemu_enables_msix(struct guest *g, int efd[QUEUES + 1])
{
	struct vfu_client *c = &g->f->c;
	unsigned msix = find_cap(g, 0x11);

	assert_int_equal(vfu_client_set_irqs(c, VFU_IRQ_INTX, 0x21, 0, 0, NULL, 0), 0);
	wr(g, CONFIG, msix + 2, 2, 0xc000 | QUEUES);
	assert_int_equal(
		vfu_client_set_irqs(c, VFU_IRQ_MSIX, 0x24, 0, QUEUES + 1, NULL, 0), 0);
	wr(g, CONFIG, msix + 2, 2, 0x8000 | QUEUES);
	assert_int_equal(vfu_client_set_irqs(c, VFU_IRQ_MSIX, 0x21, 0, 0, NULL, 0), 0);
	for (unsigned i = 0; i < QUEUES + 1; i++)
		assert_int_equal(
			vfu_client_set_irqs(c, VFU_IRQ_MSIX, 0x24, 0, i + 1, efd, i + 1),
			0);
}

static void check_interrupts(struct guest *g, int efd[QUEUES + 1])
{
	for (unsigned q = 0; q < QUEUES; q++)
		viommu_virtio_pci_queue_irq(g->vp, q);
	viommu_virtio_pci_config_irq(g->vp);
	for (unsigned i = 0; i < QUEUES + 1; i++)
		assert_int_equal(taken(efd[i]), 1);
}

static void check_memory(struct fixture *f, int ram)
{
	struct viommu_dma *dma;
	char buf[8];

	assert_int_equal(viommu_dma_create(NULL, f->mem, &f->ta.ops, NULL, NULL, &dma),
			 0);
	ram_write(ram, BELOW_4G + 0x1000, "above", 6);
	assert_int_equal(viommu_dma_read(dma, 0x100001000, buf, 6), 0);
	assert_string_equal(buf, "above");
	viommu_dma_destroy(dma);
}

static void test_qemu(void **state)
{
	struct guest *g = *state;
	struct fixture *f = g->f;
	int ram = ram_create(BELOW_4G + ABOVE_4G), efd[QUEUES + 1], intx;

	for (unsigned i = 0; i < QUEUES + 1; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	intx = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	reconnect(f);
	qemu_maps(f, ram);
	qemu_realize(g);
	assert_int_equal(vfu_client_set_irqs(&f->c, VFU_IRQ_INTX, 0x24, 0, 1, &intx, 1),
			 0);
	for (int boot = 0; boot < 3; boot++) {
		assert_int_equal(vfu_client_reset(&f->c), 0);
		qemu_shadows(f, ram);
		qemu_closes_shadow(f, ram);
		wr(g, CONFIG, 0x10, 4, 0xfebf0000);
		wr(g, CONFIG, 4, 2, 6);
		qemu_enables_msix(g, efd);
		drive(g);
		check_interrupts(g, efd);
		check_memory(f, ram);
		/* Reset of the machine: everything is taken back first. */
		assert_int_equal(
			vfu_client_set_irqs(&f->c, VFU_IRQ_MSIX, 0x21, 0, 0, NULL, 0), 0);
		assert_int_equal(
			vfu_client_set_irqs(&f->c, VFU_IRQ_INTX, 0x24, 0, 1, &intx, 1),
			0);
	}
	assert_int_equal(f->system_resets, 3);
	assert_int_equal(logged(f, "not shared"), 0);
	reconnect(f); /* QEMU is killed; the next one finds a fresh function */
	assert_int_equal(g->enabled, 0);
	assert_int_equal(rd(g, 0, 0x14, 1), 0);
	for (unsigned i = 0; i < QUEUES + 1; i++)
		close(efd[i]);
	close(intx);
	close(ram);
}

/* INTx as QEMU does it: a read of the ISR is followed by UNMASK. */
static void test_qemu_intx(void **state)
{
	struct guest *g = *state;
	struct vfu_client *c = &g->f->c;
	int intx = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	reconnect(g->f);
	assert_int_equal(vfu_client_set_irqs(c, VFU_IRQ_INTX, 0x24, 0, 1, &intx, 1), 0);
	drive(g);
	for (int i = 0; i < 5; i++) {
		viommu_virtio_pci_queue_irq(g->vp, 0);
		assert_int_equal(taken(intx), 1);
		assert_int_equal(rd(g, 0, 0x1000, 1), 1);
		assert_int_equal(
			vfu_client_set_irqs(c, VFU_IRQ_INTX, 0x11, 0, 1, NULL, 0), 0);
		assert_int_equal(taken(intx), 0);
	}
	close(intx);
}

/* ---- Cloud Hypervisor ---- */

/* Version 0.1; no max_dma_maps and no write_multiple, and it parses the reply's
 * JSON with fixed types. */
static void ch_connects(struct guest *g)
{
	static struct vfu_client_reply reply;
	struct vfu_client *c = &g->f->c;
	uint8_t payload[256] = {0, 0, 1, 0};
	size_t len = strlen(vfu_client_ch_json) + 1;
	const char *json = (const char *)reply.data + 4;

	assert_int_equal(vfu_client_connect(c, g->f->path), 0);
	memcpy(payload + 4, vfu_client_ch_json, len);
	assert_true(vfu_client_call(c, VFU_VERSION, payload, 4 + len, NULL, 0, &reply) >
		    4);
	assert_int_equal(reply.data[0] | reply.data[1] | reply.data[2] | reply.data[3],
			 0);
	assert_string_equal(json, "{\"capabilities\":{\"max_msg_fds\":16,"
				  "\"max_data_xfer_size\":65536}}");
}

/* Its argsz counts the message header as well. */
static void ch_queries(struct guest *g)
{
	static struct vfu_client_reply reply;
	struct vfu_client *c = &g->f->c;
	const struct vfu_device_info ask = {.argsz = 32};
	struct vfu_device_info info;
	struct vfu_region_info region;

	assert_int_equal(vfu_client_call(c, VFU_DEVICE_GET_INFO, &ask, sizeof(ask), NULL,
					 0, &reply),
			 sizeof(info));
	memcpy(&info, reply.data, sizeof(info));
	assert_true(info.flags & VFU_DEVICE_PCI);
	for (uint32_t i = 0; i < info.regions_nr; i++) {
		assert_int_equal(vfu_client_region_info(c, i, &region), 0);
		assert_int_equal(region.argsz, 32); /* more would make it ask again */
	}
}

static void ch_parses_config(struct guest *g)
{
	struct vfu_client *c = &g->f->c;
	struct vfu_irq_info irq;
	unsigned bar;

	find_cap(g, 0x11);
	assert_int_equal(vfu_client_irq_info(c, VFU_IRQ_MSIX, &irq), 0);
	assert_int_equal(irq.count, QUEUES + 1);
	assert_int_equal(vfu_client_irq_info(c, VFU_IRQ_INTX, &irq), 0);
	for (bar = 0x10; bar < 0x28; bar += 4) {
		wr(g, CONFIG, bar, 4, 0xffffffff);
		rd(g, CONFIG, bar, 4);
	}
	wr(g, CONFIG, 0x30, 4, 0xffffffff); /* the ROM's */
	assert_int_equal(rd(g, CONFIG, 0x30, 4), 0);
}

static void test_cloud_hypervisor(void **state)
{
	struct guest *g = *state;
	struct vfu_client *c = &g->f->c;
	int ram = ram_create(BELOW_4G + ABOVE_4G), efd[QUEUES + 1];
	unsigned msix;

	for (unsigned i = 0; i < QUEUES + 1; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ch_connects(g);
	ch_queries(g);
	assert_int_equal(vfu_client_reset(c), 0);
	ch_parses_config(g);
	/* INTx first, then MSI-X in blocks of 16, enabled in config space last. */
	assert_int_equal(vfu_client_set_irqs(c, VFU_IRQ_INTX, 0x24, 0, 1, &efd[0], 1), 0);
	assert_int_equal(vfu_client_dma_map(c, 0, BELOW_4G, ram, 0, 3), 0);
	assert_int_equal(vfu_client_dma_map(c, 0x100000000, ABOVE_4G, ram, BELOW_4G, 3),
			 0);
	assert_int_equal(vfu_client_set_irqs(c, VFU_IRQ_INTX, 0x21, 0, 0, NULL, 0), 0);
	assert_int_equal(vfu_client_set_irqs(c, VFU_IRQ_MSIX, 0x24, 0, QUEUES + 1, efd,
					     QUEUES + 1),
			 0);
	msix = find_cap(g, 0x11);
	wr(g, CONFIG, msix + 2, 2, 0x8000 | QUEUES);
	wr(g, CONFIG, 4, 2, 6);
	drive(g);
	check_interrupts(g, efd);
	check_memory(g->f, ram);
	/* Unplug: the function is reset, memory goes, the socket closes. */
	assert_int_equal(vfu_client_set_irqs(c, VFU_IRQ_MSIX, 0x21, 0, 0, NULL, 0), 0);
	assert_int_equal(vfu_client_dma_unmap(c, 0, BELOW_4G, 0), 0);
	assert_int_equal(vfu_client_dma_unmap(c, 0x100000000, ABOVE_4G, 0), 0);
	vfu_client_close(c);
	pump(g->f);
	assert_int_equal(g->f->disconnected, 1);
	for (unsigned i = 0; i < QUEUES + 1; i++)
		close(efd[i]);
	close(ram);
}

#define GUEST_CASE(name)                                                                 \
	cmocka_unit_test_setup_teardown(name, setup_guest, teardown_guest)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUEST_CASE(test_qemu),
		GUEST_CASE(test_qemu_intx),
		GUEST_CASE(test_cloud_hypervisor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
