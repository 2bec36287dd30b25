/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Configuration space, BARs, capabilities, MSI-X and INTx of a function. */
#include "test.h"
#include "test_alloc.h"

#include <errno.h>

#include <viommu/pci.h>

struct fixture {
	struct test_alloc ta;
	struct viommu_pci *pci;
	unsigned resets, commands;
	uint16_t command;
	/* The last BAR access and how many there were. */
	unsigned accesses, bar, len;
	uint64_t offset, value;
	char trace[256]; /* "len@offset " an access */
	unsigned msix[8], changed[8];
	unsigned asserts, deasserts;
};

static void note(struct fixture *f, unsigned bar, uint64_t offset, unsigned len)
{
	size_t at = strlen(f->trace);

	assert_int_equal(offset % len, 0);
	f->accesses++;
	f->bar = bar;
	f->offset = offset;
	f->len = len;
	snprintf(f->trace + at, sizeof(f->trace) - at, "%u@%#llx ", len,
		 (unsigned long long)offset);
}

static uint64_t bar_read(void *opaque, unsigned bar, uint64_t offset, unsigned len)
{
	note(opaque, bar, offset, len);
	return 0x8877665544332211ull;
}

static void bar_write(void *opaque, unsigned bar, uint64_t offset, unsigned len,
		      uint64_t value)
{
	note(opaque, bar, offset, len);
	((struct fixture *)opaque)->value = value;
}

static void reset(void *opaque)
{
	((struct fixture *)opaque)->resets++;
}

static void command_changed(void *opaque, uint16_t command)
{
	struct fixture *f = opaque;

	f->commands++;
	f->command = command;
}

static const struct viommu_pci_ops ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.reset = reset,
	.command_changed = command_changed,
};

static void on_msix(void *opaque, unsigned vector)
{
	((struct fixture *)opaque)->msix[vector]++;
}

static void on_intx(void *opaque, bool asserted)
{
	struct fixture *f = opaque;

	if (asserted)
		f->asserts++;
	else
		f->deasserts++;
}

static void on_changed(void *opaque, unsigned vector)
{
	((struct fixture *)opaque)->changed[vector]++;
}

static const struct viommu_pci_irq_ops irq_ops = {
	.msix = on_msix,
	.intx = on_intx,
	.msix_changed = on_changed,
};

static const struct viommu_pci_config config = {
	.vendor = 0x1234,
	.device = 0x5678,
	.subvendor = 0x9abc,
	.subdevice = 0xdef0,
	.revision = 7,
	.prog_if = 2,
	.subclass = 8,
	.class_code = 1,
	.bar[0] = {.len = 8192},
	.bar[1] = {.len = 4096},
	.bar[2] = {.len = 1ull << 36, .mem64 = true, .prefetchable = true},
	.msix_nr = 8,
	.msix_bar = 1,
	.intx = true,
	.flr = true,
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	test_alloc_init(&f->ta);
	assert_int_equal(viommu_pci_create(&config, &ops, f, &f->ta.ops, NULL, &f->pci),
			 0);
	viommu_pci_set_irq_ops(f->pci, &irq_ops, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	viommu_pci_destroy(f->pci);
	assert_int_equal(f->ta.live, 0);
	free(f);
	return 0;
}

static uint64_t cfg_read(struct fixture *f, unsigned offset, unsigned len)
{
	uint64_t value = 0;

	viommu_pci_config_read(f->pci, offset, &value, len);
	return value;
}

static void cfg_write(struct fixture *f, unsigned offset, unsigned len, uint64_t value)
{
	viommu_pci_config_write(f->pci, offset, &value, len);
}

/* Offset of a capability; 0: none. */
static unsigned find_cap(struct fixture *f, uint8_t id)
{
	unsigned at = (unsigned)cfg_read(f, 0x34, 1);

	for (int i = 0; at && i < 48; i++) {
		assert_int_equal(at % 4, 0);
		if (cfg_read(f, at, 1) == id)
			return at;
		at = (unsigned)cfg_read(f, at + 1, 1);
	}
	return 0;
}

static void test_header(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cfg_read(f, 0x00, 4), 0x56781234);
	assert_int_equal(cfg_read(f, 0x04, 2), 0);
	assert_int_equal(cfg_read(f, 0x06, 2), 0x10); /* has capabilities */
	assert_int_equal(cfg_read(f, 0x08, 4), 0x01080207);
	assert_int_equal(cfg_read(f, 0x0e, 1), 0); /* type 0, one function */
	assert_int_equal(cfg_read(f, 0x2c, 4), 0xdef09abc);
	assert_int_equal(cfg_read(f, 0x3d, 1), 1);
	assert_int_equal(viommu_pci_get_config(f->pci)->device, 0x5678);
}

