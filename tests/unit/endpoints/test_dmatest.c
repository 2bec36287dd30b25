/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* dmatest: every register and command, and what the IOMMU makes of them. */
#include "guest.h"

#include <errno.h>

#include "endpoints/dmatest.h"

#define PAGE		4096ull
#define PCI_CAP_PCIE	0x10
#define PCIE_DEVCTL	8
#define PCIE_DEVCTL_FLR 0x8000

static struct guest *make(bool with_iommu)
{
	struct guest *g = guest_create(with_iommu);

	assert_int_equal(guest_endpoint(g, "dmatest", NULL), 0);
	return g;
}

static uint32_t reg32(struct guest *g, unsigned at)
{
	return (uint32_t)guest_reg(g, 0, at, 4);
}

static uint64_t reg64(struct guest *g, unsigned at)
{
	return guest_reg(g, 0, at, 8);
}

static void set64(struct guest *g, unsigned at, uint64_t v)
{
	guest_set_reg(g, 0, at, 8, v);
}

/* Result: the error register. */
static uint32_t command(struct guest *g, uint32_t cmd, uint64_t iova, uint64_t len,
			uint64_t pattern)
{
	set64(g, DMATEST_REG_IOVA, iova);
	set64(g, DMATEST_REG_LEN, len);
	set64(g, DMATEST_REG_PATTERN, pattern);
	guest_set_reg(g, 0, DMATEST_REG_COMMAND, 4, cmd);
	assert_int_equal(reg32(g, DMATEST_REG_STATUS),
			 reg32(g, DMATEST_REG_ERROR) ? DMATEST_ERROR : DMATEST_DONE);
	return reg32(g, DMATEST_REG_ERROR);
}

static void looks_as_documented(void **state)
{
	struct guest *g = make(false);

	(void)state;
	assert_int_equal(guest_config(g, 0, 2), 0x494f);
	assert_int_equal(guest_config(g, 2, 2), 0x0dc8);
	assert_int_equal(guest_config(g, 0x0a, 2), 0xff00);
	assert_int_not_equal(guest_find_cap(g, PCI_CAP_PCIE, 0), 0);
	assert_int_equal(guest_config(g, guest_find_cap(g, 0x11, 0) + 2, 2) & 0x7ff, 3);
	guest_set_config(g, 0x10, 4, 0xffffffff);
	assert_int_equal(guest_config(g, 0x10, 4) & ~0xfu,
			 ~(uint32_t)(DMATEST_BAR_LEN - 1));
	assert_int_equal(reg32(g, 0x00), 0x54414d44);
	assert_int_equal(reg32(g, 0x04), 1);
	assert_int_equal(reg32(g, 0x08), 0);
	assert_int_equal(reg32(g, 0x34), 0);
	assert_int_equal(reg32(g, 0x5c), 0xffffffff);
	guest_destroy(g);
}

static void registers_keep_what_is_written(void **state)
{
	static const unsigned wide[] = {0x10, 0x18, 0x20, 0x28};
	static const unsigned read_only[] = {0x00, 0x04, 0x08, 0x34, 0x38, 0x40,  0x44,
					     0x48, 0x50, 0x54, 0x58, 0x60, 0x1000};
	struct guest *g = make(false);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		set64(g, wide[i], 0x1122334455667788);
		assert_true(reg64(g, wide[i]) == 0x1122334455667788);
		guest_set_reg(g, 0, wide[i] + 4, 4, 0xaabbccdd);
		assert_true(reg64(g, wide[i]) == 0xaabbccdd55667788);
		guest_set_reg(g, 0, wide[i] + 1, 1, 0);
		assert_true(reg64(g, wide[i]) == 0xaabbccdd55660088);
		assert_int_equal(guest_reg(g, 0, wide[i] + 6, 2), 0xaabb);
	}
	guest_set_reg(g, 0, 0x0c, 4, 0xcafe0001);
	assert_int_equal(reg32(g, 0x0c), 0xcafe0001);
	guest_set_reg(g, 0, 0x5c, 4, 2);
	assert_int_equal(reg32(g, 0x5c), 2);
	for (unsigned i = 0; i < 13; i++) {
		uint32_t before = reg32(g, read_only[i]);

		guest_set_reg(g, 0, read_only[i], 4, ~before);
		assert_int_equal(reg32(g, read_only[i]), before);
	}
	guest_destroy(g);
}

static void buffer_is_memory(void **state)
{
	struct guest *g = make(false);

	(void)state;
	guest_set_reg(g, 0, DMATEST_BUFFER, 8, 0x0807060504030201);
	assert_int_equal(guest_reg(g, 0, DMATEST_BUFFER + 2, 2), 0x0403);
	guest_set_reg(g, 0, DMATEST_BUFFER + DMATEST_BUFFER_LEN - 1, 1, 0x5a);
	assert_int_equal(guest_reg(g, 0, DMATEST_BAR_LEN - 1, 1), 0x5a);
	guest_destroy(g);
}

