/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The virtio-pci transport on a function whose bytes the test chooses. */
#include <errno.h>

#include <viommu_drv_pci.h>

#include "drv_peer.h"

#define BAR_LEN	   0x1000u
#define COMMON_AT  0x100u
#define NOTIFY_AT  0x400u
#define DEVICE_AT  0x800u
#define DEVICE_LEN 40u

struct function {
	uint8_t config[256];
	uint8_t bar[BAR_LEN];
	uint16_t kicked; /* last value written to the notify structure */
	struct viommu_drv_pci pci;
};

static void put(uint8_t *at, uint32_t value, unsigned len)
{
	memcpy(at, &value, len);
}

static uint32_t config_read(void *opaque, unsigned offset, unsigned len)
{
	struct function *f = opaque;
	uint32_t value = 0;

	assert_true(offset + len <= sizeof(f->config) && !(offset & (len - 1)));
	memcpy(&value, f->config + offset, len);
	return value;
}

static void config_write(void *opaque, unsigned offset, uint32_t value, unsigned len)
{
	struct function *f = opaque;

	assert_true(offset + len <= sizeof(f->config));
	put(f->config + offset, value, len);
}

static uint32_t bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	struct function *f = opaque;
	uint32_t value = 0;

	assert_true(bar == 4 && offset + len <= BAR_LEN && !(offset & (len - 1)));
	memcpy(&value, f->bar + offset, len);
	return value;
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, uint32_t value,
		      unsigned len)
{
	struct function *f = opaque;

	assert_true(bar == 4 && offset + len <= BAR_LEN && !(offset & (len - 1)));
	if (offset >= NOTIFY_AT && offset < DEVICE_AT)
		f->kicked = (uint16_t)value;
	put(f->bar + offset, value, len);
}

static const struct viommu_drv_pci_ops ops = {config_read, config_write, bar_read,
					      bar_write};

static void add_cap(struct function *f, unsigned at, unsigned next, uint8_t type,
		    uint32_t offset, uint32_t len)
{
	const uint8_t cap[8] = {0x09, (uint8_t)next, 20, type, 4};

	memcpy(f->config + at, cap, sizeof(cap));
	put(f->config + at + 8, offset, 4);
	put(f->config + at + 12, len, 4);
	put(f->config + at + 16, 4, 4);
}

/* A modern virtio-iommu with two queues of 64 entries. */
static struct function *create(void)
{
	struct function *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	put(f->config, 0x10571af4, 4);
	put(f->config + 6, 0x10, 2);
	f->config[0x34] = 0x40;
	/* Another capability first, and a second common one that does not count. */
	f->config[0x40] = 0x11;
	f->config[0x41] = 0x50;
	add_cap(f, 0x50, 0x64, 1, COMMON_AT, 64);
	add_cap(f, 0x64, 0x78, 2, NOTIFY_AT, 16);
	add_cap(f, 0x78, 0x8c, 4, DEVICE_AT, DEVICE_LEN);
	add_cap(f, 0x8c, 0, 1, 0, 64);
	put(f->bar + COMMON_AT + 18, 2, 2);
	put(f->bar + COMMON_AT + 24, 64, 2);
	put(f->bar + COMMON_AT + 30, 1, 2);
	return f;
}

static int init(struct function *f)
{
	return viommu_drv_pci_init(&f->pci, &ops, f);
}

static void finds_its_structures(void **state)
{
	const struct viommu_drv_transport *t = &viommu_drv_pci_transport;
	struct viommu_drv_queue_setup setup = {1, 32, 0x123456789000, 0x1000, 0x2000};
	struct function *f = create();
	uint64_t wide = 0;
	uint8_t one = 1;

	(void)state;
	assert_int_equal(init(f), 0);
	assert_int_equal(f->config[4] & 6, 6);
	put(f->bar + COMMON_AT + 4, 0x1234, 4);
	assert_int_equal(t->get_features(&f->pci), 0x0000123400001234);
	t->set_status(&f->pci, 3);
	assert_int_equal(f->bar[COMMON_AT + 20], 3);
	assert_int_equal(t->queue_max(&f->pci, 1), 64);
	assert_int_equal(t->queue_max(&f->pci, 2), 0);
	assert_int_equal(t->queue_setup(&f->pci, &setup), 0);
	memcpy(&wide, f->bar + COMMON_AT + 32, 8);
	assert_int_equal(wide, setup.desc);
	assert_int_equal(f->bar[COMMON_AT + 28], 1);
	t->kick(&f->pci, 1);
	assert_int_equal(f->kicked, 1);
	put(f->bar + DEVICE_AT, 0xfffff000, 4);
	put(f->bar + DEVICE_AT + 4, 0xffffffff, 4);
	t->config_read(&f->pci, 0, &wide, 8);
	assert_int_equal(wide, 0xfffffffffffff000);
	t->config_write(&f->pci, 36, &one, 1);
	assert_int_equal(f->bar[DEVICE_AT + 36], 1);
	/* Past the end: zeroes, and nothing is written. */
	t->config_read(&f->pci, DEVICE_LEN, &wide, 8);
	assert_int_equal(wide, 0);
	t->config_write(&f->pci, DEVICE_LEN, &one, 1);
	assert_int_equal(f->bar[DEVICE_AT + DEVICE_LEN], 0);
	free(f);
}

