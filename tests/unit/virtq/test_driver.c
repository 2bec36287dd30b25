/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Driver side: its own rules, and a device that breaks all of them. */
#include <errno.h>

#include "test.h"

#include "virtq/driver.h"

#define SIZE_TESTED 8u
#define TABLE_NR    4u

struct ring {
	struct drvq q;
	struct drvq_config cfg;
	uint8_t *desc, *driver, *device, *tables;
	struct drvq_slot *slots;
	uint16_t used; /* entries the device has given back */
	bool wrap;     /* packed: the device's lap */
};

static uint8_t *area(uint64_t len)
{
	uint8_t *p = aligned_alloc(16, (len + 15) & ~15ull);

	assert_non_null(p);
	memset(p, 0, (len + 15) & ~15ull);
	return p;
}

static struct ring *setup(uint16_t size, bool packed, bool event_idx, uint16_t table_nr)
{
	struct ring *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->desc = area(drvq_desc_len(size));
	r->driver = area(drvq_driver_len(size, packed));
	r->device = area(drvq_device_len(size, packed));
	r->tables = area(drvq_tables_len(size, TABLE_NR));
	r->slots = calloc(size, sizeof(*r->slots));
	r->wrap = true;
	r->cfg = (struct drvq_config){
		.size = size,
		.packed = packed,
		.event_idx = event_idx,
		.desc = r->desc,
		.driver = r->driver,
		.device = r->device,
		.slots = r->slots,
		.tables = r->tables,
		.tables_dma = 0x900000,
		.table_nr = table_nr,
	};
	assert_int_equal(drvq_init(&r->q, &r->cfg), 0);
	return r;
}

static void teardown(struct ring *r)
{
	free(r->desc);
	free(r->driver);
	free(r->device);
	free(r->tables);
	free(r->slots);
	free(r);
}

static const struct drvq_buf bufs[] = {{0x1000, 100}, {0x2000, 10}, {0x3000, 10},
				       {0x4000, 10},  {0x5000, 10}, {0x6000, 10},
				       {0x7000, 10},  {0x8000, 10}, {0x9000, 10}};

/* One readable buffer and writable ones of 10 bytes. */
static int add(struct ring *r, unsigned writable, void *cookie)
{
	return drvq_add(&r->q, bufs, 1, writable, cookie);
}

static void put(uint8_t *at, unsigned len, uint64_t value)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, unsigned len)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < len; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

/* The device gives back `id`, whether or not it has it; the entries of packed
 * rings that it took are `slots`. */
static void give(struct ring *r, uint32_t id, uint32_t len, unsigned slots)
{
	uint16_t size = r->cfg.size;

	if (!r->cfg.packed) {
		put(r->device + 4 + 8 * (r->used % size), 4, id);
		put(r->device + 8 + 8 * (r->used % size), 4, len);
		put(r->device + 2, 2, ++r->used);
		return;
	}
	put(r->desc + 16 * r->used + 8, 4, len);
	put(r->desc + 16 * r->used + 12, 2, id);
	put(r->desc + 16 * r->used + 14, 2, packed_used_flags(r->wrap) | RING_F_WRITE);
	r->used += slots;
	if (r->used >= size) {
		r->used -= size;
		r->wrap = !r->wrap;
	}
}

static void expect_broken(struct ring *r)
{
	struct drvq_used used;
	void *cookie;
	unsigned out = drvq_out_nr(&r->q);

	assert_int_equal(drvq_poll(&r->q, &used), -EIO);
	assert_int_equal(drvq_poll(&r->q, &used), -EIO);
	assert_true(drvq_has_used(&r->q));
	assert_int_equal(add(r, 1, NULL), -EIO);
	assert_false(drvq_publish(&r->q));
	while (out--)
		assert_int_equal(drvq_take_back(&r->q, &cookie), 1);
	assert_int_equal(drvq_take_back(&r->q, &cookie), 0);
	assert_int_equal(drvq_free_nr(&r->q), r->cfg.size);
	teardown(r);
}

/* Format, and chains as tables or as lists. */
static const struct {
	bool packed;
	uint16_t table_nr;
} kinds[] = {{false, 0}, {false, TABLE_NR}, {true, 0}, {true, TABLE_NR}};
#define KINDS_NR 4u

static void init_checks(void **state)
{
	struct ring *r = setup(SIZE_TESTED, false, false, TABLE_NR);
	struct drvq_config good = r->cfg, cfg;
	struct drvq q;

	(void)state;
#define REJECTED(field, value)                                                           \
	do {                                                                             \
		cfg = good;                                                              \
		cfg.field = value;                                                       \
		assert_int_equal(drvq_init(&q, &cfg), -EINVAL);                          \
	} while (0)
	REJECTED(size, 0);
	REJECTED(size, 6);
	REJECTED(size, DRVQ_SIZE_MAX + 1);
	REJECTED(size, 2 * DRVQ_SIZE_MAX);
	REJECTED(desc, NULL);
	REJECTED(desc, r->desc + 8);
	REJECTED(driver, NULL);
	REJECTED(driver, r->driver + 2);
	REJECTED(device, r->device + 2);
	REJECTED(slots, NULL);
	REJECTED(tables, NULL);
	REJECTED(tables, r->tables + 8);
	REJECTED(table_nr, DRVQ_SIZE_MAX + 1);
	teardown(r);
	r = setup(DRVQ_SIZE_MAX, true, true, 0);
	teardown(r);
	r = setup(7, true, true, 0);
	teardown(r);
}