static void test_read_only_bits(void **state)
{
	struct fixture *f = *state;
	uint8_t ones[256];

	memset(ones, 0xff, sizeof(ones));
	/* All of the header but the command register (FLR lives above 0x40). */
	viommu_pci_config_write(f->pci, 0, ones, 4);
	viommu_pci_config_write(f->pci, 6, ones, 0x3a);
	assert_int_equal(cfg_read(f, 0x00, 4), 0x56781234);
	assert_int_equal(cfg_read(f, 0x06, 2), 0x10);
	assert_int_equal(cfg_read(f, 0x08, 4), 0x01080207);
	assert_int_equal(cfg_read(f, 0x0c, 4), 0xff); /* cache line size is RAM */
	assert_int_equal(cfg_read(f, 0x2c, 4), 0xdef09abc);
	assert_int_equal(cfg_read(f, 0x30, 4), 0); /* no ROM */
	assert_int_equal(cfg_read(f, 0x34, 1), 0x40);
	cfg_write(f, 0x3c, 2, 0xffff);
	assert_int_equal(cfg_read(f, 0x3c, 2), 0x01ff);
	/* The extended area is empty. */
	viommu_pci_config_write(f->pci, 0x100, ones, 4);
	assert_int_equal(cfg_read(f, 0x100, 4), 0);
}

static void test_bar_sizing(void **state)
{
	struct fixture *f = *state;

	for (unsigned at = 0x10; at < 0x28; at += 4)
		cfg_write(f, at, 4, 0xffffffff);
	assert_int_equal(cfg_read(f, 0x10, 4), 0xffffe000);
	assert_int_equal(cfg_read(f, 0x14, 4), 0xfffff000);
	assert_int_equal(cfg_read(f, 0x18, 4), 0xc); /* 64 GiB: low bits all fixed */
	assert_int_equal(cfg_read(f, 0x1c, 4), 0xfffffff0);
	assert_int_equal(cfg_read(f, 0x20, 4), 0);
	assert_int_equal(cfg_read(f, 0x24, 4), 0);
	/* An address is kept, bit by bit and byte by byte. */
	cfg_write(f, 0x10, 4, 0xfebf2fff);
	assert_int_equal(cfg_read(f, 0x10, 4), 0xfebf2000);
	cfg_write(f, 0x13, 1, 0xc0);
	assert_int_equal(cfg_read(f, 0x10, 4), 0xc0bf2000);
}

static void test_config_bounds(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[16];

	memset(buf, 0xaa, sizeof(buf));
	viommu_pci_config_read(f->pci, 4092, buf, 8);
	for (int i = 0; i < 4; i++)
		assert_int_equal(buf[i], 0);
	for (int i = 4; i < 8; i++)
		assert_int_equal(buf[i], 0xff);
	assert_int_equal(buf[8], 0xaa);
	viommu_pci_config_read(f->pci, 4096, buf, 4);
	assert_int_equal(buf[0], 0xff);
	viommu_pci_config_read(f->pci, 0xffffffff, buf, 4);
	assert_int_equal(buf[3], 0xff);
	/* Writes across and beyond the end do nothing (ASan watches). */
	viommu_pci_config_write(f->pci, 4090, buf, 16);
	viommu_pci_config_write(f->pci, 0xfffffff0, buf, 16);
}

static void test_command(void **state)
{
	struct fixture *f = *state;

	assert_false(viommu_pci_bus_master(f->pci));
	cfg_write(f, 4, 2, 0xffff);
	assert_int_equal(cfg_read(f, 4, 2), 0x0546);
	assert_int_equal(f->commands, 1);
	assert_int_equal(f->command, 0x0546);
	assert_true(viommu_pci_bus_master(f->pci));
	cfg_write(f, 4, 1, 0x46); /* same value: no callback */
	assert_int_equal(f->commands, 1);
	cfg_write(f, 0, 8, 0); /* a wide write that covers it */
	assert_int_equal(f->commands, 2);
	assert_false(viommu_pci_bus_master(f->pci));
}