static void strange_functions(void **state)
{
	static const int expected[] = {-ENODEV, -ENODEV, -EIO,	 -EIO,
				       -ENODEV, -EIO,	 -ENODEV};

	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		struct function *f = create();

		if (i == 0)
			put(f->config, 0x10581af4, 4); /* another device */
		if (i == 1)
			f->config[6] = 0; /* no list */
		if (i == 2)
			f->config[0x65] = 0x50; /* a loop */
		if (i == 3)
			f->config[0x41] = 0x10; /* leads into the header */
		if (i == 4)
			f->config[0x7b] = 9; /* no device structure */
		if (i == 5)
			put(f->config + 0x5c, 40, 4); /* too short a common one */
		if (i == 6)
			f->config[0x68] = 6; /* no such BAR */
		assert_int_equal(init(f), expected[i]);
		free(f);
	}
}

/* Structures that no access may follow: not aligned, past 4 GiB, a capability that
 * ends behind configuration space. Each at its limit, and one past it. */
static void structures_out_of_bounds(void **state)
{
	static const struct {
		unsigned at; /* in configuration space, 4 bytes */
		uint32_t good, bad;
	} words[] = {
		{0x58, COMMON_AT, COMMON_AT + 2},
		{0x80, DEVICE_AT, DEVICE_AT + 1},
		{0x6c, NOTIFY_AT + 2, NOTIFY_AT + 1},
		{0x6c, 0xfffffff0, 0xfffffff2}, /* 16 bytes */
	};
	struct function *f;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		f = create();
		put(f->config + words[i].at, words[i].good, 4);
		assert_int_equal(init(f), 0);
		put(f->config + words[i].at, words[i].bad, 4);
		assert_int_equal(init(f), -EIO);
		free(f);
	}
	for (unsigned at = 0xec; at <= 0xf0; at += 4) {
		f = create();
		f->config[0x51] = (uint8_t)at; /* in place of the one at 0x64 */
		memcpy(f->config + at, f->config + 0x64, 16);
		assert_int_equal(init(f), at == 0xec ? 0 : -ENODEV);
		free(f);
	}
}

static void a_doorbell_outside(void **state)
{
	struct viommu_drv_queue_setup setup = {.index = 0, .size = 64};
	struct function *f = create();

	(void)state;
	assert_int_equal(init(f), 0);
	put(f->bar + COMMON_AT + 30, 4, 2);
	assert_int_equal(viommu_drv_pci_transport.queue_setup(&f->pci, &setup), -EIO);
	put(f->bar + COMMON_AT + 30, 0xffff, 2);
	assert_int_equal(viommu_drv_pci_transport.queue_setup(&f->pci, &setup), -EIO);
	put(f->bar + COMMON_AT + 30, 3, 2);
	assert_int_equal(viommu_drv_pci_transport.queue_setup(&f->pci, &setup), 0);
	/* And one at an odd place. */
	put(f->config + 0x74, 1, 4);
	assert_int_equal(init(f), 0);
	assert_int_equal(viommu_drv_pci_transport.queue_setup(&f->pci, &setup), -EIO);
	/* And a queue that became smaller than what was made for it. */
	put(f->bar + COMMON_AT + 24, 32, 2);
	assert_int_equal(viommu_drv_pci_transport.queue_setup(&f->pci, &setup), -EIO);
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_its_structures),
		cmocka_unit_test(strange_functions),
		cmocka_unit_test(structures_out_of_bounds),
		cmocka_unit_test(a_doorbell_outside),
	};

	return cmocka_run_group_tests_name("driver pci", tests, NULL, NULL);
}
