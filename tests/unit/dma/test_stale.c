/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* What a context cached is gone after each way of taking it away, on one thread.
 * (On several: tests/model/soak_stale.) */
#include "core_kit.h"

#include "dma/dma_context.h"

static struct core_kit k;
static struct viommu_endpoint *ep;
static struct viommu_dma *dma;

#define EP     8u
#define DOMAIN 1u

/* A cached mapping of 0x1000 to the first page, which starts with 1; the second
 * page starts with 2. */
static void begin(void)
{
	core_kit_init(&k, NULL);
	k.ram[0] = 1;
	k.ram[0x1000] = 2;
	ep = core_kit_endpoint(&k, EP);
	dma = core_kit_dma(&k, ep, NULL, NULL);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	assert_int_equal(space_map(k.space, DOMAIN, 0x1000, 0x1fff, CORE_RAM_GPA, 3), 0);
}

static void end(void)
{
	viommu_dma_destroy(dma);
	core_kit_done(&k);
}

static int peek(uint64_t iova)
{
	uint8_t byte;
	int rc = viommu_dma_read(dma, iova, &byte, 1);

	return rc ? rc : byte;
}

static void unmap_and_map_again(void **state)
{
	(void)state;
	begin();
	assert_int_equal(peek(0x1000), 1);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x1000, 0x1fff), 0);
	assert_int_equal(peek(0x1000), -EFAULT);
	/* the same mapping object lives again */
	assert_int_equal(space_map(k.space, DOMAIN, 0x1000, 0x1fff, CORE_RAM_GPA + 0x1000,
				   VIOMMU_READ),
			 0);
	assert_int_equal(peek(0x1000), 2);
	assert_int_equal(viommu_dma_write(dma, 0x1000, "", 1), -EFAULT);
	end();
}

static void detach_and_move(void **state)
{
	(void)state;
	begin();
	core_kit_endpoint(&k, 9);
	assert_int_equal(space_attach(k.space, DOMAIN, 9, false), 0);
	assert_int_equal(peek(0x1000), 1);
	/* the mapping lives on in the domain, for others */
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	assert_int_equal(peek(0x1000), -EFAULT);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	assert_int_equal(peek(0x1000), 1);
	assert_int_equal(space_attach(k.space, 2, EP, false), 0);
	assert_int_equal(peek(0x1000), -EFAULT);
	end();
}

static void bypass_changes(void **state)
{
	(void)state;
	begin();
	assert_int_equal(peek(0x1000), 1);
	assert_int_equal(peek(CORE_RAM_GPA), -EFAULT);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	space_set_bypass(k.space, true);
	assert_int_equal(peek(CORE_RAM_GPA), 1);
	assert_int_equal(peek(0x1000), -EFAULT);
	space_set_bypass(k.space, false);
	assert_int_equal(peek(CORE_RAM_GPA), -EFAULT);
	end();
}

static uint64_t misses(void)
{
	struct viommu_dma_stats stats;

	viommu_dma_get_stats(dma, &stats);
	return stats.misses;
}

/* One access, which must find this, with that many misses. */
static void expect(uint64_t iova, int what, unsigned missed)
{
	uint64_t before = misses();

	assert_int_equal(peek(iova), what);
	assert_int_equal(misses() - before, missed);
}

/* The attachment stays, the cache does not: small, middle and large entries, and
 * those of several mappings. */
static void endpoint_reset(void **state)
{
	const uint64_t large = 1ull << 21, gpa = 1ull << 32;
	uint8_t *memory = calloc(2, large);

	(void)state;
	begin();
	memory[0] = 5;
	assert_int_equal(viommu_mem_add(k.mem, gpa, 2 * large, memory, 0), 0);
	assert_int_equal(space_map(k.space, DOMAIN, large, 2 * large - 1, gpa, 3), 0);
	assert_int_equal(
		space_map(k.space, DOMAIN, 0x2000, 0x2fff, CORE_RAM_GPA + 0x1000, 3), 0);
	assert_int_equal(
		space_map(k.space, DOMAIN, 0x10000, 0x1ffff, CORE_RAM_GPA + 0x10000, 3),
		0);
	for (unsigned round = 0; round < 2; round++) {
		expect(0x1000, 1, 1);
		expect(0x1000, 1, 0);
		expect(0x10000, 0, 1);
		expect(0x1f000, 0, 0); /* from the table of middle ones */
		expect(large, 5, 1);
		expect(2 * large - 1, 0, 0);
		space_endpoint_reset(ep);
	}
	viommu_dma_destroy(dma);
	assert_int_equal(viommu_mem_remove(k.mem, gpa, 2 * large), 0);
	free(memory);
	core_kit_done(&k);
}