static void test_bar_access_is_split(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[32] = {0};

	assert_int_equal(viommu_pci_bar_read(f->pci, 0, 3, buf, 18), 0);
	assert_string_equal(f->trace, "1@0x3 4@0x4 8@0x8 4@0x10 1@0x14 ");
	assert_int_equal(buf[0], 0x11);
	assert_int_equal(buf[1], 0x11);
	assert_int_equal(buf[4], 0x44);
	assert_int_equal(buf[12], 0x88);
	f->trace[0] = 0;
	assert_int_equal(viommu_pci_bar_write(f->pci, 0, 8190, "ab", 2), 0);
	assert_string_equal(f->trace, "2@0x1ffe ");
	assert_int_equal(f->value, 'a' | 'b' << 8);
	/* 64-bit offsets, at the end of the BAR. */
	assert_int_equal(viommu_pci_bar_write(f->pci, 2, (1ull << 36) - 8, buf, 8), 0);
	assert_int_equal(f->offset, (1ull << 36) - 8);
}

static void test_bar_bounds(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[16] = {0};

	assert_int_equal(viommu_pci_bar_read(f->pci, 0, 8191, buf, 2), -EINVAL);
	assert_int_equal(viommu_pci_bar_read(f->pci, 0, 8193, buf, 0), -EINVAL);
	assert_int_equal(viommu_pci_bar_read(f->pci, 0, UINT64_MAX, buf, 4), -EINVAL);
	assert_int_equal(viommu_pci_bar_write(f->pci, 0, UINT64_MAX - 2, buf, 8),
			 -EINVAL);
	assert_int_equal(viommu_pci_bar_read(f->pci, 3, 0, buf, 1), -EINVAL);
	assert_int_equal(viommu_pci_bar_write(f->pci, 6, 0, buf, 1), -EINVAL);
	assert_int_equal(viommu_pci_bar_read(f->pci, UINT32_MAX, 0, buf, 1), -EINVAL);
	assert_int_equal(f->accesses, 0);
}

static void test_capability_list(void **state)
{
	struct fixture *f = *state;
	uint8_t body[5] = {1, 2, 3, 4, 5}, mask[5] = {0, 0xf0, 0, 0, 0xff};
	int at = viommu_pci_add_cap(f->pci, 9, body, mask, sizeof(body));

	assert_true(at >= 0x40);
	assert_int_equal(find_cap(f, 9), at);
	assert_int_not_equal(find_cap(f, 0x10), 0);
	assert_int_not_equal(find_cap(f, 0x11), 0);
	cfg_write(f, (unsigned)at, 8, UINT64_MAX);
	assert_int_equal(cfg_read(f, (unsigned)at + 2, 4), 0x0403f201);
	assert_int_equal(cfg_read(f, (unsigned)at + 6, 1), 0xff);
	viommu_pci_reset(f->pci);
	assert_int_equal(cfg_read(f, (unsigned)at + 2, 4), 0x04030201);
	assert_int_equal(find_cap(f, 9), at);
	assert_int_equal(viommu_pci_add_cap(f->pci, 9, body, NULL, 0), -EINVAL);
}

/* What came after MSI-X in the list is still there, across a reset too. */
static void test_drop_msix(void **state)
{
	struct fixture *f = *state;
	unsigned cap = find_cap(f, 0x11);

	assert_int_equal(viommu_pci_drop_msix(f->pci), 0);
	assert_int_equal(viommu_pci_drop_msix(f->pci), 0);
	assert_int_equal(find_cap(f, 0x11), 0);
	assert_int_not_equal(find_cap(f, 0x10), 0);
	assert_int_equal(viommu_pci_get_config(f->pci)->msix_nr, 0);
	cfg_write(f, cap + 2, 2, 0xffff);
	assert_int_equal(cfg_read(f, cap, 4), 0);
	assert_false(viommu_pci_msix_enabled(f->pci));
	viommu_pci_reset(f->pci);
	assert_int_equal(find_cap(f, 0x11), 0);
	assert_int_not_equal(find_cap(f, 0x10), 0);
}

