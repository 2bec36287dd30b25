/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* One test a normative statement about drivers and rings, on what the driver
 * side leaves in memory; each is named after its id in virtio_statements.json. */
#include <errno.h>

#include "test.h"

#include "virtq/driver.h"

#define TABLE_NR  4u
#define TABLE_DMA 0x770000u

struct ring {
	struct drvq q;
	struct drvq_config cfg;
	uint8_t *desc, *driver, *device, *tables;
	struct drvq_slot slots[64];
};

static void setup(struct ring *r, uint16_t size, bool packed, bool indirect)
{
	size_t areas = 16 * 64 + 2 * 1024;

	memset(r, 0, sizeof(*r));
	r->desc = aligned_alloc(16, areas);
	r->tables = aligned_alloc(16, drvq_tables_len(64, TABLE_NR));
	assert_true(r->desc && r->tables);
	memset(r->desc, 0, areas);
	memset(r->tables, 0xee, drvq_tables_len(64, TABLE_NR));
	r->driver = r->desc + 16 * 64;
	r->device = r->driver + 1024;
	r->cfg = (struct drvq_config){
		.size = size,
		.packed = packed,
		.desc = r->desc,
		.driver = r->driver,
		.device = r->device,
		.slots = r->slots,
		.tables = r->tables,
		.tables_dma = TABLE_DMA,
		.table_nr = indirect ? TABLE_NR : 0,
	};
	assert_int_equal(drvq_init(&r->q, &r->cfg), 0);
}

static void teardown(struct ring *r)
{
	free(r->desc);
	free(r->tables);
}

static uint64_t get(const uint8_t *at, unsigned len)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < len; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

static uint16_t flags_of(const struct ring *r, const uint8_t *table, unsigned i)
{
	return (uint16_t)get(table + 16 * i + (r->cfg.packed ? 14 : 12), 2);
}

static const struct drvq_buf some[] = {{0x1000, 8}, {0x2000, 8}, {0x3000, 8},
				       {0x4000, 8}, {0x5000, 8}, {0x6000, 8}};

static int add(struct ring *r, unsigned readable, unsigned writable)
{
	return drvq_add(&r->q, some, readable, writable, r);
}

/* Which formats, with and without tables. */
static const struct {
	bool packed, indirect;
} kinds[] = {{false, false}, {false, true}, {true, false}, {true, true}};

static void virtio_driver_framing_01(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		struct ring r;
		const uint8_t *table;

		setup(&r, 16, kinds[k].packed, kinds[k].indirect);
		assert_int_equal(add(&r, 2, 2), 0);
		table = kinds[k].indirect ? r.tables : r.desc;
		drvq_publish(&r.q);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(!!(flags_of(&r, table, i) & RING_F_WRITE),
					 i >= 2);
			assert_int_equal(get(table + 16 * i, 8), some[i].addr);
		}
		teardown(&r);
	}
}

static void virtio_driver_split_indirect_01(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 4; k += 2) {
		struct ring r;

		setup(&r, 16, kinds[k].packed, false);
		for (unsigned i = 1; i <= 5; i++)
			assert_int_equal(add(&r, 1, i - 1), 0);
		drvq_publish(&r.q);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(flags_of(&r, r.desc, i) & RING_F_INDIRECT, 0);
		teardown(&r);
	}
}

static void virtio_driver_split_indirect_02(void **state)
{
	(void)state;
	for (unsigned k = 1; k < 4; k += 2) {
		struct ring r;

		setup(&r, 16, kinds[k].packed, true);
		assert_int_equal(add(&r, 2, 2), 0);
		drvq_publish(&r.q);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(flags_of(&r, r.tables, i) & RING_F_INDIRECT, 0);
		assert_int_equal(get(r.desc, 8), TABLE_DMA);
		assert_int_equal(get(r.desc + 8, 4), 64);
		teardown(&r);
	}
}

static void virtio_driver_split_indirect_03(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		struct ring r;

		setup(&r, 4, kinds[k].packed, kinds[k].indirect);
		assert_int_equal(add(&r, 2, 3), -EINVAL);
		assert_int_equal(add(&r, 2, 2), 0);
		assert_int_equal(add(&r, 0, 0), -EINVAL);
		teardown(&r);
	}
}