static void moves_data(void **state)
{
	(void)state;
	for (int iommu = 0; iommu < 2; iommu++) {
		struct guest *g = make(iommu);
		uint64_t at = guest_iova(g, 0);
		uint8_t *ram = guest_at(g, 0);

		assert_int_equal(guest_map(g, 0, 0x10000, RW), 0);
		assert_int_equal(guest_map(g, 0x10000, 0x10000, RW), 0);
		for (unsigned i = 0; i < 0x8000; i++)
			ram[0xc000 + i] = (uint8_t)(i * 7);
		/* Over two mappings, at an odd address. */
		assert_int_equal(command(g, DMATEST_READ, at + 0xc001, 0x7000, 0), 0);
		assert_int_equal(reg64(g, DMATEST_REG_DONE), 0x7000);
		assert_int_equal(guest_reg(g, 0, DMATEST_BUFFER + 0x6fff, 1),
				 ram[0x13000]);
		assert_int_equal(command(g, DMATEST_WRITE, at + 3, 0x7000, 0), 0);
		assert_memory_equal(ram + 3, ram + 0xc001, 0x7000);
		assert_int_equal(command(g, DMATEST_FILL, at + 1, 0x1fffe, 0x1a5), 0);
		assert_int_equal(ram[0], 0);
		assert_int_equal(ram[1], 0xa5);
		assert_int_equal(ram[0x1fffe], 0xa5);
		assert_int_equal(ram[0x1ffff], 0);
		assert_int_equal(command(g, DMATEST_SUM, at, 0x20000, 0), 0);
		assert_int_equal(reg64(g, DMATEST_REG_RESULT), 0x1fffeull * 0xa5);
		ram[5] = 9;
		set64(g, DMATEST_REG_IOVA2, at + 0x18001);
		assert_int_equal(command(g, DMATEST_COPY, at, 0x7000, 0), 0);
		assert_memory_equal(ram + 0x18001, ram, 0x7000);
		assert_int_equal(reg32(g, DMATEST_REG_COMMANDS), 5);
		assert_int_equal(guest_stat(g, "commands"), 5);
		assert_int_equal(guest_stat(g, "errors"), 0);
		guest_destroy(g);
	}
}

static void iommu_blocks_and_says_where(void **state)
{
	struct virtio_iommu_fault fault;
	struct guest *g = make(true);
	uint64_t at = guest_iova(g, 0);

	(void)state;
	guest_map(g, 0, 2 * PAGE, R);
	guest_map(g, 3 * PAGE, PAGE, W);
	/* Half of it is mapped. */
	assert_int_equal(command(g, DMATEST_SUM, at + PAGE, 2 * PAGE, 0), EFAULT);
	assert_int_equal(reg64(g, DMATEST_REG_DONE), PAGE);
	assert_true(reg64(g, DMATEST_REG_FAULT) == at + 2 * PAGE);
	assert_int_equal(guest_faults(g, &fault), 1);
	assert_true(fault.address == at + 2 * PAGE);
	assert_int_equal(fault.endpoint, GUEST_ENDPOINT);
	assert_int_equal(fault.reason, VIRTIO_IOMMU_FAULT_R_MAPPING);
	/* Permissions. */
	assert_int_equal(command(g, DMATEST_FILL, at, 16, 1), EFAULT);
	assert_int_equal(command(g, DMATEST_READ, at + 3 * PAGE, 16, 1), EFAULT);
	assert_int_equal(command(g, DMATEST_WRITE, at + 3 * PAGE, 16, 1), 0);
	set64(g, DMATEST_REG_IOVA2, at + PAGE);
	assert_int_equal(command(g, DMATEST_COPY, at, 16, 0), EFAULT);
	assert_true(reg64(g, DMATEST_REG_FAULT) == at + PAGE);
	assert_int_equal(guest_faults(g, NULL), 3);
	/* The guest-physical address is no way around it. */
	assert_int_equal(command(g, DMATEST_SUM, GUEST_GPA, 16, 0), EFAULT);
	assert_int_equal(guest_stat(g, "blocked"), 5);
	/* Unmapped again. */
	assert_int_equal(command(g, DMATEST_SUM, at, PAGE, 0), 0);
	assert_int_equal(guest_unmap(g, 0, 2 * PAGE), 0);
	assert_int_equal(command(g, DMATEST_SUM, at, PAGE, 0), EFAULT);
	guest_destroy(g);
}