static void test_drop_msix_alone(void **state)
{
	struct fixture *f = *state;
	struct viommu_pci_config c = config;
	struct viommu_pci *pci;
	uint8_t status[2], body = 1;

	c.flr = false;
	assert_int_equal(viommu_pci_create(&c, &ops, f, &f->ta.ops, NULL, &pci), 0);
	assert_int_equal(viommu_pci_drop_msix(pci), 0);
	viommu_pci_config_read(pci, 6, status, 2);
	assert_int_equal(status[0] & 0x10, 0); /* no capabilities */
	assert_true(viommu_pci_add_cap(pci, 9, &body, NULL, 1) > 0);
	viommu_pci_config_read(pci, 6, status, 2);
	assert_int_equal(status[0] & 0x10, 0x10);
	viommu_pci_destroy(pci);
	c.intx = false;
	assert_int_equal(viommu_pci_create(&c, &ops, f, &f->ta.ops, NULL, &pci), 0);
	assert_int_equal(viommu_pci_drop_msix(pci), -EINVAL);
	viommu_pci_destroy(pci);
}

static void test_capability_space(void **state)
{
	struct fixture *f = *state;
	uint8_t body[256] = {0};
	unsigned used = find_cap(f, 0x10) + 60, room = 0x100 - used;

	assert_int_equal(viommu_pci_add_cap(f->pci, 9, body, NULL, room - 1), -ENOSPC);
	assert_int_equal(viommu_pci_add_cap(f->pci, 9, body, NULL, UINT32_MAX), -ENOSPC);
	assert_int_equal(viommu_pci_add_cap(f->pci, 9, body, NULL, room - 2), used);
	assert_int_equal(viommu_pci_add_cap(f->pci, 9, body, NULL, 1), -ENOSPC);
}

static void test_flr(void **state)
{
	struct fixture *f = *state;
	unsigned pcie = find_cap(f, 0x10);

	assert_true(cfg_read(f, pcie + 4, 4) & 1u << 28);
	assert_int_equal(cfg_read(f, pcie + 2, 2) & 0xf, 2);
	cfg_write(f, 4, 2, 6);
	cfg_write(f, 0x10, 4, 0xfebf0000);
	cfg_write(f, pcie + 8, 2, 0x20); /* something else in the register */
	assert_int_equal(f->resets, 0);
	assert_int_equal(cfg_read(f, pcie + 8, 2), 0x20);
	cfg_write(f, pcie + 8, 2, 0x8020);
	assert_int_equal(f->resets, 1);
	assert_int_equal(cfg_read(f, pcie + 8, 2), 0);
	assert_int_equal(cfg_read(f, 4, 2), 0);
	assert_int_equal(cfg_read(f, 0x10, 4), 0);
	cfg_write(f, pcie + 9, 1, 0x80); /* the byte that holds the bit */
	assert_int_equal(f->resets, 2);
}

static void test_no_pcie_no_msix(void **state)
{
	struct fixture *f = *state;
	struct viommu_pci_config c = config;
	struct viommu_pci *pci = f->pci;

	c.flr = false;
	c.msix_nr = 0;
	c.intx = false;
	assert_int_equal(viommu_pci_create(&c, &ops, f, &f->ta.ops, NULL, &f->pci), 0);
	assert_int_equal(cfg_read(f, 0x34, 1), 0);
	assert_int_equal(cfg_read(f, 6, 2), 0);
	assert_int_equal(cfg_read(f, 0x3d, 1), 0);
	viommu_pci_set_irq_ops(f->pci, &irq_ops, f);
	viommu_pci_set_intx(f->pci, true); /* no pin */
	assert_int_equal(f->asserts, 0);
	viommu_pci_raise_msix(f->pci, 0);
	assert_int_equal(f->msix[0], 0);
	viommu_pci_destroy(f->pci);
	f->pci = pci;
}