/* The reset of an endpoint costs others nothing. */
static void endpoint_reset_alone(void **state)
{
	struct viommu_endpoint *other;

	(void)state;
	begin();
	other = core_kit_endpoint(&k, 9);
	assert_int_equal(space_attach(k.space, DOMAIN, 9, false), 0);
	expect(0x1000, 1, 1);
	space_endpoint_reset(other);
	expect(0x1000, 1, 0);
	end();
}

static void device_reset(void **state)
{
	(void)state;
	begin();
	expect(0x1000, 1, 1);
	expect(0x1000, 1, 0);
	assert_int_equal(space_reset(k.space), 0);
	expect(0x1000, -EFAULT, 0);
	assert_int_equal(k.fault.reason, VIRTIO_IOMMU_FAULT_R_DOMAIN);
	/* The same domain, address and mapping object mean something else now. */
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
	expect(0x1000, -EFAULT, 0);
	assert_int_equal(
		space_map(k.space, DOMAIN, 0x1000, 0x1fff, CORE_RAM_GPA + 0x1000, 3), 0);
	expect(0x1000, 2, 1);
	end();
}

/* Bypass is not kept from the time before the reset, nor does it come with one. */
static void device_reset_in_bypass(void **state)
{
	(void)state;
	begin();
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0);
	assert_int_equal(space_attach(k.space, 2, EP, true), 0);
	assert_int_equal(peek(CORE_RAM_GPA), 1);
	assert_int_equal(space_reset(k.space), 0);
	assert_int_equal(peek(CORE_RAM_GPA), -EFAULT);
	end();
}

static void memory_moves(void **state)
{
	static uint8_t other[CORE_RAM_LEN] = {7};

	(void)state;
	begin();
	assert_int_equal(peek(0x1000), 1);
	assert_int_equal(viommu_mem_remove(k.mem, CORE_RAM_GPA, CORE_RAM_LEN), 0);
	assert_int_equal(peek(0x1000), -EFAULT);
	assert_int_equal(viommu_mem_add(k.mem, CORE_RAM_GPA, CORE_RAM_LEN, other, 0), 0);
	assert_int_equal(peek(0x1000), 7);
	end();
}

/* An UNMAP costs the caches only what it covers: the rest still hits. Memory is
 * backwards here; mappings that go on from each other are in test_merge.c. */
static void unmap_leaves_the_rest_cached(void **state)
{
	struct viommu_dma_stats before, after;

	(void)state;
	begin();
	for (uint64_t i = 2; i < 100; i++)
		assert_int_equal(space_map(k.space, DOMAIN, i << 12, (i << 12) + 0xfff,
					   CORE_RAM_GPA + ((200 - i) << 12), 3),
				 0);
	for (uint64_t i = 1; i < 100; i++)
		assert_in_range(peek(i << 12), 0, 255);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 50 << 12, (51 << 12) - 1), 0);
	viommu_dma_get_stats(dma, &before);
	for (uint64_t i = 1; i < 100; i++)
		assert_int_equal(peek(i << 12) == -EFAULT, i == 50);
	viommu_dma_get_stats(dma, &after);
	assert_int_equal(after.misses, before.misses);
	assert_int_equal(after.hits, before.hits + 98);
	end();
}

/* A whole large mapping is cached by a few entries, whatever page is asked. */
static void large_mappings_are_cached_whole(void **state)
{
	const uint64_t len = 1ull << 30, gpa = 1ull << 32;
	struct viommu_dma_stats stats;
	struct viommu_span span;

	(void)state;
	begin();
	assert_int_equal(viommu_mem_add(k.mem, gpa, len, (void *)(1ul << 40), 0), 0);
	assert_int_equal(space_map(k.space, DOMAIN, len, 2 * len - 1, gpa, 3), 0);
	viommu_dma_begin(dma);
	for (uint64_t at = 0; at < len; at += 0x1000) {
		assert_int_equal(viommu_dma_reach(dma, len + at, 1, 3, &span), 0);
		assert_ptr_equal(span.hva, (char *)(1ul << 40) + at);
	}
	viommu_dma_end(dma);
	viommu_dma_get_stats(dma, &stats);
	assert_int_equal(stats.misses, TLB_LARGES);
	assert_int_equal(core_kit_unmap(&k, DOMAIN, len, 2 * len - 1), 0);
	assert_int_equal(peek(len + 0x123), -EFAULT);
	end();
}

