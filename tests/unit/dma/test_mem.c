/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* The guest-memory table: changes, removal while held, dirty tracking. */
#include "core_kit.h"

#include "dma/dma_context.h"

static struct core_kit k;
static struct viommu_dma *dma; /* no IOMMU */

static void begin(void)
{
	core_kit_init(&k, NULL);
	dma = core_kit_dma(&k, NULL, NULL, NULL);
}

static void end(void)
{
	viommu_dma_destroy(dma);
	core_kit_done(&k);
}

static void add_and_remove(void **state)
{
	struct viommu_mem_region r;
	uint8_t byte;

	(void)state;
	begin();
	assert_int_equal(viommu_mem_add(k.mem, 0, 0, k.ram, 0), -EINVAL);
	assert_int_equal(viommu_mem_add(k.mem, UINT64_MAX, 2, k.ram, 0), -EINVAL);
	assert_int_equal(viommu_mem_add(k.mem, 0, 1, k.ram, 2), -EINVAL);
	assert_int_equal(viommu_mem_add(k.mem, CORE_RAM_GPA - 1, 2, k.ram, 0), -EEXIST);
	assert_int_equal(viommu_mem_add(k.mem, CORE_RAM_GPA + 5, 1, k.ram, 0), -EEXIST);
	assert_int_equal(viommu_mem_add(k.mem, UINT64_MAX, 1, k.ram + 9, 0), 0);
	assert_int_equal(viommu_mem_add(k.mem, 0, 1, k.ram + 3, VIOMMU_MEM_READONLY), 0);
	assert_int_equal(viommu_mem_region(k.mem, 0, &r), 0);
	assert_int_equal(r.len, 1);
	assert_int_equal(r.flags, VIOMMU_MEM_READONLY);
	assert_int_equal(viommu_mem_region(k.mem, 1, &r), 0);
	assert_int_equal(r.gpa, CORE_RAM_GPA);
	assert_int_equal(r.len, CORE_RAM_LEN);
	assert_int_equal(viommu_mem_region(k.mem, 2, &r), 0);
	assert_int_equal(r.gpa, UINT64_MAX);
	assert_int_equal(viommu_mem_region(k.mem, 3, &r), -ENOENT);
	k.ram[9] = 0x42;
	assert_int_equal(viommu_dma_read(dma, UINT64_MAX, &byte, 1), 0);
	assert_int_equal(byte, 0x42);
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, 1), -ENOENT);
	assert_int_equal(viommu_mem_remove(k.mem, 7, 1), -ENOENT);
	assert_int_equal(viommu_mem_remove(k.mem, UINT64_MAX, 1), 0);
	assert_int_equal(viommu_dma_read(dma, UINT64_MAX, &byte, 1), -EFAULT);
	assert_false(viommu_mem_busy(k.mem, UINT64_MAX, 1));
	viommu_mem_destroy(NULL);
	end();
}

static void region_limit(void **state)
{
	(void)state;
	begin(); /* one region is there */
	for (uint64_t i = 1; i < LIMIT_MEM_REGIONS; i++)
		assert_int_equal(viommu_mem_add(k.mem, i << 32, 4096, k.ram, 0), 0);
	assert_int_equal(viommu_mem_add(k.mem, 0, 4096, k.ram, 0), -ENOSPC);
	assert_int_equal(viommu_mem_remove(k.mem, 77ull << 32, 4096), 0);
	assert_int_equal(viommu_mem_add(k.mem, 0, 4096, k.ram, 0), 0);
	assert_int_equal(viommu_mem_add(k.mem, 4096, 4096, k.ram, 0), -ENOSPC);
	end();
}

static void allocations_fail(void **state)
{
	struct viommu_mem *mem;
	uint64_t bitmap[4];
	uint8_t byte;

	(void)state;
	begin();
	for (unsigned nth = 1; nth <= 2; nth++) {
		test_alloc_fail(&k.ta, nth);
		assert_int_equal(viommu_mem_create(&k.ta.ops, &mem), -ENOMEM);
	}
	test_alloc_fail(&k.ta, 1);
	assert_int_equal(viommu_mem_add(k.mem, 0, 4096, k.ram, 0), -ENOMEM);
	test_alloc_fail(&k.ta, 1);
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, CORE_RAM_LEN), -ENOMEM);
	test_alloc_fail(&k.ta, 1);
	assert_int_equal(
		viommu_mem_set_dirty_bitmap(k.mem, CORE_RAM_GPA, CORE_RAM_LEN, bitmap),
		-ENOMEM);
	assert_int_equal(viommu_dma_read(dma, CORE_RAM_GPA, &byte, 1), 0);
	assert_int_equal(viommu_dma_read(dma, 0, &byte, 1), -EFAULT);
	end();
}

struct transfer {
	struct iovec iov[4];
	struct viommu_hold hold[4];
	struct viommu_sg sg;
};