static void test_intx(void **state)
{
	struct fixture *f = *state;

	viommu_pci_set_intx(f->pci, true);
	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(f->asserts, 1);
	assert_int_equal(cfg_read(f, 6, 2), 0x18);
	cfg_write(f, 4, 2, 0x400); /* INTx disable takes the pin, not the status */
	assert_int_equal(f->deasserts, 1);
	assert_int_equal(cfg_read(f, 6, 2), 0x18);
	cfg_write(f, 4, 2, 0);
	assert_int_equal(f->asserts, 2);
	viommu_pci_set_intx(f->pci, false);
	assert_int_equal(f->deasserts, 2);
	assert_int_equal(cfg_read(f, 6, 2), 0x10);
	/* A new owner of the interrupts learns of an asserted pin. */
	viommu_pci_set_intx(f->pci, true);
	viommu_pci_set_irq_ops(f->pci, NULL, NULL);
	viommu_pci_set_irq_ops(f->pci, &irq_ops, f);
	assert_int_equal(f->asserts, 4);
	viommu_pci_reset(f->pci);
	assert_int_equal(f->deasserts, 3);
	assert_int_equal(cfg_read(f, 6, 2), 0x10);
}

static void test_msix_capability(void **state)
{
	struct fixture *f = *state;
	unsigned at = find_cap(f, 0x11);

	assert_int_equal(cfg_read(f, at + 2, 2), 7);
	assert_int_equal(cfg_read(f, at + 4, 4), 1);
	assert_int_equal(cfg_read(f, at + 8, 4), 2048 | 1);
	cfg_write(f, at + 2, 2, 0xffff);
	assert_int_equal(cfg_read(f, at + 2, 2), 0xc007);
	assert_true(viommu_pci_msix_enabled(f->pci));
	viommu_pci_reset(f->pci);
	assert_false(viommu_pci_msix_enabled(f->pci));
}

static void table_write(struct fixture *f, uint64_t offset, unsigned len, uint64_t value)
{
	assert_int_equal(viommu_pci_bar_write(f->pci, 1, offset, &value, len), 0);
}

static uint64_t table_read(struct fixture *f, uint64_t offset, unsigned len)
{
	uint64_t value = 0;

	assert_int_equal(viommu_pci_bar_read(f->pci, 1, offset, &value, len), 0);
	return value;
}

static void test_msix_table(void **state)
{
	struct fixture *f = *state;
	struct viommu_pci_msix_entry e;

	assert_int_equal(table_read(f, 0x5c, 4), 1); /* masked after reset */
	table_write(f, 0x50, 4, 0xfee01003);	     /* low bits are fixed at 0 */
	table_write(f, 0x54, 4, 0x11);
	table_write(f, 0x58, 8, 0xfffffffe00004041ull); /* data and control */
	assert_int_equal(table_read(f, 0x50, 8), 0x11fee01000ull);
	assert_int_equal(table_read(f, 0x58, 8), 0x4041);
	assert_int_equal(viommu_pci_msix_get(f->pci, 5, &e), 0);
	assert_int_equal(e.address, 0x11fee01000ull);
	assert_int_equal(e.data, 0x4041);
	assert_true(e.masked); /* MSI-X is off */
	cfg_write(f, find_cap(f, 0x11) + 2, 2, 0x8000);
	assert_int_equal(viommu_pci_msix_get(f->pci, 5, &e), 0);
	assert_false(e.masked);
	table_write(f, 0x5b, 1, 0x99); /* any width */
	assert_int_equal(table_read(f, 0x58, 4), 0x99004041);
	assert_int_equal(viommu_pci_msix_get(f->pci, 8, &e), -EINVAL);
	assert_int_equal(f->accesses, 0); /* none of it reached the device */
	/* Behind the table, the BAR is the device's. */
	table_read(f, 0x80, 4);
	assert_int_equal(f->accesses, 1);
	table_read(f, 2048 + 8, 4);
	assert_int_equal(f->accesses, 2);
}

static void bus_master(struct fixture *f, bool on)
{
	cfg_write(f, 4, 2, on ? 4 : 0);
}

