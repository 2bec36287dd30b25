/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Cached translations of several mappings: when there are, and how they end. */
#include "core_kit.h"

#include "dma/dma_context.h"
#include "domain/range_node.h"

#define EP     8u
#define DOMAIN 1u
#define PAGE   0x1000ull
#define BASE   0x10000000ull

static struct core_kit k;
static struct viommu_endpoint *ep;
static struct viommu_dma *dma;

static void map(unsigned iova_page, unsigned ram_page, unsigned perm)
{
	assert_int_equal(space_map(k.space, DOMAIN, BASE + iova_page * PAGE,
				   BASE + (iova_page + 1) * PAGE - 1,
				   CORE_RAM_GPA + ram_page * PAGE, perm),
			 0);
}

static int unmap(unsigned page)
{
	return core_kit_unmap(&k, DOMAIN, BASE + page * PAGE,
			      BASE + (page + 1) * PAGE - 1);
}

/* A domain without mappings; byte 0 of each page of memory is its number. */
static void begin(void)
{
	core_kit_init(&k, NULL);
	for (unsigned i = 0; i < 64; i++)
		k.ram[i * PAGE] = (uint8_t)i;
	ep = core_kit_endpoint(&k, EP);
	dma = core_kit_dma(&k, ep, NULL, NULL);
	assert_int_equal(space_attach(k.space, DOMAIN, EP, false), 0);
}

static void end(void)
{
	viommu_dma_destroy(dma);
	core_kit_done(&k);
}

/* Bytes that one translation reaches from the page on; 0: blocked. */
static uint64_t reach(unsigned page, unsigned perm)
{
	struct viommu_span span = {NULL, 0};

	viommu_dma_begin(dma);
	(void)viommu_dma_reach(dma, BASE + page * PAGE, 64 * PAGE, perm, &span);
	viommu_dma_end(dma);
	return span.len;
}

static int peek(unsigned page)
{
	uint8_t byte;
	int rc = viommu_dma_read(dma, BASE + page * PAGE, &byte, 1);

	return rc ? rc : byte;
}

static uint64_t misses(void)
{
	struct viommu_dma_stats stats;

	viommu_dma_get_stats(dma, &stats);
	return stats.misses;
}

/* Page by page through mappings of a page each: a leaf's worth costs one miss. */
static void a_run_misses_once(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < RANGE_LEAF_MAX; i++)
		map(i, i, CORE_RW);
	for (unsigned i = 0; i < RANGE_LEAF_MAX; i++)
		assert_int_equal(peek(i), i);
	assert_int_equal(misses(), 1);
	for (unsigned i = 0; i < RANGE_LEAF_MAX; i++)
		assert_int_equal(reach(i, CORE_RW), (RANGE_LEAF_MAX - i) * PAGE);
	assert_int_equal(misses(), 1);
	end();
}

static void any_part_ends_it(void **state)
{
	(void)state;
	for (unsigned gone = 0; gone < 8; gone++) {
		begin();
		for (unsigned i = 0; i < 8; i++)
			map(i, i, CORE_RW);
		assert_int_equal(reach(0, VIOMMU_READ), 8 * PAGE);
		assert_int_equal(unmap(gone), 0);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(peek(i), i == gone ? -EFAULT : (int)i);
		assert_true(reach(0, VIOMMU_READ) <= gone * PAGE);
		/* another page there: not what was cached before */
		map(gone, 20, CORE_RW);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(peek(i), i == gone ? 20 : (int)i);
		end();
	}
}

/* The leaf is split or joined with another: what goes from the new ones counts. */
static void leaves_change(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 2 * RANGE_LEAF_MAX; i += 2)
		map(i, i, CORE_RW);
	map(1, 1, CORE_RW);
	assert_int_equal(reach(0, VIOMMU_READ), 3 * PAGE);
	for (unsigned i = 3; i < 2 * RANGE_LEAF_MAX; i += 2) {
		map(i, i, CORE_RW);
		assert_true(reach(0, VIOMMU_READ) >= 3 * PAGE);
	}
	assert_int_equal(unmap(1), 0);
	assert_int_equal(peek(1), -EFAULT);
	assert_int_equal(reach(0, VIOMMU_READ), PAGE);
	for (unsigned i = 2 * RANGE_LEAF_MAX - 1; i > 4; i--) {
		assert_int_equal(unmap(i), 0);
		assert_int_equal(peek(i), -EFAULT);
		assert_int_equal(peek(2), 2);
	}
	assert_in_range(reach(2, VIOMMU_READ), PAGE, 3 * PAGE);
	end();
}

/* Neighbours that do not go on from each other stand for themselves. */
static void what_is_not_merged(void **state)
{
	(void)state;
	begin();
	map(0, 0, CORE_RW);
	map(1, 2, CORE_RW); /* a gap in memory */
	map(2, 3, VIOMMU_READ);
	map(3, 4, CORE_RW); /* other rights on either side */
	map(5, 6, CORE_RW); /* a gap in addresses */
	map(6, 5, CORE_RW); /* backwards */
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(reach(i, VIOMMU_READ), i == 4 ? 0 : PAGE);
	assert_int_equal(reach(2, VIOMMU_WRITE), 0);
	assert_int_equal(viommu_dma_write(dma, BASE + 2 * PAGE - 1, "xy", 2), -EFAULT);
	end();
}