static void get(struct transfer *t, uint64_t gpa, uint64_t len, unsigned perm)
{
	t->sg = (struct viommu_sg){t->iov, 0, 4, t->hold, 0, 4, 0};
	assert_int_equal(viommu_dma_get(dma, gpa, len, perm, &t->sg), 0);
}

static void removal_while_held(void **state)
{
	static uint8_t other[CORE_RAM_LEN];
	struct transfer a, b;

	(void)state;
	begin();
	get(&a, CORE_RAM_GPA, 8192, CORE_RW);
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, CORE_RAM_LEN),
			 -EINPROGRESS);
	assert_true(viommu_mem_busy(k.mem, CORE_RAM_GPA, CORE_RAM_LEN));
	assert_false(viommu_mem_busy(k.mem, CORE_RAM_GPA, 1));
	/* other memory takes its place meanwhile, and is held too */
	assert_int_equal(viommu_mem_add(k.mem, CORE_RAM_GPA, CORE_RAM_LEN, other, 0), 0);
	get(&b, CORE_RAM_GPA, 1, VIOMMU_READ);
	assert_ptr_equal(b.iov[0].iov_base, other);
	viommu_dma_put(dma, &a.sg);
	assert_false(viommu_mem_busy(k.mem, CORE_RAM_GPA, CORE_RAM_LEN));
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, CORE_RAM_LEN),
			 -EINPROGRESS);
	viommu_dma_put(dma, &b.sg);
	assert_false(viommu_mem_busy(k.mem, CORE_RAM_GPA, CORE_RAM_LEN));
	end();
}

/* A removed region that is held takes up a slot until it is let go. */
static void held_regions_count(void **state)
{
	struct transfer t;

	(void)state;
	begin();
	get(&t, CORE_RAM_GPA, 1, VIOMMU_READ);
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, CORE_RAM_LEN),
			 -EINPROGRESS);
	for (uint64_t i = 1; i < LIMIT_MEM_REGIONS; i++)
		assert_int_equal(viommu_mem_add(k.mem, i << 32, 4096, k.ram, 0), 0);
	assert_int_equal(viommu_mem_add(k.mem, 0, 4096, k.ram, 0), -ENOSPC);
	viommu_dma_put(dma, &t.sg);
	assert_int_equal(viommu_mem_add(k.mem, 0, 4096, k.ram, 0), 0);
	end();
}

/* ---- dirty tracking ---- */

#define WORDS (CORE_RAM_LEN / 4096 / 64)
static uint64_t bitmap[WORDS];

static void expect_pages(uint64_t first, uint64_t last)
{
	for (uint64_t page = 0; page < CORE_RAM_LEN / 4096; page++)
		assert_int_equal(bitmap[page / 64] >> page % 64 & 1,
				 page >= first && page <= last);
	memset(bitmap, 0, sizeof(bitmap));
}

static void expect_none(void)
{
	expect_pages(1, 0);
}

static void track(uint64_t *to)
{
	assert_int_equal(
		viommu_mem_set_dirty_bitmap(k.mem, CORE_RAM_GPA, CORE_RAM_LEN, to), 0);
}

static void writes_are_marked(void **state)
{
	static uint8_t buf[200 * 4096];
	struct viommu_span span;

	(void)state;
	begin();
	assert_int_equal(viommu_mem_set_dirty_bitmap(k.mem, CORE_RAM_GPA, 1, bitmap),
			 -ENOENT);
	/* cached as writable before */
	assert_int_equal(viommu_dma_write(dma, CORE_RAM_GPA, buf, 1), 0);
	track(bitmap);
	assert_int_equal(viommu_dma_read(dma, CORE_RAM_GPA, buf, 10000), 0);
	expect_none();
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(viommu_dma_write(dma, CORE_RAM_GPA + 0x3fff, buf, 2), 0);
		expect_pages(3, 4);
		assert_int_equal(viommu_dma_write(dma, CORE_RAM_GPA + 0x4000, buf, 1), 0);
		expect_pages(4, 4);
	}
	assert_int_equal(viommu_dma_write(dma, CORE_RAM_GPA + 0x1000, buf, sizeof(buf)),
			 0);
	expect_pages(1, 200);
	assert_int_equal(viommu_dma_write(dma, CORE_RAM_GPA + 63 * 4096, buf, 8192), 0);
	expect_pages(63, 64);
	/* marked when the section ends, after the device has written */
	viommu_dma_begin(dma);
	assert_int_equal(viommu_dma_reach(dma, CORE_RAM_GPA, 1, VIOMMU_WRITE, &span), 0);
	expect_none();
	viommu_dma_end(dma);
	expect_pages(0, 0);
	track(NULL);
	assert_int_equal(viommu_dma_write(dma, CORE_RAM_GPA, buf, 1), 0);
	expect_none();
	end();
}

static void held_pages_are_marked_when_released(void **state)
{
	struct transfer t;

	(void)state;
	begin();
	get(&t, CORE_RAM_GPA + 0x5800, 0x1000, VIOMMU_WRITE);
	track(bitmap); /* after the transfer began */
	expect_none();
	viommu_dma_put(dma, &t.sg);
	expect_pages(5, 6);
	get(&t, CORE_RAM_GPA, 0x1000, VIOMMU_READ);
	viommu_dma_put(dma, &t.sg);
	expect_none();
	track(NULL);
	end();
}