/* The generation of a mapping comes round after 2^31 lives: what was cached in
 * its first life must not come back to life with it. */
static void generation_wraps(void **state)
{
	struct viommu_dma_entry *e;
	struct viommu_mapping *m;

	(void)state;
	begin();
	assert_int_equal(peek(0x1000), 1);
	e = &dma->fast.entry[1];
	assert_int_equal(e->iova, 0x1000);
	m = entry_mapping(e);
	assert_int_equal(m->generation, e->generation);
	/* 2^31 - 1 lives later, the context slept all the while */
	e->generation = 0;
	m->generation = UINT32_MAX - 1;
	assert_int_equal(core_kit_unmap(&k, DOMAIN, 0x1000, 0x1fff), 0);
	assert_int_equal(space_map(k.space, DOMAIN, 0x5000, 0x5fff, CORE_RAM_GPA, 3), 0);
	assert_int_equal(m->generation, 0); /* the same object */
	assert_int_equal(peek(0x1000), -EFAULT);
	assert_int_equal(peek(0x5000), 1);
	end();
}

static int unmap_later(uint64_t page)
{
	return space_unmap_later(k.space, DOMAIN, page << 12, (page << 12) + 0xfff);
}

/* UNMAPs answered together, a MAP of the same addresses among them, until the
 * domain is empty. */
static void batches_of_unmaps(void **state)
{
	(void)state;
	begin();
	for (uint64_t i = 2; i < 100; i++)
		assert_int_equal(space_map(k.space, DOMAIN, i << 12, (i << 12) + 0xfff,
					   CORE_RAM_GPA, 3),
				 0);
	for (uint64_t i = 1; i < 100; i++)
		assert_int_equal(peek(i << 12), 1);
	assert_int_equal(unmap_later(1), 0);
	assert_int_equal(unmap_later(1), 0); /* nothing there: as it should be */
	assert_int_equal(unmap_later(2), 0);
	assert_int_equal(peek(0x2000), -EFAULT);
	assert_int_equal(
		space_map(k.space, DOMAIN, 0x1000, 0x1fff, CORE_RAM_GPA + 0x1000, 3), 0);
	assert_int_equal(peek(0x1000), 2);
	assert_int_equal(space_unmap_later(k.space, DOMAIN, 0x3000, 0x37ff), -ERANGE);
	for (uint64_t i = 3; i < 100; i++)
		assert_int_equal(unmap_later(i), 0);
	space_settle(k.space);
	assert_int_equal(core_kit_counts(&k).mappings, 1);
	assert_int_equal(core_kit_counts(&k).mapped_bytes, 0x1000);
	assert_int_equal(unmap_later(1), 0);
	assert_int_equal(space_detach(k.space, DOMAIN, EP), 0); /* settles */
	assert_int_equal(core_kit_counts(&k).mappings, 0);
	end();
}

/* One of them is held: it alone waits, the others are over. */
static void held_among_unmaps(void **state)
{
	struct viommu_hold hold;
	struct iovec iov;
	struct viommu_sg sg = {&iov, 0, 1, &hold, 0, 1, 0};

	(void)state;
	begin();
	assert_int_equal(space_map(k.space, DOMAIN, 0x5000, 0x5fff, CORE_RAM_GPA, 3), 0);
	assert_int_equal(viommu_dma_get(dma, 0x5000, 1, VIOMMU_READ, &sg), 0);
	assert_int_equal(unmap_later(1), 0);
	assert_int_equal(unmap_later(5), -EINPROGRESS);
	assert_int_equal(core_kit_counts(&k).mappings, 0);
	assert_true(space_pending(k.space));
	viommu_dma_put(dma, &sg);
	assert_false(space_pending(k.space));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unmap_and_map_again),
		cmocka_unit_test(detach_and_move),
		cmocka_unit_test(bypass_changes),
		cmocka_unit_test(endpoint_reset),
		cmocka_unit_test(endpoint_reset_alone),
		cmocka_unit_test(device_reset),
		cmocka_unit_test(device_reset_in_bypass),
		cmocka_unit_test(memory_moves),
		cmocka_unit_test(unmap_leaves_the_rest_cached),
		cmocka_unit_test(large_mappings_are_cached_whole),
		cmocka_unit_test(generation_wraps),
		cmocka_unit_test(batches_of_unmaps),
		cmocka_unit_test(held_among_unmaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