/* What fits is taken to the last entry, one more is refused and changes nothing. */
static void full_at_the_size(void **state)
{
	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		struct ring *r =
			setup(SIZE_TESTED, kinds[k].packed, false, kinds[k].table_nr);
		unsigned each = kinds[k].table_nr ? 1 : 2;

		for (unsigned i = 0; i < SIZE_TESTED / each; i++)
			assert_int_equal(add(r, 1, r), 0);
		assert_int_equal(drvq_free_nr(&r->q), 0);
		assert_int_equal(add(r, 1, r), -ENOSPC);
		assert_int_equal(drvq_out_nr(&r->q), SIZE_TESTED / each);
		assert_true(drvq_publish(&r->q));
		assert_false(drvq_publish(&r->q));
		teardown(r);
	}
}

static void too_many_buffers(void **state)
{
	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		struct ring *r = setup(8, kinds[k].packed, false, kinds[k].table_nr);

		assert_int_equal(add(r, 8, r), -EINVAL);
		assert_int_equal(drvq_add(&r->q, bufs, UINT32_MAX, 2, r), -EINVAL);
		assert_int_equal(drvq_add(&r->q, bufs, 0, 0, r), -EINVAL);
		assert_int_equal(add(r, 7, r), 0); /* a list, longer than tables */
		assert_int_equal(drvq_free_nr(&r->q), 0);
		teardown(r);
	}
}

static void length_at_the_limit(void **state)
{
	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		for (uint32_t len = 20; len <= 21; len++) {
			struct ring *r =
				setup(8, kinds[k].packed, false, kinds[k].table_nr);
			struct drvq_used used;

			assert_int_equal(add(r, 2, &used), 0);
			drvq_publish(&r->q);
			give(r, 0, len, kinds[k].table_nr ? 1 : 3);
			if (len > 20) {
				expect_broken(r);
				continue;
			}
			assert_int_equal(drvq_poll(&r->q, &used), 1);
			assert_ptr_equal(used.cookie, &used);
			assert_int_equal(used.len, 20);
			assert_int_equal(drvq_free_nr(&r->q), 8);
			assert_int_equal(drvq_poll(&r->q, &used), 0);
			teardown(r);
		}
	}
}

static void unknown_ids(void **state)
{
	static const uint32_t ids[] = {1, 7, 8, 0xffff, 0x10000, UINT32_MAX};

	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
			struct ring *r =
				setup(8, kinds[k].packed, false, kinds[k].table_nr);

			if (kinds[k].packed && ids[i] > 0xffff) {
				teardown(r);
				continue;
			}
			/* Id 1 is the second descriptor of the list, or free. */
			assert_int_equal(add(r, 1, r), 0);
			drvq_publish(&r->q);
			give(r, ids[i], 0, 1);
			expect_broken(r);
		}
	}
}

static void given_back_twice(void **state)
{
	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		struct ring *r = setup(8, kinds[k].packed, false, kinds[k].table_nr);
		unsigned slots = kinds[k].table_nr ? 1 : 2;
		struct drvq_used used;

		assert_int_equal(add(r, 1, r), 0);
		assert_int_equal(add(r, 1, r), 0);
		drvq_publish(&r->q);
		give(r, 0, 10, slots);
		give(r, 0, 10, slots);
		assert_int_equal(drvq_poll(&r->q, &used), 1);
		expect_broken(r);
	}
}

static void given_back_unasked(void **state)
{
	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		struct ring *r = setup(8, kinds[k].packed, false, kinds[k].table_nr);

		give(r, 0, 0, 1);
		expect_broken(r);
	}
}

static void used_index_jumps(void **state)
{
	static const uint16_t jumps[] = {3, 9, 0x8000, 0xffff};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct ring *r = setup(8, false, false, 0);

		assert_int_equal(add(r, 1, r), 0);
		assert_int_equal(add(r, 1, r), 0);
		drvq_publish(&r->q);
		put(r->device + 2, 2, jumps[i]);
		expect_broken(r);
	}
}

/* What the device scribbles over descriptors is never read back. */
static void descriptors_are_not_read_back(void **state)
{
	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		struct ring *r = setup(8, kinds[k].packed, false, kinds[k].table_nr);
		unsigned slots = kinds[k].table_nr ? 1 : 2;
		struct drvq_used used;

		for (unsigned lap = 0; lap < 9; lap++) {
			uint16_t id = r->q.free_head;

			assert_int_equal(add(r, 1, r), 0);
			drvq_publish(&r->q);
			memset(r->tables, 0xff, drvq_tables_len(8, TABLE_NR));
			memset(r->desc, 0xff, kinds[k].packed ? 0 : 128);
			give(r, id, 10, slots);
			assert_int_equal(drvq_poll(&r->q, &used), 1);
			assert_int_equal(drvq_free_nr(&r->q), 8);
		}
		teardown(r);
	}
}