/* Guest-physical addresses that go on over the end of a memory region. */
static void cut_at_regions(void **state)
{
	static const uint64_t read[] = {2 * PAGE, PAGE, 2 * PAGE, PAGE};
	static const uint64_t write[] = {2 * PAGE, PAGE, 0, 0};
	static uint8_t more[2 * PAGE];

	(void)state;
	begin();
	assert_int_equal(viommu_mem_add(k.mem, CORE_RAM_GPA + CORE_RAM_LEN, sizeof(more),
					more, VIOMMU_MEM_READONLY),
			 0);
	for (unsigned i = 0; i < 4; i++)
		map(i, CORE_RAM_LEN / PAGE - 2 + i, CORE_RW);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(reach(i, VIOMMU_READ), read[i]);
		assert_int_equal(reach(i, VIOMMU_WRITE), write[i]);
	}
	end();
}

/* The end of guest-physical addresses does not go on at 0. */
static void no_wrap(void **state)
{
	static uint8_t high[PAGE], low[PAGE];

	(void)state;
	begin();
	assert_int_equal(viommu_mem_add(k.mem, -PAGE, PAGE, high, 0), 0);
	assert_int_equal(viommu_mem_add(k.mem, 0, PAGE, low, 0), 0);
	assert_int_equal(
		space_map(k.space, DOMAIN, BASE, BASE + PAGE - 1, -PAGE, CORE_RW), 0);
	assert_int_equal(
		space_map(k.space, DOMAIN, BASE + PAGE, BASE + 2 * PAGE - 1, 0, CORE_RW),
		0);
	high[0] = 1;
	low[0] = 2;
	assert_int_equal(reach(0, CORE_RW), PAGE);
	assert_int_equal(peek(0), 1);
	assert_int_equal(peek(1), 2);
	end();
}

/* A mapping that stays is cached by itself once its neighbours proved restless. */
static void restless_neighbours(void **state)
{
	uint64_t before;

	(void)state;
	begin();
	for (unsigned i = 0; i < 8; i++)
		map(i, i, CORE_RW);
	assert_int_equal(reach(0, VIOMMU_READ), 8 * PAGE);
	assert_int_equal(unmap(7), 0);
	assert_int_equal(reach(0, VIOMMU_READ), PAGE);
	before = misses();
	for (unsigned i = 0; i < 10; i++) {
		map(7, 7, CORE_RW);
		assert_int_equal(unmap(7), 0);
		assert_int_equal(reach(0, VIOMMU_READ), PAGE);
	}
	assert_int_equal(misses(), before);
	end();
}

static struct range_leaf *only_leaf(void)
{
	return root_node(dma->view->tree.root);
}

/* The generation of a leaf comes round: what was cached long ago stays dead. */
static void generation_wraps(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 8; i++)
		map(i, i, CORE_RW);
	assert_int_equal(reach(0, VIOMMU_READ), 8 * PAGE);
	/* cached 2^31 - 2 losses ago, when the count began */
	only_leaf()->generation = UINT32_MAX - 3;
	for (unsigned i = 0; i < VIOMMU_DMA_ENTRIES; i++)
		dma->fast.entry[i].generation = 0;
	for (unsigned i = 0; i < TLB_MIDS; i++)
		dma->mids[i].generation = 0;
	assert_int_equal(unmap(6), 0);
	assert_int_equal(unmap(7), 0);
	assert_int_equal(only_leaf()->generation, 0);
	assert_int_equal(peek(0), 0);
	assert_int_equal(peek(6), -EFAULT);
	assert_int_equal(peek(7), -EFAULT);
	end();
}

/* A leaf that is replaced at the end of its count begins anew only when everything
 * was forgotten. */
static void replaced_at_the_last_generation(void **state)
{
	struct range_leaf *leaf;

	(void)state;
	begin();
	for (unsigned i = 0; i < RANGE_LEAF_MAX; i++)
		map(i, i, CORE_RW);
	assert_int_equal(reach(0, VIOMMU_READ), RANGE_LEAF_MAX * PAGE);
	leaf = only_leaf();
	leaf->generation = UINT32_MAX - 1;
	for (unsigned i = 0; i < VIOMMU_DMA_ENTRIES; i++)
		dma->fast.entry[i].generation = 0;
	map(RANGE_LEAF_MAX, RANGE_LEAF_MAX, CORE_RW); /* splits it */
	assert_int_equal(leaf->generation, UINT32_MAX);
	assert_int_equal(unmap(3), 0); /* gives it back */
	for (unsigned i = 0; leaf->generation && i < 200; i++)
		map(32 + i, i, CORE_RW); /* until it is taken again */
	assert_int_equal(leaf->generation, 0);
	assert_int_equal(peek(0), 0);
	assert_int_equal(peek(3), -EFAULT);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_misses_once),
		cmocka_unit_test(any_part_ends_it),
		cmocka_unit_test(leaves_change),
		cmocka_unit_test(what_is_not_merged),
		cmocka_unit_test(cut_at_regions),
		cmocka_unit_test(no_wrap),
		cmocka_unit_test(restless_neighbours),
		cmocka_unit_test(generation_wraps),
		cmocka_unit_test(replaced_at_the_last_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