static void test_msix_delivery(void **state)
{
	struct fixture *f = *state;
	unsigned at = find_cap(f, 0x11);
	struct viommu_pci_msix_entry e;

	bus_master(f, true);
	viommu_pci_raise_msix(f->pci, 2); /* off: nothing, not even pending */
	assert_int_equal(table_read(f, 2048, 8), 0);
	cfg_write(f, at + 2, 2, 0x8000);
	viommu_pci_raise_msix(f->pci, 2); /* masked */
	viommu_pci_raise_msix(f->pci, 7);
	assert_int_equal(f->msix[2], 0);
	assert_int_equal(table_read(f, 2048, 8), 0x84);
	assert_int_equal(table_read(f, 2048, 1), 0x84);
	table_write(f, 2048, 8, UINT64_MAX); /* the PBA is read-only */
	assert_int_equal(table_read(f, 2048, 8), 0x84);
	assert_int_equal(viommu_pci_msix_get(f->pci, 2, &e), 0);
	assert_true(e.pending && e.masked);
	table_write(f, 0x2c, 4, 0);
	assert_int_equal(f->msix[2], 1);
	assert_int_equal(table_read(f, 2048, 8), 0x80);
	viommu_pci_raise_msix(f->pci, 2);
	assert_int_equal(f->msix[2], 2);
	cfg_write(f, at + 2, 2, 0xc000); /* function mask */
	viommu_pci_raise_msix(f->pci, 2);
	assert_int_equal(f->msix[2], 2);
	cfg_write(f, at + 3, 1, 0x80);
	assert_int_equal(f->msix[2], 3);
	assert_int_equal(f->msix[7], 0);
	viommu_pci_raise_msix(f->pci, 8); /* one past the last */
	viommu_pci_raise_msix(f->pci, UINT32_MAX);
	assert_true(f->changed[2] >= 3);
	viommu_pci_reset(f->pci);
	assert_int_equal(table_read(f, 2048, 8), 0);
	assert_int_equal(table_read(f, 0x2c, 4), 1);
}

/* A message is a write to memory (PCI 3.0, 6.2.2): it waits for bus mastering, with
 * the vector's own mask or without. The pin is not concerned. */
static void test_msix_waits_for_bus_mastering(void **state)
{
	struct fixture *f = *state;
	unsigned at = find_cap(f, 0x11);

	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(f->asserts, 1);
	cfg_write(f, at + 2, 2, 0x8000);
	table_write(f, 0x2c, 4, 0); /* vector 2; the others stay masked */
	viommu_pci_raise_msix(f->pci, 2);
	viommu_pci_raise_msix(f->pci, 2);
	viommu_pci_raise_msix(f->pci, 7);
	assert_int_equal(f->msix[2], 0);
	assert_int_equal(table_read(f, 2048, 8), 0x84);
	cfg_write(f, at + 2, 2, 0xc000); /* no mask's going delivers it */
	cfg_write(f, at + 2, 2, 0x8000);
	table_write(f, 0x7c, 4, 0);
	cfg_write(f, 4, 2, 2); /* nor another bit of the command register */
	assert_int_equal(table_read(f, 2048, 8), 0x84);
	table_write(f, 0x7c, 4, 1);
	bus_master(f, true);
	assert_int_equal(f->msix[2], 1);
	assert_int_equal(table_read(f, 2048, 8), 0x80);
	table_write(f, 0x7c, 4, 0);
	assert_int_equal(f->msix[7], 1);
	bus_master(f, false);
	bus_master(f, true);
	assert_int_equal(f->msix[2], 1);
	assert_int_equal(f->msix[7], 1);
}

static void test_msix_takes_the_pin(void **state)
{
	struct fixture *f = *state;
	unsigned at = find_cap(f, 0x11);

	viommu_pci_set_intx(f->pci, true);
	cfg_write(f, at + 2, 2, 0x8000);
	assert_int_equal(f->deasserts, 1);
	cfg_write(f, at + 2, 2, 0);
	assert_int_equal(f->asserts, 2);
}

static void test_transport_keeps_table(void **state)
{
	struct fixture *f = *state;
	struct viommu_pci_irq_ops kept = irq_ops;

	kept.keeps_msix_table = true;
	viommu_pci_set_irq_ops(f->pci, &kept, f);
	bus_master(f, true);
	viommu_pci_raise_msix(f->pci, 3);
	assert_int_equal(f->msix[3], 0); /* MSI-X is off */
	cfg_write(f, find_cap(f, 0x11) + 2, 2, 0xc000);
	viommu_pci_raise_msix(f->pci, 3);
	assert_int_equal(f->msix[3], 1); /* masks are the transport's business */
	assert_int_equal(table_read(f, 2048, 8), 0);
	/* Bus mastering is the function's. */
	bus_master(f, false);
	viommu_pci_raise_msix(f->pci, 3);
	assert_int_equal(f->msix[3], 1);
	bus_master(f, true);
	assert_int_equal(f->msix[3], 2);
	assert_int_equal(table_read(f, 2048, 8), 0);
}