static void no_memory_is_a_fault_without_iommu(void **state)
{
	struct guest *g = make(false);

	(void)state;
	assert_int_equal(command(g, DMATEST_SUM, GUEST_GPA + GUEST_LEN - 16, 32, 0),
			 EFAULT);
	assert_int_equal(reg64(g, DMATEST_REG_DONE), 16);
	guest_destroy(g);
}

static void lengths_at_the_limit_and_past_it(void **state)
{
	struct guest *g = make(false);
	uint64_t at = guest_iova(g, 0);

	(void)state;
	for (uint32_t cmd = DMATEST_READ; cmd <= DMATEST_COPY; cmd++) {
		uint64_t max =
			cmd <= DMATEST_WRITE ? DMATEST_BUFFER_LEN : DMATEST_LEN_MAX;

		set64(g, DMATEST_REG_IOVA2, at + (4 << 20));
		assert_int_equal(command(g, cmd, at, max, 0), 0);
		assert_int_equal(reg64(g, DMATEST_REG_DONE), max);
		assert_int_equal(command(g, cmd, at, max + 1, 0), ERANGE);
		assert_int_equal(reg64(g, DMATEST_REG_DONE), 0);
		assert_int_equal(command(g, cmd, at, 0, 0), 0);
		assert_int_equal(command(g, cmd, UINT64_MAX - 1, 3, 0), ERANGE);
	}
	set64(g, DMATEST_REG_IOVA2, UINT64_MAX);
	assert_int_equal(command(g, DMATEST_COPY, at, 2, 0), ERANGE);
	guest_destroy(g);
}

static void unknown_commands_and_parts_of_them(void **state)
{
	struct guest *g = make(false);

	(void)state;
	assert_int_equal(command(g, 0, 0, 0, 0), EINVAL);
	assert_int_equal(command(g, DMATEST_RELEASE + 1, 0, 0, 0), EINVAL);
	assert_int_equal(command(g, UINT32_MAX, 0, 0, 0), EINVAL);
	guest_set_reg(g, 0, DMATEST_REG_COMMAND, 1, DMATEST_SUM);
	guest_set_reg(g, 0, DMATEST_REG_COMMAND, 2, DMATEST_SUM);
	assert_int_equal(reg32(g, DMATEST_REG_COMMANDS), 3);
	guest_set_reg(g, 0, DMATEST_REG_COMMAND, 8, DMATEST_SUM);
	assert_int_equal(reg32(g, DMATEST_REG_COMMANDS), 4);
	guest_destroy(g);
}

static void no_bus_master_no_dma(void **state)
{
	struct guest *g = make(true);

	(void)state;
	guest_map(g, 0, PAGE, RW);
	assert_int_equal(command(g, DMATEST_HOLD, guest_iova(g, 0), PAGE, R), 0);
	guest_bus_master(g, false);
	for (uint32_t cmd = DMATEST_READ; cmd <= DMATEST_HOLD; cmd++)
		assert_int_equal(command(g, cmd, guest_iova(g, 0), 16, 0), EACCES);
	/* What was taken before can be given back. */
	assert_int_equal(command(g, DMATEST_RELEASE, 0, 0, 0), 0);
	assert_int_equal(guest_unmap(g, 0, PAGE), 0);
	guest_destroy(g);
}

static void interrupts(void **state)
{
	struct guest *g = make(false);

	(void)state;
	for (unsigned i = 0; i < DMATEST_VECTORS_NR; i++)
		assert_int_equal(command(g, DMATEST_RAISE, 0, 0, i), 0);
	for (unsigned i = 0; i < DMATEST_VECTORS_NR; i++)
		assert_int_equal(g->irqs[i], 1);
	assert_int_equal(command(g, DMATEST_RAISE, 0, 0, DMATEST_VECTORS_NR), EINVAL);
	guest_set_reg(g, 0, DMATEST_REG_VECTOR, 4, 3);
	assert_int_equal(command(g, DMATEST_SUM, guest_iova(g, 0), 1, 0), 0);
	assert_int_equal(g->irqs[3], 2);
	assert_int_equal(command(g, 77, 0, 0, 0), EINVAL);
	assert_int_equal(g->irqs[3], 3);
	guest_set_reg(g, 0, DMATEST_REG_VECTOR, 4, 4);
	assert_int_equal(command(g, DMATEST_SUM, guest_iova(g, 0), 1, 0), 0);
	assert_int_equal(guest_stat(g, "interrupts"), 6);
	guest_destroy(g);
}

static void flr(struct guest *g)
{
	unsigned cap = guest_find_cap(g, PCI_CAP_PCIE, 0);

	guest_set_config(g, cap + PCIE_DEVCTL, 2, PCIE_DEVCTL_FLR);
	guest_bus_master(g, true);
}