static void virtio_driver_split_indirect_04(void **state)
{
	(void)state;
	for (unsigned k = 1; k < 4; k += 2) {
		struct ring r;

		setup(&r, 16, kinds[k].packed, true);
		for (unsigned i = 1; i <= 6; i++)
			assert_int_equal(add(&r, 1, i - 1), 0);
		drvq_publish(&r.q);
		for (unsigned i = 0; i < 16; i++)
			assert_int_not_equal(flags_of(&r, r.desc, i) &
						     (RING_F_INDIRECT | RING_F_NEXT),
					     RING_F_INDIRECT | RING_F_NEXT);
		teardown(&r);
	}
}

static void virtio_driver_split_desc_01(void **state)
{
	static const struct drvq_buf whole[] = {{0, UINT32_MAX}, {0, 1}, {0, 1}};

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		struct ring r;

		setup(&r, 16, kinds[k].packed, kinds[k].indirect);
		assert_int_equal(drvq_add(&r.q, whole, 1, 1, &r), 0);
		assert_int_equal(drvq_add(&r.q, whole, 1, 2, &r), -EINVAL);
		assert_int_equal(drvq_out_nr(&r.q), 1);
		teardown(&r);
	}
}

/* It goes on by one a chain, also around the 16-bit end. */
static void virtio_driver_split_avail_01(void **state)
{
	struct ring r;
	struct drvq_used used;

	(void)state;
	setup(&r, 4, false, false);
	for (uint32_t i = 0; i < 65536 + 10; i++) {
		uint32_t id;

		assert_int_equal(get(r.driver + 2, 2), i & 0xffff);
		assert_int_equal(add(&r, 1, 1), 0);
		assert_int_equal(get(r.driver + 2, 2), i & 0xffff);
		assert_true(drvq_publish(&r.q));
		assert_int_equal(get(r.driver + 2, 2), (i + 1) & 0xffff);
		id = (uint32_t)get(r.driver + 4 + 2 * (i % 4), 2);
		memcpy(r.device + 4 + 8 * (i % 4), &(uint32_t[]){id, 0}, 8);
		memcpy(r.device + 2, &(uint16_t){(uint16_t)(i + 1)}, 2);
		assert_int_equal(drvq_poll(&r.q, &used), 1);
	}
	teardown(&r);
}

static void virtio_driver_packed_indirect_01(void **state)
{
	struct ring r;

	(void)state;
	setup(&r, 16, true, true);
	assert_int_equal(add(&r, 1, 3), 0);
	drvq_publish(&r.q);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(flags_of(&r, r.tables, i) & ~RING_F_WRITE, 0);
	teardown(&r);
}

static void virtio_driver_packed_indirect_02(void **state)
{
	struct ring r;

	(void)state;
	setup(&r, 16, true, true);
	assert_int_equal(add(&r, 3, 3), 0); /* too long for a table: a list */
	assert_int_equal(add(&r, 1, 3), 0);
	drvq_publish(&r.q);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(flags_of(&r, r.desc, i) & RING_F_INDIRECT, 0);
	assert_int_equal(flags_of(&r, r.desc, 5) & RING_F_NEXT, 0);
	assert_int_equal(flags_of(&r, r.desc, 6) & RING_F_NEXT, 0);
	assert_int_equal(flags_of(&r, r.desc, 6) & RING_F_INDIRECT, RING_F_INDIRECT);
	teardown(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtio_driver_framing_01),
		cmocka_unit_test(virtio_driver_split_indirect_01),
		cmocka_unit_test(virtio_driver_split_indirect_02),
		cmocka_unit_test(virtio_driver_split_indirect_03),
		cmocka_unit_test(virtio_driver_split_indirect_04),
		cmocka_unit_test(virtio_driver_split_desc_01),
		cmocka_unit_test(virtio_driver_split_avail_01),
		cmocka_unit_test(virtio_driver_packed_indirect_01),
		cmocka_unit_test(virtio_driver_packed_indirect_02),
	};

	return cmocka_run_group_tests_name("rings: driver", tests, NULL, NULL);
}