/* Without WRITE the length of a packed used entry is reserved. */
static void packed_length_without_write(void **state)
{
	struct ring *r = setup(8, true, false, 0);
	struct drvq_used used;

	(void)state;
	assert_int_equal(add(r, 1, r), 0);
	assert_int_equal(add(r, 1, r), 0);
	drvq_publish(&r->q);
	give(r, 0, 9999, 2);
	put(r->desc + 14, 2, packed_used_flags(true));
	assert_int_equal(drvq_poll(&r->q, &used), 1);
	assert_int_equal(used.len, 0);
	give(r, 1, 10, 2);
	put(r->desc + 32 + 14, 2, packed_used_flags(true));
	assert_int_equal(drvq_poll(&r->q, &used), 1);
	assert_int_equal(used.len, 10);
	teardown(r);
}

static void kick_by_flags(void **state)
{
	struct ring *r = setup(8, false, false, 0);

	(void)state;
	assert_int_equal(add(r, 0, r), 0);
	assert_true(drvq_publish(&r->q));
	put(r->device, 2, 1);
	assert_int_equal(add(r, 0, r), 0);
	assert_false(drvq_publish(&r->q));
	teardown(r);
	r = setup(8, true, false, 0);
	assert_int_equal(add(r, 0, r), 0);
	assert_true(drvq_publish(&r->q));
	put(r->device + 2, 2, 1);
	assert_int_equal(add(r, 0, r), 0);
	assert_false(drvq_publish(&r->q));
	teardown(r);
}

static void kick_by_event_index(void **state)
{
	(void)state;
	for (uint16_t event = 0; event < 6; event++) {
		struct ring *r = setup(8, false, true, 0);

		put(r->device, 2, 1); /* has no effect */
		put(r->device + 4 + 8 * 8, 2, event);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(add(r, 0, r), 0);
		assert_int_equal(drvq_publish(&r->q), event < 3);
		assert_int_equal(add(r, 0, r), 0);
		assert_int_equal(drvq_publish(&r->q), event == 3);
		teardown(r);
		r = setup(8, true, true, 0);
		put(r->device, 4, 2u << 16 | 0x8000u | event);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(add(r, 0, r), 0);
		assert_int_equal(drvq_publish(&r->q), event < 3);
		assert_int_equal(add(r, 0, r), 0);
		assert_int_equal(drvq_publish(&r->q), event == 3);
		teardown(r);
	}
}

static void interrupts_by_flags(void **state)
{
	struct ring *r = setup(8, false, false, 0);

	(void)state;
	drvq_disable_notify(&r->q);
	assert_int_equal(get(r->driver, 2), 1);
	assert_int_equal(add(r, 1, r), 0);
	drvq_publish(&r->q);
	give(r, 0, 0, 1);
	assert_true(drvq_enable_notify(&r->q));
	assert_int_equal(get(r->driver, 2), 0);
	teardown(r);
	r = setup(8, true, false, 0);
	drvq_disable_notify(&r->q);
	assert_int_equal(get(r->driver, 4), 1u << 16);
	assert_false(drvq_enable_notify(&r->q));
	assert_int_equal(get(r->driver, 4), 0);
	teardown(r);
}

/* A published chain is out; one that is only added can be taken back as well. */
static void take_back_after_reset(void **state)
{
	(void)state;
	for (unsigned k = 0; k < KINDS_NR; k++) {
		struct ring *r = setup(8, kinds[k].packed, true, kinds[k].table_nr);
		void *cookies[2] = {0}, *cookie;
		int one, two;

		assert_int_equal(add(r, 2, &one), 0);
		drvq_publish(&r->q);
		assert_int_equal(add(r, 1, &two), 0);
		assert_int_equal(drvq_take_back(&r->q, &cookies[0]), 1);
		assert_int_equal(drvq_take_back(&r->q, &cookies[1]), 1);
		assert_int_equal(drvq_take_back(&r->q, &cookie), 0);
		assert_true((cookies[0] == &one && cookies[1] == &two) ||
			    (cookies[0] == &two && cookies[1] == &one));
		assert_int_equal(drvq_init(&r->q, &r->cfg), 0);
		assert_int_equal(add(r, 2, &one), 0);
		teardown(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_checks),
		cmocka_unit_test(full_at_the_size),
		cmocka_unit_test(too_many_buffers),
		cmocka_unit_test(length_at_the_limit),
		cmocka_unit_test(unknown_ids),
		cmocka_unit_test(given_back_twice),
		cmocka_unit_test(given_back_unasked),
		cmocka_unit_test(used_index_jumps),
		cmocka_unit_test(descriptors_are_not_read_back),
		cmocka_unit_test(packed_length_without_write),
		cmocka_unit_test(kick_by_flags),
		cmocka_unit_test(kick_by_event_index),
		cmocka_unit_test(interrupts_by_flags),
		cmocka_unit_test(take_back_after_reset),
	};

	return cmocka_run_group_tests_name("virtq driver", tests, NULL, NULL);
}