/* The rule for transfers under way when tracking is switched on: who lets go
 * afterwards marks, all of what it held; who let go before does not. */
static void switched_on_while_held(void **state)
{
	struct transfer early, late, reader;

	(void)state;
	begin();
	get(&early, CORE_RAM_GPA, 0x1000, VIOMMU_WRITE);
	get(&late, CORE_RAM_GPA + 0x2fff, 0x2002, VIOMMU_WRITE);
	get(&reader, CORE_RAM_GPA + 0x8000, 0x1000, VIOMMU_READ);
	viommu_dma_put(dma, &early.sg);
	track(bitmap);
	viommu_dma_put(dma, &reader.sg);
	expect_none();
	viommu_dma_begin(dma); /* in a section, too */
	viommu_dma_put(dma, &late.sg);
	viommu_dma_end(dma);
	expect_pages(2, 5);
	/* one that gives up marks nothing: it wrote nothing */
	late.sg.iov_max = 0;
	assert_int_equal(viommu_dma_get(dma, CORE_RAM_GPA, 1, VIOMMU_WRITE, &late.sg),
			 -E2BIG);
	expect_none();
	get(&late, CORE_RAM_GPA, 0x1000, VIOMMU_WRITE);
	track(NULL);
	viommu_dma_put(dma, &late.sg);
	expect_none();
	end();
}

/* Tracking of one region costs, and marks, nothing in another; a tracked region that
 * is removed takes its bitmap along. */
static void tracking_ends_with_the_region(void **state)
{
	static uint8_t other[4096];
	struct transfer t;

	(void)state;
	begin();
	assert_false(k.mem->tracked);
	track(bitmap);
	assert_true(k.mem->tracked);
	assert_int_equal(viommu_mem_add(k.mem, 0, sizeof(other), other, 0), 0);
	get(&t, 0, 0x1000, VIOMMU_WRITE);
	viommu_dma_put(dma, &t.sg);
	expect_none();
	get(&t, CORE_RAM_GPA, 0x1000, VIOMMU_WRITE);
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, CORE_RAM_LEN),
			 -EINPROGRESS);
	assert_false(k.mem->tracked);
	viommu_dma_put(dma, &t.sg);
	expect_none();
	assert_false(viommu_mem_busy(k.mem, CORE_RAM_GPA, CORE_RAM_LEN));
	end();
}

/* More scattered writes in one section than the log holds: too much may be
 * marked, nothing is missed. */
static void log_overflow(void **state)
{
	struct viommu_span span;

	(void)state;
	begin();
	track(bitmap);
	viommu_dma_begin(dma);
	for (uint64_t i = 0; i < 2 * DIRTY_LOG_MAX; i++)
		assert_int_equal(viommu_dma_reach(dma, CORE_RAM_GPA + i * 8192, 1,
						  VIOMMU_WRITE, &span),
				 0);
	viommu_dma_end(dma);
	for (uint64_t i = 0; i < 2 * DIRTY_LOG_MAX; i++)
		assert_true(bitmap[2 * i / 64] >> 2 * i % 64 & 1);
	memset(bitmap, 0, sizeof(bitmap));
	track(NULL);
	end();
}

/* The same with more bitmaps than the log holds. */
static void log_overflow_regions(void **state)
{
	static uint64_t bit[DIRTY_LOG_MAX + 2];
	struct viommu_span span;

	(void)state;
	begin();
	for (uint64_t i = 0; i < DIRTY_LOG_MAX + 2; i++) {
		assert_int_equal(viommu_mem_add(k.mem, (i + 1) << 32, 4096, k.ram, 0), 0);
		assert_int_equal(
			viommu_mem_set_dirty_bitmap(k.mem, (i + 1) << 32, 4096, &bit[i]),
			0);
	}
	viommu_dma_begin(dma);
	for (uint64_t i = 0; i < DIRTY_LOG_MAX + 1; i++)
		assert_int_equal(
			viommu_dma_reach(dma, (i + 1) << 32, 1, VIOMMU_WRITE, &span), 0);
	viommu_dma_end(dma);
	for (uint64_t i = 0; i < DIRTY_LOG_MAX + 1; i++)
		assert_int_equal(bit[i], 1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(add_and_remove),
		cmocka_unit_test(region_limit),
		cmocka_unit_test(allocations_fail),
		cmocka_unit_test(removal_while_held),
		cmocka_unit_test(held_regions_count),
		cmocka_unit_test(writes_are_marked),
		cmocka_unit_test(held_pages_are_marked_when_released),
		cmocka_unit_test(switched_on_while_held),
		cmocka_unit_test(tracking_ends_with_the_region),
		cmocka_unit_test(log_overflow),
		cmocka_unit_test(log_overflow_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