static void flr_starts_anew(void **state)
{
	struct guest *g = make(true);
	uint64_t at = guest_iova(g, 0);

	(void)state;
	guest_map(g, 0, PAGE, RW);
	guest_set_reg(g, 0, DMATEST_REG_SCRATCH, 4, 5);
	guest_set_reg(g, 0, DMATEST_REG_VECTOR, 4, 1);
	guest_set_reg(g, 0, DMATEST_BUFFER, 4, 0x1234);
	command(g, DMATEST_HOLD, at, PAGE, R);
	assert_int_equal(guest_unmap(g, 0, PAGE), GUEST_PARKED);
	flr(g);
	/* The held page went with it. */
	assert_int_equal(guest_unpark(g), VIRTIO_IOMMU_S_OK);
	assert_int_equal(reg32(g, DMATEST_REG_SCRATCH), 0);
	assert_int_equal(reg32(g, DMATEST_REG_VECTOR), DMATEST_NO_VECTOR);
	assert_int_equal(guest_reg(g, 0, DMATEST_BUFFER, 4), 0);
	assert_int_equal(reg64(g, DMATEST_REG_IOVA), 0);
	assert_int_equal(reg32(g, DMATEST_REG_STATUS), DMATEST_IDLE);
	assert_int_equal(reg32(g, DMATEST_REG_COMMANDS), 0);
	assert_int_equal(guest_stat(g, "resets"), 1);
	guest_destroy(g);
}

static void unmap_waits_for_release(void **state)
{
	struct guest *g = make(true);
	uint64_t at = guest_iova(g, 0);

	(void)state;
	guest_map(g, 0, PAGE, RW);
	guest_map(g, PAGE, PAGE, RW);
	assert_int_equal(command(g, DMATEST_HOLD, at, 16, RW), 0);
	assert_int_equal(guest_stat(g, "held"), 1);
	/* Of another page: at once. */
	assert_int_equal(guest_unmap(g, PAGE, PAGE), VIRTIO_IOMMU_S_OK);
	assert_int_equal(guest_unmap(g, 0, PAGE), GUEST_PARKED);
	/* Gone for new accesses already. */
	assert_int_equal(command(g, DMATEST_SUM, at, 16, 0), EFAULT);
	assert_int_equal(guest_unpark(g), GUEST_PARKED);
	assert_int_equal(command(g, DMATEST_RELEASE, 0, 0, 0), 0);
	assert_int_equal(guest_unpark(g), VIRTIO_IOMMU_S_OK);
	assert_int_equal(guest_stat(g, "held"), 0);
	guest_destroy(g);
}

static void holds_are_limited_and_checked(void **state)
{
	struct guest *g = make(true);
	uint64_t at = guest_iova(g, 0);

	(void)state;
	guest_map(g, 0, PAGE, R);
	assert_int_equal(command(g, DMATEST_HOLD, at, 16, W), EFAULT);
	assert_true(reg64(g, DMATEST_REG_FAULT) == at);
	assert_int_equal(command(g, DMATEST_HOLD, at + PAGE, 16, 0), EFAULT);
	assert_int_equal(command(g, DMATEST_HOLD, at, 16, 0), 0);
	/* Pieces that do not touch each other. */
	for (unsigned i = 1; i < DMATEST_HOLDS_MAX; i++)
		assert_int_equal(command(g, DMATEST_HOLD, at + i * 32, 16, 0), 0);
	assert_int_equal(command(g, DMATEST_HOLD, at + 4000, 16, 0), ERANGE);
	assert_int_equal(command(g, DMATEST_RELEASE, 0, 0, 0), 0);
	assert_int_equal(guest_unmap(g, 0, PAGE), VIRTIO_IOMMU_S_OK);
	guest_destroy(g);
}

static void creation_survives_lack_of_memory(void **state)
{
	(void)state;
	guest_check_lack_of_memory("dmatest", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looks_as_documented),
		cmocka_unit_test(registers_keep_what_is_written),
		cmocka_unit_test(buffer_is_memory),
		cmocka_unit_test(moves_data),
		cmocka_unit_test(iommu_blocks_and_says_where),
		cmocka_unit_test(no_memory_is_a_fault_without_iommu),
		cmocka_unit_test(lengths_at_the_limit_and_past_it),
		cmocka_unit_test(unknown_commands_and_parts_of_them),
		cmocka_unit_test(no_bus_master_no_dma),
		cmocka_unit_test(interrupts),
		cmocka_unit_test(flr_starts_anew),
		cmocka_unit_test(unmap_waits_for_release),
		cmocka_unit_test(holds_are_limited_and_checked),
		cmocka_unit_test(creation_survives_lack_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