static int try_create(struct fixture *f, const struct viommu_pci_config *c,
		      const struct viommu_pci_ops *o)
{
	struct viommu_pci *pci = NULL;
	int r = viommu_pci_create(c, o, f, &f->ta.ops, NULL, &pci);

	if (!r)
		viommu_pci_destroy(pci);
	return r;
}

#define REFUSED(change)                                                                  \
	do {                                                                             \
		struct viommu_pci_config c = config;                                     \
		change;                                                                  \
		assert_int_equal(try_create(f, &c, &ops), -EINVAL);                      \
	} while (0)

static void test_create_checks(void **state)
{
	struct fixture *f = *state;
	struct viommu_pci_config most = config;

	REFUSED(c.bar[0].len = 2048);
	REFUSED(c.bar[0].len = 12288);
	REFUSED(c.bar[0].len = 1ull << 32); /* needs mem64 */
	REFUSED(c.bar[3].len = 4096);	    /* upper half of BAR 2 */
	REFUSED(c.bar[5].len = 4096; c.bar[5].mem64 = true);
	REFUSED(c.msix_bar = 6);
	REFUSED(c.msix_bar = 4);  /* absent */
	REFUSED(c.msix_nr = 129); /* 2048 / 16 + 1 */
	REFUSED(c.msix_nr = VIOMMU_PCI_MSIX_MAX + 1; c.bar[1].len = 65536);
	most.msix_nr = 128;
	assert_int_equal(try_create(f, &most, &ops), 0);
	most.msix_nr = VIOMMU_PCI_MSIX_MAX;
	most.bar[1].len = 8192;
	assert_int_equal(try_create(f, &most, &ops), 0);
	assert_int_equal(try_create(f, &config, &(struct viommu_pci_ops){0}), -EINVAL);
	test_alloc_fail(&f->ta, 1);
	assert_int_equal(try_create(f, &config, &ops), -ENOMEM);
	viommu_pci_destroy(NULL);
}

/* Any sequence of accesses leaves identity and capability list intact. */
static void test_random_accesses(void **state)
{
	struct fixture *f = *state;
	struct rng r = rng_init(test_seed());
	uint8_t buf[64];

	for (int i = 0; i < 50000; i++) {
		uint64_t offset = rng_next(&r) >> (rng_below(&r, 4) * 16);
		unsigned len = (unsigned)rng_below(&r, sizeof(buf) + 1);
		uint64_t fill = rng_next(&r);

		memset(buf, (int)fill, sizeof(buf));
		f->trace[0] = 0;
		switch (rng_below(&r, 5)) {
		case 0:
			viommu_pci_config_write(f->pci, offset % 0x110, buf, len);
			break;
		case 1:
			viommu_pci_config_read(f->pci, offset % 0x1100, buf, len);
			break;
		case 2:
			viommu_pci_bar_write(f->pci, rng_below(&r, 8), offset % 8200, buf,
					     len);
			break;
		case 3:
			viommu_pci_bar_read(f->pci, rng_below(&r, 8), offset, buf, len);
			break;
		default:
			viommu_pci_raise_msix(f->pci, rng_below(&r, 10));
			viommu_pci_set_intx(f->pci, fill & 1);
		}
	}
	assert_int_equal(cfg_read(f, 0, 4), 0x56781234);
	assert_int_not_equal(find_cap(f, 0x10), 0);
	assert_int_not_equal(find_cap(f, 0x11), 0);
	assert_true(f->asserts == f->deasserts || f->asserts == f->deasserts + 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_header),
		CASE(test_read_only_bits),
		CASE(test_bar_sizing),
		CASE(test_config_bounds),
		CASE(test_command),
		CASE(test_bar_access_is_split),
		CASE(test_bar_bounds),
		CASE(test_capability_list),
		CASE(test_capability_space),
		CASE(test_drop_msix),
		CASE(test_drop_msix_alone),
		CASE(test_flr),
		CASE(test_no_pcie_no_msix),
		CASE(test_intx),
		CASE(test_msix_capability),
		CASE(test_msix_table),
		CASE(test_msix_delivery),
		CASE(test_msix_waits_for_bus_mastering),
		CASE(test_msix_takes_the_pin),
		CASE(test_transport_keeps_table),
		CASE(test_create_checks),
		CASE(test_random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
